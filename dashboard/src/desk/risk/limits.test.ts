import { expect, test } from "vitest";

import { lightOf, testsIn, useOf } from "./limits";

test("the bar ends at 125 % of the threshold, with marks at the warning and at the whole", () => {
  expect(useOf({ threshold: "200", warn_share: "0.8", value: "-150" })).toEqual({ share: 0.75, width: 60, warnAt: 64, fullAt: 80 });
  expect(useOf({ threshold: "200", warn_share: "0.8", value: "900" }).width).toBe(100);
  expect(useOf({ threshold: "200", warn_share: "0.8", value: null })).toEqual({ share: null, width: 0, warnAt: 64, fullAt: 80 });
  expect(useOf({ threshold: "0", warn_share: "0.8", value: "1" }).share).toBe(Infinity);
});

test("a light is what the test says, else what its p-value says", () => {
  expect([lightOf({ light: "green" }), lightOf({ zone: "AMBER" }), lightOf({ verdict: "FAIL" })]).toEqual(["GREEN", "YELLOW", "RED"]);
  expect([0.2, 0.03, 0.001, NaN].map((p) => lightOf({ p_value: p }))).toEqual(["GREEN", "YELLOW", "RED", "UNKNOWN"]);
});

test("tests are found however deep they stand", () => {
  const answer = { items: [{ method: "NORMAL", tests: { kupiec: { p_value: 0.5 }, clusters: { p_value: 0.002, statistic: 9 } } }] };
  expect(testsIn(answer)).toEqual([
    { name: "NORMAL tests kupiec", light: "GREEN", p: 0.5 },
    { name: "NORMAL tests clusters", light: "RED", p: 0.002 },
  ]);
});
