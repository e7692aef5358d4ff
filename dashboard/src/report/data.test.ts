import { describe, expect, it } from "vitest";

import { curvesOf, fillsOf, merged, readReport, seconds, summed, type Run } from "./data";

it("adds up differences in whole numbers before it scales them", () => {
  expect([...summed([5, -2, 4])]).toEqual([5, 3, 7]);
  expect([...summed([1, 1, 1], 0.1, 10)]).toEqual([10.1, 10.2, 10 + 3 * 0.1]);
});

it("keeps the fraction of an instant that a number of 53 bits would lose", () => {
  expect(seconds("1723161256000000001") - 1723161256).toBeLessThan(1e-6);
  expect(seconds("1723161256250000000")).toBe(1723161256.25);
});

it("merges lines by time; at one instant the first comes first", () => {
  const one = { time: Float64Array.of(1, 3), values: Float64Array.of(10, 30) };
  const other = { time: Float64Array.of(0, 3, 4), values: Float64Array.of(1, 2, 3) };
  const both = merged(one, other);
  expect([...both.time]).toEqual([0, 1, 3, 3, 4]);
  expect([...both.values]).toEqual([1, 10, 30, 2, 3]);
});

it("reads fills back from their differences", () => {
  const run = {
    pair: { tick_size: "0.5", lot_size: "0.01", contract_multiplier: "1" },
    analysis: { start_ts: "1000000000" },
    // A buy as maker by TRADE_AT (2), then a sell as taker by TAKEN (0): 4 x 2 + 2 + 0 and 4 x 0 + 0 + 1.
    fills: {
      ts: [500_000, 1_000_000], order_id: [7, 2], kind: [10, 1], price_ticks: [100, 3], qty_lots: [5, 2],
      mid_half_ticks: [1, -1], position_lots: [5, -2],
    },
  } as unknown as Run;
  const fills = fillsOf(run);
  expect([...fills.time]).toEqual([1.5, 2.5]);
  expect([...fills.price]).toEqual([50, 51.5]);
  expect([...fills.mid]).toEqual([50.25, 51.25]);
  expect([...fills.orderId]).toEqual([7, 9]);
  expect([...fills.cause]).toEqual([2, 0]);
  expect([[...fills.isBuy], [...fills.isTaker]]).toEqual([[1, 0], [0, 1]]);
  expect([...fills.position]).toEqual([0.05, 0.03]);
});

it("tells curves in units of cash, which are no ticks times lots of an inverse contract", () => {
  const run = {
    pair: { tick_size: "0.5", lot_size: "100", contract_multiplier: "1", cash_unit: "0.0000000001" },
    analysis: { start_ts: "1000000000" },
    curves: {
      ts: [0, 500_000], equity_half_tick_lots: [20_000_000_000, -4], drawdown_half_tick_lots: [0, 4], inventory_ts: [0],
      inventory_lots: [-3],
    },
  } as unknown as Run;
  const { equity, drawdown, inventory } = curvesOf(run);
  expect([...equity.time]).toEqual([1, 1.5]);
  expect([...equity.values]).toEqual([1, 1 - 2e-10]);
  expect([...drawdown.values]).toEqual([-0, -2e-10]);
  expect([...inventory.values]).toEqual([-300]);
});

describe("readReport", () => {
  it("says what is missing", () => {
    expect(() => readReport("")).toThrow(/market-maker report/);
    expect(() => readReport('{"runs": []}')).toThrow(/no run/);
  });
});
