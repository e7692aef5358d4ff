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
  useEffect(() => {
    const seen = value.get();
    const stop = value.watch(() => draw((count) => count + 1));
    if (!Object.is(value.get(), seen)) draw((count) => count + 1);
    return stop;
  }, [value]);
  return value.get();
}
