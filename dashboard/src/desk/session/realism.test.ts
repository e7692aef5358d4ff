import { expect, test } from "vitest";

import { gaugesOf, rangeOf, scaleOf, type Metric } from "./realism";

test("words become bounds where they can", () => {
  expect(rangeOf("2 to 5")).toEqual([2, 5]);
  expect(rangeOf("kurtosis above 0, falling")).toEqual([0, Infinity]);
  expect(rangeOf("about 0; slightly negative at lag 1 of 1 s")).toEqual([-0.1, 0.1]);
  expect(rangeOf("positive, decaying as lag^-0.2 to lag^-0.4")).toEqual([0, Infinity]);
  expect([rangeOf("decays as lag^-0.5"), rangeOf("")]).toEqual([null, null]);
});

const metric = (expected: string, value: number | null, is_informational = false): Metric => ({
  key: "k", number: 1, title: "t", unit: "", expected, is_informational, reason: null, notes: [],
  figures: { none: { value: null, reason: "too few" }, first: { value, reason: null } },
});

test("the first figure that could be had is judged; what is informational is told", () => {
  const found = gaugesOf([metric("2 to 5", 3), metric("2 to 5", 7), metric("2 to 5", 7, true), metric("flat", 1), metric("2 to 5", null)]);
  expect(found.map((each) => each.verdict)).toEqual(["as real", "apart", "told", "told"]);
  expect(found[0]!.figure).toBe("first");
});

test("needle and band lie on one scale, wherever the value is", () => {
  expect(scaleOf({ value: 3, range: [2, 4] })).toEqual({ needle: 50, from: 25, to: 75 });
  expect(scaleOf({ value: 11, range: [2, 4] })).toEqual({ needle: 100, from: 10, to: 30 });
  expect(scaleOf({ value: 1, range: [0, Infinity] })!.to).toBe(100);
  expect(scaleOf({ value: 1, range: null })).toBeNull();
});
