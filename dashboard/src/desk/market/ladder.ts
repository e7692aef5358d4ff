/** The rows of the order-book ladder: levels, cumulated, with our own orders and where they stand. Pure. */

import type { Book, LevelText, Order, QueuePlace, Side } from "../../live/types";

export interface OwnOrder {
  order: Order;
  /** Quantity before it at its price; null while it is on its way, or where the service does not tell. */
  ahead: number | null;
}

export interface Row {
  side: Side;
  price: string;
  size: number;
  sizeText: string;
  total: number;
  own: OwnOrder[];
}

export interface Ladder {
  /** Best first. */
  bids: Row[];
  asks: Row[];
  /** The largest cumulated quantity of both sides: what the bars are drawn against. */
  most: number;
  mid: number | null;
  spread: number | null;
  /** Of the shown quantity, which share is bid. */
  bidShare: number | null;
}

/** Return the ladder of so many levels a side. Our orders at prices without a level get a row, within the shown range. */
export function ladderOf(book: Book | null, orders: readonly Order[], places: ReadonlyMap<string, QueuePlace>, levels: number): Ladder {
  const own = new Map<string, OwnOrder[]>();
  for (const order of orders) {
    if (order.price === null || (order.type !== "LIMIT" && order.status === "PENDING_NEW" && order.stop_price !== null)) continue;
    const key = `${order.side} ${Number(order.price)}`;
    const place = places.get(order.order_id);
    own.set(key, [...(own.get(key) ?? []), { order, ahead: place ? Number(place.ahead) : null }]);
  }
  const bids = rowsOf("BUY", book?.bids ?? [], own, levels);
  const asks = rowsOf("SELL", book?.asks ?? [], own, levels);
  const bidTotal = bids[bids.length - 1]?.total ?? 0;
  const askTotal = asks[asks.length - 1]?.total ?? 0;
  const [bid, ask] = [book?.bids[0], book?.asks[0]];
  return {
    bids,
    asks,
    most: Math.max(bidTotal, askTotal),
    mid: bid && ask ? (Number(bid.price) + Number(ask.price)) / 2 : null,
    spread: bid && ask ? Number(ask.price) - Number(bid.price) : null,
    bidShare: bidTotal + askTotal > 0 ? bidTotal / (bidTotal + askTotal) : null,
  };
}

function rowsOf(side: Side, given: readonly LevelText[], own: ReadonlyMap<string, OwnOrder[]>, levels: number): Row[] {
  const better = side === "BUY" ? (a: Row, b: Row) => Number(b.price) - Number(a.price) : (a: Row, b: Row) => Number(a.price) - Number(b.price);
  const known = new Set<number>();
  const rows: Row[] = given.slice(0, levels).map(({ price, quantity }) => {
    known.add(Number(price));
    return { side, price, size: Number(quantity), sizeText: quantity, total: 0, own: own.get(`${side} ${Number(price)}`) ?? [] };
  });
  const last = rows[rows.length - 1];
  for (const [key, orders] of own) {
    const price = orders[0]!.order.price!;
    if (!key.startsWith(side) || known.has(Number(price))) continue;
    const row: Row = { side, price, size: 0, sizeText: "0", total: 0, own: orders };
    if (rows.length < levels || (last && better(row, last) < 0)) rows.push(row);
  }
  rows.sort(better);
  let total = 0;
  for (const row of rows) row.total = total += row.size;
  return rows.slice(0, levels);
}

export interface DepthPoint {
  price: number;
  total: number;
}

/** Return the corners of one side's cumulated quantity, from the best price outwards. */
export function depthOf(levels: readonly LevelText[]): DepthPoint[] {
  let total = 0;
  return levels.map(({ price, quantity }) => ({ price: Number(price), total: (total += Number(quantity)) }));
}
