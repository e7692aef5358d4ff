import { expect, test } from "vitest";

import { joined, rangeOf, startOf, take, type Candle } from "./candles";

const candle = (ts: number, open: number, high: number, low: number, close: number, volume = 0): Candle => ({ ts, open, high, low, close, volume });

test("an interval begins at a multiple of its length", () => {
  expect(startOf(17, 5)).toBe(15);
  expect(startOf(15, 5)).toBe(15);
});

test("prices of one interval become one candle; the next opens where the last closed", () => {
  const made: Candle[] = [];
  for (const [ts, price, size] of [[10, 100, 1], [11, 104, 2], [14, 99, 1], [15, 101, 1]] as const) take(made, 5, ts, price, size);
  expect(made).toEqual([candle(10, 100, 104, 99, 99, 4), candle(15, 99, 101, 99, 101, 1)]);
});

test("after a gap a candle opens at its own price", () => {
  const made = [candle(10, 1, 1, 1, 1)];
  take(made, 5, 60, 9);
  expect(made[1]).toEqual(candle(60, 9, 9, 9, 9));
});

test("late news widens its own candle and does not become the newest close", () => {
  const made = [candle(10, 5, 6, 4, 5), candle(15, 5, 5, 5, 5)];
  take(made, 5, 12, 9, 3);
  expect(made).toEqual([candle(10, 5, 9, 4, 5, 3), candle(15, 5, 5, 5, 5)]);
  take(made, 5, 1, 99);
  expect(made).toHaveLength(2);
});

test("history of the service is continued by what was seen here", () => {
  const given = [candle(5, 1, 2, 1, 2), candle(10, 2, 3, 2, 3)];
  const seen = [candle(10, 2, 4, 2, 4), candle(15, 4, 4, 4, 4)];
  expect(joined(given, seen)).toEqual([candle(5, 1, 2, 1, 2), candle(10, 2, 4, 2, 4), candle(15, 4, 4, 4, 4)]);
  expect(joined([], seen)).toEqual(seen);
});

test("the range has room on both sides, and a flat market is still seen", () => {
  const found = rangeOf([candle(0, 10, 20, 10, 20, 7)]);
  expect([found.low, found.high, found.volume]).toEqual([9.2, 20.8, 7]);
  const flat = rangeOf([candle(0, 100, 100, 100, 100)]);
  expect(flat.high).toBeGreaterThan(100);
  expect(flat.low).toBeLessThan(100);
});
