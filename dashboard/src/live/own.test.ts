import { expect, test } from "vitest";

import { fillsOf, openOf } from "./own";
import type { Fill, Order } from "./types";

const order = (order_id: string, version: number, status = "NEW"): Order => ({ order_id, version, status }) as Order;
const told = (...orders: Order[]): Map<string, Order> => new Map(orders.map((each) => [each.order_id, each]));
const fill = (trade_id: string, ts: string): Fill => ({ trade_id, order_id: "o1", ts }) as Fill;

test("an order placed while the list was under way stays, though the list does not have it", () => {
  expect(openOf([], told(order("o1", 2)))).toEqual([order("o1", 2)]);
});

test("an order that was closed while the list was under way does not come back with it", () => {
  expect(openOf([order("o1", 2), order("o2", 1)], told(order("o1", 3, "FILLED")))).toEqual([order("o2", 1)]);
});

test("of an order that both tell of, the newer version is shown", () => {
  expect(openOf([order("o1", 4)], told(order("o1", 3)))).toEqual([order("o1", 4)]);
  expect(openOf([order("o1", 2)], told(order("o1", 3)))).toEqual([order("o1", 3)]);
});

test("fills come once each, newest first, and no more than are kept", () => {
  const [first, second, third] = [fill("a", "1"), fill("b", "2"), fill("c", "3")];
  expect(fillsOf([second, first], [third, second], 9)).toEqual([third, second, first]);
  expect(fillsOf([second, first], [third, second], 2)).toEqual([third, second]);
});
