/** The pages and which of them is shown: the part of the address after `#/`. */

import { Value } from "../live/value";

export const PAGES = [
  ["market", "Market"],
  ["session", "Session"],
  ["backtests", "Backtests"],
  ["strategy", "Strategy"],
  ["risk", "Risk"],
  ["data", "Data"],
  ["system", "System"],
] as const;
export type PageName = (typeof PAGES)[number][0];

export interface Place {
  page: PageName;
  /** What of the page, such as the ids of runs. */
  rest: string[];
}

/** Return what an address's part after # names; the market for what is unknown. */
export function placeOf(hash: string): Place {
  const [name = "", ...rest] = hash.replace(/^#?\/?/, "").split("/").map(decodeURIComponent);
  const known = PAGES.find(([page]) => page === name);
  return known ? { page: known[0], rest: rest.filter(Boolean) } : { page: "market", rest: [] };
}

export const place = new Value<Place>(placeOf(location.hash));
window.addEventListener("hashchange", () => place.set(placeOf(location.hash)));

export function go(page: PageName, ...rest: string[]): void {
  location.hash = `/${[page, ...rest].map(encodeURIComponent).join("/")}`;
}
