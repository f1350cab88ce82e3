import { interruptible } from "../deadline.ts";
import type { CallOptions, KeyValueStore } from "../store/key_value_store.ts";
import { askOrigin } from "./ask_origin.ts";
import type {
  CachedValue,
  Fill,
  PeekOptions,
  WeakCache,
  WeakCacheEntryOptions,
  WeakCacheGetOptions,
} from "./cache.ts";
import { cachedValue, checkPeek, givenText, textOf, validated, valueOf } from "./cache_entry.ts";
import { type CachePlan, getPlan, keysOf, setPlan } from "./cache_plan.ts";
import type { CacheSettings } from "./cache_settings.ts";
import { type RunningFill, sharedFill } from "./shared_fill.ts";

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
 * A cache on a store without atomic changes. It keeps values and their times, and promises no more: two
 * isolates may fill a key at once, and a fill that began before `invalidate` may store its value after it.
 * Within an isolate one call fills.
 */
export class StoreWeakCache implements WeakCache {
  readonly #store: KeyValueStore;
  readonly #settings: CacheSettings;
  /** Fills of this isolate that are under way, by key and form. */
  readonly #fills = new Map<string, RunningFill>();

  /** Sends nothing yet. */
  constructor(store: KeyValueStore, settings: CacheSettings) {
    this.#store = store.namespace(settings.name);
    this.#settings = settings;
  }

  async get<T>(key: string, fill: Fill<T>, options: WeakCacheGetOptions<T>): Promise<T> {
    const plan = getPlan(fill, options, this.#settings.maxLifetime);
    refuseTags(options);
    plan.signal?.throwIfAborted();
    const found = await this.#find(key, plan.version, plan.schema, plan.signal);
    const now = this.#settings.clock.now();
    if (found && now < found.freshUntil && !plan.refresh) return found.value as T;
    if (found && now < found.staleUntil && plan.waitUntil && !plan.refresh) {
      plan.waitUntil(this.#once(key, fill, plan, found.value as T).catch(this.#settings.report));
      return found.value as T;
    }
    try {
      const work = this.#once(key, fill, plan, found?.value as T | undefined);
      plan.waitUntil?.(work);
      return await interruptible(work, plan.signal);
    } catch (error) {
      plan.signal?.throwIfAborted();
      if (found === undefined || now >= found.until) throw error;
      this.#settings.report(error);
      return found.value as T;
    }
  }

  async peek<T = unknown>(key: string, options: PeekOptions<T> = {}): Promise<CachedValue<T> | undefined> {
    checkPeek(options);
    const found = await this.#store.get<Envelope>(key, { signal: options.signal });
    const now = this.#settings.clock.now();
    if (found === undefined || found.version !== (options.version ?? "") || now >= found.until) {
      return undefined;
    }
    const { text, filledAt, freshUntil } = found;
    const times = { age: Math.max(0, now - filledAt), fresh: Math.max(0, freshUntil - now) };
    return await cachedValue({ text, ...times }, options.schema);
  }

  async set(key: string, value: unknown, options: WeakCacheEntryOptions): Promise<void> {
    const plan = setPlan(options, this.#settings.maxLifetime);
    refuseTags(options);
    const text = givenText(value);
    await this.#put(key, text, plan);
  }

  async invalidate(key: string | readonly string[], options?: CallOptions): Promise<void> {
    await this.#store.deleteMany(keysOf(key), options);
  }

  /** The envelope of a value of the right form, and the value. */
  async #find(
    key: string,
    version: string,
    schema: CachePlan["schema"],
    signal: AbortSignal | undefined,
  ): Promise<Envelope & { readonly value: unknown } | undefined> {
    let found: Envelope | undefined;
    try {
      found = await this.#store.get<Envelope>(key, { signal });
    } catch (error) {
      signal?.throwIfAborted();
      this.#settings.overlook(error);
      return undefined;
    }
    if (found?.version !== version) return undefined;
    try {
      return { ...found, value: await validated(valueOf(found.text), schema) };
    } catch {
      return undefined; // of another form: it is refilled
    }
  }

  #once<T>(key: string, fill: Fill<T>, plan: CachePlan, previous: T | undefined): Promise<T> {
    const name = JSON.stringify([key, plan.version]);
    const { lease } = this.#settings;
    const bounds = { number: 0, latest: () => 0, patience: lease, signal: undefined };
    return sharedFill(this.#fills, name, bounds, () => this.#fill(key, fill, plan, previous));
  }

  async #fill<T>(key: string, fill: Fill<T>, plan: CachePlan, previous: T | undefined): Promise<T> {
    const { maxLifetime } = this.#settings;
    const { value, plan: kept } = await askOrigin({ key, fill, plan }, undefined, previous, maxLifetime);
    const text = textOf(value);
    if (kept !== undefined && (text !== undefined || kept.absent !== undefined)) {
      await this.#put(key, text, kept).catch(this.#settings.report);
    }
    return valueOf<T>(text);
  }

  async #put(key: string, text: string | undefined, plan: CachePlan): Promise<void> {
    const filledAt = this.#settings.clock.now();
    const ttl = text === undefined ? plan.absent! : plan.ttl;
    const lifetime = ttl + Math.max(plan.stale, plan.grace);
    if (lifetime <= 0) return;
    const envelope: Envelope = {
      ...(text !== undefined && { text }),
      version: plan.version,
      filledAt,
      freshUntil: filledAt + ttl,
      staleUntil: filledAt + ttl + plan.stale,
      until: filledAt + lifetime,
    };
    // The store's fault is the caller's only in `set`. A caller's signal ends the call, not what others wait
    // for.
    await this.#store.set(key, envelope, { ttl: lifetime });
  }
}

/** Refuses options that need atomic changes, whatever their values. */
function refuseTags(options: object): void {
  if ("tags" in options || "early" in options) {
    throw new TypeError("Cannot cache the value as 'tags' and 'early' need an AtomicStore");
  }
}
