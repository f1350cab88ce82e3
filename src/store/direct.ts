import type { TransactOptions } from "./atomic_store.ts";
import type { Awaitable } from "./engine.ts";
import type { Fields, Transition } from "./transition.ts";

/**
 * The key under which a store of our own runs a transition without a promise where its engine answers at once, as one in
 * this process does. It is for the hottest path alone: a hit of the cache. A store that wraps another one has none, and is
 * asked by `transact`.
 */
export const DIRECT: unique symbol = Symbol("holdfast.direct");

/** A store that may answer without a promise. */
export interface DirectStore {
  /** Runs the transition; it throws where `transact` rejects. */
  readonly [DIRECT]?: (
    transition: Transition,
    key: string,
    input: Fields,
    options?: TransactOptions,
  ) => Awaitable<Fields>;
}
