import type { Duration } from "../duration.ts";
import type { Schema } from "../schema.ts";

/**
 * Options of every call.
 *
 * @category Stores
 */
export interface CallOptions {
  /** Ends the call: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Options of {@linkcode KeyValueStore.get}.
 *
 * @category Stores
 */
export interface GetOptions<T> extends CallOptions {
  /** Checks the stored value; any Standard Schema. Without one its type is the caller's claim. */
  readonly schema?: Schema<T> | undefined;
}

/**
 * Options of everything that writes a value.
 *
 * @category Stores
 */
export interface SetOptions extends CallOptions {
  /** The time to live of the value; without it, it stays until it is deleted. */
  readonly ttl?: Duration | undefined;
}

/**
 * Options of {@linkcode KeyValueStore.list}.
 *
 * @category Stores
 */
export interface ListOptions extends CallOptions {
  /**
   * The beginning of the keys that are listed.
   * @default {""}
   */
  readonly prefix?: string | undefined;
}

/**
 * Options of {@linkcode KeyValueStore.listPage}.
 *
 * @category Stores
 */
export interface ListPageOptions extends ListOptions {
  /** The cursor of the page before; without it, the first page. Any other text is a `TypeError`. */
  readonly cursor?: string | undefined;
  /**
   * The maximum number of keys; an engine may answer fewer.
   * @default {1000}
   */
  readonly limit?: number | undefined;
}

/**
 * One page of keys. An empty page is not the end: only a missing cursor is.
 *
 * @category Stores
 */
export interface ListPage {
  /** The keys, relative to the namespace. */
  readonly keys: readonly string[];
  /** The cursor of the next page; absent on the last page. */
  readonly cursor?: string;
}

/**
 * Options of {@linkcode KeyValueStore.clear}.
 *
 * @category Stores
 */
export interface ClearOptions extends CallOptions {
  /**
   * The maximum number of keys to delete; call again to go on.
   * @default {Infinity}
   */
  readonly limit?: number | undefined;
}

/**
 * The result of {@linkcode KeyValueStore.clear}.
 *
 * @category Stores
 */
export interface Cleared {
  /** The number of deleted keys. */
  readonly deleted: number;
  /** Whether every key of the namespace was seen; `false` when `limit` ended it. */
  readonly done: boolean;
}

/**
 * Values under keys, with deadlines.
 *
 * - A missing key is `undefined`. A record is dead at `now >= expiresAt`, and every read checks that.
 * - Strings (lone surrogates too) and `Uint8Array` come back exact; everything else travels as JSON, on every
 *   engine, so nothing is shared with the caller. What JSON does not hold is a `TypeError`, nested too: a
 *   Map, a Set, NaN, a Promise, bytes inside an object, an instance of a class without `toJSON`. A `Date`
 *   comes back as the string that its `toJSON` makes; a property that is `undefined` is left out, while
 *   `undefined` in an array is refused.
 * - Keys are any well-formed, non-empty string, taken as they are. Namespaces never meet each other or a bare
 *   key.
 *
 * Every method rejects with a `TypeError` or `RangeError` on misuse before any I/O, and with a
 * `HoldfastError` on a fault.
 *
 * @category Stores
 */
export interface KeyValueStore {
  /** The engine's name, for events and tables. */
  readonly engine: string;
  /** The value, or `undefined`. `schema-mismatch` when it is not what the schema wants. */
  get<T = unknown>(key: string, options?: GetOptions<T>): Promise<T | undefined>;
  /** Stores a value; a deadline from an earlier write does not outlive it. */
  set(key: string, value: unknown, options?: SetOptions): Promise<void>;
  /** Deletes the key; answers whether it was there. */
  delete(key: string, options?: CallOptions): Promise<boolean>;
  /** Whether there is a value. */
  exists(key: string, options?: CallOptions): Promise<boolean>;
  /** Gives an existing value a new time to live; answers whether there was one. */
  touch(key: string, ttl: Duration, options?: CallOptions): Promise<boolean>;
  /** The values of many keys, in the order asked. */
  getMany<T = unknown>(keys: readonly string[], options?: GetOptions<T>): Promise<(T | undefined)[]>;
  /** Stores many values; each is atomic, the whole is not. */
  setMany(entries: Iterable<readonly [string, unknown]>, options?: SetOptions): Promise<void>;
  /** Deletes many keys and answers how many there were. */
  deleteMany(keys: readonly string[], options?: CallOptions): Promise<number>;
  /** All keys of this namespace (not of namespaces inside it), page by page. */
  list(options?: ListOptions): AsyncIterable<string>;
  /** One page of keys. */
  listPage(options?: ListPageOptions): Promise<ListPage>;
  /** Deletes everything in this namespace and the namespaces inside it, and nothing else. */
  clear(options?: ClearOptions): Promise<Cleared>;
  /** The same store in a namespace of its own. */
  namespace(name: string): KeyValueStore;
}
