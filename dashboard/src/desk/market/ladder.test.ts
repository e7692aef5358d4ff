import { expect, test } from "vitest";

import type { Book, Order, QueuePlace } from "../../live/types";
import { depthOf, ladderOf } from "./ladder";

const book = (bids: [string, string][], asks: [string, string][]): Book => ({
  pair_id: "p",
  ts: "1",
  sequence: 1,
  bids: bids.map(([price, quantity]) => ({ price, quantity })),
  asks: asks.map(([price, quantity]) => ({ price, quantity })),
});
const order = (changes: Partial<Order>): Order =>
  ({ order_id: "o1", pair_id: "p", side: "BUY", type: "LIMIT", price: "99.00", status: "NEW", leaves_qty: "1", stop_price: null, ...changes }) as Order;
const none = new Map<string, QueuePlace>();

test("quantities are cumulated from the best price outwards, and the larger side is the measure of the bars", () => {
  const found = ladderOf(book([["99.00", "1.5"], ["98.00", "2"]], [["101.00", "1"], ["102.00", "4"]]), [], none, 20);
  expect(found.bids.map((row) => row.total)).toEqual([1.5, 3.5]);
  expect(found.asks.map((row) => row.total)).toEqual([1, 5]);
  expect([found.most, found.mid, found.spread]).toEqual([5, 100, 2]);
  expect(found.bidShare).toBeCloseTo(3.5 / 8.5);
});

test("an own order stands at its level, however its price is written, with what is ahead of it", () => {
  const places = new Map([["o1", { order_id: "o1", side: "BUY", price: "99.00", leaves_qty: "1", ahead: "0.5", level_qty: "1.5" } as QueuePlace]]);
  const found = ladderOf(book([["99.00", "1.5"]], []), [order({ price: "99" })], places, 20);
  expect(found.bids).toHaveLength(1);
  expect(found.bids[0]!.own[0]!.ahead).toBe(0.5);
});

test("an own order without a level gets a row within the shown range, and none beyond a full side", () => {
  const two = book([["99.00", "1"], ["97.00", "1"]], []);
  const on = (price: string, levels: number): string[] =>
    ladderOf(two, [order({ price, status: "PENDING_NEW" })], none, levels).bids.map((row) => row.price);
  expect(on("98.00", 20)).toEqual(["99.00", "98.00", "97.00"]);
  expect(on("98.00", 2)).toEqual(["99.00", "98.00"]);
  expect(on("90.00", 2)).toEqual(["99.00", "97.00"]);
  expect(on("90.00", 3)).toEqual(["99.00", "97.00", "90.00"]);
});

test("a sell at a price of the bids is not shown there, and an order at the market nowhere", () => {
  const found = ladderOf(book([["99.00", "1"]], [["101.00", "1"]]), [order({ side: "SELL", price: "101" }), order({ price: null })], none, 20);
  expect(found.bids[0]!.own).toEqual([]);
  expect(found.asks[0]!.own).toHaveLength(1);
});

test("no book has no figures", () => {
  expect(ladderOf(null, [], none, 20)).toEqual({ bids: [], asks: [], most: 0, mid: null, spread: null, bidShare: null });
});

test("depth has a corner at each level", () => {
  expect(depthOf([{ price: "10", quantity: "1" }, { price: "9", quantity: "2" }])).toEqual([{ price: 10, total: 1 }, { price: 9, total: 3 }]);
});
