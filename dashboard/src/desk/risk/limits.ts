/** How far a limit is used, and whom a limit or a kill switch is about. Pure. */

import { words } from "../figures";

export interface Limit {
  limit_id: string;
  kind: string;
  scope: string;
  scope_id: string | null;
  threshold: string;
  warn_share: string;
  hold?: string;
  state: "OK" | "WARN" | "BREACHED";
  value: string | null;
  evaluated_ts: string | null;
  /** Why it could not be evaluated when it was last tried. */
  not_evaluated?: string | null;
}

export interface Use {
  /** Value over threshold; null when it was never evaluated. */
  share: number | null;
  /** Widths in percent of the bar, which ends at 125 % of the threshold. */
  width: number;
  warnAt: number;
  fullAt: number;
}

const END = 1.25;

/** Return how much of a limit is used, and where its marks stand on the bar. */
export function useOf(limit: Pick<Limit, "threshold" | "warn_share" | "value">): Use {
  const threshold = Number(limit.threshold);
  // A gain, which is a negative loss, uses nothing of a limit.
  const value = Math.max(0, Number(limit.value));
  const share = limit.value === null ? null : threshold > 0 ? value / threshold : value === 0 ? 0 : Infinity;
  const at = (part: number): number => Math.min(100, (part / END) * 100);
  return { share, width: at(share ?? 0), warnAt: at(Number(limit.warn_share)), fullAt: at(1) };
}

/** Return whom a scope covers, in words; `names` are those of accounts, strategies and pairs by their ids. */
export function coveredBy({ scope, scope_id: id }: { scope: string; scope_id: string | null }, names: ReadonlyMap<string, string>): string {
  if (id === null) return "everything";
  return `${words(scope)} ${names.get(id) ?? id.slice(-12)}`;
}
