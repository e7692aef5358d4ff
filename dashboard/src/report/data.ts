/** The data of a report as the service writes it, and its columns read back. Money stays text until it is drawn. */

export type Money = string;
export type Instant = string;

export interface Figure {
  value: number | null;
  reason: string | null;
}

export interface Interval {
  estimate: number | null;
  low: number | null;
  high: number | null;
  confidence: number;
  method: string;
  reason: string | null;
}

export interface Profit {
  net: Money;
  spread_capture: Money;
  inventory: Money;
  fees: Money;
  rebates: Money;
  funding: Money;
  hedging: Money;
  residual?: Money;
}

export interface SplitRow {
  key: number | string;
  label: string;
  fills: number;
  samples: number | null;
  volume: Money | null;
  profit: Profit;
}

export interface Markout {
  horizon_ns: number;
  mean: Interval;
  fills: number;
  left_out: number;
  unseen: number;
}

export interface Drawdown {
  depth: Money;
  start_ts: Instant;
  trough_ts: Instant;
  recovery_ts: Instant | null;
  duration_ns: number;
}

export interface Analysis {
  quote: string;
  start_ts: Instant;
  end_ts: Instant;
  samples: number;
  sample_interval_ns: number;
  initial_balance: Money;
  final_equity: Money;
  turnover: Money;
  turnover_per_day: number | null;
  volume: Money;
  profit: Profit;
  by_day: SplitRow[];
  by_hour_of_day: SplitRow[];
  regimes: {
    window_ns: number;
    windows: number;
    volatility: SplitRow[];
    trend: SplitRow[];
    volume: SplitRow[];
  };
  returns: {
    sharpe: { ratio: number | null; reason: string | null; interval_ns: number; observations: number };
    sortino: Figure;
    calmar: Figure;
  };
  sharpe_hac: Interval;
  sharpe_bootstrap: { interval: Interval; share_not_positive: number | null };
  edge: { probabilistic_sharpe: Figure; deflated: { probability: number } | null };
  edge_evidence: { trials: number | null };
  drawdowns: Drawdown[];
  under_water: { share: number | null };
  trading: {
    fills: number;
    orders: number;
    orders_rejected: number;
    orders_canceled: number;
    maker_share: number | null;
    fill_ratio: number | null;
    cancels_per_fill: number | null;
  };
  inventory: { half_life_ns: Figure };
  spreads: { quoted: number | null; effective_maker: number | null; effective_taker: number | null };
  markouts: Markout[];
  maker_markouts: Markout[];
  time_at_best: { bid_at_best: number | null; ask_at_best: number | null; both_best: number | null } | null;
  volume_share: number | null;
  largest_volume_share: number | null;
  young_profit_share: number | null;
  fills_by_cause: SplitRow[] | null;
  fills_by_queue: SplitRow[] | null;
}

export interface Assumed {
  net_pnl: Money;
  fills: number;
  volume: Money;
  max_drawdown: Money;
  sharpe: number | null;
}

export interface Summary {
  net_pnl: Money;
  final_equity: Money;
  max_drawdown: Money;
  position: Money;
  band?: Record<"pessimistic" | "queue" | "optimistic", Assumed>;
  market_conditions?: Record<string, unknown>;
  limits?: LimitOutcome[];
}

export interface LimitOutcome {
  kind: string;
  threshold: Money;
  largest: Money | null;
  warnings: number;
  warned_ts: string | null;
  warned_value: Money | null;
  breaches: number;
  breached_ts: string | null;
  breached_value: Money | null;
  refused: number;
  hold: string;
  hold_ts: string | null;
}

export type Status = "PASS" | "WARN" | "FAIL" | "UNKNOWN";

export interface Judgement {
  status: Status;
  figures: Record<string, number | string | boolean | null>;
  reasons: string[];
}

export interface FragilityCell {
  latency_factor: number;
  queue_model: string;
  fee_factor: number;
  net_pnl: Money;
  sharpe: number | null;
}

export interface Fragility {
  cells: FragilityCell[];
  queue_model: string;
  figures: {
    break_even_latency: Figure;
    break_even_queue: Figure;
    break_even_fees: Figure;
    conservative_cells: number;
    conservative_losing: FragilityCell[];
  };
}

export interface Capacity {
  points: {
    scale: string;
    net_pnl: Money;
    sharpe: number | null;
    pnl_per_size: Money;
    marginal_pnl: Money | null;
    volume_share: number | null;
  }[];
  best_scale: string;
  is_bounded: boolean;
  half_efficiency_scale: number | null;
}

export interface Surface {
  sweep_id: string;
  names: string[];
  own: (number | null)[];
  trials: number;
  points: { values: number[]; net_pnl: Money; sharpe: number | null }[];
}

export interface Run {
  run_id: string;
  strategy: { name: string; kind: string };
  pair: {
    venue: string;
    symbol: string;
    base: string;
    quote: string;
    /** What money is in: the quote, or the base of an inverse contract. */
    currency: string;
    /** One unit of cash, of which the curves count halves. */
    cash_unit: string;
    /** What quantities count: the base or contracts. */
    quantity_unit: string;
    tick_size: string;
    lot_size: string;
    contract_multiplier: string;
    contract_type: string;
  };
  summary: Summary;
  analysis: Analysis;
  quality: Record<string, Judgement>;
  fragility: Fragility | null;
  capacity: Capacity | null;
  surface: Surface | null;
  timeline: { width_ns: number; rows: SplitRow[] };
  curves: {
    ts: number[];
    equity_half_tick_lots: number[];
    drawdown_half_tick_lots: number[];
    inventory_ts: number[];
    inventory_lots: number[];
  };
  mids: { ts: number[]; half_ticks: number[] };
  fills: {
    count: number;
    causes: string[];
    ts: number[];
    order_id: number[];
    kind: number[];
    price_ticks: number[];
    qty_lots: number[];
    mid_half_ticks: number[];
    position_lots: number[];
  };
  reproducibility: {
    seed: number;
    configuration: Record<string, unknown>;
    data_hash: string;
    coverage: number;
    missing: [string, string][];
    events: number;
    code_version: string;
    kernel_key: string;
    libraries: Record<string, string>;
  };
  digest: string;
}

export interface Comparison {
  labels: string[];
  figures: { name: string; unit: string; values: (Money | number | null)[]; best: string | null }[];
  cautions: string[];
}

export interface Report {
  created_ts: Instant;
  runs: Run[];
  comparison: Comparison | null;
  notes: string[];
}

/** Return the running sum of differences, each then multiplied by `unit`. */
export function summed(differences: readonly number[], unit = 1, origin = 0): Float64Array {
  const values = new Float64Array(differences.length);
  let total = 0;
  for (let k = 0; k < differences.length; k++) {
    total += differences[k]!;
    values[k] = origin + total * unit;
  }
  return values;
}

/** Return an instant of ns since 1970 as seconds, exact to a fraction of a microsecond. */
export function seconds(ts: Instant): number {
  const whole = BigInt(ts);
  return Number(whole / 1_000_000_000n) + Number(whole % 1_000_000_000n) / 1e9;
}

/** The fills of a run by column; `isBuy` and `isTaker` are 0 or 1. */
export interface Fills {
  time: Float64Array;
  price: Float64Array;
  mid: Float64Array;
  quantity: Float64Array;
  position: Float64Array;
  orderId: Float64Array;
  cause: Uint8Array;
  isBuy: Uint8Array;
  isTaker: Uint8Array;
}

export function fillsOf(run: Run): Fills {
  const tick = Number(run.pair.tick_size);
  const lot = Number(run.pair.lot_size);
  const ticks = summed(run.fills.price_ticks);
  return {
    time: summed(run.fills.ts, 1e-6, seconds(run.analysis.start_ts)),
    price: ticks.map((price) => price * tick),
    mid: ticks.map((price, k) => ((2 * price + run.fills.mid_half_ticks[k]!) * tick) / 2),
    quantity: Float64Array.from(run.fills.qty_lots, (lots) => lots * lot),
    position: summed(run.fills.position_lots, lot),
    orderId: summed(run.fills.order_id),
    cause: Uint8Array.from(run.fills.kind, (kind) => kind >> 2),
    isBuy: Uint8Array.from(run.fills.kind, (kind) => (kind >> 1) & 1),
    isTaker: Uint8Array.from(run.fills.kind, (kind) => kind & 1),
  };
}

export interface Line {
  time: Float64Array;
  values: Float64Array;
}

/** Return the mid as a line: what was kept of it, and what it was at the fills, in the order of time. */
export function midOf(run: Run, fills: Fills): Line {
  const tick = Number(run.pair.tick_size);
  const time = summed(run.mids.ts, 1e-6, seconds(run.analysis.start_ts));
  return merged({ time, values: summed(run.mids.half_ticks, tick / 2) }, { time: fills.time, values: fills.mid });
}

/** Return two lines as one in the order of time; at one instant the points of the first come first. */
export function merged(one: Line, other: Line): Line {
  const size = one.time.length + other.time.length;
  const line = { time: new Float64Array(size), values: new Float64Array(size) };
  for (let k = 0, i = 0, j = 0; k < size; k++) {
    const isOther = i === one.time.length || (j < other.time.length && other.time[j]! < one.time[i]!);
    const [from, at] = isOther ? [other, j++] : [one, i++];
    line.time[k] = from.time[at]!;
    line.values[k] = from.values[at]!;
  }
  return line;
}

export interface Curves {
  equity: Line;
  drawdown: Line;
  inventory: Line;
}

export function curvesOf(run: Run): Curves {
  const half = Number(run.pair.cash_unit) / 2;
  const start = seconds(run.analysis.start_ts);
  const time = summed(run.curves.ts, 1e-6, start);
  return {
    equity: { time, values: summed(run.curves.equity_half_tick_lots, half) },
    drawdown: { time, values: summed(run.curves.drawdown_half_tick_lots, half).map((fall) => -fall) },
    inventory: {
      time: summed(run.curves.inventory_ts, 1e-6, start),
      values: summed(run.curves.inventory_lots, Number(run.pair.lot_size)),
    },
  };
}

/** Return what the page holds; an error that a reader understands when it holds nothing. */
export function readReport(text: string | null | undefined): Report {
  if (!text?.trim()) throw new Error("This page holds no report. Write one with: market-maker report RUN");
  const report = JSON.parse(text) as Report;
  if (!Array.isArray(report.runs) || report.runs.length === 0) throw new Error("This report holds no run.");
  return report;
}
