/** What all pages share: the pairs, the running markets and the chosen pair. */

import { get, reached } from "./api";
import type { Items, Pair, Session } from "./types";
import { connection, listen, watchMarket } from "./stream";
import { Value } from "./value";

const CHOICE = "market-maker-pair";
const EVERY_MS = 5_000;

export const pairs = new Value<Pair[] | null>(null);
export const sessions = new Value<Session[] | null>(null);
export const chosenPair = new Value<string | null>(localStorage.getItem(CHOICE));

export function pairOf(pairId: string | null): Pair | null {
  return pairs.get()?.find((pair) => pair.pair_id === pairId) ?? null;
}

export function sessionOf(pairId: string | null): Session | null {
  return sessions.get()?.find((session) => session.pair_id === pairId) ?? null;
}

export function choosePair(pairId: string): void {
  localStorage.setItem(CHOICE, pairId);
  chosenPair.set(pairId);
  watch();
}

function watch(): void {
  const session = sessionOf(chosenPair.get());
  watchMarket(session?.pair_id ?? null, session?.session_id ?? null);
}

export async function loadSessions(): Promise<void> {
  const found = (await get<Items<Session>>("api/v1/simulator/sessions")).items;
  if (pairs.get() !== null && found.some((session) => pairOf(session.pair_id) === null)) await loadPairs();
  sessions.set(found);
  watch();
}

export async function loadPairs(): Promise<void> {
  const found = (await get<Items<Pair>>("api/v1/pairs")).items;
  pairs.set(found);
  if (!found.some((pair) => pair.pair_id === chosenPair.get())) {
    const first = found.find((pair) => pair.is_simulated) ?? found[0];
    if (first) chosenPair.set(first.pair_id);
  }
  watch();
}

const quietly = (): Promise<unknown> => Promise.all([loadPairs(), loadSessions()]).catch(() => undefined);

/** Load, and keep up to date; what is returned ends when the first answers are there. */
export function keepState(): Promise<unknown> {
  const first = quietly();
  connection.watch(() => void quietly());
  listen("simulator.session.*", () => void loadSessions().catch(() => undefined));
  listen("market_data.import.completed", () => void loadPairs().catch(() => undefined));
  setInterval(() => {
    if (document.visibilityState === "visible" && reached.get()) loadSessions().catch(() => undefined);
  }, EVERY_MS);
  return first;
}

/** Tell whether the chosen market runs, so that news is expected all the time. */
export function isMarketMoving(): boolean {
  return sessionOf(chosenPair.get())?.state === "RUNNING";
}
