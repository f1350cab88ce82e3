import type { AtomicStore, TransactOptions } from "./atomic_store.ts";
import type { Awaitable } from "./engine.ts";
import type { Fields, Transition } from "./transition.ts";

/**
 * The key under which the `transact` of a store of our own carries its form without a promise. It hangs on
 * the function, not on the store: a store that wraps another one, or whose `transact` was replaced, has
 * another function, and is asked by that.
 */
export const DIRECT: unique symbol = Symbol("holdfast.direct");

/** A `transact` that may answer without a promise. It throws where `transact` rejects. */
export type DirectTransact = (
  this: AtomicStore,
  transition: Transition,
  key: string,
  input: Fields,
  options?: TransactOptions,
) => Awaitable<Fields>;

/**
 * Runs a transition, without a promise where the store's engine answers at once, as one in this process does:
 * a promise, and above all the timer that bounds it, cost more there than the call. It rejects rather than
 * throws.
 */
export function ask(
  store: AtomicStore,
  transition: Transition,
  key: string,
  input: Fields,
  options?: TransactOptions,
): Awaitable<Fields> {
  const { transact } = store; // once: a store around another one may count what it is asked for
  const direct = (transact as { readonly [DIRECT]?: DirectTransact })[DIRECT];
  try {
    return (direct ?? transact).call(store, transition, key, input, options);
  } catch (error) {
    return Promise.reject(error);
  }
}

/**
 * Whether the store keeps its records in this process and is called without a wrapper. Then no copy of a call
 * can arrive late, and a call needs no id.
 */
export function isLocal(store: AtomicStore): boolean {
  const { transact, local } = store as AtomicStore & { readonly local?: unknown };
  return local !== undefined && DIRECT in transact;
}
