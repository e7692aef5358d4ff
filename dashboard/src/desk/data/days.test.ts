import { expect, test } from "vitest";

import type { RecordedDay } from "../../live/types";
import { daysOf, verdictOf } from "./days";

const table = (kind: string, first: number, last: number, quality: Record<string, unknown>): RecordedDay => ({
  venue: "v", symbol: "A-B", kind, day: "2024-08-08", rows: 10, bytes: 100, first_ts: `${first}000000000`, last_ts: `${last}000000000`, quality,
});

test("the tables of a day are one day: its span, its rows, its worst verdict", () => {
  const [day, ...others] = daysOf([table("book", 0, 43_200, { verdict: "PASS" }), table("trades", 10_800, 64_800, { verdict: "WARN" })]);
  expect(others).toEqual([]);
  expect(day).toEqual({ venue: "v", symbol: "A-B", day: "2024-08-08", kinds: ["book", "trades"], rows: 20, bytes: 200, share: 0.75, verdict: "WARN" });
});

test("a verdict is found where it stands, and none is unknown", () => {
  expect(verdictOf({ book: { verdict: "PASS" }, trades: { verdict: "FAIL" } })).toBe("FAIL");
  expect(verdictOf({ rows: 3 })).toBe("UNKNOWN");
});
