import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { faultClass } from "../fault_class.ts";
import type { CallOptions, KeyValueStore } from "../store/key_value_store.ts";
import { checkOptionNames } from "../validate.ts";
import type {
  CachedValue,
  CacheEntryOptions,
  CacheGetOptions,
  Fill,
  PeekOptions,
  WeakCache,
} from "./cache.ts";
import { textOf, validated, valueOf } from "./cache_entry.ts";
import { type CachePlan, getPlan, setPlan } from "./cache_plan.ts";
import type { CacheSettings } from "./cache_settings.ts";

/** A value as a store that has no transitions keeps it. */
interface Envelope {
  /** The encoded value; absent where the origin had nothing. */
  readonly text?: string;
  readonly version: string;
  readonly filledAt: number;
  readonly freshUntil: number;
  readonly staleUntil: number;
  readonly until: number;
}

/**
 * A cache on a store without atomic changes. It keeps values and their times, and promises no more: two isolates may fill
 * a key at once, and a fill that began before `invalidate` may store its value after it.
 */
export class StoreWeakCache implements WeakCache {
  readonly #store: KeyValueStore;
  readonly #settings: CacheSettings;

  /** Sends nothing yet. */
  constructor(store: KeyValueStore, settings: CacheSettings) {
    this.#store = store.namespace(settings.name);
    this.#settings = settings;
  }

  async get<T>(key: string, fill: Fill<T>, options: CacheGetOptions<T>): Promise<T> {
    const plan = getPlan(options, this.#settings.maxLifetime);
    if (plan.tags.length > 0) {
      throw new TypeError(
        "Cannot cache the value as tags need a store with atomic changes: use an AtomicStore",
      );
    }
    const found = await this.#find(key, plan.version, plan.signal);
    const now = this.#settings.clock.now();
    if (found && now < found.freshUntil) return await validated<T>(valueOf(found.text), plan.schema);
    if (found && now < found.staleUntil && plan.waitUntil) {
      plan.waitUntil(this.#fill(key, fill, plan).catch(this.#settings.report));
      return await validated<T>(valueOf(found.text), plan.schema);
    }
    try {
      return await this.#fill(key, fill, plan);
    } catch (error) {
      if (found === undefined || now >= found.until) throw error;
      this.#settings.report(error);
      return valueOf<T>(found.text);
    }
  }

  async peek<T = unknown>(key: string, options: PeekOptions<T> = {}): Promise<CachedValue<T> | undefined> {
    checkOptionNames("look into the cache", options, { version: true, schema: true, signal: true });
    const found = await this.#store.get<Envelope>(key, { signal: options.signal });
    const now = this.#settings.clock.now();
    if (found === undefined || found.version !== (options.version ?? "") || now >= found.until) {
      return undefined;
    }
    const value = await validated<T>(valueOf(found.text), options.schema).catch(() => undefined);
    if (value === undefined && found.text !== undefined) return undefined;
    const state = found.text === undefined ? "absent" : now < found.freshUntil ? "fresh" : "stale";
    const remaining = Math.max(0, found.freshUntil - now);
    return { state, value: value as T, age: Math.max(0, now - found.filledAt), remaining };
  }

  async set(key: string, value: unknown, options: CacheEntryOptions): Promise<void> {
    const text = textOf(value);
    if (text === undefined) throw new TypeError("Cannot cache the value as it must not be undefined");
    await this.#put(key, text, setPlan(options, this.#settings.maxLifetime));
  }

  async invalidate(key: string | readonly string[], options?: CallOptions): Promise<void> {
    await this.#store.deleteMany(typeof key === "string" ? [key] : key, options);
  }

  async #find(key: string, version: string, signal: AbortSignal | undefined): Promise<Envelope | undefined> {
    try {
      const found = await this.#store.get<Envelope>(key, { signal });
      return found?.version === version ? found : undefined;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof HoldfastError)) throw error;
      this.#settings.report(error);
      if (faultClass(error) !== "outage" || this.#settings.whenUnavailable === "throw") throw error;
      return undefined;
    }
  }

  async #fill<T>(key: string, fill: Fill<T>, plan: CachePlan): Promise<T> {
    const signal = plan.fillTimeout === undefined
      ? new AbortController().signal
      : AbortSignal.timeout(toMilliseconds(plan.fillTimeout));
    const value = await validated<T>(await fill({ key, signal }), plan.schema);
    const text = textOf(value);
    if (text !== undefined || plan.absent !== undefined) {
      await this.#put(key, text, plan).catch(this.#settings.report);
    }
    return valueOf<T>(text);
  }

  async #put(key: string, text: string | undefined, plan: CachePlan): Promise<void> {
    const filledAt = this.#settings.clock.now();
    const ttl = text === undefined ? plan.absent! : plan.ttl;
    const lifetime = ttl + Math.max(plan.stale, plan.grace);
    const envelope: Envelope = {
      ...(text !== undefined && { text }),
      version: plan.version,
      filledAt,
      freshUntil: filledAt + ttl,
      staleUntil: filledAt + ttl + plan.stale,
      until: filledAt + lifetime,
    };
    await this.#store.set(key, envelope, { ttl: lifetime, signal: plan.signal });
  }
}
