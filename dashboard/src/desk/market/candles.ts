/** Candles: made of trades, or of mids where nothing traded; newest last. Pure. */

export interface Candle {
  /** Start in seconds since 1970. */
  ts: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
}

export const INTERVALS = [
  ["1", "1 s"],
  ["5", "5 s"],
  ["15", "15 s"],
  ["60", "1 min"],
  ["300", "5 min"],
] as const;
const CANDLES_MAX = 2_000;

/** Return the start of the interval that an instant lies in. */
export function startOf(ts: number, interval: number): number {
  return Math.floor(ts / interval + 1e-9) * interval;
}

/** Take a price into candles that are sorted by time: the one of its interval changes, a new one is added, old news is merged. */
export function take(candles: Candle[], interval: number, ts: number, price: number, volume = 0): void {
  const start = startOf(ts, interval);
  const last = candles[candles.length - 1];
  if (!last || start > last.ts) {
    const open = last && start - last.ts <= interval * 1.5 ? last.close : price;
    candles.push({ ts: start, open, high: Math.max(open, price), low: Math.min(open, price), close: price, volume });
    if (candles.length > CANDLES_MAX) candles.splice(0, candles.length - CANDLES_MAX);
    return;
  }
  let k = candles.length - 1;
  while (k >= 0 && candles[k]!.ts > start) k--;
  const found = candles[k];
  if (!found || found.ts !== start) return;
  found.high = Math.max(found.high, price);
  found.low = Math.min(found.low, price);
  if (k === candles.length - 1) found.close = price;
  found.volume += volume;
}

/** Return candles of the service, and behind them what was made here meanwhile. */
export function joined(given: readonly Candle[], made: readonly Candle[]): Candle[] {
  const last = given[given.length - 1];
  const later = last ? made.filter((candle) => candle.ts > last.ts) : [...made];
  const same = last && made.find((candle) => candle.ts === last.ts);
  const result = given.map((candle) => ({ ...candle }));
  if (same && last) {
    const end = result[result.length - 1]!;
    end.high = Math.max(end.high, same.high);
    end.low = Math.min(end.low, same.low);
    end.close = same.close;
  }
  return [...result, ...later.map((candle) => ({ ...candle }))].slice(-CANDLES_MAX);
}

/** Return the lowest and highest of candles with some room, and the largest volume. */
export function rangeOf(candles: readonly Candle[]): { low: number; high: number; volume: number } {
  let low = Infinity;
  let high = -Infinity;
  let volume = 0;
  for (const candle of candles) {
    low = Math.min(low, candle.low);
    high = Math.max(high, candle.high);
    volume = Math.max(volume, candle.volume);
  }
  if (!(high >= low)) return { low: 0, high: 1, volume: 0 };
  const room = (high - low || Math.abs(high) * 1e-4 || 1) * 0.08;
  return { low: low - room, high: high + room, volume };
}
