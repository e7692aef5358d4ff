/** Two runs beside each other, and a sweep's trials as a plane. Pure. */

export interface Line {
  name: string;
  values: (string | null)[];
  /** The second less the first, where both are numbers. */
  difference: number | null;
}

/** What is asked first comes first; figures that are not named here follow in the order of the run. */
const FIRST = [
  "currency", "net_pnl", "net_pnl_pessimistic", "net_pnl_optimistic", "gross_pnl", "spread_capture", "inventory_pnl", "fees", "funding", "sharpe", "max_drawdown",
  "max_drawdown_duration_ns", "initial_balance", "final_equity", "position", "turnover", "volume", "fills", "maker_fills", "taker_fills", "maker_share", "orders",
];

/** Return a summary whose Sharpe ratio and band of fill assumptions are figures like the others. */
function flat(summary: Record<string, unknown>): Record<string, unknown> {
  const { sharpe, band, ...figures } = summary;
  const ratio = (sharpe as { ratio?: unknown } | null | undefined)?.ratio;
  const assumed = Object.entries((band ?? {}) as Record<string, Record<string, unknown>>).filter(([name]) => name !== "queue");
  return { ...figures, ...(ratio === undefined ? {} : { sharpe: ratio }), ...Object.fromEntries(assumed.map(([name, told]) => [`net_pnl_${name}`, told["net_pnl"]])) };
}

/** Return the figures of runs beside each other, each name once: those that are asked first, then as the runs tell them. */
export function linesOf(runs: readonly Record<string, unknown>[]): Line[] {
  const summaries = runs.map(flat);
  const told = [...new Set(summaries.flatMap((summary) => Object.keys(summary)))];
  const names = [...FIRST.filter((name) => told.includes(name)), ...told.filter((name) => !FIRST.includes(name))];
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
