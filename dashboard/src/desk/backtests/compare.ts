/** Two runs beside each other, and a sweep's trials as a plane. Pure. */

export interface Line {
  name: string;
  values: (string | null)[];
  /** The second less the first, where both are numbers. */
  difference: number | null;
}

/** Return the figures of runs beside each other, each name once, in the order of the first run that has it. */
export function linesOf(summaries: readonly Record<string, unknown>[]): Line[] {
  const names = [...new Set(summaries.flatMap((summary) => Object.keys(summary)))];
  return names.flatMap((name) => {
    const found = summaries.map((summary) => summary[name]);
    if (found.some((value) => value !== null && typeof value === "object")) return [];
    const values = found.map((value) => (value === undefined || value === null ? null : String(value)));
    const numbers = values.map((value) => (value === null || value.trim() === "" ? NaN : Number(value)));
    const [first = NaN, second = NaN] = numbers;
    return [{ name, values, difference: summaries.length === 2 && Number.isFinite(first) && Number.isFinite(second) ? second - first : null }];
  });
}

export interface TrialLike {
  parameters: Record<string, unknown>;
  summary: Record<string, unknown>;
}
export interface Plane {
  rows: number[];
  columns: number[];
  /** The best net profit of the trials that share a cell; null where none was tried. */
  cells: (number | null)[][];
}

/** Return the trials over two parameters; with one name alone there is one row. */
export function planeOf(trials: readonly TrialLike[], columnName: string, rowName: string | null): Plane {
  const values = (name: string): number[] => [...new Set(trials.map((trial) => Number(trial.parameters[name])))].sort((a, b) => a - b);
  const columns = values(columnName);
  const rows = rowName === null ? [0] : values(rowName);
  const cells = rows.map(() => columns.map((): number | null => null));
  for (const trial of trials) {
    const c = columns.indexOf(Number(trial.parameters[columnName]));
    const r = rowName === null ? 0 : rows.indexOf(Number(trial.parameters[rowName]));
    const net = Number(trial.summary["net_pnl"]);
    const line = cells[r];
    if (!line || c < 0 || !Number.isFinite(net)) continue;
    const known = line[c] ?? null;
    line[c] = known === null ? net : Math.max(known, net);
  }
  return { rows, columns, cells };
}

/** Return numbers from a text such as `1, 2, 5` or `1:10:1` (from, to, step) as the service's grid; null when it is none. */
export function gridOf(text: string): unknown {
  const range = /^\s*(-?[\d.]+)\s*:\s*(-?[\d.]+)(?:\s*:\s*([\d.]+))?\s*$/.exec(text);
  if (range) return { from: range[1], to: range[2], step: range[3] ?? "1" };
  const values = text.split(/[,\s]+/).filter(Boolean);
  return values.length && values.every((value) => Number.isFinite(Number(value))) ? values : null;
}
