/**
 * A cache on a shared store that cannot lie: what was invalidated is never answered again, although its fill
 * was under way, on another machine, or late.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { createCache } from "@holdfast/edge/cache";
 *
 * const cache = createCache(memoryStore(), { name: "products" });
 * const product = await cache.get("rope", () => ({ price: 12 }), { ttl: "5m", tags: ["catalogue"] });
 * await cache.invalidate("rope"); // or invalidateTags(["catalogue"])
 * ```
 *
 * Of all callers in all isolates one fills a key at a time. A value is fresh for `ttl`; then it may be
 * answered for `stale` longer while one caller refills it, and for `grace` longer where the origin fails.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { Schema } from "../schema.ts";
import type { EngineLimits } from "../store/engine.ts";
import type { CallOptions } from "../store/key_value_store.ts";

/**
 * Options of {@linkcode createCache}.
 *
 * @category Cache
 */
export interface CacheOptions {
  /** The namespace of the cache; two caches share keys and tags only when they share it. */
  readonly name: string;
  /** Keeps values in this isolate's memory too. A change made elsewhere is seen up to `ttl` late. */
  readonly near?: NearOptions | undefined;
  /**
   * The time for which the right to fill lasts without an extension: the time that a dead filler costs. It is
   * extended while the fill runs.
   * @default {"10s"}
   */
  readonly lease?: Duration | undefined;
  /**
   * The longest that a value may be kept, `stale` and `grace` included. Tags are remembered for twice as
   * long.
   * @default {"7d"}
   */
  readonly maxLifetime?: Duration | undefined;
  /**
   * The time that one call of the store may take, its retries included.
   * @default {"2s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The answer while the store is down: `"fill"` asks the origin, once per key and isolate at a time and for
   * 100 keys at most; `"throw"` throws the fault.
   * @default {"fill"}
   */
  readonly whenUnavailable?: "fill" | "throw" | undefined;
  /**
   * A callback for faults: a store that is down, a value that could not be stored, an origin's failure hidden
   * by `grace`.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The clock of leases and waits.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * The tier in this isolate's memory.
 *
 * @category Cache
 */
export interface NearOptions {
  /**
   * The time for which a value is answered without asking the store: the most that a change elsewhere is seen
   * late.
   */
  readonly ttl: Duration;
  /**
   * The most values kept; the one used longest ago goes first.
   * @default {1000}
   */
  readonly maxEntries?: number | undefined;
}

/**
 * The times for which a value is kept, and its tags.
 *
 * @category Cache
 */
export interface CacheEntryOptions extends CallOptions {
  /** The time for which a value is fresh. */
  readonly ttl: Duration;
  /**
   * The time after that for which it may be answered while one caller refills it in the background. Without a
   * `waitUntil` the caller that is to refill it waits for the fill instead.
   */
  readonly stale?: Duration | undefined;
  /**
   * The time after `ttl` for which it may be answered where the origin fails or takes longer than
   * `fillTimeout`.
   */
  readonly grace?: Duration | undefined;
  /** Names by which it can be invalidated together with others; up to 32. */
  readonly tags?: readonly string[] | undefined;
  /**
   * A name of the value's form. A value of another form is refilled: change it when what you cache changes.
   * @default {""}
   */
  readonly version?: string | undefined;
}

/**
 * Options of {@linkcode Cache.get}.
 *
 * @category Cache
 */
export interface CacheGetOptions<T = unknown> extends CacheEntryOptions {
  /** The time for which the origin's "there is nothing" (`undefined`) is kept. Without it, it is not kept. */
  readonly absent?: Duration | undefined;
  /**
   * The eagerness with which a value is refilled before its time, so that no two callers ever meet an expired
   * one: XFetch's beta, on the measured time of the last fill.
   *
   * @see https://www.vldb.org/pvldb/vol8/p886-vattani.pdf
   * @default {0}
   */
  readonly early?: number | undefined;
  /**
   * Asks the origin although a fresh value is cached. Other callers get the cached one meanwhile; a caller
   * that finds the refill under way gets its value.
   * @default {false}
   */
  readonly refresh?: boolean | undefined;
  /**
   * Lets a refill in the background outlive the request: `ctx.waitUntil` on Workers,
   * `c.executionCtx.waitUntil` in Hono.
   */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined;
  /** Checks what is cached and what is filled. What does not match in the store is refilled. */
  readonly schema?: Schema<T> | undefined;
  /**
   * The longest that a fill may take; then its signal aborts, `grace` answers or the call rejects with
   * `timeout`, and the next caller fills.
   * @default {"1m"}
   */
  readonly fillTimeout?: Duration | undefined;
}

/**
 * The argument of a fill.
 *
 * @category Cache
 */
export interface FillContext<T = unknown> {
  /** The key. */
  readonly key: string;
  /** Aborts when the fill takes too long, or its right to fill is lost. */
  readonly signal: AbortSignal;
  /**
   * The value that is to be replaced, where it is kept still: to ask the origin whether it has changed.
   * `undefined` where there is none, or it was invalidated.
   */
  readonly previous: T | undefined;
  /** Sets how long this value is kept, where only the origin knows; `false`: it is answered and not kept. */
  keep(lifetime: FillLifetime | false): void;
}

/**
 * The argument of {@linkcode FillContext.keep}: what is left out is as the call says. It is cut to
 * `maxLifetime`.
 *
 * @category Cache
 */
export interface FillLifetime {
  /**
   * The time for which the value is fresh; `0`: not at all, it is kept for `stale`, for `grace` and as
   * `previous`.
   */
  readonly ttl?: Duration | undefined;
  /** The time after that for which it may be answered while it is refilled; `0`: not at all. */
  readonly stale?: Duration | undefined;
  /** The time after `ttl` for which it may be answered where the origin fails; `0`: not at all. */
  readonly grace?: Duration | undefined;
}

/**
 * Asks the origin for one value; `undefined` says that there is none.
 *
 * @category Cache
 */
export type Fill<T> = (context: FillContext<T>) => T | Promise<T>;

/**
 * Asks the origin for several values, in the order of the keys; `undefined` says that there is none.
 *
 * @category Cache
 */
export type FillMany<T> = (keys: readonly string[], context: Pick<FillContext, "signal">) =>
  | readonly T[]
  | Promise<readonly T[]>;

/**
 * A value with its source, its age and its times.
 *
 * @category Cache
 */
export interface CacheAnswer<T = unknown> {
  /**
   * `hit`: cached and fresh. `stale`: cached, and refilled meanwhile. `filled`: the origin's. `grace`: cached
   * and expired, as the origin failed. `uncached`: the origin's, as the store is down.
   */
  readonly state: "hit" | "stale" | "filled" | "grace" | "uncached";
  /** The value. */
  readonly value: T;
  /** Milliseconds since it was filled. */
  readonly age: number;
  /** Milliseconds for which it stays fresh; 0 when it is not. */
  readonly remaining: number;
  /** Whether the call waited for the fill of another one. */
  readonly waited: boolean;
  /** The failure that `grace` hides. */
  readonly error?: unknown;
}

/**
 * The answer of {@linkcode Cache.peek}: a cached value and its times.
 *
 * @category Cache
 */
export interface CachedValue<T = unknown> {
  /** `absent`: the origin had nothing. */
  readonly state: "fresh" | "stale" | "absent";
  /** The value; `undefined` where it is absent. */
  readonly value: T;
  /** Milliseconds since it was filled. */
  readonly age: number;
  /** Milliseconds until it is no longer fresh; 0 when it is stale. */
  readonly remaining: number;
}

/**
 * Options of {@linkcode WeakCache.get}: without tags, which need atomic changes, and what needs a lease.
 *
 * @category Cache
 */
export type WeakCacheGetOptions<T = unknown> = Omit<CacheGetOptions<T>, "tags" | "early">;

/**
 * Options of {@linkcode WeakCache.set}.
 *
 * @category Cache
 */
export type WeakCacheEntryOptions = Omit<CacheEntryOptions, "tags">;

/**
 * A cache that keeps what any {@linkcode KeyValueStore} can promise.
 *
 * @category Cache
 */
export interface WeakCache {
  /**
   * The cached value, or the origin's. The origin's error is thrown as it is, unless `grace` has a value.
   *
   * @throws {TypeError} for an invalid key or option, and when JSON cannot hold the value
   */
  get<T>(key: string, fill: Fill<T>, options: WeakCacheGetOptions<T>): Promise<T>;
  /** The cached value, without a fill; `undefined` when there is none. */
  peek<T = unknown>(key: string, options?: PeekOptions<T>): Promise<CachedValue<T> | undefined>;
  /** Stores a value. */
  set(key: string, value: unknown, options: WeakCacheEntryOptions): Promise<void>;
  /** Deletes values. */
  invalidate(key: string | readonly string[], options?: CallOptions): Promise<void>;
}

/**
 * Options of {@linkcode WeakCache.peek}.
 *
 * @category Cache
 */
export interface PeekOptions<T = unknown> extends CallOptions {
  /** The name of the value's form. */
  readonly version?: string | undefined;
  /** Checks the value; one that does not match counts as not cached. */
  readonly schema?: Schema<T> | undefined;
}

/**
 * A cache on an atomic store. After `invalidate`, `invalidateTags` or `set` was acknowledged, no call that
 * begins later, in any isolate, answers what was there before; the near tier alone may, for `near.ttl`.
 * `expire` ends the `ttl` alone: `stale` and `grace` count from then.
 *
 * @category Cache
 */
export interface Cache extends WeakCache {
  /** The limits of the engine. */
  readonly limits: EngineLimits;
  /**
   * The cached value, or the origin's. The origin's error is thrown as it is, unless `grace` has a value.
   *
   * @throws {TypeError} for an invalid key or option, and when JSON cannot hold the value
   */
  get<T>(key: string, fill: Fill<T>, options: CacheGetOptions<T>): Promise<T>;
  /** As {@linkcode Cache.get}, with the source of the value and its times: for metrics, or a header field. */
  resolve<T>(key: string, fill: Fill<T>, options: CacheGetOptions<T>): Promise<CacheAnswer<T>>;
  /** Stores a value. */
  set(key: string, value: unknown, options: CacheEntryOptions): Promise<void>;
  /** The same for several keys, in their order, with one call of the origin for all that are missing. */
  getMany<T>(keys: readonly string[], fill: FillMany<T>, options: CacheGetOptions<T>): Promise<T[]>;
  /**
   * Ends the value's `ttl` now: its `stale` and `grace` count from now, and without them nothing is left;
   * `false` where nothing is cached.
   */
  expire(key: string, options?: CallOptions): Promise<boolean>;
  /** Invalidates every value that was filled or set with one of the tags. */
  invalidateTags(tags: readonly string[], options?: CallOptions): Promise<void>;
}
