/** Our orders and fills out of two sources: an answer that was asked for, and the events that came while it was under way. Pure. */

import type { Fill, Order } from "./types";

const CLOSED = new Set(["FILLED", "CANCELED", "REJECTED", "EXPIRED"]);

/** Return the open orders: what was told of since `known` was asked for, before `known`; the newer version of each. */
export function openOf(known: readonly Order[], told: ReadonlyMap<string, Order>): Order[] {
  const found = new Map([...told.values(), ...known].map((order) => [order.order_id, order]));
  for (const order of told.values()) {
    if (found.get(order.order_id)!.version <= order.version) found.set(order.order_id, order);
  }
  return [...found.values()].filter((order) => !CLOSED.has(order.status));
}

/** Return both lists of fills, newest first, each fill once. */
export function fillsOf(added: readonly Fill[], known: readonly Fill[], most: number): Fill[] {
  const each = new Map([...known, ...added].map((fill) => [`${fill.trade_id} ${fill.order_id}`, fill]));
  return [...each.values()].sort((a, b) => Number(b.ts) - Number(a.ts)).slice(0, most);
}
