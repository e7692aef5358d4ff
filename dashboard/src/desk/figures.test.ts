import { expect, test } from "vitest";

import type { Session } from "../live/types";
import { bytes, decimalsOf, isOnStep, modeOf, moved, onStep, paceOf, short, spanOf, sum, toneOfMoney } from "./figures";

test("a step's decimals do not count its trailing zeros", () => {
  expect([decimalsOf("0.01"), decimalsOf("0.500"), decimalsOf("5"), decimalsOf("1.0")]).toEqual([2, 1, 0, 0]);
});

test("prices move by whole steps, exactly, and never to nothing", () => {
  expect(moved("50000.29", "0.01", 1)).toBe("50000.30");
  expect(moved("0.1", "0.00001", 2)).toBe("0.10002");
  expect(moved("0.01", "0.01", -5)).toBe("0.01");
  expect(moved("9007199254740993.01", "0.01", 1)).toBe("9007199254740993.02");
});

test("what is off the step is told and brought down to it", () => {
  expect(isOnStep("1.05", "0.05")).toBe(true);
  expect([isOnStep("1.06", "0.05"), isOnStep("0", "0.05"), isOnStep("-1", "1"), isOnStep("1e3", "1"), isOnStep("", "1")]).toEqual([false, false, false, false, false]);
  expect(onStep("1.09", "0.05")).toBe("1.05");
});

test("sums are exact", () => {
  expect(sum(["0.1", "0.2", "-0.05"])).toBe("0.25");
  expect(sum([])).toBe("0");
});

test("sizes, counts and spans are short", () => {
  expect([bytes(999), bytes(1_500), bytes(254_000_000)]).toEqual(["999 B", "1.5 kB", "254 MB"]);
  expect([short(950), short(12_400), short(3_100_000)]).toEqual(["950", "12.4 k", "3.10 M"]);
  expect([spanOf(null), spanOf(0.04), spanOf(90)]).toEqual(["–", "0 s", "1 min 30 s"]);
});

test("gains and losses have their colours, nothing has none", () => {
  expect([toneOfMoney("1"), toneOfMoney("-0.1"), toneOfMoney("0"), toneOfMoney(null)]).toEqual(["gain", "loss", "", ""]);
});

test("a recording is no market in a mode, and as fast as it can has no speed", () => {
  const told = (pace: "CLOCK" | "FASTEST" | null) => {
    const session = { mode: "NORMAL", speed: 1, playback: pace && { pace } } as Session;
    return [modeOf(session), paceOf(session)];
  };
  expect([told(null), told("CLOCK"), told("FASTEST")]).toEqual([["normal", "1×"], ["recording", "1×"], ["recording", "as fast as it can"]]);
});
