/** The catalogue by day: which part of a day is there, and how good it is. Pure. */

import { seconds, type RecordedDay } from "../../live/types";

export type Verdict = "PASS" | "WARN" | "FAIL" | "UNKNOWN";

export interface Day {
  venue: string;
  symbol: string;
  day: string;
  kinds: string[];
  rows: number;
  bytes: number;
  /** Which share of the day lies between the first and the last event. */
  share: number;
  verdict: Verdict;
}

const WORST: Verdict[] = ["UNKNOWN", "PASS", "WARN", "FAIL"];

/** Return the recorded days, oldest first, all tables of a day together. */
export function daysOf(tables: readonly RecordedDay[]): Day[] {
  const found = new Map<string, Day & { first: number; last: number }>();
  for (const table of tables) {
    const key = `${table.venue} ${table.symbol} ${table.day}`;
    const [first, last] = [seconds(table.first_ts), seconds(table.last_ts)];
    const known = found.get(key) ?? { venue: table.venue, symbol: table.symbol, day: table.day, kinds: [], rows: 0, bytes: 0, share: 0, verdict: "UNKNOWN" as Verdict, first, last };
    known.kinds.push(table.kind);
    known.rows += table.rows;
    known.bytes += table.bytes;
    known.first = Math.min(known.first, first);
    known.last = Math.max(known.last, last);
    known.share = Math.min(1, (known.last - known.first) / 86_400);
    const verdict = verdictOf(table.quality);
    if (WORST.indexOf(verdict) > WORST.indexOf(known.verdict)) known.verdict = verdict;
    found.set(key, known);
  }
  return [...found.values()].sort((a, b) => a.day.localeCompare(b.day)).map(({ first: _first, last: _last, ...day }) => day);
}

/** Return the verdict that stands in a table's quality, wherever it does. */
export function verdictOf(quality: Record<string, unknown>): Verdict {
  const said = quality["verdict"];
  if (said === "PASS" || said === "WARN" || said === "FAIL") return said;
  let worst: Verdict = "UNKNOWN";
  for (const value of Object.values(quality)) {
    if (value === null || typeof value !== "object" || Array.isArray(value)) continue;
    const inner = verdictOf(value as Record<string, unknown>);
    if (WORST.indexOf(inner) > WORST.indexOf(worst)) worst = inner;
  }
  return worst;
}
