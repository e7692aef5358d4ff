import { expect, test } from "vitest";

import { Lateness, waitMs } from "./backoff";

test("each wait is twice the last, up to 8 s, a fifth of it by chance", () => {
  expect([0, 1, 2, 3].map((attempt) => waitMs(attempt, 0.5))).toEqual([400, 800, 1600, 3200]);
  expect(waitMs(50, 0.5)).toBe(8_000);
  expect([waitMs(0, 0), waitMs(0, 1)]).toEqual([360, 440]);
});

test("lateness is told against the best seen, whatever the clocks differ", () => {
  const lateness = new Lateness();
  expect(lateness.of(1_000, 5_020)).toBe(0);
  expect(lateness.of(2_000, 6_010)).toBe(0);
  expect(lateness.of(3_000, 8_510)).toBe(1_500);
  lateness.forget();
  expect(lateness.of(3_000, 8_510)).toBe(0);
});
