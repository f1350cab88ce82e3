import { type Clock, systemClock } from "../clock.ts";
import { decodeValue, encodeValue } from "../codec.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { checkInteger, checkMethods, checkNeededOptions, type OptionNames } from "../validate.ts";
import { checkEntries, checkEntry, checkKeys } from "./_arguments.ts";
import { checked } from "./_checked.ts";
import { engineKey, namespacePath } from "./_keys.ts";
import { CALL_OPTIONS, checkCall, GET_OPTIONS, SET_OPTIONS } from "./_options.ts";
import type {
  CallOptions,
  Cleared,
  ClearOptions,
  GetOptions,
  KeyValueStore,
  ListOptions,
  ListPage,
  ListPageOptions,
  SetOptions,
} from "./key_value_store.ts";

/** Options of {@linkcode cachedStore}. */
export interface CachedStoreOptions {
  /** The time that a value is answered from memory after it was read: a change made elsewhere is seen that late at most. */
  readonly ttl: Duration;
  /**
   * The maximum number of values in memory; the one not read for longest leaves first.
   * @default {1000}
   */
  readonly maxEntries?: number | undefined;
  /**
   * Whether the absence of a value is remembered too.
   * @default {false}
   */
  readonly absence?: boolean | undefined;
  /**
   * The clock of `ttl`; its monotonic time decides.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const OPTIONS = {
  ttl: true,
  maxEntries: true,
  absence: true,
  clock: true,
} satisfies OptionNames<CachedStoreOptions>;

/**
 * A store that answers recent reads from this isolate's memory, for values that are read often and seldom written: settings,
 * products, feature flags. Writes go through and are seen here at once. A write of another isolate, and a deadline that it sets,
 * is seen up to `ttl` late; two isolates may disagree meanwhile, so it is no `AtomicStore`, whichever store is behind it.
 *
 * @throws {TypeError} for an unknown option
 * @throws {RangeError} when `ttl` is no duration or `maxEntries` no positive integer
 * @example
 * ```ts
 * import { cachedStore, memoryStore } from "@holdfast/edge";
 * const origin = memoryStore();
 * const store = cachedStore(origin, { ttl: "30s" });
 * await store.set("flag", "on");
 * await origin.set("flag", "off"); // in another isolate
 * if (await store.get("flag") !== "on") throw new Error("unexpected");
 * ```
 */
export function cachedStore(store: KeyValueStore, options: CachedStoreOptions): KeyValueStore {
  checkMethods("cache the store", "it must be a KeyValueStore", store, ["get", "set", "namespace"]);
  checkNeededOptions("cache the store", options, OPTIONS, "a 'ttl'");
  const { ttl, maxEntries = 1000, absence = false, clock = systemClock } = options;
  checkInteger("cache the store", "maxEntries", maxEntries);
  return new CachedStore(store, new ReadCache(toMilliseconds(ttl, "ttl"), maxEntries, absence, clock), "");
}

/** Encoded values, so that nothing is shared with the caller; `undefined` is a known absence. */
class ReadCache {
  readonly #entries = new Map<string, { readonly text: string | undefined; readonly until: number }>();
  readonly #ttl: number;
  readonly #maxEntries: number;
  readonly #absence: boolean;
  readonly #clock: Clock;
  /** Counts the beginnings and ends of writes: a read beside one may be older than it, and is not kept. */
  writes = 0;

  constructor(ttl: number, maxEntries: number, absence: boolean, clock: Clock) {
    this.#ttl = ttl;
    this.#maxEntries = maxEntries;
    this.#absence = absence;
    this.#clock = clock;
  }

  find(key: string): { readonly text: string | undefined } | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (this.#clock.monotonic() >= entry.until) return undefined;
    this.#entries.set(key, entry); // now the last to leave
    return entry;
  }

  keep(key: string, text: string | undefined, ttl: number = Infinity): void {
    this.#entries.delete(key);
    if (text === undefined && !this.#absence) return;
    this.#entries.set(key, { text, until: this.#clock.monotonic() + Math.min(ttl, this.#ttl) });
    if (this.#entries.size > this.#maxEntries) this.#entries.delete(this.#entries.keys().next().value!);
  }

  forget(keys: Iterable<string>): void {
    for (const key of keys) this.#entries.delete(key);
  }

  forgetAll(): void {
    this.#entries.clear();
  }
}

class CachedStore implements KeyValueStore {
  readonly engine: string;
  readonly #store: KeyValueStore;
  readonly #cache: ReadCache;
  readonly #path: string;

  constructor(store: KeyValueStore, cache: ReadCache, path: string) {
    this.engine = store.engine;
    this.#store = store;
    this.#cache = cache;
    this.#path = path;
  }

  async get<T = unknown>(key: string, options?: GetOptions<T>): Promise<T | undefined> {
    return (await this.getMany<T>([key], options))[0];
  }

  async getMany<T = unknown>(keys: readonly string[], options?: GetOptions<T>): Promise<(T | undefined)[]> {
    checkCall("get the values", options, GET_OPTIONS);
    checkKeys("get the values", keys);
    const texts = new Map<string, string | undefined>();
    const missing: string[] = [];
    for (const key of new Set(keys)) {
      const entry = this.#cache.find(this.#key(key));
      if (entry) texts.set(key, entry.text);
      else missing.push(key);
    }
    if (missing.length > 0) {
      const { writes } = this.#cache;
      const values = missing.length === 1
        ? [await this.#store.get(missing[0]!, { signal: options?.signal })]
        : await this.#store.getMany(missing, { signal: options?.signal });
      for (const [i, key] of missing.entries()) {
        const text = values[i] === undefined ? undefined : encodeValue(values[i]);
        texts.set(key, text);
        if (writes === this.#cache.writes) this.#cache.keep(this.#key(key), text);
      }
    }
    return await Promise.all(keys.map((key) => {
      const text = texts.get(key);
      if (text === undefined) return undefined;
      const value = decodeValue(text);
      return options?.schema ? checked(value, options.schema) : value as T;
    }));
  }

  async set(key: string, value: unknown, options?: SetOptions): Promise<void> {
    await this.setMany([[key, value]], options);
  }

  async setMany(entries: Iterable<readonly [string, unknown]>, options?: SetOptions): Promise<void> {
    checkCall("set the values", options, SET_OPTIONS);
    checkEntries(entries);
    const all = Array.from(entries, (entry) => [checkEntry(entry)[0], entry[1]] as const);
    const texts = all.map(([key, value]) => [this.#key(key), encodeValue(value)] as const);
    const ttl = options?.ttl === undefined ? undefined : toMilliseconds(options.ttl, "ttl");
    const write = () =>
      all.length === 1 ? this.#store.set(all[0]![0], all[0]![1], options) : this.#store.setMany(all, options);
    await this.#write(texts.map(([key]) => key), write, () => {
      for (const [key, text] of texts) this.#cache.keep(key, text, ttl);
    });
  }

  async delete(key: string, options?: CallOptions): Promise<boolean> {
    checkCall("delete the key", options, CALL_OPTIONS);
    const full = this.#key(key);
    return await this.#write(
      [full],
      () => this.#store.delete(key, options),
      () => this.#cache.keep(full, undefined),
    );
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    checkCall("delete the keys", options, CALL_OPTIONS);
    checkKeys("delete the keys", keys);
    const full = keys.map((key) => this.#key(key));
    return await this.#write(full, () => this.#store.deleteMany(keys, options), () => {
      for (const key of full) this.#cache.keep(key, undefined);
    });
  }

  async touch(key: string, ttl: Duration, options?: CallOptions): Promise<boolean> {
    checkCall("touch the key", options, CALL_OPTIONS);
    return await this.#write([this.#key(key)], () => this.#store.touch(key, ttl, options), () => {});
  }

  async exists(key: string, options?: CallOptions): Promise<boolean> {
    checkCall("look for the key", options, CALL_OPTIONS);
    const entry = this.#cache.find(this.#key(key));
    return entry ? entry.text !== undefined : await this.#store.exists(key, options);
  }

  list(options?: ListOptions): AsyncIterable<string> {
    return this.#store.list(options);
  }

  listPage(options?: ListPageOptions): Promise<ListPage> {
    return this.#store.listPage(options);
  }

  async clear(options?: ClearOptions): Promise<Cleared> {
    try {
      return await this.#store.clear(options);
    } finally {
      this.#cache.writes++;
      this.#cache.forgetAll();
    }
  }

  namespace(name: string): KeyValueStore {
    return new CachedStore(this.#store.namespace(name), this.#cache, namespacePath(this.#path, name));
  }

  #key(key: string): string {
    return engineKey(this.#path, key, Infinity);
  }

  /**
   * Writes through. Nothing is kept of a write that failed, nor of two at the same time, as their order is not known here.
   */
  async #write<T>(keys: readonly string[], write: () => Promise<T>, keep: () => void): Promise<T> {
    const turn = ++this.#cache.writes;
    try {
      const result = await write();
      this.#cache.forget(keys);
      if (turn === this.#cache.writes) keep();
      return result;
    } catch (error) {
      this.#cache.forget(keys);
      throw error;
    } finally {
      this.#cache.writes++;
    }
  }
}
