import { expect, test } from "vitest";

import { gridOf, linesOf, planeOf } from "./compare";

test("figures stand beside each other with their difference", () => {
  const found = linesOf([{ net_pnl: "10.5", fills: 3, note: "a", deep: {} }, { net_pnl: "12", fills: 2, extra: null }]);
  expect(found.map((line) => [line.name, line.values, line.difference])).toEqual([
    ["net_pnl", ["10.5", "12"], 1.5],
    ["fills", ["3", "2"], -1],
    ["note", ["a", null], null],
    ["extra", [null, null], null],
  ]);
});

test("what is asked first comes first, with the Sharpe ratio and the band of fill assumptions", () => {
  const kept = { fees: "1", odd: "7", band: { queue: { net_pnl: "3" }, pessimistic: { net_pnl: "-2" }, optimistic: { net_pnl: "5" } }, net_pnl: "3", sharpe: { ratio: 1.5, reason: null } };
  const found = linesOf([kept, { ...kept, sharpe: { ratio: null, reason: "too short" }, band: null }]);
  expect(found.map((line) => [line.name, ...line.values])).toEqual([
    ["net_pnl", "3", "3"],
    ["net_pnl_pessimistic", "-2", null],
    ["net_pnl_optimistic", "5", null],
    ["fees", "1", "1"],
    ["sharpe", "1.5", null],
    ["odd", "7", "7"],
  ]);
});

test("trials lie over two parameters, the best of those that share a cell", () => {
  const trial = (a: number, b: number, net: string) => ({ parameters: { a, b }, summary: { net_pnl: net } });
  const trials = [trial(2, 10, "1"), trial(1, 10, "-3"), trial(2, 20, "4"), trial(2, 20, "2")];
  expect(planeOf(trials, "a", "b")).toEqual({ rows: [10, 20], columns: [1, 2], cells: [[-3, 1], [null, 4]] });
  expect(planeOf(trials, "a", null).cells).toEqual([[-3, 4]]);
});

test("a grid is a list or a range", () => {
  expect(gridOf("1, 2 5")).toEqual(["1", "2", "5"]);
  expect(gridOf("1:10:3")).toEqual({ from: "1", to: "10", step: "3" });
  expect(gridOf("1:4")).toEqual({ from: "1", to: "4", step: "1" });
  expect([gridOf(""), gridOf("a, b")]).toEqual([null, null]);
});
