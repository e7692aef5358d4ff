/** Placing, amending and cancelling orders; and what the ticket holds, which the ladder uses too. */

import { call } from "../../live/api";
import { noteOrder } from "../../live/market";
import type { Order, Pair, Side } from "../../live/types";
import { Value } from "../../live/value";
import { isOnStep, moved } from "../figures";
import { attempt, notify } from "../widgets";

export type TicketType = "LIMIT" | "MARKET" | "STOP" | "STOP_LIMIT";

export interface Ticket {
  type: TicketType;
  amount: string;
  price: string;
  stopPrice: string;
  time: "GTC" | "IOC" | "FOK";
  isPostOnly: boolean;
  strategyId: string;
  /** Empty: the default account. */
  accountId: string;
}
export const ticket = new Value<Ticket>({ type: "LIMIT", amount: "", price: "", stopPrice: "", time: "GTC", isPostOnly: false, strategyId: "", accountId: "" });
/** Whether a click in the ladder places at once; else it fills the ticket. */
export const isOneClick = new Value(localStorage.getItem("market-maker-one-click") !== "no");
isOneClick.watch((is) => localStorage.setItem("market-maker-one-click", is ? "yes" : "no"));

export function write(changes: Partial<Ticket>): void {
  ticket.set({ ...ticket.get(), ...changes });
}

/** Return an amount to begin with: worth about 500 of the quote currency, in round lots. */
export function usualAmount(pair: Pair, price: number): string {
  const lots = Math.max(1, Math.round(500 / price / Number(pair.lot_size) / Number(pair.contract_multiplier)));
  const power = 10 ** Math.floor(Math.log10(lots));
  return moved("0", pair.lot_size, Math.max(1, Math.round(lots / power) * power));
}

/** Return what is wrong with the ticket, null when it can be sent. */
export function faultOf(wish: Ticket, pair: Pair): string | null {
  if (!isOnStep(wish.amount, pair.lot_size)) return `Amount: a multiple of ${pair.lot_size} ${pair.base}`;
  const needsPrice = wish.type === "LIMIT" || wish.type === "STOP_LIMIT";
  if (needsPrice && !isOnStep(wish.price, pair.tick_size)) return `Price: a multiple of ${pair.tick_size}`;
  const needsStop = wish.type === "STOP" || wish.type === "STOP_LIMIT";
  if (needsStop && !isOnStep(wish.stopPrice, pair.tick_size)) return `Stop price: a multiple of ${pair.tick_size}`;
  return null;
}

/** Return the body of the request that places a ticket. */
export function bodyOf(wish: Ticket, pair: Pair, side: Side): Record<string, unknown> {
  const isLimit = wish.type === "LIMIT" || wish.type === "STOP_LIMIT";
  const isStop = wish.type === "STOP" || wish.type === "STOP_LIMIT";
  return {
    pair_id: pair.pair_id,
    side,
    type: wish.type,
    amount: wish.amount.trim(),
    ...(isLimit ? { price: wish.price.trim() } : {}),
    ...(isStop ? { stop_price: wish.stopPrice.trim() } : {}),
    ...(wish.type === "LIMIT" ? { time_in_force: wish.time } : {}),
    ...(wish.type === "LIMIT" && wish.isPostOnly && wish.time === "GTC" ? { post_only: true } : {}),
    ...(wish.strategyId ? { strategy_id: wish.strategyId } : {}),
    ...(wish.accountId ? { account_id: wish.accountId } : {}),
  };
}

export async function placeTicket(pair: Pair, side: Side, changes: Partial<Ticket> = {}): Promise<Order | null> {
  const wish = { ...ticket.get(), ...changes };
  const fault = faultOf(wish, pair);
  if (fault) {
    notify("warn", fault);
    return null;
  }
  const order = await attempt(call<Order>("POST", "api/v1/simulator/orders", bodyOf(wish, pair, side)));
  if (order) {
    const at = order.price === null ? "at the market" : `at ${order.price}`;
    const text = `${side === "BUY" ? "Buy" : "Sell"} ${order.amount} ${pair.base} ${at} accepted`;
    notify("info", text, order.type === "LIMIT" && order.time_in_force === "GTC" ? { name: "Undo", run: () => void cancel(order) } : undefined);
    noteOrder(order);
  }
  return order;
}

export async function cancel(order: Order): Promise<void> {
  await attempt(call("DELETE", `api/v1/simulator/orders/${order.order_id}`));
}

export async function cancelAll(pairId: string): Promise<void> {
  await attempt(call<{ cancel_requested: number }>("DELETE", `api/v1/simulator/orders?pair_id=${pairId}`), (found) => `${found.cancel_requested} orders are being cancelled`);
}

export async function amend(order: Order, changes: { price?: string; amount?: string }): Promise<void> {
  const what = changes.price ? `price ${changes.price}` : `amount ${changes.amount}`;
  await attempt(call<Order>("PATCH", `api/v1/simulator/orders/${order.order_id}`, changes), () => `Order moves to ${what}`);
}

export async function amendByTicks(order: Order, pair: Pair, ticks: number): Promise<void> {
  if (order.price !== null) await amend(order, { price: moved(order.price, pair.tick_size, ticks) });
}
