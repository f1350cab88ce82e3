/** Tells what a store is asked, to whoever measures. */
import { type Clock, systemClock } from "../clock.ts";
import { HoldfastError, type HoldfastErrorCode } from "../errors.ts";
import { pages } from "./_pages.ts";
import type { KeyValueStore, ListOptions } from "./key_value_store.ts";
import type { Transition } from "./transition.ts";

/** One call of a store, without anything of its keys and values. */
export interface StoreOperation {
  /** Always `store`. */
  readonly contract: "store";
  /** The method, or the transition that ran: `get`, `lock.acquire`, `throttle.check`. A `list` is told page by page. */
  readonly operation: string;
  /** The store's engine. */
  readonly engine: string;
  /** How long it took, in milliseconds. */
  readonly durationMs: number;
  /** `ok`, the code of a `HoldfastError`, or `error` for any other: a bad argument, a signal's reason. */
  readonly outcome: "ok" | HoldfastErrorCode | "error";
}

/** Options of {@linkcode observedStore}. */
export interface ObservedStoreOptions {
  /** Hears of every call when it has ended. What it throws is dropped: what was done must not look failed. */
  readonly onOperation: (operation: StoreOperation) => void;
  /**
   * Who measures.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * A store that reports. Every contract runs on a store, so this is where all of them are seen: a lock, a claim, a session or a
 * throttle is told by the name of its transition. Waiting for a change (`watch`) is no call.
 *
 * @example
 * ```ts
 * import { createLocks, memoryStore, observedStore } from "@holdfast/edge";
 * const seen: string[] = [];
 * const store = observedStore(memoryStore(), {
 *   onOperation: ({ operation, engine, outcome }) => seen.push(`${engine} ${operation} ${outcome}`),
 * });
 * await createLocks(store).withLock("job", { ttl: "10s" }, () => {});
 * if (seen.join() !== "memory lock.acquire ok,memory lock.release ok") throw new Error("unexpected");
 * ```
 */
export function observedStore<Store extends KeyValueStore>(
  store: Store,
  options: ObservedStoreOptions,
): Store {
  const { onOperation, clock = systemClock } = options;
  async function told<T>(operation: string, work: () => T | Promise<T>): Promise<T> {
    const since = clock.monotonic();
    let outcome: StoreOperation["outcome"] = "error";
    try {
      const result = await work();
      outcome = "ok";
      return result;
    } catch (error) {
      if (error instanceof HoldfastError) outcome = error.code;
      throw error;
    } finally {
      const durationMs = clock.monotonic() - since;
      try {
        onOperation({ contract: "store", operation, engine: store.engine, durationMs, outcome });
      } catch {
        // said in the options
      }
    }
  }
  const observed: Store = new Proxy(store, {
    get(store, name) {
      const member: unknown = Reflect.get(store, name);
      if (typeof member !== "function") return member;
      const call = (...args: unknown[]) => Reflect.apply(member, store, args);
      switch (name) {
        case "namespace":
          return (room: string) => observedStore(store.namespace(room), options);
        case "list":
          return (options?: ListOptions) => pages(observed, options);
        case "watch":
          return call;
        case "transact":
          return (transition: Transition, ...rest: unknown[]) =>
            told(transition.name, () => call(transition, ...rest));
      }
      return (...args: unknown[]) => told(String(name), () => call(...args));
    },
  });
  return observed;
}
