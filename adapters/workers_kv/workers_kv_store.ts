import { type Clock, systemClock } from "../../src/clock.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import type { EngineListOptions, KeyValueEngine } from "../../src/store/engine.ts";
import type { CallOptions, KeyValueStore, ListPage } from "../../src/store/key_value_store.ts";
import { storePrefix } from "../../src/store/prefix.ts";
import { keyValueStoreFromEngine } from "../../src/store/store.ts";
import { withTimeout } from "../../src/deadline.ts";
import { checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { kvFault } from "./_faults.ts";

/**
 * A value with its metadata, as Workers KV answers it.
 *
 * @category Stores
 */
export interface KvEntry {
  /** The value, or null. */
  readonly value: string | null;
  /** The metadata that was stored with it. */
  readonly metadata: unknown;
}

/**
 * The used part of a `KVNamespace`, by shape: the binding from `env`.
 *
 * @category Stores
 */
export interface KvNamespace {
  /** Reads one text. */
  getWithMetadata(key: string, options: { type: "text"; cacheTtl?: number }): Promise<KvEntry>;
  /** Reads up to a hundred texts. */
  getWithMetadata(
    keys: string[],
    options: { type: "text"; cacheTtl?: number },
  ): Promise<Map<string, KvEntry | null>>;
  /** Writes. */
  put(key: string, value: string, options?: { expirationTtl?: number; metadata?: unknown }): Promise<void>;
  /** Deletes. */
  delete(key: string): Promise<void>;
  /** A page of keys with their metadata. */
  list(options: { prefix: string; cursor?: string | null; limit: number }): Promise<{
    readonly keys: readonly { readonly name: string; readonly metadata?: unknown }[];
    readonly list_complete: boolean;
    readonly cursor?: string;
  }>;
}

/**
 * Options of {@linkcode workersKvStore}.
 *
 * @category Stores
 */
export interface WorkersKvStoreOptions {
  /**
   * The beginning of all keys, before a colon; stores with different prefixes never meet. At most 256 bytes.
   * @default {"holdfast"}
   */
  readonly prefix?: string | undefined;
  /**
   * The time that a location may answer a read from its own cache, 30 seconds at least: a longer one is
   * faster and cheaper, and sees a change later.
   * @default {"60s"}
   */
  readonly cacheTtl?: Duration | undefined;
  /**
   * The maximum time of one operation.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The clock of deadlines.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const OPTIONS = {
  prefix: true,
  cacheTtl: true,
  timeout: true,
  clock: true,
} satisfies OptionNames<WorkersKvStoreOptions>;

/**
 * A store on Workers KV. It reads in one operation (`getMany` in one per hundred keys) and writes in one.
 * `delete`, `deleteMany` and `touch` read first, because Workers KV does not tell whether a key was there; a
 * `touch` writes the value again.
 *
 * @throws {TypeError} when the first argument is no binding, for an unknown option
 * @throws {RangeError} when `prefix` takes more than 256 bytes, or `cacheTtl` is below 30 seconds
 * @category Stores
 * @example
 * ```ts ignore
 * import { workersKvStore } from "@holdfast/edge/workers-kv";
 * const store = workersKvStore(env.CACHE, { cacheTtl: "5m" });
 * const product = await store.get("product:rope");
 * ```
 */
export function workersKvStore(kv: KvNamespace, options: WorkersKvStoreOptions = {}): KeyValueStore {
  if (typeof kv?.getWithMetadata !== "function") {
    throw new TypeError("Cannot make a store as it needs the binding of a Workers KV namespace");
  }
  checkOptionNames("make a store", options, OPTIONS);
  const prefix = storePrefix(options.prefix ?? "holdfast");
  const cacheTtl = options.cacheTtl === undefined ? undefined : toMilliseconds(options.cacheTtl, "cacheTtl");
  if (cacheTtl !== undefined && cacheTtl < 30_000) {
    throw new RangeError(
      `Cannot make a store as 'cacheTtl' must be at least 30 seconds: current value is ${cacheTtl} ms`,
    );
  }
  const maxKeyBytes = MOST_KEY_BYTES - prefix.bytes - 1; // the colon takes one
  return keyValueStoreFromEngine(new WorkersKvEngine(kv, options, cacheTtl, prefix.text, maxKeyBytes));
}

/** Workers KV's own limits. */
const MOST_KEY_BYTES = 512;
const MOST_VALUE_BYTES = 25 * 1024 * 1024;
const MOST_READ = 100;
const MOST_LISTED = 1000;
const LEAST_TTL = 60;
/** The longest native expiry: a longer one does not fit its 32 bits. */
const MOST_TTL = 2 ** 31 - 1;

/**
 * The metadata of a value with a deadline, as native expiry is later by up to a minute: at most 1024 bytes,
 * this takes 30.
 */
interface Metadata {
  readonly e?: number;
}

class WorkersKvEngine implements KeyValueEngine {
  readonly name = "workers-kv";
  readonly limits: { readonly maxKeyBytes: number; readonly maxValueLength: number };
  readonly binding: object;
  readonly scope: string;
  readonly #kv: KvNamespace;
  readonly #prefix: string;
  readonly #cache: { cacheTtl?: number };
  readonly #timeout: number;
  readonly #clock: Clock;

  constructor(
    kv: KvNamespace,
    options: WorkersKvStoreOptions,
    cacheTtl: number | undefined,
    prefix: string,
    maxKeyBytes: number,
  ) {
    this.#kv = this.binding = kv;
    this.scope = prefix;
    // The escaped prefix holds no colon: the first one ends it.
    this.#prefix = prefix + ":";
    this.limits = { maxKeyBytes, maxValueLength: MOST_VALUE_BYTES };
    this.#cache = cacheTtl === undefined ? {} : { cacheTtl: Math.floor(cacheTtl / 1000) };
    this.#timeout = toMilliseconds(options.timeout ?? "10s", "timeout");
    this.#clock = options.clock ?? systemClock;
  }

  async get(key: string, options?: CallOptions): Promise<string | undefined> {
    return this.#live(
      await this.#run(
        () => this.#kv.getWithMetadata(this.#prefix + key, { type: "text", ...this.#cache }),
        options,
        false,
      ),
    );
  }

  async set(key: string, value: string, ttl: number | undefined, options?: CallOptions): Promise<void> {
    // A code unit takes at most three bytes: only long values need counting.
    if (value.length * 3 > MOST_VALUE_BYTES && new TextEncoder().encode(value).length > MOST_VALUE_BYTES) {
      throw new HoldfastError(
        "value-too-large",
        "Cannot store the value as Workers KV takes at most 25 MiB",
      );
    }
    const seconds = ttl === undefined ? Infinity : Math.max(LEAST_TTL, Math.ceil(ttl / 1000));
    const settings = {
      // Beyond 68 years the deadline in the metadata ends the value all the same.
      ...(seconds <= MOST_TTL && { expirationTtl: seconds }),
      ...(ttl !== undefined && { metadata: { e: this.#clock.now() + ttl } satisfies Metadata }),
    };
    await this.#run(() => this.#kv.put(this.#prefix + key, value, settings), options, true);
  }

  /**
   * Deletes an absent key too, as it may be present at another location. The value is read whole: to open it
   * as a stream and cancel that costs less, but ends a Node process that uses the binding through miniflare.
   */
  async delete(key: string, options?: CallOptions): Promise<boolean> {
    const live = await this.get(key, options) !== undefined;
    await this.#run(() => this.#kv.delete(this.#prefix + key), options, true);
    return live;
  }

  async touch(key: string, ttl: number, options?: CallOptions): Promise<boolean> {
    const value = await this.get(key, options);
    if (value === undefined) return false;
    await this.set(key, value, ttl, options);
    return true;
  }

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    const distinct = [...new Set(keys)];
    const values = new Map<string, string | undefined>();
    for (let i = 0; i < distinct.length; i += MOST_READ) {
      const some = distinct.slice(i, i + MOST_READ).map((key) => this.#prefix + key);
      const entries = await this.#bulk(some, options);
      for (const [key, entry] of entries) values.set(key.slice(this.#prefix.length), this.#live(entry));
    }
    return keys.map((key) => values.get(key));
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    let deleted = 0;
    for (let i = 0; i < keys.length; i += MOST_READ) {
      const some = keys.slice(i, i + MOST_READ);
      deleted += (await Promise.all(some.map((key) => this.delete(key, options)))).filter(Boolean).length;
    }
    return deleted;
  }

  /** A page whose keys have all expired is empty, and not the end: only a missing cursor is. */
  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const page = await this.#run(
      () =>
        this.#kv.list({
          prefix: this.#prefix + prefix,
          limit: Math.min(limit, MOST_LISTED),
          ...(cursor !== undefined && { cursor }),
        }),
      { signal },
      false,
    );
    const now = this.#clock.now();
    const keys = page.keys.filter(({ metadata }) => alive(metadata, now))
      .map(({ name }) => name.slice(this.#prefix.length));
    return page.list_complete || page.cursor === undefined ? { keys } : { keys, cursor: page.cursor };
  }

  /** A hundred values at once, or one by one where they are too large together. */
  async #bulk(
    keys: string[],
    options: CallOptions | undefined,
  ): Promise<Map<string, KvEntry | null>> {
    const settings = { type: "text" as const, ...this.#cache };
    try {
      return await this.#run(() => this.#kv.getWithMetadata(keys, settings), options, false);
    } catch (error) {
      // One value that is too large, or all of them together.
      if (!(error instanceof HoldfastError) || error.code !== "value-too-large") throw error;
      const one = (key: string) =>
        this.#run(() => this.#kv.getWithMetadata(key, settings), options, false).then((entry) =>
          [key, entry] as const
        );
      return new Map(await Promise.all(keys.map(one)));
    }
  }

  #live(entry: KvEntry | null): string | undefined {
    return entry === null || entry.value === null || !alive(entry.metadata, this.#clock.now())
      ? undefined
      : entry.value;
  }

  async #run<T>(work: () => Promise<T>, options: CallOptions | undefined, writes: boolean): Promise<T> {
    const signal = options?.signal;
    signal?.throwIfAborted();
    const late = () =>
      new HoldfastError("timeout", "Cannot use Workers KV as it did not reply in time", {
        retryable: true,
        ambiguous: writes,
      });
    try {
      return await withTimeout(work(), this.#timeout, signal, late);
    } catch (error) {
      if (signal?.aborted || error instanceof HoldfastError) throw error;
      throw kvFault(error, writes);
    }
  }
}

function alive(metadata: unknown, now: number): boolean {
  const { e } = Object(metadata) as Metadata;
  return e === undefined || now < e;
}
