/** Prices, amounts, money and times as the desk shows them. Pure. */

import type { Session } from "../live/types";
import { decimal, duration, instant, places, signed } from "../report/format";

export { decimal, duration, figure, percent, signed, words } from "../report/format";

/** Return how many decimals a step such as `0.01` has. */
export function decimalsOf(step: string): number {
  return /\.(\d*?)0*$/.exec(step)?.[1]?.length ?? 0;
}

/** Return a step as a whole number of units of its last decimal, and that number of decimals. */
function asUnits(text: string, decimals: number): bigint {
  const [, sign, whole = "0", fraction = ""] = /^(-?)(\d*)(?:\.(\d*))?$/.exec(text.trim()) ?? [];
  const digits = (fraction + "0".repeat(decimals)).slice(0, decimals);
  const units = BigInt(whole || "0") * 10n ** BigInt(decimals) + BigInt(digits || "0");
  return sign === "-" ? -units : units;
}

function fromUnits(units: bigint, decimals: number): string {
  const sign = units < 0n ? "-" : "";
  const digits = (units < 0n ? -units : units).toString().padStart(decimals + 1, "0");
  return decimals ? `${sign}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : sign + digits;
}

/** Return decimal text moved by so many steps, exactly; never below one step. */
export function moved(text: string, step: string, count: number): string {
  const decimals = Math.max(decimalsOf(step), decimalsOf(text));
  const size = asUnits(step, decimals);
  const found = asUnits(text, decimals) + size * BigInt(count);
  return fromUnits(found < size ? size : found, decimals);
}

/** Return decimal text brought to a whole number of steps, nearest below. */
export function onStep(text: string, step: string): string {
  const decimals = decimalsOf(step);
  const size = asUnits(step, decimals);
  return fromUnits((asUnits(text, decimals) / size) * size, decimals);
}

/** Tell whether text is a number above zero that is a whole number of steps. */
export function isOnStep(text: string, step: string): boolean {
  if (!/^\d+(\.\d+)?$/.test(text.trim()) || Number(text) <= 0) return false;
  const decimals = Math.max(decimalsOf(step), decimalsOf(text));
  return asUnits(text, decimals) % asUnits(step, decimals) === 0n;
}

/** Return a sum of decimal texts, exactly. */
export function sum(texts: readonly string[]): string {
  const decimals = Math.max(0, ...texts.map(decimalsOf));
  return fromUnits(
    texts.reduce((total, text) => total + asUnits(text, decimals), 0n),
    decimals,
  );
}

/** Return a time of day, UTC: `10:31:05`, or with so many decimals. */
export function time(secondsSince1970: number, digits = 0): string {
  return instant(secondsSince1970, digits).slice(11);
}

/** Return an instant of the service (ns as text) as day and time, UTC. */
export function stamp(ns: string | null | undefined): string {
  return ns ? instant(Number(BigInt(ns) / 1_000_000n) / 1e3) : "–";
}

/** Return money with two decimals, signed when asked; `–` for none. */
export function money(text: string | null | undefined, isSigned = false): string {
  if (text === null || text === undefined) return "–";
  return isSigned ? signed(text, places(text)) : decimal(text, places(text));
}

/** Return the class that colours a gain or a loss. */
export function toneOfMoney(text: string | null | undefined): string {
  const value = Number(text ?? 0);
  return value > 0 ? "gain" : value < 0 ? "loss" : "";
}

/** Return bytes in their largest unit. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = count;
  let k = 0;
  while (size >= 1000 && k < units.length - 1) {
    size /= 1000;
    k++;
  }
  return `${size >= 100 || k === 0 ? Math.round(size) : size.toFixed(1)} ${units[k]}`;
}

/** Return how long ago or how long left, from seconds. */
export function spanOf(secondsLong: number | null | undefined): string {
  if (secondsLong === null || secondsLong === undefined || !Number.isFinite(secondsLong)) return "–";
  return duration(Math.max(0, secondsLong < 1 ? Math.round(secondsLong * 10) / 10 : Math.round(secondsLong)) * 1e9);
}

/** Return a large count in short: 12.4 k, 3.1 M. */
export function short(count: number): string {
  for (const [size, name] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]] as const) {
    if (Math.abs(count) >= size) return `${(count / (name === "k" ? 1e3 : size)).toPrecision(3)} ${name}`;
  }
  return decimal(String(Math.round(count * 100) / 100));
}

/** Return what a market is: a recording, or an invented one in a mode. */
export function modeOf(session: Session): string {
  return session.playback ? "recording" : session.mode.toLowerCase();
}

/** Return how fast a market runs beside the clock. */
export function paceOf(session: Session): string {
  return session.playback?.pace === "FASTEST" ? "as fast as it can" : `${session.speed}×`;
}
