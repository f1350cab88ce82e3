/** Reports the calls of a store, for measurements and traces. */
import { type Clock, systemClock } from "../clock.ts";
import { HoldfastError, type HoldfastErrorCode } from "../errors.ts";
import { safely } from "../safely.ts";
import {
  checkFunction,
  checkMethods,
  checkNeededOptions,
  checkOptionNames,
  type OptionNames,
} from "../validate.ts";
import { LIST_OPTIONS } from "./_options.ts";
import { pages } from "./_pages.ts";
import type { KeyValueStore, ListOptions } from "./key_value_store.ts";
import type { Transition } from "./transition.ts";

/**
 * One call of a store, without anything of its keys and values.
 *
 * @category Stores
 */
export interface StoreOperation {
  /** Always `store`. */
  readonly contract: "store";
  /**
   * The method, or the transition that ran: `get`, `lock.acquire`, `throttle.check`. A `list` is reported
   * page by page.
   */
  readonly operation: string;
  /** The store's engine. */
  readonly engine: string;
  /** The duration in milliseconds. */
  readonly durationMs: number;
  /** `ok`, the code of a `HoldfastError`, or `error` for any other: a bad argument, a signal's reason. */
  readonly outcome: "ok" | HoldfastErrorCode | "error";
}

/**
 * A call of a store that begins, without anything of its keys and values.
 *
 * @category Stores
 */
export type StoreCall = Pick<StoreOperation, "contract" | "operation" | "engine">;

/**
 * Options of {@linkcode observedStore}; at least one of the two hooks.
 *
 * @category Stores
 */
export interface ObservedStoreOptions {
  /** Called when a call has ended. An error that it throws is ignored, as the call itself was done. */
  readonly onOperation?: ((operation: StoreOperation) => void) | undefined;
  /**
   * Called around each call, so that a span of it is the parent of the requests below. It calls `run` once,
   * and returns or throws what that does: its own errors are errors of the call.
   */
  readonly around?: (<T>(call: StoreCall, run: () => Promise<T>) => Promise<T>) | undefined;
  /**
   * The clock of durations.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const OPTIONS = { onOperation: true, around: true, clock: true } satisfies OptionNames<ObservedStoreOptions>;

/**
 * A store that reports its calls. Every contract runs on a store, so all of them are seen here: a lock, a
 * claim, a session or a throttle by the name of its transition. A wait for a change (`watch`) is not
 * reported.
 *
 * @throws {TypeError} for an unknown option, when a hook is no function, or when there is none
 * @category Stores
 * @example
 * ```ts
 * import { createLocks, memoryStore } from "@holdfast/edge";
 * import { observedStore } from "@holdfast/edge/engine";
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
  checkMethods("observe the store", "it must be a KeyValueStore", store, ["get", "set", "namespace"]);
  checkNeededOptions("observe the store", options, OPTIONS, "an 'onOperation' or an 'around'");
  const { onOperation, around, clock = systemClock } = options;
  checkFunction("observe the store", "onOperation", onOperation);
  checkFunction("observe the store", "around", around);
  if (onOperation === undefined && around === undefined) {
    throw new TypeError("Cannot observe the store as there is no hook: give an 'onOperation' or an 'around'");
  }
  const report = safely(onOperation);
  async function measured<T>(operation: string, work: () => T | Promise<T>): Promise<T> {
    if (onOperation === undefined) return await work();
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
      report({ contract: "store", operation, engine: store.engine, durationMs, outcome });
    }
  }
  return reporting(store, async (operation, work) => {
    if (around === undefined) return await measured(operation, work);
    const call: StoreCall = { contract: "store", operation, engine: store.engine };
    return await around(call, () => measured(operation, work));
  });
}

/** Does the work of a call, and reports it. */
type Report = <T>(operation: string, work: () => T | Promise<T>) => Promise<T>;

/** The store and its namespaces, whose calls are reported. */
function reporting<Store extends KeyValueStore>(store: Store, reported: Report): Store {
  const observed: Store = new Proxy(store, {
    get(store, name) {
      const member: unknown = Reflect.get(store, name);
      if (typeof member !== "function") return member;
      const call = (...args: unknown[]) => Reflect.apply(member, store, args);
      switch (name) {
        case "namespace":
          return (name: string) => reporting(store.namespace(name), reported);
        case "list":
          return (options?: ListOptions) => {
            checkOptionNames("list", options, LIST_OPTIONS);
            return pages(observed, options);
          };
        case "watch":
          return call;
        case "transact":
          return (transition: Transition, ...rest: unknown[]) =>
            reported(transition.name, () => call(transition, ...rest));
      }
      return (...args: unknown[]) => reported(String(name), () => call(...args));
    },
  });
  return observed;
}
