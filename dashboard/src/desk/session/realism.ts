/** Stylised facts of a market held against what real markets show. Pure. */

export interface Metric {
  key: string;
  number: number;
  title: string;
  unit: string;
  expected: string;
  is_informational: boolean;
  reason: string | null;
  notes: string[];
  figures: Record<string, { value: number | null; reason: string | null }>;
}

export interface Gauge {
  key: string;
  title: string;
  /** Name of the figure within its metric. */
  figure: string;
  value: number;
  /** What real markets show, as bounds; null where words alone tell it. */
  range: readonly [number, number] | null;
  expected: string;
  verdict: "as real" | "apart" | "told";
}

/** Half the width of "about x", since real markets differ as well. */
const ABOUT = 0.1;

/** Return the bounds that words such as `2 to 5`, `above 1`, `about 0`, `positive` mean; null for others. */
export function rangeOf(expected: string): readonly [number, number] | null {
  const between = /(?:^|\s)(-?[\d.]+) to (-?[\d.]+)/.exec(expected);
  if (between) return [Number(between[1]), Number(between[2])];
  const above = /above (-?[\d.]+)/.exec(expected);
  if (above) return [Number(above[1]), Infinity];
  const about = /about (-?[\d.]+)/.exec(expected);
  if (about) return [Number(about[1]) - ABOUT, Number(about[1]) + ABOUT];
  return /^positive/.test(expected) ? [0, Infinity] : null;
}

/** Return a gauge for each metric that has a figure: its first one, with its verdict where bounds are known. */
export function gaugesOf(metrics: readonly Metric[]): Gauge[] {
  return metrics.flatMap((metric): Gauge[] => {
    const found = Object.entries(metric.figures).find(([, { value }]) => value !== null);
    if (!found) return [];
    const [figure, value] = [found[0], found[1].value!];
    const range = metric.is_informational ? null : rangeOf(metric.expected);
    const verdict = range === null ? "told" : value >= range[0] && value <= range[1] ? "as real" : "apart";
    return [{ key: metric.key, title: metric.title, figure, value, range, expected: metric.expected, verdict }];
  });
}

/** Return where a gauge's needle and its band stand on a scale of 100; the band ends at the edge where it has no end. */
export function scaleOf({ value, range }: Pick<Gauge, "value" | "range">): { needle: number; from: number; to: number } | null {
  if (range === null) return null;
  const [low, high] = [range[0], Number.isFinite(range[1]) ? range[1] : Math.max(range[0] + 1, 2 * Math.abs(range[0]), value)];
  const margin = (high - low) / 2;
  const [start, end] = [Math.min(low - margin, value), Math.max(high + margin, value)];
  const at = (x: number): number => (100 * (x - start)) / (end - start);
  return { needle: at(value), from: at(low), to: Number.isFinite(range[1]) ? at(high) : 100 };
}
