import { type Clock, systemClock } from "../../src/clock.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import type { EngineListOptions, KeyValueEngine } from "../../src/store/engine.ts";
import type { CallOptions, KeyValueStore, ListPage } from "../../src/store/key_value_store.ts";
import { keyValueStore } from "../../src/store/store.ts";
import { withTimeout } from "../../src/deadline.ts";

/** A value with its metadata, as Workers KV answers it. */
export interface KvEntry<Value> {
  /** The value, or null. */
  readonly value: Value | null;
  /** What was stored beside it. */
  readonly metadata: unknown;
}

/** What we use of a `KVNamespace`, by shape: the binding from `env`. */
export interface KvNamespace {
  /** Reads one text. */
  getWithMetadata(key: string, options: { type: "text"; cacheTtl?: number }): Promise<KvEntry<string>>;
  /** Opens one value. */
  getWithMetadata(
    key: string,
    options: { type: "stream"; cacheTtl?: number },
  ): Promise<KvEntry<{ cancel(): Promise<void> }>>;
  /** Reads up to a hundred texts. */
  getWithMetadata(
    keys: string[],
    options: { type: "text"; cacheTtl?: number },
  ): Promise<Map<string, KvEntry<string> | null>>;
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

/** Options of {@linkcode workersKvStore}. */
export interface WorkersKvStoreOptions {
  /**
   * What every key begins with; nothing outside it is ever touched. Never empty: Workers KV refuses some bare keys.
   * @default {"holdfast:"}
   */
  readonly prefix?: string;
  /**
   * How long a place may answer a read from its own cache, 30 seconds at least: longer is faster and cheaper, and staler.
   * @default {"60s"}
   */
  readonly cacheTtl?: Duration;
  /**
   * How long until an operation counts as lost.
   * @default {"10s"}
   */
  readonly timeout?: Duration;
  /**
   * Whose time decides about deadlines.
   * @default {systemClock}
   */
  readonly clock?: Clock;
}

/**
 * A store on Workers KV. It reads in one operation (`getMany` in one per hundred keys) and writes in one. `delete`, `deleteMany`
 * and `touch` read first, because Workers KV does not say whether there was something; a `touch` writes the value again.
 *
 * @throws {TypeError} when the first argument is no binding
 * @throws {RangeError} when `prefix` does not take 1 to 256 bytes, or `cacheTtl` is below 30 seconds
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
  const prefixBytes = new TextEncoder().encode(options.prefix ?? PREFIX).length;
  if (prefixBytes < 1 || prefixBytes > 256) {
    throw new RangeError(
      `Cannot make a store as 'prefix' must take 1 to 256 bytes: current value takes ${prefixBytes}`,
    );
  }
  const cacheTtl = options.cacheTtl === undefined ? undefined : toMilliseconds(options.cacheTtl, "cacheTtl");
  if (cacheTtl !== undefined && cacheTtl < 30_000) {
    throw new RangeError(
      `Cannot make a store as 'cacheTtl' must be at least 30 seconds: current value is ${cacheTtl} ms`,
    );
  }
  return keyValueStore(new WorkersKvEngine(kv, options, cacheTtl, MOST_KEY_BYTES - prefixBytes));
}

const PREFIX = "holdfast:";

/** Workers KV's own limits. */
const MOST_KEY_BYTES = 512;
const MOST_VALUE_BYTES = 25 * 1024 * 1024;
const MOST_READ = 100;
const MOST_LISTED = 1000;
const LEAST_TTL = 60;

/** Kept beside a value that has a deadline, which native expiry only rounds up: 1024 bytes at most, this takes 30. */
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
    maxKeyBytes: number,
  ) {
    this.#kv = this.binding = kv;
    this.#prefix = this.scope = options.prefix ?? PREFIX;
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
    const settings = ttl === undefined ? {} : {
      expirationTtl: Math.max(LEAST_TTL, Math.ceil(ttl / 1000)),
      metadata: { e: this.#clock.now() + ttl } satisfies Metadata,
    };
    await this.#run(() => this.#kv.put(this.#prefix + key, value, settings), options, true);
  }

  /** Deletes what was not there too: it may be, elsewhere. */
  async delete(key: string, options?: CallOptions): Promise<boolean> {
    const entry = await this.#run(
      () => this.#kv.getWithMetadata(this.#prefix + key, { type: "stream", ...this.#cache }),
      options,
      false,
    );
    await entry.value?.cancel();
    await this.#run(() => this.#kv.delete(this.#prefix + key), options, true);
    return this.#live(entry) !== undefined;
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

  /** Only a missing cursor is the end: a page may be empty. */
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
  ): Promise<Map<string, KvEntry<string> | null>> {
    const settings = { type: "text" as const, ...this.#cache };
    try {
      return await this.#run(() => this.#kv.getWithMetadata(keys, settings), options, false);
    } catch (error) {
      if (!(error instanceof HoldfastError) || !String(error.cause).includes("413")) throw error;
      const one = (key: string) =>
        this.#run(() => this.#kv.getWithMetadata(key, settings), options, false).then((entry) =>
          [key, entry] as const
        );
      return new Map(await Promise.all(keys.map(one)));
    }
  }

  #live<Value>(entry: KvEntry<Value> | null): Value | undefined {
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
      throw fault(error, writes);
    }
  }
}

function alive(metadata: unknown, now: number): boolean {
  const { e } = Object(metadata) as Metadata;
  return e === undefined || now < e;
}

/** Workers KV says the status in the message, and nowhere else. */
function fault(cause: unknown, writes: boolean): HoldfastError {
  const status = Number(/\b([45]\d\d)\b/.exec(String(cause))?.[1]);
  if (status === 429) {
    return new HoldfastError("backend-unavailable", "Cannot write as Workers KV takes one write a second", {
      retryable: true,
      retryAfter: 1000,
      cause,
    });
  }
  const refused = status >= 400 && status < 500;
  return new HoldfastError("backend-unavailable", "Cannot use Workers KV as its operation failed", {
    retryable: !refused,
    ambiguous: writes && !refused,
    cause,
  });
}
