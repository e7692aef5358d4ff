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
