/** Answers of the service, as far as the pages read them. Money and quantities are decimal text, instants ns as text. */

export interface Items<T> {
  items: T[];
  next?: string | null;
}
export type Side = "BUY" | "SELL";
export interface Pair {
  pair_id: string;
  venue: string;
  symbol: string;
  base: string;
  quote: string;
  tick_size: string;
  lot_size: string;
  contract_type: string;
  contract_multiplier: string;
  initial_price: string | null;
  is_simulated: boolean;
}
export interface Session {
  session_id: string;
  pair_id: string;
  mode: "NORMAL" | "STRESS" | "CUSTOM";
  seed: number;
  state: "RUNNING" | "PAUSED" | "STOPPED";
  price_deviation: number;
  execution_delay: string;
  market_update_interval: string;
  created_ts: string;
  speed: number;
  step: number;
  reference_price: string;
  open_orders: number;
  trades: number;
  recording: boolean;
  recorded_events: number;
  phase: string;
  scenarios: Scenario[];
  playback: Playback | null;
  /** Why its recording cannot be opened: it can only be stopped. */
  fault: string | null;
}
/** A recording that is a session's market: what is recorded of what was asked for, and where it is (UTC text). */
export interface Playback {
  start: string;
  end: string;
  first: string;
  last: string;
  now: string;
  pace: "CLOCK" | "FASTEST";
  at_end: "PAUSE" | "STOP" | "LOOP";
  passes: number;
  ended: boolean;
}
export interface Scenario {
  scenario_id: string;
  name: string;
  parameters: Record<string, number>;
  state: string;
  starts_ts: string;
  ends_ts: string;
  repeats_every: string | null;
  phase: string | null;
}
export interface LevelText {
  price: string;
  quantity: string;
}
export interface Book {
  pair_id: string;
  ts: string;
  sequence: number;
  bids: LevelText[];
  asks: LevelText[];
  phase?: string;
  indicative_price?: string | null;
  stale?: boolean;
}
export interface Order {
  order_id: string;
  pair_id: string;
  account_id: string;
  strategy_id: string | null;
  side: Side;
  type: string;
  time_in_force: string;
  price: string | null;
  stop_price: string | null;
  amount: string;
  status: string;
  reject_reason: string | null;
  cum_qty: string;
  leaves_qty: string;
  average_price: string | null;
  cancel_requested: boolean;
  amend_requested: boolean;
  created_ts: string;
  updated_ts: string;
  version: number;
}
export interface Fill {
  trade_id: string;
  order_id: string;
  pair_id: string;
  side: Side;
  liquidity: "MAKER" | "TAKER";
  price: string;
  amount: string;
  fee: string;
  ts: string;
}
export interface QueuePlace {
  order_id: string;
  side: Side;
  price: string;
  leaves_qty: string;
  ahead: string;
  level_qty: string;
}
export interface Position {
  position_id: string;
  pair_id: string;
  account_id: string;
  strategy_id: string | null;
  quantity: string;
  average_price: string | null;
  realised_pnl: string;
  unrealised_pnl: string | null;
  fees: string;
  mark_price: string | null;
}
export interface Account {
  account_id: string;
  name: string;
  currency: string;
  initial_balance: string;
  transferred: string;
  balance: string;
  balances: { currency: string; total: string; reserved: string; available: string }[];
}
/** The account of backtests: what it holds is no position of the simulated market. */
export const BACKTEST_ACCOUNT = "00000000-0000-7000-8000-000000000003";
/** The account that orders without a named one are for. */
export const DEFAULT_ACCOUNT = "00000000-0000-7000-8000-000000000002";
export interface Strategy {
  strategy_id: string;
  name: string;
  kind: string;
  pair_id: string;
  parameters: Record<string, unknown>;
}
export interface StrategyKind {
  kind: string;
  summary: string;
  parameters: Schema;
}
export interface Schema {
  type?: string | string[];
  properties?: Record<string, Schema>;
  required?: string[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  unit?: string;
  description?: string;
  title?: string;
  items?: Schema;
  $ref?: string;
  $defs?: Record<string, Schema>;
}
export interface Run {
  run_id: string;
  strategy_id: string;
  pair_id: string;
  status: "PENDING" | "RUNNING" | "COMPLETED" | "FAILED" | "CANCELED";
  progress_percent: number;
  events_per_second: number | null;
  eta_seconds: number | null;
  error: string | null;
  configuration: Record<string, unknown>;
  created_ts: string;
  started_ts: string | null;
  finished_ts: string | null;
}
export interface RecordedDay {
  venue: string;
  symbol: string;
  kind: string;
  day: string;
  rows: number;
  bytes: number;
  first_ts: string;
  last_ts: string;
  quality: Record<string, unknown>;
}

export const seconds = (ns: string): number => Number(BigInt(ns) / 1_000_000n) / 1e3;
