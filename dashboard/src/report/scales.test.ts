import { describe, expect, it } from "vitest";

import type { Profit, Surface } from "./data";
import { contribution, nearest, place, planeOf, stacked, strength, ticks } from "./scales";

const PROFIT: Profit = {
  net: "-5", spread_capture: "2", inventory: "-8", fees: "3", rebates: "4", funding: "0", hedging: "0",
};

describe("ticks", () => {
  it("are round and lie inside", () => {
    expect(ticks(-3.7, 1.2)).toEqual([-3, -2, -1, 0, 1]);
    expect(ticks(0, 0)).toEqual([0]);
    expect(ticks(0, 10)).toEqual([0, 2, 4, 6, 8, 10]);
  });
});

it("colours by sign and by the root of the size", () => {
  expect([strength(25, 100), strength(-100, 100), strength(-400, 100), strength(0, 100), strength(5, 0)]).toEqual([0.5, -1, -1, 0, 0]);
});

describe("stacked", () => {
  it("puts gains on gains and losses under losses; the ends differ by the net", () => {
    const pieces = stacked(PROFIT);
    // Gains 2, 4; losses 8, 3; what does nothing has no piece.
    expect(pieces.map((piece) => [piece.cause, piece.from, piece.to])).toEqual([
      ["spread_capture", 0, 2],
      ["inventory", 0, -8],
      ["fees", -8, -11],
      ["rebates", 2, 6],
    ]);
    expect(6 - 11).toBe(Number(PROFIT.net));
  });

  it("tells no negative zero of fees", () => expect(Object.is(contribution({ ...PROFIT, fees: "0" }, "fees"), 0)).toBe(true));
});

describe("planeOf", () => {
  const surface: Surface = {
    sweep_id: "s", names: ["a", "b", "c"], own: [1, 10, 0], trials: 4,
    points: [
      { values: [2, 10, 0], net_pnl: "4", sharpe: null },
      { values: [1, 10, 0], net_pnl: "-1", sharpe: 0.5 },
      { values: [1, 10, 1], net_pnl: "3", sharpe: 1.5 },
      { values: [1, 20, 0], net_pnl: "7", sharpe: 2 },
    ],
  };

  it("takes the median, the best or the worst of the trials of a cell", () => {
    expect(planeOf(surface, 0, 1, "net_pnl", "median")).toEqual({
      columns: [{ low: 1, high: 1 }, { low: 2, high: 2 }], rows: [{ low: 10, high: 10 }, { low: 20, high: 20 }], cells: [[1, 4], [7, null]], counts: [[2, 1], [1, 0]],
    });
    expect(planeOf(surface, 0, 1, "net_pnl", "best").cells[0]).toEqual([3, 4]);
    expect(planeOf(surface, 0, 1, "net_pnl", "worst").cells[0]).toEqual([-1, 4]);
  });

  it("puts values together that a search among any numbers has tried", () => {
    const points = Array.from({ length: 60 }, (_, k) => ({ values: [k + 0.123, k % 2, 0], net_pnl: String(k), sharpe: null }));
    const plane = planeOf({ ...surface, points }, 0, 1, "net_pnl", "best");
    expect([plane.columns.length, plane.rows.length]).toEqual([10, 2]);
    expect(plane.columns[1]).toEqual({ low: 6.123, high: 11.123 });
    expect(plane.cells[1]![1]).toBe(11);
    expect(plane.counts.flat()).toEqual(Array(20).fill(3));
    expect([place(plane.columns, 7), place(plane.columns, 5.5), place(plane.columns, NaN)]).toEqual([1, -1, -1]);
  });

  it("leaves out what has no ratio", () => expect(planeOf(surface, 0, 1, "sharpe", "median").cells).toEqual([[1, null], [2, null]]));
});

describe("nearest", () => {
  const at = { x: 10, y: 5, scaleX: 1, scaleY: 1, reach: 3 };

  it("finds the nearest in pixels, not in units", () => {
    expect(nearest([8.5, 9, 12], [5, 7, 5], at)).toBe(0);
    // A unit upward is ten pixels: the second is now too far.
    expect(nearest([7.5, 10], [5, 6], { ...at, scaleY: 0.1 })).toBe(0);
  });

  it("finds nothing out of reach", () => expect(nearest([1, 20], [5, 5], at)).toBe(-1));
});
