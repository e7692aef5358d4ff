import { expect, test } from "vitest";

import { coveredBy, useOf } from "./limits";

test("the bar ends at 125 % of the threshold, with marks at the warning and at the whole", () => {
  expect(useOf({ threshold: "200", warn_share: "0.8", value: "150" })).toEqual({ share: 0.75, width: 60, warnAt: 64, fullAt: 80 });
  expect(useOf({ threshold: "200", warn_share: "0.8", value: "900" }).width).toBe(100);
  expect(useOf({ threshold: "200", warn_share: "0.8", value: null })).toEqual({ share: null, width: 0, warnAt: 64, fullAt: 80 });
  expect(useOf({ threshold: "0", warn_share: "0.8", value: "1" }).share).toBe(Infinity);
});

test("a gain uses nothing of a limit on losses", () => {
  expect(useOf({ threshold: "200", warn_share: "0.8", value: "-190" })).toEqual({ share: 0, width: 0, warnAt: 64, fullAt: 80 });
});

test("a scope is told by the name of what it covers", () => {
  const names = new Map([["00000000-0000-7000-8000-000000000001", "default"]]);
  expect(coveredBy({ scope: "ACCOUNT", scope_id: "00000000-0000-7000-8000-000000000001" }, names)).toBe("account default");
  expect(coveredBy({ scope: "POSITION", scope_id: "00000000-0000-7000-8000-abcdefabcdef" }, names)).toBe("position abcdefabcdef");
  expect(coveredBy({ scope: "ALL", scope_id: null }, names)).toBe("everything");
});
