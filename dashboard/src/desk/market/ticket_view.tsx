/** The order ticket, and what is held of the pair. */

import { useEffect } from "preact/hooks";

import { book } from "../../live/market";
import { useQuery } from "../../live/query";
import { BACKTEST_ACCOUNT, DEFAULT_ACCOUNT, type Account, type Items, type Pair, type Position, type Side, type Strategy } from "../../live/types";
import { useValue } from "../../live/value";
import { decimal, money, moved, toneOfMoney } from "../figures";
import { Empty, Fact, Field, Panel, Segments, Select } from "../widgets";
import { faultOf, placeTicket, ticket, usualAmount, write, type TicketType } from "./trading";

const TYPES: readonly (readonly [TicketType, string])[] = [
  ["LIMIT", "Limit"],
  ["MARKET", "Market"],
  ["STOP", "Stop"],
  ["STOP_LIMIT", "Stop limit"],
];

/** What a market that is a recording takes: it has no stop orders. */
const PLAYED_TYPES = TYPES.filter(([type]) => type === "LIMIT" || type === "MARKET");

export function TicketView({ pair, isPlayed }: { pair: Pair; isPlayed: boolean }) {
  const wish = useValue(ticket);
  const strategies = useQuery<Items<Strategy>>("api/v1/strategies").data?.items ?? [];
  const accounts = (useQuery<Items<Account>>("api/v1/accounts").data?.items ?? []).filter((each) => each.account_id !== BACKTEST_ACCOUNT);
  useFirstValues(pair);
  const types = isPlayed ? PLAYED_TYPES : TYPES;
  useEffect(() => {
    if (!types.some(([type]) => type === ticket.get().type)) write({ type: "LIMIT" });
  }, [types]);
  const fault = faultOf(wish, pair);
  const isLimit = wish.type === "LIMIT" || wish.type === "STOP_LIMIT";
  const isStop = wish.type === "STOP" || wish.type === "STOP_LIMIT";
  const value = isLimit && Number(wish.price) && Number(wish.amount) ? Number(wish.price) * Number(wish.amount) * Number(pair.contract_multiplier) : null;
  const send = (side: Side): void => void placeTicket(pair, side);
  return (
    <Panel title="Order" class="ticket">
      <form
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        <Segments label="Type" value={wish.type} options={types} onValue={(type) => write({ type })} class="full" />
        <Stepper label="Amount" unit={pair.base} value={wish.amount} step={pair.lot_size} jump={amountStep(wish.amount, pair.lot_size)} onValue={(amount) => write({ amount })} />
        {isStop && <Stepper label="Stop price" unit={pair.quote} value={wish.stopPrice} step={pair.tick_size} onValue={(stopPrice) => write({ stopPrice })} />}
        {isLimit && <Stepper label="Price" unit={pair.quote} value={wish.price} step={pair.tick_size} onValue={(price) => write({ price })} />}
        {isLimit && <Touch pair={pair} />}
        {wish.type === "LIMIT" && (
          <div class="line">
            <Segments label="Time in force" value={wish.time} options={[["GTC", "GTC"], ["IOC", "IOC"], ["FOK", "FOK"]]} onValue={(time) => write({ time })} />
            <label class="check">
              <input type="checkbox" checked={wish.isPostOnly} disabled={wish.time !== "GTC"} onChange={(event) => write({ isPostOnly: event.currentTarget.checked })} /> post only
            </label>
          </div>
        )}
        {strategies.some((each) => each.pair_id === pair.pair_id) && (
          <Select
            label="On behalf of"
            value={wish.strategyId}
            options={[["", "myself"], ...strategies.filter((each) => each.pair_id === pair.pair_id).map((each) => [each.strategy_id, each.name] as const)]}
            onValue={(strategyId) => write({ strategyId })}
          />
        )}
        {accounts.length > 1 && (
          <Select
            label="Account"
            value={wish.accountId || DEFAULT_ACCOUNT}
            options={accounts.map((each) => [each.account_id, each.name] as const)}
            onValue={(chosen) => write({ accountId: chosen === DEFAULT_ACCOUNT ? "" : chosen })}
          />
        )}
        <p class="note" aria-live="polite">
          {wish.amount && fault ? fault : value !== null ? `Worth ${decimal(value.toFixed(2))} ${pair.quote}` : "At the best prices there are"}
        </p>
        <div class="sides">
          <button type="button" class="buy-button" disabled={fault !== null} onClick={() => send("BUY")}>
            Buy
          </button>
          <button type="button" class="sell-button" disabled={fault !== null} onClick={() => send("SELL")}>
            Sell
          </button>
        </div>
      </form>
    </Panel>
  );
}

/** Begin with an amount and a price that suit the pair. */
function useFirstValues(pair: Pair): void {
  useEffect(() => {
    write({ amount: "", price: "", stopPrice: "" });
    const begin = (): boolean => {
      const bid = book.get()?.pair_id === pair.pair_id ? book.get()?.bids[0]?.price : undefined;
      if (bid === undefined) return false;
      const { amount, price } = ticket.get();
      write({ amount: amount || usualAmount(pair, Number(bid)), price: price || bid });
      return true;
    };
    if (begin()) return;
    const stop = book.watch(() => begin() && stop());
    return stop;
  }, [pair.pair_id]);
}

/** Return by how many lots the buttons change an amount: a tenth of its size. */
function amountStep(amount: string, lot: string): number {
  const lots = Number(amount) / Number(lot);
  return lots >= 1 ? Math.max(1, 10 ** Math.floor(Math.log10(lots / 2))) : 1;
}

function Stepper(props: { label: string; unit: string; value: string; step: string; jump?: number; onValue: (value: string) => void }) {
  const { label, unit, value, step, jump = 1, onValue } = props;
  const change = (count: number): void => onValue(moved(value || "0", step, count * jump));
  return (
    <Field label={label} unit={unit}>
      {(id) => (
        <div class="stepper">
          <button type="button" tabIndex={-1} aria-label={`${label} less`} onClick={() => change(-1)}>
            −
          </button>
          <input
            id={id}
            type="text"
            inputMode="decimal"
            autocomplete="off"
            value={value}
            onInput={(event) => onValue(event.currentTarget.value.replace(",", "."))}
            onKeyDown={(event) => {
              if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
              event.preventDefault();
              change((event.key === "ArrowUp" ? 1 : -1) * (event.shiftKey ? 10 : 1));
            }}
          />
          <button type="button" tabIndex={-1} aria-label={`${label} more`} onClick={() => change(1)}>
            +
          </button>
        </div>
      )}
    </Field>
  );
}

/** Takes a price from the book. */
function Touch({ pair }: { pair: Pair }) {
  const take = (side: "bids" | "asks"): void => {
    const best = book.get()?.[side][0]?.price;
    if (best && book.get()?.pair_id === pair.pair_id) write({ price: best });
  };
  return (
    <div class="line touch">
      <button type="button" class="quiet" onClick={() => take("bids")}>
        Best bid
      </button>
      <button type="button" class="quiet" onClick={() => take("asks")}>
        Best ask
      </button>
    </div>
  );
}

export function PositionView({ pair, isStale }: { pair: Pair; isStale: boolean }) {
  const { data } = useQuery<Items<Position>>(`api/v1/positions?pair_id=${pair.pair_id}&limit=100`, { every: 2_000, on: ["simulator.position.updated"] });
  const held = (data?.items ?? []).filter((each) => each.account_id !== BACKTEST_ACCOUNT);
  const total = (pick: (position: Position) => string | null): string => held.reduce((sum, each) => sum + Number(pick(each) ?? 0), 0).toString();
  if (held.length === 0) {
    return (
      <Panel title="Position" class="position" isStale={isStale}>
        <Empty title="Nothing held">
          <p>Place an order: click a price in the book, or use the ticket.</p>
        </Empty>
      </Panel>
    );
  }
  const quantity = total((each) => each.quantity);
  const [realised, open, fees] = [total((each) => each.realised_pnl), total((each) => each.unrealised_pnl), total((each) => each.fees)];
  const net = String(Number(realised) + Number(open) - Number(fees));
  return (
    <Panel title="Position" class="position" isStale={isStale}>
      <dl class="facts">
        <Fact name={`Held, ${pair.base}`} class={Number(quantity) > 0 ? "buy" : Number(quantity) < 0 ? "sell" : ""}>
          {decimal(Number(quantity).toFixed(8).replace(/\.?0+$/, ""))}
        </Fact>
        <Fact name="Average price">{held.length === 1 ? money(held[0]!.average_price) : `${held.length} positions`}</Fact>
        <Fact name={`Result, ${pair.quote}`} class={toneOfMoney(net)}>
          {money(net, true)}
        </Fact>
        <Fact name="Open" class={toneOfMoney(open)}>
          {money(open, true)}
        </Fact>
        <Fact name="Realised" class={toneOfMoney(realised)}>
          {money(realised, true)}
        </Fact>
        <Fact name="Fees">{money(fees)}</Fact>
      </dl>
    </Panel>
  );
}
