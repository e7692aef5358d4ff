/** Prometheus' text form, as far as the system page needs it. Pure. */

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Return the samples of a page of metrics. */
export function samplesOf(text: string): Sample[] {
  const found: Sample[] = [];
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const match = LINE.exec(line);
    if (!match) continue;
    const labels: Record<string, string> = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(LABEL)) labels[name!] = value!.replace(/\\(.)/g, "$1");
    found.push({ name: match[1]!, labels, value: match[3] === "+Inf" ? Infinity : Number(match[3]) });
  }
  return found;
}

type Wanted = Record<string, string>;

function fits(sample: Sample, wanted: Wanted): boolean {
  return Object.entries(wanted).every(([name, value]) => sample.labels[name] === value);
}

/** Return the sum of a metric over all its labels that fit; null when there is none. */
export function total(samples: readonly Sample[], name: string, wanted: Wanted = {}): number | null {
  const found = samples.filter((sample) => sample.name === name && fits(sample, wanted));
  return found.length ? found.reduce((sum, sample) => sum + sample.value, 0) : null;
}

export interface Bucket {
  le: number;
  count: number;
}

/** Return the cumulated buckets of a histogram, summed over the labels that fit. */
export function bucketsOf(samples: readonly Sample[], name: string, wanted: Wanted = {}): Bucket[] {
  const counts = new Map<number, number>();
  for (const sample of samples) {
    if (sample.name !== `${name}_bucket` || !fits(sample, wanted)) continue;
    const text = sample.labels["le"] ?? "";
    const le = text === "+Inf" ? Infinity : Number(text);
    counts.set(le, (counts.get(le) ?? 0) + sample.value);
  }
  return [...counts].map(([le, count]) => ({ le, count })).sort((a, b) => a.le - b.le);
}

/** Return what came between two readings; all of the later one where the counts began anew. */
export function since(later: readonly Bucket[], earlier: readonly Bucket[]): Bucket[] {
  const before = new Map(earlier.map(({ le, count }) => [le, count]));
  const found = later.map(({ le, count }) => ({ le, count: count - (before.get(le) ?? 0) }));
  return found.some(({ count }) => count < 0) ? [...later] : found;
}

/** Return a quantile (0 to 1) of a histogram, linear within its bucket; null without observations. */
export function quantile(buckets: readonly Bucket[], share: number): number | null {
  const all = buckets[buckets.length - 1]?.count ?? 0;
  if (all <= 0) return null;
  const wanted = share * all;
  let [low, below] = [0, 0];
  for (const { le, count } of buckets) {
    if (count >= wanted) {
      if (le === Infinity) return low;
      return count === below ? le : low + ((le - low) * (wanted - below)) / (count - below);
    }
    [low, below] = [le, count];
  }
  return low;
}
