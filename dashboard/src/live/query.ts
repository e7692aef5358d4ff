/** What a page shows of the service: fetched, fetched anew by time, by events and after every reconnection. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { get, keyWanted, told } from "./api";
import { connection, listen } from "./stream";

export interface Query<T> {
  data: T | null;
  error: string | null;
  reload: () => void;
}

export interface Wish {
  /** Fetch anew after so many ms. */
  every?: number;
  /** Fetch anew when an event of these types comes (`backtest.*`). */
  on?: readonly string[];
}

const GATHERED_MS = 250;

/** Return the answer of a GET; null as path asks for nothing. */
export function useQuery<T>(path: string | null, wish: Wish = {}): Query<T> {
  return useFetched(path, path === null ? null : () => get<T>(path), wish);
}

/** As `useQuery`, for anything that is fetched; `name` tells one wish from another. */
export function useFetched<T>(name: string | null, fetched: (() => Promise<T>) | null, { every, on }: Wish = {}): Query<T> {
  const [state, set] = useState<{ name: string | null; data: T | null; error: string | null }>({ name, data: null, error: null });
  const latest = useRef(0);
  const fetch_ = useRef(fetched);
  fetch_.current = fetched;
  const reload = useCallback(() => {
    const number = ++latest.current;
    fetch_.current?.().then(
      (data) => number === latest.current && set({ name, data, error: null }),
      (error: unknown) => number === latest.current && set((before) => ({ name, data: before.name === name ? before.data : null, error: told(error) })),
    );
  }, [name]);
  const topics = on?.join() ?? "";
  useEffect(() => {
    if (name === null) return;
    reload();
    let waiting: ReturnType<typeof setTimeout> | undefined;
    const soon = (): void => {
      waiting ??= setTimeout(() => {
        waiting = undefined;
        reload();
      }, GATHERED_MS);
    };
    const stops = topics ? topics.split(",").map((type) => listen(type, soon)) : [];
    stops.push(connection.watch(() => reload()), keyWanted.watch((wanted) => wanted === "no" && reload()));
    const timer = every ? setInterval(() => document.visibilityState === "visible" && reload(), every) : undefined;
    return () => {
      latest.current++;
      clearTimeout(waiting);
      clearInterval(timer);
      for (const stop of stops) stop();
    };
  }, [name, reload, topics, every]);
  return { data: state.name === name ? state.data : null, error: state.name === name ? state.error : null, reload };
}
