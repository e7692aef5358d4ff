/** How far a limit is used. Pure. */

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
  const share = limit.value === null ? null : threshold > 0 ? Math.abs(Number(limit.value)) / threshold : Number(limit.value) === 0 ? 0 : Infinity;
  const at = (part: number): number => Math.min(100, (part / END) * 100);
  return { share, width: at(share ?? 0), warnAt: at(Number(limit.warn_share)), fullAt: at(1) };
}

export type Light = "GREEN" | "YELLOW" | "RED" | "UNKNOWN";

/** Return the light of a test's answer: the one it says, else by its p-value (0.05 and 0.01). */
export function lightOf(test: Record<string, unknown>): Light {
  for (const name of ["light", "traffic_light", "zone", "verdict"]) {
    const said = String(test[name] ?? "").toUpperCase();
    if (said === "GREEN" || said === "PASS") return "GREEN";
    if (said === "YELLOW" || said === "AMBER" || said === "WARN") return "YELLOW";
    if (said === "RED" || said === "FAIL") return "RED";
  }
  const p = test["p_value"];
  if (typeof p !== "number" || !Number.isFinite(p)) return "UNKNOWN";
  return p >= 0.05 ? "GREEN" : p >= 0.01 ? "YELLOW" : "RED";
}

export interface Told {
  name: string;
  light: Light;
  p: number | null;
}

/** Return the tests that stand in an answer, however deep, with their names. */
export function testsIn(answer: unknown, name = "", depth = 0): Told[] {
  if (answer === null || typeof answer !== "object" || depth > 6) return [];
  if (Array.isArray(answer)) {
    return answer.flatMap((each, k) => {
      const fields = each as Record<string, unknown> | null;
      const label = [name, fields?.["method"] ?? fields?.["name"] ?? fields?.["test"] ?? (answer.length > 1 ? k + 1 : "")].filter((part) => part !== "").join(" ");
      return testsIn(each, label, depth + 1);
    });
  }
  const fields = answer as Record<string, unknown>;
  const light = lightOf(fields);
  const own: Told[] = light === "UNKNOWN" || name === "" ? [] : [{ name, light, p: typeof fields["p_value"] === "number" ? fields["p_value"] : null }];
  return [...own, ...Object.entries(fields).flatMap(([key, value]) => testsIn(value, key === "items" ? name : [name, key].filter(Boolean).join(" "), depth + 1))];
}
