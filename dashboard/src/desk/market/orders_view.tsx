/** Our open orders, which can be moved and cancelled here too, and our fills. */

import { useState } from "preact/hooks";

import { fills, openOrders, queues } from "../../live/market";
import type { Fill, Order, Pair } from "../../live/types";
import { useValue } from "../../live/value";
import { decimal, money, time } from "../figures";
import { Empty, Panel, Segments, Status, Table, type Column } from "../widgets";
import { amendByTicks, cancel, cancelAll } from "./trading";

const at = (ns: string): string => time(Number(BigInt(ns) / 1_000_000n) / 1e3, 1);

export function OrdersView({ pair, isStale }: { pair: Pair; isStale: boolean }) {
  const orders = useValue(openOrders);
  const done = useValue(fills);
  const [shown, show] = useState<"orders" | "fills">("orders");
  return (
    <Panel
      title="Own orders"
      class="orders"
      isStale={isStale}
      tools={
        <>
          {orders.length > 0 && (
            <button type="button" class="danger quiet" onClick={() => void cancelAll(pair.pair_id)}>
              Cancel all
            </button>
          )}
          <Segments label="Orders or fills" value={shown} options={[["orders", `Open ${orders.length}`], ["fills", `Fills ${done.length}`]]} onValue={show} />
        </>
      }
    >
      {shown === "orders" ? <Open pair={pair} orders={orders} /> : <Fills pair={pair} fills={done} />}
    </Panel>
  );
}

function Open({ pair, orders }: { pair: Pair; orders: Order[] }) {
  const places = useValue(queues);
  const columns: Column<Order>[] = [
    { name: "Time", isText: true, isExtra: true, cell: (order) => at(order.created_ts) },
    { name: "Side", isText: true, cell: (order) => <b class={order.side === "BUY" ? "buy" : "sell"}>{order.side === "BUY" ? "Buy" : "Sell"}</b> },
    { name: "Type", isText: true, isExtra: true, cell: (order) => order.type.replace("_", " ").toLowerCase() },
    { name: "Price", cell: (order) => order.price ?? "market" },
    { name: "Amount", cell: (order) => decimal(order.amount) },
    { name: "Filled", isExtra: true, cell: (order) => decimal(order.cum_qty) },
    { name: "Ahead", cell: (order) => { const place = places.get(order.order_id); return place ? decimal(place.ahead) : "–"; } },
    { name: "State", isText: true, cell: (order) => (order.cancel_requested ? "cancelling" : order.amend_requested ? "moving" : <Status value={order.status} />) },
    {
      name: "Change",
      cell: (order) => (
        <span class="row-tools">
          {order.price !== null && (
            <>
              <button type="button" class="icon small" aria-label={`Price of order at ${order.price} one tick down`} onClick={() => void amendByTicks(order, pair, -1)}>
                −
              </button>
              <button type="button" class="icon small" aria-label={`Price of order at ${order.price} one tick up`} onClick={() => void amendByTicks(order, pair, 1)}>
                +
              </button>
            </>
          )}
          <button type="button" class="icon small danger" aria-label={`Cancel order at ${order.price ?? "market"}`} onClick={() => void cancel(order)}>
            ×
          </button>
        </span>
      ),
    },
  ];
  return (
    <Table
      caption="Open orders"
      columns={columns}
      rows={orders.slice(0, 100)}
      keyOf={(order) => order.order_id}
      empty={
        <Empty title="No open orders">
          <p>Click a price in the book to join it, or fill in the ticket.</p>
        </Empty>
      }
    />
  );
}

function Fills({ pair, fills: done }: { pair: Pair; fills: Fill[] }) {
  const columns: Column<Fill>[] = [
    { name: "Time", isText: true, cell: (fill) => at(fill.ts) },
    { name: "Side", isText: true, cell: (fill) => <b class={fill.side === "BUY" ? "buy" : "sell"}>{fill.side === "BUY" ? "Buy" : "Sell"}</b> },
    { name: "Price", cell: (fill) => fill.price },
    { name: "Amount", cell: (fill) => decimal(fill.amount) },
    { name: `Value, ${pair.quote}`, isExtra: true, cell: (fill) => money(String(Number(fill.price) * Number(fill.amount))) },
    { name: "Fee", isExtra: true, cell: (fill) => money(fill.fee) },
    { name: "As", isText: true, cell: (fill) => fill.liquidity.toLowerCase() },
  ];
  return <Table caption="Fills" columns={columns} rows={done.slice(0, 100)} keyOf={(fill) => `${fill.trade_id}${fill.order_id}`} empty={<Empty title="No fills yet" />} />;
}
