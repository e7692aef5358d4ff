/** A value that can be watched; components see it by `useValue`. */

import { useEffect, useState } from "preact/hooks";

export class Value<T> {
  private readonly watchers = new Set<(value: T) => void>();

  constructor(private present: T) {}

  get(): T {
    return this.present;
  }

  set(value: T): void {
    if (Object.is(value, this.present)) return;
    this.present = value;
    for (const watcher of [...this.watchers]) watcher(value);
  }

  /** Call `watcher` with every new value; the answer ends that. */
  watch(watcher: (value: T) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
}

/** Return the present value; the component is drawn again when it changes. */
export function useValue<T>(value: Value<T>): T {
  const [, draw] = useState(0);
  const drawn = value.get();
  useEffect(() => {
    const stop = value.watch(() => draw((count) => count + 1));
    // It may have changed after the component was drawn and before it was watched.
    if (!Object.is(value.get(), drawn)) draw((count) => count + 1);
    return stop;
  }, [value]);
  return drawn;
}
