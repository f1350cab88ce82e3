/**
 * The interface of an engine, for its author. `transact` and `list` are enough; the rest are shorter native
 * ways that an engine may have. Keys arrive validated and namespaced; values arrive encoded.
 */
import type { TransactOptions } from "./atomic_store.ts";
import type { CallOptions, ListPage } from "./key_value_store.ts";
import type { EngineLimits } from "./limits.ts";
import type { Fields, Transition } from "./transition.ts";

export type { EngineLimits } from "./limits.ts";

/**
 * A promise, or the thing itself: an engine in the caller's own process answers at once.
 *
 * @category Engines
 */
export type Awaitable<T> = T | Promise<T>;

/**
 * The request for a page of keys.
 *
 * @category Engines
 */
export interface EngineListOptions extends CallOptions {
  /** Only keys that begin like this. */
  readonly prefix: string;
  /** The end of the page before. */
  readonly cursor: string | undefined;
  /** The maximum number of keys. */
  readonly limit: number;
}

/**
 * An engine that stores values but cannot change one atomically.
 *
 * @category Engines
 */
export interface KeyValueEngine {
  /** A short name for events and tables. */
  readonly name: string;
  /** The limits of the engine. */
  readonly limits: EngineLimits;
  /**
   * The client or binding that the engine was made of: two engines of the same binding and scope hold the
   * same keys.
   * @default {the engine itself}
   */
  readonly binding?: object;
  /**
   * The prefix, and every setting that decides where a key lives.
   * @default {""}
   */
  readonly scope?: string;
  /** The encoded value. */
  get(key: string, options?: CallOptions): Awaitable<string | undefined>;
  /** Stores an encoded value for `ttl` milliseconds, or for good. */
  set(key: string, value: string, ttl: number | undefined, options?: CallOptions): Awaitable<void>;
  /** Deletes and answers whether there was something. */
  delete(key: string, options?: CallOptions): Awaitable<boolean>;
  /** Gives an existing record a new time to live. */
  touch(key: string, ttl: number, options?: CallOptions): Awaitable<boolean>;
  /** A page of live keys. */
  list(options: EngineListOptions): Awaitable<ListPage>;
  /** Many encoded values at once. */
  getMany?(keys: readonly string[], options?: CallOptions): Awaitable<(string | undefined)[]>;
  /** Many encoded values at once. */
  setMany?(
    entries: readonly (readonly [string, string])[],
    ttl: number | undefined,
    options?: CallOptions,
  ): Awaitable<void>;
  /** Many keys at once; answers how many there were. */
  deleteMany?(keys: readonly string[], options?: CallOptions): Awaitable<number>;
}

/**
 * Options of a wait for a change; see {@linkcode AtomicStore.watch}.
 *
 * @category Engines
 */
export interface EngineWatchOptions extends CallOptions {
  /** The longest time to wait, in milliseconds. */
  readonly timeout: number;
  /** The version that the caller has seen. */
  readonly since: string | undefined;
  /** The one field that matters. */
  readonly field: string | undefined;
}

/**
 * An engine that runs a transition atomically on one key.
 *
 * @category Engines
 */
export interface AtomicEngine extends Partial<Omit<KeyValueEngine, "name" | "limits" | "list">> {
  /** A short name for events and tables. */
  readonly name: string;
  /** The limits of the engine. */
  readonly limits: EngineLimits;
  /** The client or binding that the engine was made of; see {@linkcode KeyValueEngine}. */
  readonly binding?: object;
  /** The prefix, and every setting that decides where a key lives. */
  readonly scope?: string;
  /** Runs the transition on the key's record, atomically, on the engine's own clock. */
  transact(transition: Transition, key: string, input: Fields, options?: TransactOptions): Awaitable<Fields>;
  /** A page of live keys. */
  list(options: EngineListOptions): Awaitable<ListPage>;
  /**
   * Waits until the record may have changed (`true`) or the time is over (`false`); rejects with the signal's
   * reason. An engine that has it also calls `onVersion` of `transact`.
   */
  watch?(key: string, options: EngineWatchOptions): Promise<boolean>;
}
