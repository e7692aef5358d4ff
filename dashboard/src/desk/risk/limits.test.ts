import { expect, test } from "vitest";

import { useOf } from "./limits";

test("the bar ends at 125 % of the threshold, with marks at the warning and at the whole", () => {
  expect(useOf({ threshold: "200", warn_share: "0.8", value: "-150" })).toEqual({ share: 0.75, width: 60, warnAt: 64, fullAt: 80 });
  expect(useOf({ threshold: "200", warn_share: "0.8", value: "900" }).width).toBe(100);
  expect(useOf({ threshold: "200", warn_share: "0.8", value: null })).toEqual({ share: null, width: 0, warnAt: 64, fullAt: 80 });
  expect(useOf({ threshold: "0", warn_share: "0.8", value: "1" }).share).toBe(Infinity);
});
