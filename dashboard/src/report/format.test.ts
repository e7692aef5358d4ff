import { describe, expect, it } from "vitest";

import { decimal, duration, figure, instant, instants, letter, percent, places, signed, words } from "./format";

const THIN = "\u202f";
const MINUS = "\u2212";

describe("decimal", () => {
  it.each([
    ["-11202.500", `${MINUS}11${THIN}202.5`],
    ["1000000", `1${THIN}000${THIN}000`],
    ["-0.000", "0"],
    ["0.00001", "0.00001"],
    ["123456789012345678901.25", `123${THIN}456${THIN}789${THIN}012${THIN}345${THIN}678${THIN}901.25`],
    ["BTC", "BTC"],
  ])("%s", (text, shown) => expect(decimal(text)).toBe(shown));

  it("keeps so many decimals as are asked for", () => {
    expect(decimal("61800", 1)).toBe(`61${THIN}800.0`);
    expect(decimal("-0.004", 2)).toBe("0.00");
  });

  it("tells gains by a sign, and nothing by none", () => {
    expect([signed("1.5"), signed("-1.5"), signed("0.000")]).toEqual(["+1.5", `${MINUS}1.5`, "0"]);
  });
});

it("shows amounts of coins, of which two decimals are nothing", () => {
  expect([places("0.0004378"), places("-0.05"), places("0.25"), places("0"), places("12345.6", 0)]).toEqual([6, 4, 2, 2, 0]);
  expect(signed("0.0004378129", places("0.0004378129"))).toBe("+0.000438");
});

describe("figure", () => {
  it.each([
    [null, "–"],
    [0, "0"],
    [-759.5366, `${MINUS}759.5`],
    [0.00091713, "0.0009171"],
    [8.47e-5, `8.47e${MINUS}5`],
    [12345678, "1.23e7"],
  ])("%s", (value, shown) => expect(figure(value)).toBe(shown));
});

it("shows shares as percent", () => expect([percent(0.4315), percent(null), percent(-0.5, 0)]).toEqual(["43.1 %", "–", `${MINUS}50 %`]));

describe("duration", () => {
  it.each([
    [0, "0 s"],
    [100_000_000, "100 ms"],
    [40_460_000_000, "40.46 s"],
    [344e9, "5 min 44 s"],
    [3_600e9, "1 h"],
    // 1 h 59 min 59.9 s: the minutes are rounded up to a whole hour.
    [7_199.9e9, "2 h"],
    [90_000e9, "1 d 1 h"],
  ])("%d ns", (ns, shown) => expect(duration(ns)).toBe(shown));
});

describe("instants", () => {
  it("are UTC to the digit that is asked for", () => {
    expect(instant(1723161256)).toBe("2024-08-08 23:54:16");
    expect(instant(1723161256.25, 3)).toBe("2024-08-08 23:54:16.250");
  });

  it("tell the date once for each day", () => {
    const midnight = 1723161600;
    expect(instants([midnight - 60, midnight - 30, midnight], 30)).toEqual(["23:59:00\n2024-08-08", "23:59:30", "00:00:00\n2024-08-09"]);
    expect(instants([midnight], 86_400)).toEqual(["2024-08-09"]);
    expect(instants([midnight], 0.05)).toEqual(["00:00:00.00\n2024-08-09"]);
  });
});

it("names things", () => expect([letter(2), words("TRADE_THROUGH")]).toEqual(["C", "trade through"]));
