/** The chosen market as it is now: its book, our orders and fills, and what traded. Begun anew after each gap. */

import { get } from "./api";
import { fillsOf, openOf } from "./own";
import { chosenPair, sessionOf } from "./state";
import { connection, listen, type Message } from "./stream";
import type { Book, Fill, Items, Order, QueuePlace } from "./types";
import { Value } from "./value";

export interface Print {
  id: string;
  ts: number;
  price: number;
  size: number;
  side: "BUY" | "SELL" | null;
}

export const book = new Value<Book | null>(null);
export const openOrders = new Value<Order[]>([]);
export const fills = new Value<Fill[]>([]);
export const queues = new Value<ReadonlyMap<string, QueuePlace>>(new Map());
export const prints = new Value<Print[]>([]);
const PRINTS_MAX = 400;
const FILLS_MAX = 200;
const GATHERED_MS = 100;
/** What events told of our orders since the list of them was asked for. */
let told = new Map<string, Order>();
/** The newest version of each order that events told of: an answer that was under way may be older. */
const versions = new Map<string, number>();
let round = 0;
/** Whose book and trades are shown. */
let shown: string | null = null;

/** Load what is there, and follow it from then on. */
export function keepMarket(): void {
  chosenPair.watch(begin);
  connection.watch(() => void begin());
  listen("simulator.book", onBook);
  listen("simulator.queues", (message) => {
    if (message["pair_id"] !== chosenPair.get()) return;
    queues.set(new Map((message["orders"] as QueuePlace[]).map((place) => [place.order_id, place])));
  });
  listen("simulator.order.*", onOrder);
  listen("simulator.trade.executed", (message) => onTrade(message["data"] as Message));
  begin();
}

function begin(): void {
  const mine = ++round;
  const pairId = chosenPair.get();
  const session = sessionOf(pairId)?.session_id ?? null;
  const market = `${pairId} ${session}`;
  if (shown !== market) {
    shown = market;
    book.set(null);
    waiting = [];
    prints.set([]);
    fills.set([]);
    openOrders.set([]);
  }
  queues.set(new Map());
  told = new Map();
  if (pairId === null) return;
  const isPresent = (): boolean => mine === round;
  get<Items<Order>>(`api/v1/simulator/orders?pair_id=${pairId}&is_open=true&limit=1000`).then(({ items }) => {
    if (isPresent()) openOrders.set(openOf(items.filter((order) => (versions.get(order.order_id) ?? 0) <= order.version), told));
  }, ignore);
  get<Items<Fill>>(`api/v1/simulator/trades?pair_id=${pairId}&limit=${FILLS_MAX}`).then(({ items }) => {
    if (isPresent()) fills.set(fillsOf(items, fills.get(), FILLS_MAX));
  }, ignore);
  // A market that does not run has neither a tape nor a book.
  if (session === null) return;
  get<Items<Record<string, unknown>>>(`api/v1/simulator/tape/${pairId}?limit=200`).then(({ items }) => {
    if (isPresent()) addPrints(items.map(printOf));
  }, ignore);
  get<Book>(`api/v1/simulator/orderbook/${pairId}?depth=20`).then((found) => {
    const known = book.get();
    if (isPresent() && (known === null || known.sequence < found.sequence)) book.set(found);
  }, ignore);
}

const ignore = (): void => undefined;

function onBook(message: Message): void {
  if (message["pair_id"] === chosenPair.get()) book.set(message as unknown as Book);
}

function onOrder(message: Message): void {
  const order = message["data"] as (Order & { fill?: Fill }) | undefined;
  if (!order || !noteOrder(order)) return;
  if (order.fill && message.type === "simulator.order.filled") onFill(order.fill);
}

/** Take in an order as an event or an answer tells of it; false where it is not shown, or a newer version of it is known. */
export function noteOrder(order: Order): boolean {
  if (order.pair_id !== chosenPair.get() || (versions.get(order.order_id) ?? 0) > order.version) return false;
  versions.set(order.order_id, order.version);
  told.set(order.order_id, order);
  openOrders.set(openOf(openOrders.get(), new Map([[order.order_id, order]])));
  return true;
}

function onFill(fill: Fill): void {
  fills.set(fillsOf([fill], fills.get(), FILLS_MAX));
}

function onTrade(trade: Record<string, unknown>): void {
  if (trade["pair_id"] === chosenPair.get()) addPrints([printOf(trade)]);
}

/** Return a trade as the tape shows it; `side` is the aggressor's. */
export function printOf(trade: Record<string, unknown>): Print {
  return {
    id: String(trade["trade_id"]),
    ts: Number(trade["ts"]) / 1e9,
    price: Number(trade["price"]),
    size: Number(trade["amount"] ?? trade["quantity"]),
    side: (trade["aggressor"] ?? trade["side"] ?? null) as Print["side"],
  };
}

let waiting: Print[] = [];

/** Trades come many at once; what shows them is drawn once for all that came within a moment. */
function addPrints(added: Print[]): void {
  if (waiting.length === 0) setTimeout(showPrints, GATHERED_MS);
  waiting.push(...added);
}

function showPrints(): void {
  prints.set(merged(prints.get(), waiting, PRINTS_MAX));
  waiting = [];
}

/** Return both lists newest first, each trade once. */
export function merged(known: readonly Print[], added: readonly Print[], most: number): Print[] {
  const ids = new Set(known.map((print) => print.id));
  const fresh = added.filter((print) => !ids.has(print.id));
  if (fresh.length === 0) return known as Print[];
  return [...fresh, ...known].sort((a, b) => b.ts - a.ts).slice(0, most);
}
