/** The order-book ladder: click or key to place, drag or buttons to amend, x to cancel. */

import { useCallback, useRef, useState } from "preact/hooks";
import { memo } from "preact/compat";

import { book, openOrders, queues } from "../../live/market";
import type { Pair } from "../../live/types";
import { useValue } from "../../live/value";
import { decimal, decimalsOf } from "../figures";
import { Empty, Panel } from "../widgets";
import { ladderOf, type OwnOrder, type Row } from "./ladder";
import { amend, amendByTicks, cancel, cancelAll, isOneClick, placeTicket, write } from "./trading";

const LEVELS = 20;

export function LadderView({ pair, isStale }: { pair: Pair; isStale: boolean }) {
  const found = useValue(book);
  const ladder = ladderOf(found, useValue(openOrders), useValue(queues), LEVELS);
  const oneClick = useValue(isOneClick);
  const [dragged, drag] = useState<OwnOrder | null>(null);
  const [at, focus] = useState(0);
  const body = useRef<HTMLDivElement>(null);
  const rows = useRef<Row[]>([]);
  rows.current = [...[...ladder.asks].reverse(), ...ladder.bids];
  const decimals = decimalsOf(pair.tick_size);
  const sizeDecimals = Math.min(5, decimalsOf(pair.lot_size));

  const join = useCallback((row: Row, side = row.side) => {
    if (isOneClick.get()) void placeTicket(pair, side, { type: "LIMIT", price: row.price });
    else write({ type: "LIMIT", price: row.price });
  }, [pair]);

  const press = (event: KeyboardEvent): void => {
    const row = rows.current[at];
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const own = row.own.map((each) => each.order);
    if (event.key === "ArrowUp" || event.key === "ArrowDown") move(at + (event.key === "ArrowUp" ? -1 : 1));
    else if (event.key === "Home") move(0);
    else if (event.key === "End") move(rows.current.length - 1);
    else if (event.key === "b" || event.key === "s") void placeTicket(pair, event.key === "b" ? "BUY" : "SELL", { type: "LIMIT", price: row.price });
    else if (event.key === "x") own.forEach((order) => void cancel(order));
    else if (event.key === "X") void cancelAll(pair.pair_id);
    else if (event.key === "+" || event.key === "-") own.forEach((order) => void amendByTicks(order, pair, event.key === "+" ? 1 : -1));
    else return;
    event.preventDefault();
  };
  const move = (to: number): void => {
    const next = Math.min(rows.current.length - 1, Math.max(0, to));
    focus(next);
    body.current?.querySelectorAll<HTMLElement>(".price-button")[next]?.focus();
  };
  const drop = (row: Row): void => {
    if (dragged && dragged.order.price !== row.price) void amend(dragged.order, { price: row.price });
    drag(null);
  };
  const shared = { most: ladder.most, decimals, sizeDecimals, join, drop, drag, isDragging: dragged !== null, base: pair.base };
  return (
    <Panel
      title="Order book"
      class="ladder"
      isStale={isStale}
      tools={
        <label class="check" title="A click on a price places the ticket's amount at once">
          <input type="checkbox" checked={oneClick} onChange={(event) => isOneClick.set(event.currentTarget.checked)} /> one-click
        </label>
      }
    >
      {!found ? (
        <Empty title="No book yet">
          <p>It appears with the first message of the market.</p>
        </Empty>
      ) : (
        <div class={`rows ${isStale ? "is-old" : ""}`} ref={body} onKeyDown={press} role="group" aria-label="Order book; arrow keys go from price to price">
          <div class="row head" aria-hidden="true">
            <span class="own-cell">Own · ahead</span>
            <span>Size</span>
            <span>Price</span>
            <span>Total</span>
          </div>
          <div class="asks">
            {[...ladder.asks].reverse().map((row, k) => (
              <RowView key={`a${ladder.asks.length - k}`} row={row} isFocus={k === at} place={k} focus={focus} {...shared} />
            ))}
          </div>
          <div class="middle">
            <b class="mid">{ladder.mid === null ? "–" : decimal(ladder.mid.toFixed(decimals))}</b>
            <span>spread {ladder.spread === null ? "–" : ladder.spread.toFixed(decimals)}</span>
            {ladder.bidShare !== null && (
              <span class="balance" title="Share of the shown quantity that is bid" role="img" aria-label={`${Math.round(ladder.bidShare * 100)} % of the shown quantity is bid`}>
                <i style={{ width: `${ladder.bidShare * 100}%` }} />
              </span>
            )}
          </div>
          <div class="bids">
            {ladder.bids.map((row, k) => (
              <RowView key={`b${k}`} row={row} isFocus={ladder.asks.length + k === at} place={ladder.asks.length + k} focus={focus} {...shared} />
            ))}
          </div>
        </div>
      )}
    </Panel>
  );
}

interface RowProps {
  row: Row;
  most: number;
  decimals: number;
  sizeDecimals: number;
  base: string;
  isFocus: boolean;
  place: number;
  isDragging: boolean;
  focus: (place: number) => void;
  join: (row: Row) => void;
  drop: (row: Row) => void;
  drag: (own: OwnOrder | null) => void;
}

const RowView = memo(
  function RowView({ row, most, decimals, sizeDecimals, base, isFocus, place, isDragging, focus, join, drop, drag }: RowProps) {
    const tone = row.side === "BUY" ? "buy" : "sell";
    const verb = row.side === "BUY" ? "Buy" : "Sell";
    const over = isDragging ? { onDragOver: (event: DragEvent) => event.preventDefault(), onDrop: () => drop(row) } : {};
    return (
      <div class={`row ${tone} ${row.own.length ? "has-own" : ""}`} {...over}>
        <i class="bar-fill" style={{ transform: `scaleX(${most > 0 ? row.total / most : 0})` }} />
        <span class="own-cell">
          {row.own.map((own) => (
            <OwnChip key={own.order.order_id} own={own} drag={drag} sizeDecimals={sizeDecimals} base={base} />
          ))}
        </span>
        <span class="size">{row.size ? row.size.toFixed(sizeDecimals) : "·"}</span>
        <button
          type="button"
          class="price-button"
          tabIndex={isFocus ? 0 : -1}
          onFocus={() => focus(place)}
          onClick={() => join(row)}
          aria-label={`${verb} at ${row.price}, ${row.sizeText} ${base} there`}
        >
          {Number(row.price).toFixed(decimals)}
        </button>
        <span class="total">{row.total.toFixed(Math.min(3, sizeDecimals))}</span>
      </div>
    );
  },
  (before, after) =>
    before.row.price === after.row.price &&
    before.row.size === after.row.size &&
    before.row.total === after.row.total &&
    before.most === after.most &&
    before.isFocus === after.isFocus &&
    before.place === after.place &&
    before.isDragging === after.isDragging &&
    before.decimals === after.decimals &&
    before.join === after.join &&
    (before.isDragging ? before.drop === after.drop : true) &&
    isSame(before.row.own, after.row.own),
);

function isSame(a: OwnOrder[], b: OwnOrder[]): boolean {
  return a.length === b.length && a.every((own, k) => own.order === b[k]!.order && own.ahead === b[k]!.ahead);
}

function OwnChip({ own, drag, sizeDecimals, base }: { own: OwnOrder; drag: (own: OwnOrder | null) => void; sizeDecimals: number; base: string }) {
  const { order, ahead } = own;
  const leaves = Number(order.leaves_qty).toFixed(sizeDecimals).replace(/\.?0+$/, "");
  const place = order.status === "PENDING_NEW" ? "…" : ahead === null ? "" : ahead === 0 ? "first" : ahead.toFixed(3).replace(/\.?0+$/, "");
  const busy = order.cancel_requested || order.amend_requested;
  return (
    <span
      class={`chip ${busy ? "busy" : ""}`}
      draggable
      onDragStart={(event) => {
        event.dataTransfer?.setData("text/plain", order.order_id);
        drag(own);
      }}
      onDragEnd={() => drag(null)}
      title={`${leaves} ${base} of ours${ahead === null ? "" : `, ${ahead} ahead`}; drag to another price`}
    >
      <b>{leaves}</b>
      {place && <small>{place}</small>}
      <button type="button" tabIndex={-1} aria-label={`Cancel order of ${leaves} ${base} at ${order.price}`} onClick={() => void cancel(order)}>
        ×
      </button>
    </span>
  );
}
