import type { Duration } from "../duration.ts";
import type { CallOptions, KeyValueStore, SetOptions } from "./key_value_store.ts";
import type { EngineLimits } from "./limits.ts";
import type { Fields, Transition } from "./transition.ts";

/**
 * Options of {@linkcode AtomicStore.increment}.
 *
 * @category Stores
 */
export interface IncrementOptions extends SetOptions {
  /**
   * The number to add, a safe integer; may be negative.
   * @default {1}
   */
  readonly by?: number | undefined;
}

/**
 * The result of {@linkcode AtomicStore.increment}.
 *
 * @category Stores
 */
export interface Counter {
  /** The value after the addition. */
  readonly value: number;
  /** The expiry of the counter, in milliseconds since the epoch; set by the addition that created it. */
  readonly expiresAt?: number;
}

/**
 * The result of a conditional write: done, or the value that stood in the way.
 *
 * @category Stores
 */
export type Conditional<T> =
  | { readonly set: true }
  | { readonly set: false; readonly current: T | undefined };

/**
 * Options of {@linkcode AtomicStore.transact}.
 *
 * @category Stores
 */
export interface TransactOptions extends CallOptions {
  /**
   * Receives the version of the record as the transition left it, for {@linkcode WatchOptions.since}. Engines
   * that can notify call it before the output is there; others never do.
   */
  readonly onVersion?: ((version: string) => void) | undefined;
}

/**
 * Options of {@linkcode AtomicStore.watch}.
 *
 * @category Stores
 */
export interface WatchOptions extends CallOptions {
  /** The longest time to wait. It travels to the engine: nothing is left open there much longer. */
  readonly timeout: Duration;
  /**
   * The version that the caller has seen: a record in another version has changed already.
   * @default {the version at which the call arrives}
   */
  readonly since?: string | undefined;
  /**
   * The one field of the record that matters. An engine that can tell ignores changes of the others that
   * happen while it waits: of fifty in a queue, a release then notifies only the first. An engine that cannot
   * tell reports every change.
   */
  readonly field?: string | undefined;
}

/**
 * A {@linkcode KeyValueStore} whose single keys can be changed atomically, each change in one round trip.
 * Locks, idempotency, throttles and merging sessions need one; Workers KV is none, so they do not compile on
 * it.
 *
 * A conditional write compares values by their stored form: what `get` returned compares equal to what is
 * there.
 *
 * @category Stores
 */
export interface AtomicStore extends KeyValueStore {
  /** The limits of the engine; a transition's record is bounded like a value. */
  readonly limits: EngineLimits;
  /** Runs a transition on one key's record, atomically, and answers its output. */
  transact(transition: Transition, key: string, input: Fields, options?: TransactOptions): Promise<Fields>;
  /**
   * Adds to an integer; a missing one counts from 0. The deadline is fixed by the addition that creates it.
   */
  increment(key: string, options?: IncrementOptions): Promise<Counter>;
  /** Stores a value where there is none, or answers the one in the way. */
  setIfAbsent<T = unknown>(key: string, value: unknown, options?: SetOptions): Promise<Conditional<T>>;
  /** Stores a value where `expected` is (`undefined`: where nothing is), or answers what is there instead. */
  compareAndSet<T = unknown>(
    key: string,
    expected: unknown,
    value: unknown,
    options?: SetOptions,
  ): Promise<Conditional<T>>;
  /** Deletes the key where `expected` is; answers whether it did. */
  compareAndDelete(key: string, expected: unknown, options?: CallOptions): Promise<boolean>;
  /** Takes the value away; of many callers one gets it. */
  getAndDelete<T = unknown>(key: string, options?: CallOptions): Promise<T | undefined>;
  /**
   * Waits until the key's record may have changed: `true`, or for `timeout`: `false`. Only engines that can
   * notify have it; on others a waiter asks again after a delay.
   *
   * @throws the signal's reason
   */
  watch?(key: string, options: WatchOptions): Promise<boolean>;
  /** The same store, in a namespace of its own. */
  namespace(name: string): AtomicStore;
}
