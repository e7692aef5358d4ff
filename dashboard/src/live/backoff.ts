/** How long to wait before trying again, and how late news is. Pure. */

const FIRST_MS = 400;
const LAST_MS = 8_000;

/** Return the wait before attempt number `attempt` (from 0): doubled each time, a fifth of it by chance (0 to 1). */
export function waitMs(attempt: number, chance: number): number {
  const whole = Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return Math.round(whole * (0.9 + 0.2 * chance));
}

/** Measures how much later than at its best news arrives: clocks of two machines differ, their difference does not change. */
export class Lateness {
  private least = Infinity;

  /** Return the lateness in ms of news made at `madeMs` by the service's clock that arrived at `nowMs` by ours. */
  of(madeMs: number, nowMs: number): number {
    const difference = nowMs - madeMs;
    if (difference < this.least) this.least = difference;
    return difference - this.least;
  }

  forget(): void {
    this.least = Infinity;
  }
}
