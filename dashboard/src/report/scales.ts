/** Pure helpers of the drawings: ticks, colours of heat maps, stacks, and the two-parameter view of a sweep. */

import type { Profit, Surface } from "./data";

/** Return about `count` round values that cover [low, high]. */
export function ticks(low: number, high: number, count = 5): number[] {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((part) => part * power).find((size) => size >= raw) ?? 10 * power;
  const found: number[] = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

/** Return how strongly a cell of a heat map is coloured, from -1 to 1 with the sign of its value; 0 stays 0. */
export function strength(value: number, most: number): number {
  if (most <= 0 || value === 0) return 0;
  // The root lets small values be told from none.
  return Math.sign(value) * Math.sqrt(Math.min(1, Math.abs(value) / most));
}

export const CAUSES = ["spread_capture", "inventory", "fees", "rebates", "funding", "hedging"] as const;
export type Cause = (typeof CAUSES)[number];

/** Return what a cause added to the profit: fees are told as what was paid. */
export function contribution(profit: Profit, cause: Cause): number {
  const amount = Number(profit[cause]);
  return cause === "fees" ? 0 - amount : amount;
}

export interface Piece {
  cause: Cause;
  from: number;
  to: number;
}

/** Return the pieces of one stacked bar: gains upward from 0, losses downward. */
export function stacked(profit: Profit): Piece[] {
  let up = 0;
  let down = 0;
  const pieces: Piece[] = [];
  for (const cause of CAUSES) {
    const part = contribution(profit, cause);
    if (part === 0) continue;
    const from = part > 0 ? up : down;
    pieces.push({ cause, from, to: from + part });
    if (part > 0) up += part;
    else down += part;
  }
  return pieces;
}

export type Choice = "median" | "best" | "worst";
export type Measure = "net_pnl" | "sharpe";

/** Values of a parameter that share a column or a row, both ends included. */
export interface Band {
  low: number;
  high: number;
}

/** Values of an axis above which they are put together: a search among any numbers tries none of them twice. */
const AXIS_MAX = 24;
const BANDS = 10;

export interface Plane {
  columns: Band[];
  rows: Band[];
  /** By row, then column; null where nothing was tried or nothing is defined. */
  cells: (number | null)[][];
  /** How many trials lie in each cell. */
  counts: number[][];
}

/** Return the trials over two parameters; of the trials that share a cell the median, the best or the worst. */
export function planeOf(surface: Surface, column: number, row: number, measure: Measure, choice: Choice): Plane {
  const columns = bands(surface.points.map((point) => point.values[column]!));
  const rows = bands(surface.points.map((point) => point.values[row]!));
  const found = rows.map(() => columns.map((): number[] => []));
  const counts = rows.map(() => columns.map(() => 0));
  for (const point of surface.points) {
    const [r, c] = [place(rows, point.values[row]!), place(columns, point.values[column]!)];
    counts[r]![c]!++;
    const value = measure === "net_pnl" ? Number(point.net_pnl) : point.sharpe;
    if (value !== null) found[r]![c]!.push(value);
  }
  return { columns, rows, cells: found.map((line) => line.map((values) => chosen(values, choice))), counts };
}

/** Return each value by itself, or, of many, bands of about as many values each. */
function bands(values: number[]): Band[] {
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  const count = sorted.length > AXIS_MAX ? BANDS : sorted.length;
  return Array.from({ length: count }, (_, k) => {
    const [from, to] = [Math.floor((k * sorted.length) / count), Math.floor(((k + 1) * sorted.length) / count)];
    return { low: sorted[from]!, high: sorted[to - 1]! };
  });
}

/** Return the band in which a value lies, -1 where it lies between two. */
export function place(among: readonly Band[], value: number): number {
  return among.findIndex(({ low, high }) => low <= value && value <= high);
}

function chosen(values: number[], choice: Choice): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  if (choice === "worst") return sorted[0]!;
  if (choice === "best") return sorted[sorted.length - 1]!;
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

/** Return the index of the fill nearest to a place on the screen, -1 without one within `reach` pixels. */
export function nearest(
  xs: ArrayLike<number>,
  ys: ArrayLike<number>,
  at: { x: number; y: number; scaleX: number; scaleY: number; reach: number },
): number {
  let low = 0;
  let high = xs.length;
  const from = at.x - at.reach * at.scaleX;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle]! < from) low = middle + 1;
    else high = middle;
  }
  let best = -1;
  let least = at.reach ** 2;
  for (let k = low; k < xs.length && xs[k]! <= at.x + at.reach * at.scaleX; k++) {
    const distance = ((xs[k]! - at.x) / at.scaleX) ** 2 + ((ys[k]! - at.y) / at.scaleY) ** 2;
    if (distance <= least) [best, least] = [k, distance];
  }
  return best;
}
