import type { Atomic, IndexedSessionStore } from "@holdfast/edge/sessions";

/** A store that takes so many milliseconds before it saves: there is time to see what waits for it. */
export function slow(store: Atomic<IndexedSessionStore>, milliseconds: number): Atomic<IndexedSessionStore> {
  return {
    consistency: store.consistency,
    index: store.index,
    load: (key, options) => store.load(key, options),
    delete: (key, options) => store.delete(key, options),
    exists: (key, options) => store.exists(key, options),
    async save(key, change, options) {
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      return await store.save(key, change, options);
    },
  };
}
