/** One WebSocket for all pages: connects, says how it is, tries again, and lets pages fetch anew after a gap. */

import { address, apiKey, get, keyWanted } from "./api";
import { Lateness, waitMs } from "./backoff";
import { Value } from "./value";

export type Link = "connecting" | "live" | "slow" | "lost";
export interface Message {
  type: string;
  [field: string]: unknown;
}
type Listener = (message: Message) => void;

const QUIET_MS = 4_000;
const PROBE_MS = 3_000;
const LATE_MS = 1_500;
const RESTED_MS = 3_000;

export const link = new Value<Link>("connecting");
/** Grows with each connection: what was fetched before it is to be fetched again. */
export const connection = new Value(0);
/** When news came last, in ms; 0 before any. */
export const lastNews = new Value(0);
/** When the next attempt is made, in ms. */
export const nextTry = new Value(0);

const listeners = new Map<string, Set<Listener>>();
const lateness = new Lateness();
let socket: WebSocket | null = null;
let attempts = 0;
let retry: ReturnType<typeof setTimeout> | undefined;
let watchedPair: string | null = null;
let watchedSession: string | null = null;
let isMoving = (): boolean => false;
let openedAt = 0;
let lateSince = 0;
let probing = false;

/** Begin, and go on until the page is left. `moving` tells whether news is expected all the time. */
export function startStream(moving: () => boolean): void {
  isMoving = moving;
  connect();
  setInterval(check, 1_000);
  window.addEventListener("online", tryNow);
  keyWanted.watch((wanted) => {
    if (wanted === "no") tryNow();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") check();
  });
}

/** Watch the book and the trades of another market; null when none runs for the chosen pair. */
export function watchMarket(pairId: string | null, sessionId: string | null): void {
  if (sessionId === watchedSession) return;
  [watchedPair, watchedSession] = [pairId, sessionId];
  // One that is being opened is let open first: to close it now would be told as a fault.
  if (socket && socket.readyState !== WebSocket.CONNECTING) connect();
}

/** Call `listener` with every message whose type is `type`, or begins with it when that ends with `*`. */
export function listen(type: string, listener: Listener): () => void {
  const found = listeners.get(type) ?? new Set();
  listeners.set(type, found.add(listener));
  return () => found.delete(listener);
}

/** Try again without waiting. */
export function tryNow(): void {
  if (link.get() !== "lost" && link.get() !== "connecting") return;
  clearTimeout(retry);
  connect();
}

function connect(): void {
  clearTimeout(retry);
  if (socket) {
    socket.onclose = socket.onmessage = socket.onopen = null;
    socket.close();
  }
  if (link.get() !== "lost") link.set("connecting");
  const wish = new URLSearchParams({ topics: "#" });
  if (watchedPair) {
    wish.set("books", watchedPair);
    wish.set("trades", watchedPair);
  }
  const to = `${address("api/v1/stream").replace(/^http/, "ws")}?${wish}`;
  const key = apiKey();
  const made = new WebSocket(to, key === null ? ["market-maker"] : ["market-maker", `key.${encoded(key)}`]);
  socket = made;
  const wished = watchedSession;
  made.onopen = () => {
    if (wished !== watchedSession) {
      connect();
      return;
    }
    openedAt = Date.now();
    lateness.forget();
    lateSince = 0;
    lastNews.set(Date.now());
    link.set("live");
    connection.set(connection.get() + 1);
  };
  made.onmessage = ({ data }) => receive(JSON.parse(data as string) as Message);
  made.onclose = () => lose();
}

/** Return text as base64 for addresses, unpadded: what a WebSocket protocol's name may hold. */
export function encoded(text: string): string {
  const bytes = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function lose(): void {
  socket = null;
  if (Date.now() - openedAt > RESTED_MS && link.get() !== "lost") attempts = 0;
  link.set("lost");
  const wait = waitMs(attempts++, Math.random());
  nextTry.set(Date.now() + wait);
  clearTimeout(retry);
  // Asked first by a plain call: it can tell a wrong key from a service that is away, a refused socket cannot.
  retry = setTimeout(() => {
    get("api/v1/pairs").then(connect, () => {
      if (keyWanted.get() === "no") lose();
    });
  }, wait);
}

function receive(message: Message): void {
  const now = Date.now();
  lastNews.set(now);
  if (message.type === "simulator.book" && isMoving()) judge(lateness.of(Number(message["ts"]) / 1e6, now), now);
  else if (link.get() === "slow" && !lateSince) link.set("live");
  for (const listener of listeners.get(message.type) ?? []) listener(message);
  for (const [type, found] of listeners) {
    if (type.endsWith("*") && message.type.startsWith(type.slice(0, -1))) for (const listener of found) listener(message);
  }
}

/** News that is late for a second makes the connection slow; one late message does not. */
function judge(lateMs: number, now: number): void {
  if (lateMs < LATE_MS) {
    lateSince = 0;
    if (link.get() === "slow") link.set("live");
  } else {
    lateSince ||= now;
    if (now - lateSince > 1_000) link.set("slow");
  }
}

/** Silence where news is expected: say so, and ask whether the service is there at all. */
function check(): void {
  const state = link.get();
  if ((state !== "live" && state !== "slow") || !isMoving() || Date.now() - lastNews.get() < QUIET_MS) return;
  link.set("slow");
  if (probing) return;
  probing = true;
  const asked = lastNews.get();
  fetch(address("health/live"), { signal: AbortSignal.timeout(PROBE_MS), cache: "no-store" })
    .then((answer) => answer.ok, () => false)
    .then((isThere) => {
      probing = false;
      if (!isThere && lastNews.get() === asked && socket) {
        const dead = socket;
        dead.onclose = dead.onmessage = null;
        dead.close();
        lose();
      }
    });
}
