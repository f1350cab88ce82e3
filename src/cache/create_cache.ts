import { interruptible, withTimeout } from "../deadline.ts";
import { HoldfastError } from "../errors.ts";
import { faultClass } from "../fault_class.ts";
import { Lease } from "../lease.ts";
import { retry } from "../retry.ts";
import { randomToken } from "../secret.ts";
import type { AtomicStore, TransactOptions } from "../store/atomic_store.ts";
import { ChangeWait } from "../store/change_wait.ts";
import type { CallOptions, KeyValueStore } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { checkOptionNames } from "../validate.ts";
import type {
  Cache,
  CachedValue,
  CacheEntryOptions,
  CacheGetOptions,
  CacheOptions,
  Fill,
  FillMany,
  PeekOptions,
  WeakCache,
} from "./cache.ts";
import {
  type CacheEntry,
  type Look,
  readEntry,
  tagNames,
  tagText,
  textOf,
  validated,
  valueOf,
} from "./cache_entry.ts";
import { type CachePlan, checkTags, getPlan, setPlan } from "./cache_plan.ts";
import {
  abandonFill,
  expireCache,
  extendFill,
  fillCache,
  invalidateCache,
  putCache,
  raiseTag,
  readCache,
} from "./cache_transitions.ts";
import { type CacheSettings, settingsOf } from "./cache_settings.ts";
import { FillBatch } from "./fill_batch.ts";
import { FillFlights } from "./fill_flights.ts";
import { StoreWeakCache } from "./weak_cache.ts";

/**
 * A cache over a store. On a {@linkcode KeyValueStore} that cannot change a key atomically it is a {@linkcode WeakCache}:
 * two isolates may fill at once, and a fill under way may bring back what was invalidated.
 *
 * @throws {TypeError} when the name is missing or an option is unknown
 * @throws {RangeError} when a duration or a count cannot be
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { createCache } from "@holdfast/edge/cache";
 *
 * const cache = createCache(memoryStore(), { name: "products" });
 * let asked = 0;
 * const price = () => cache.get("rope", () => ({ price: 10 + ++asked }), { ttl: "5m" });
 * const [first, second] = [await price(), await price()];
 * await cache.invalidate("rope");
 * const third = await price();
 * if (first.price !== 11 || second.price !== 11 || third.price !== 12) throw new Error("unexpected");
 * ```
 */
export function createCache(store: AtomicStore, options: CacheOptions): Cache;
export function createCache(store: KeyValueStore, options: CacheOptions): WeakCache;
export function createCache(store: AtomicStore | KeyValueStore, options: CacheOptions): WeakCache {
  const settings = settingsOf(options);
  return "transact" in store ? new StoreCache(store, settings) : new StoreWeakCache(store, settings);
}

/** The longest pause between two looks at a fill on an engine that cannot notify, in milliseconds. */
const MAX_BACKOFF = 250;
/** Fills at once in this isolate while the store is down. */
const MAX_UNCACHED_FILLS = 100;

/** What a record holds beside its value, tags included, in UTF-16 code units. */
const RECORD_OVERHEAD = 2048;

/** A fill that was granted. */
interface Grant {
  readonly filler: string;
  /** The engine's name of the grant. */
  readonly grant: string;
  /** Monotonic, before the read that got it was sent. */
  readonly sentAt: number;
  readonly tags: string;
  /** The counter of the near tier's changes when the fill began. */
  readonly changes: number;
}

class StoreCache implements Cache {
  readonly #store: AtomicStore;
  readonly #tags: AtomicStore;
  readonly #settings: CacheSettings;
  readonly #flights = new FillFlights();
  /** Fills without the store, by key. */
  readonly #uncached = new Map<string, Promise<unknown>>();

  constructor(store: AtomicStore, settings: CacheSettings) {
    this.#store = store.namespace(settings.name);
    this.#tags = this.#store.namespace("tags");
    this.#settings = settings;
  }

  async get<T>(key: string, fill: Fill<T>, options: CacheGetOptions<T>): Promise<T> {
    const plan = getPlan(options, this.#settings.maxLifetime);
    plan.signal?.throwIfAborted();
    const near = await this.#near<T>(key, plan);
    return near ? near.value : await this.#get(key, fill, plan);
  }

  async getMany<T>(keys: readonly string[], fill: FillMany<T>, options: CacheGetOptions<T>): Promise<T[]> {
    const plan = getPlan(options, this.#settings.maxLifetime);
    plan.signal?.throwIfAborted();
    const batch = new FillBatch(keys, fill);
    return await Promise.all(keys.map(async (key, i) => {
      const near = await this.#near<T>(key, plan);
      try {
        return near ? near.value : await this.#get<T>(key, batch.fillOf(i), plan, () => batch.looked(i));
      } finally {
        batch.looked(i); // whatever came of this key, the others do not wait for it
      }
    }));
  }

  /** The value in this isolate's memory, if it is of the right form. */
  async #near<T>(key: string, plan: CachePlan): Promise<{ readonly value: T } | undefined> {
    const found = this.#settings.near?.find(key, kindOf(plan));
    if (found === undefined) return undefined;
    if (plan.schema === undefined) return { value: valueOf(found.text) };
    return await validated<T>(valueOf(found.text), plan.schema).then((value) => ({ value }), () => undefined);
  }

  /** Looks until there is an answer. `looked` hears of a first look that grants no fill. */
  async #get<T>(key: string, fill: Fill<T>, plan: CachePlan, looked: () => void = () => {}): Promise<T> {
    const filler = randomToken(12);
    const wait = new ChangeWait(this.#store, key, this.#settings.clock, plan.signal);
    const began = this.#flights.count;
    try {
      for (let round = 0;; round++) {
        const changes = this.#settings.near?.changes ?? 0;
        let look: Look;
        try {
          look = await this.#look(key, plan, filler, wait.options());
        } catch (error) {
          return await this.#withoutStore(error, key, fill, plan);
        }
        const { entry, tags, grant, sentAt, busy } = look;
        if (grant === undefined) looked();
        if (entry && (entry.fresh > 0 || entry.stale > 0) && grant === undefined) {
          if (entry.fresh > 0) this.#settings.near?.keep(key, kindOf(plan), entry.text, entry.fresh, changes);
          return entry.value as T;
        }
        // A fill that failed meanwhile is this caller's answer: a round asks a failing origin once.
        const failure = this.#flights.failureSince(key, began);
        if (failure) {
          looked();
          if (grant !== undefined) await this.#abandon(key, { filler, grant });
          return graceOf<T>(entry, failure.error, this.#settings.report);
        }
        if (grant !== undefined) {
          return await this.#refill(key, fill, plan, entry, { filler, grant, sentAt, tags, changes });
        }
        this.#flights.enter(key, wait);
        const backoff = Math.min(MAX_BACKOFF, 10 * 2 ** round) * (0.5 + Math.random() / 2);
        await wait.next({ longest: (busy ?? 0) + 1, backoff });
      }
    } finally {
      this.#flights.leave(key, wait);
    }
  }

  /** One look at the key and its tags, in one trip; a second where what is cached is out of date. */
  async #look(
    key: string,
    plan: CachePlan,
    filler: string | undefined,
    options: TransactOptions,
  ): Promise<Look> {
    const { clock, lease } = this.#settings;
    const input: Record<string, string> = { schema: plan.version };
    if (filler !== undefined) {
      input.filler = filler;
      input.lease = String(lease);
      // XFetch: minus the logarithm of a random number, times beta, is how many fill durations early.
      if (plan.early > 0) input.early = String(Math.round(-Math.log(1 - Math.random()) * plan.early * 1000));
    }
    let sentAt = clock.monotonic();
    const [first, tags] = await Promise.all([
      this.#transact(readCache, key, input, options),
      this.#tagText(plan.tags, options),
    ]);
    let output = first;
    let entry = await this.#usable(first, tags, plan);
    if (entry === undefined && first.tags !== undefined) {
      // Something is cached that must not be answered: it is passed over by name, so that it can be refilled.
      sentAt = clock.monotonic();
      output = await this.#transact(readCache, key, { ...input, outdated: first.tags }, options);
      entry = await this.#usable(output, tags, plan);
    }
    return {
      entry,
      tags,
      grant: output.grant,
      sentAt,
      busy: output.busy === undefined ? undefined : Number(output.busy),
    };
  }

  /** The entry, if its tags are those of now and its value is of the right form. */
  async #usable(output: Fields, tags: string, { schema }: CachePlan): Promise<CacheEntry | undefined> {
    const entry = readEntry(output);
    if (entry === undefined || entry.tags !== tags) return undefined;
    if (schema === undefined) return entry;
    try {
      return { ...entry, value: await validated(entry.value, schema) };
    } catch {
      return undefined;
    }
  }

  /** Fills what this caller was granted: before it answers, or after it where there is something to answer meanwhile. */
  async #refill<T>(
    key: string,
    fill: Fill<T>,
    plan: CachePlan,
    entry: CacheEntry | undefined,
    grant: Grant,
  ): Promise<T> {
    const { waitUntil } = plan;
    const work = this.#fill(key, fill, plan, grant);
    work.catch(() => {}); // its error is the caller's below, or reported
    waitUntil?.(work.catch(() => {}));
    if (waitUntil && entry && (entry.fresh > 0 || entry.stale > 0)) {
      work.catch(this.#settings.report);
      return entry.value as T;
    }
    try {
      return await interruptible(work, plan.signal);
    } catch (error) {
      plan.signal?.throwIfAborted();
      return graceOf<T>(entry, error, this.#settings.report);
    }
  }

  /** Asks the origin under the lease, stores its answer, and answers what later callers get. */
  async #fill<T>(key: string, fill: Fill<T>, plan: CachePlan, grant: Grant): Promise<T> {
    const { clock, lease: length } = this.#settings;
    const lease = new Lease({
      clock,
      length,
      sentAt: grant.sentAt,
      renew: true,
      extend: async (length, signal) => {
        const input = { filler: grant.filler, grant: grant.grant, lease: String(length) };
        return (await this.#transact(extendFill, key, input, { signal })).done === "1";
      },
      lost: (why) => new HoldfastError("claim-lost", `Cannot go on with the fill as ${why}`),
    });
    const began = clock.monotonic();
    try {
      const value = await this.#ask(key, fill, plan, lease.signal);
      const text = textOf(value);
      const took = Math.ceil(clock.monotonic() - began);
      lease.end();
      await this.#keep(key, plan, text, took, grant);
      this.#flights.land(key);
      return valueOf(text);
    } catch (error) {
      lease.end();
      this.#flights.land(key, { error });
      await this.#abandon(key, grant);
      throw error;
    }
  }

  /** The origin's answer, in time and of the right form. */
  async #ask<T>(key: string, fill: Fill<T>, plan: CachePlan, held: AbortSignal): Promise<T> {
    const { fillTimeout } = plan;
    const over = new AbortController();
    const signal = fillTimeout === undefined ? held : AbortSignal.any([held, over.signal]);
    const work = Promise.resolve(fill({ key, signal })).then((value) => validated<T>(value, plan.schema));
    if (fillTimeout === undefined) return await work;
    return await withTimeout(work, fillTimeout, undefined, () => {
      const error = new HoldfastError(
        "timeout",
        `Cannot fill the value as the origin took over ${fillTimeout} ms`,
        {
          retryable: true,
        },
      );
      over.abort(error);
      return error;
    });
  }

  /** Stores what was filled. Whatever becomes of that, it is the caller's: a failure is reported. */
  async #keep(
    key: string,
    plan: CachePlan,
    text: string | undefined,
    took: number,
    grant: Grant,
  ): Promise<void> {
    if (text === undefined && plan.absent === undefined) return await this.#abandon(key, grant);
    const { maxValueLength } = this.#store.limits;
    if (text !== undefined && text.length + RECORD_OVERHEAD > maxValueLength) {
      this.#settings.report(
        new HoldfastError(
          "value-too-large",
          `Cannot cache the value as ${this.#store.engine} takes at most ${maxValueLength}: current length is ${text.length}`,
        ),
      );
      return await this.#abandon(key, grant);
    }
    const input: Record<string, string> = entryInput(plan, text, took, grant.tags);
    input.filler = grant.filler;
    input.grant = grant.grant;
    try {
      const { done } = await this.#transact(fillCache, key, input);
      if (done === "1") {
        this.#settings.near?.keep(key, kindOf(plan), text, Number(input.ttl), grant.changes);
      }
    } catch (error) {
      this.#settings.report(error);
      await this.#abandon(key, grant);
    }
  }

  async #abandon(key: string, { filler, grant }: Pick<Grant, "filler" | "grant">): Promise<void> {
    // The lease ends by itself where this fails.
    await this.#transact(abandonFill, key, { filler, grant }).catch(this.#settings.report);
  }

  /** The answer of the origin while the store is down: one call a key at a time. */
  async #withoutStore<T>(error: unknown, key: string, fill: Fill<T>, plan: CachePlan): Promise<T> {
    plan.signal?.throwIfAborted();
    if (!(error instanceof HoldfastError)) throw error;
    this.#settings.report(error);
    if (faultClass(error) !== "outage" || this.#settings.whenUnavailable === "throw") throw error;
    let work = this.#uncached.get(key) as Promise<T> | undefined;
    if (work === undefined) {
      if (this.#uncached.size >= MAX_UNCACHED_FILLS) throw error;
      work = this.#ask(key, fill, plan, new AbortController().signal).then((value) =>
        valueOf<T>(textOf(value))
      );
      this.#uncached.set(key, work);
      const done = () => void this.#uncached.delete(key);
      work.then(done, done);
      return await interruptible(work, plan.signal);
    }
    // Another request's fill may never settle: on Workers it ends with its request. Then this one asks by itself.
    const late = Symbol();
    const { lease } = this.#settings;
    const shared = await withTimeout(work, lease, plan.signal, () => new Error("late")).catch((failed) => {
      if (failed instanceof Error && failed.message === "late") return late;
      throw failed;
    });
    if (shared !== late) return shared as T;
    this.#uncached.delete(key);
    return await interruptible(this.#ask(key, fill, plan, new AbortController().signal), plan.signal);
  }

  async peek<T = unknown>(key: string, options: PeekOptions<T> = {}): Promise<CachedValue<T> | undefined> {
    checkOptionNames("look into the cache", options, { version: true, schema: true, signal: true });
    const { version = "", schema, signal } = options;
    const entry = readEntry(await this.#transact(readCache, key, { schema: version }, { signal }));
    if (entry === undefined) return undefined;
    if (entry.tags !== await this.#tagText(tagNames(entry.tags), { signal })) return undefined;
    const value = await validated<T>(valueOf(entry.text), schema).catch(() => NO_VALUE);
    if (value === NO_VALUE) return undefined;
    const state = entry.text === undefined ? "absent" : entry.fresh > 0 ? "fresh" : "stale";
    return { state, value: value as T, age: entry.age, remaining: entry.fresh };
  }

  async set(key: string, value: unknown, options: CacheEntryOptions): Promise<void> {
    const plan = setPlan(options, this.#settings.maxLifetime);
    const text = textOf(value);
    if (text === undefined) throw new TypeError("Cannot cache the value as it must not be undefined");
    const changing = [key];
    this.#settings.near?.forget(changing);
    try {
      const { signal } = plan;
      const tags = await this.#tagText(plan.tags, { signal });
      const input = { ...entryInput(plan, text, 0, tags), id: randomToken(12) };
      await this.#transact(putCache, key, input, { signal });
    } finally {
      this.#settings.near?.forget(changing);
      this.#flights.land(key);
    }
  }

  async invalidate(key: string | readonly string[], options: CallOptions = {}): Promise<void> {
    const keys = typeof key === "string" ? [key] : key;
    this.#settings.near?.forget(keys);
    try {
      // A copy that arrives late costs a fill and nothing else.
      await Promise.all(keys.map((key) => this.#transact(invalidateCache, key, {}, options)));
    } finally {
      this.#settings.near?.forget(keys);
      for (const key of keys) this.#flights.land(key);
    }
  }

  async expire(key: string, options: CallOptions = {}): Promise<boolean> {
    this.#settings.near?.forget([key]);
    try {
      return (await this.#transact(expireCache, key, {}, options)).done === "1";
    } finally {
      this.#settings.near?.forget([key]);
    }
  }

  async invalidateTags(tags: readonly string[], options: CallOptions = {}): Promise<void> {
    const names = checkTags(tags);
    const { signal } = options;
    const input = { id: randomToken(6), ttl: String(2 * this.#settings.maxLifetime) };
    this.#settings.near?.forget();
    try {
      await Promise.all(
        names.map((name) =>
          this.#persist(() => this.#tags.transact(raiseTag, name, input, { signal }), signal)
        ),
      );
    } finally {
      this.#settings.near?.forget();
    }
  }

  async #tagText(names: readonly string[], { signal }: CallOptions): Promise<string> {
    if (names.length === 0) return "";
    return tagText(names, await this.#persist(() => this.#tags.getMany<string>(names, { signal }), signal));
  }

  #transact(
    transition: Transition,
    key: string,
    input: Fields,
    options: TransactOptions = {},
  ): Promise<Fields> {
    return this.#persist(() => this.#store.transact(transition, key, input, options), options.signal);
  }

  #persist<T>(call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const { clock, timeout } = this.#settings;
    return retry(call, { clock, attempts: 3, deadline: clock.monotonic() + timeout, signal });
  }
}

const NO_VALUE = Symbol("no value");

/** What is the same for every value that may stand for another. */
function kindOf({ tags, version }: CachePlan): string {
  return tags.length === 0 ? version : JSON.stringify([version, ...tags]);
}

function entryInput(
  { ttl, absent, stale, grace, version }: CachePlan,
  text: string | undefined,
  took: number,
  tags: string,
): Record<string, string> {
  const input: Record<string, string> = {
    ttl: String(text === undefined ? absent : ttl),
    stale: String(stale),
    grace: String(grace),
    took: String(took),
    tags,
    schema: version,
  };
  if (text !== undefined) input.value = text;
  return input;
}

/** The expired value that `grace` still allows, where the origin failed; its error otherwise. */
function graceOf<T>(entry: CacheEntry | undefined, error: unknown, report: (error: unknown) => void): T {
  if (entry === undefined || entry.grace <= 0) throw error;
  report(error);
  return entry.value as T;
}
