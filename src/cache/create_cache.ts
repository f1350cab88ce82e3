import { interruptible } from "../deadline.ts";
import { HoldfastError } from "../errors.ts";
import { Lease } from "../lease.ts";
import { retry } from "../retry.ts";
import { randomToken } from "../secret.ts";
import type { AtomicStore, TransactOptions } from "../store/atomic_store.ts";
import { ChangeWait } from "../store/change_wait.ts";
import { ask } from "../store/direct.ts";
import type { Awaitable, EngineLimits } from "../store/engine.ts";
import type { CallOptions, KeyValueStore } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { checkArray, checkMethods } from "../validate.ts";
import { askOrigin, type Question } from "./ask_origin.ts";
import type {
  Cache,
  CacheAnswer,
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
  cachedValue,
  type CacheEntry,
  checkPeek,
  givenText,
  type Look,
  readEntry,
  tagNames,
  tagText,
  textOf,
  validated,
  valueOf,
} from "./cache_entry.ts";
import { type CachePlan, checkTags, getPlan, keysOf, setPlan } from "./cache_plan.ts";
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
import { type RunningFill, sharedFill } from "./shared_fill.ts";
import { StoreWeakCache } from "./weak_cache.ts";

/**
 * A cache over a store. On a {@linkcode KeyValueStore} that cannot change a key atomically it is a {@linkcode
 * WeakCache}: two isolates may fill at once, and a fill under way may bring back what was invalidated.
 *
 * @throws {TypeError} when the name is missing or an option is unknown
 * @throws {RangeError} when a duration or a count cannot be
 * @category Cache
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
/** A cache on a store that cannot change a key atomically: values and times, without tags and `expire`. */
export function createCache(store: KeyValueStore, options: CacheOptions): WeakCache;
export function createCache(store: AtomicStore | KeyValueStore, options: CacheOptions): WeakCache {
  checkMethods("create the cache", "it needs a store", store, ["getMany", "namespace"]);
  const settings = settingsOf(options);
  return "transact" in store ? new StoreCache(store, settings) : new StoreWeakCache(store, settings);
}

/** The longest pause between two looks at a fill on an engine that cannot notify, in milliseconds. */
const MAX_BACKOFF = 250;
/** Fills at once in this isolate while the store is down. */
const MAX_UNCACHED_FILLS = 100;

/** The space of a record beside its value, tags included, in UTF-16 code units. */
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

/** One call of `get`, as it goes through its rounds. */
interface Call<T> extends Question<T> {
  /** Names this call to the engine. */
  readonly filler: string;
  /** Counts the calls of this isolate. */
  readonly number: number;
  /** The counter of ended fills when the call began. */
  readonly began: number;
  /** Monotonic, before its first read was sent. */
  readonly sentAt: number;
  /** The counter of the near tier's changes at that time. */
  readonly changes: number;
  /** Called at a look that grants no fill. */
  readonly looked: () => void;
}

class StoreCache implements Cache {
  readonly #store: AtomicStore;
  readonly #tags: AtomicStore;
  readonly #settings: CacheSettings;
  readonly #flights = new FillFlights();
  /** Fills without the store, by key. */
  readonly #uncached = new Map<string, RunningFill>();
  /** Names of calls: a random part for this isolate, and a count. */
  #names: string | undefined;
  #calls = 0;
  /** A name that was drawn for a call which needed none. */
  #unused: string | undefined;

  constructor(store: AtomicStore, settings: CacheSettings) {
    this.#store = store.namespace(settings.name);
    this.#tags = this.#store.namespace("tags");
    this.#settings = settings;
  }

  get limits(): EngineLimits {
    return this.#store.limits;
  }

  // A hit costs little more than the store's own read: nothing is made here that only a miss or a wait needs.
  async get<T>(key: string, fill: Fill<T>, options: CacheGetOptions<T>): Promise<T> {
    const plan = getPlan(fill, options, this.#settings.maxLifetime);
    plan.signal?.throwIfAborted();
    if (this.#settings.near === undefined && plan.tags.length === 0 && plan.schema === undefined) {
      const filler = this.#nextName();
      const first = this.#direct(key, plan, filler);
      if (!(first instanceof Promise) && isFresh(first!)) {
        this.#unused = filler; // the engine has not kept it
        return valueOf(first!.value);
      }
      return (await this.#rounds(this.#call(key, fill, plan, filler), first)).value;
    }
    return (await this.#resolve(key, fill, plan)).value;
  }

  async resolve<T>(key: string, fill: Fill<T>, options: CacheGetOptions<T>): Promise<CacheAnswer<T>> {
    const plan = getPlan(fill, options, this.#settings.maxLifetime);
    plan.signal?.throwIfAborted();
    return await this.#resolve(key, fill, plan);
  }

  async getMany<T>(keys: readonly string[], fill: FillMany<T>, options: CacheGetOptions<T>): Promise<T[]> {
    checkArray("cache", "keys", keys);
    const plan = getPlan(fill, options, this.#settings.maxLifetime);
    plan.signal?.throwIfAborted();
    const batch = new FillBatch(keys, fill);
    return await Promise.all(keys.map(async (key, i) => {
      try {
        return (await this.#resolve<T>(key, batch.fillOf(i), plan, () => batch.looked(i))).value;
      } finally {
        batch.looked(i); // whatever came of this key, the others do not wait for it
      }
    }));
  }

  async #resolve<T>(
    key: string,
    fill: Fill<T>,
    plan: CachePlan,
    looked?: () => void,
  ): Promise<CacheAnswer<T>> {
    const near = plan.refresh ? undefined : await this.#near<T>(key, plan);
    if (near) return near;
    const call = this.#call(key, fill, plan, this.#nextName(), looked);
    return await this.#rounds(call, this.#direct(key, plan, call.filler));
  }

  #call<T>(
    key: string,
    fill: Fill<T>,
    plan: CachePlan,
    filler: string,
    looked: () => void = () => {},
  ): Call<T> {
    const began = this.#flights.count;
    const sentAt = this.#settings.clock.monotonic();
    const changes = this.#settings.near?.changes ?? 0;
    return { key, fill, plan, filler, number: this.#calls, looked, began, sentAt, changes };
  }

  /**
   * A name that no other call has: what it costs to draw one at random is paid once. Each call is counted.
   */
  #nextName(): string {
    const name = this.#unused ?? (this.#names ??= randomToken(12)) + this.#calls;
    this.#unused = undefined;
    this.#calls++;
    return name;
  }

  /** The value in this isolate's memory, if it is of the right form. */
  async #near<T>(key: string, plan: CachePlan): Promise<CacheAnswer<T> | undefined> {
    const found = this.#settings.near?.find(key, kindOf(plan));
    if (found === undefined) return undefined;
    const now = this.#settings.clock.monotonic();
    try {
      return {
        state: "hit",
        value: await validated<T>(valueOf(found.text), plan.schema),
        age: now - found.filledAt,
        remaining: Math.max(0, found.freshUntil - now),
        waited: false,
      };
    } catch {
      return undefined;
    }
  }

  /** The first look at a key without tags, sent; without a promise where the engine answers at once. */
  #direct(key: string, plan: CachePlan, filler: string): Awaitable<Fields> | undefined {
    if (plan.tags.length > 0) return undefined;
    return ask(this.#store, readCache, key, this.#readInput(plan, filler, 0), plan);
  }

  /**
   * `elapsed`: milliseconds since the call began, where it is to be refilled: what is younger was filled
   * meanwhile.
   */
  #readInput(
    { version, early, refresh }: CachePlan,
    filler: string,
    elapsed: number,
  ): Record<string, string> {
    const input: Record<string, string> = { schema: version, filler, lease: this.#settings.leaseText };
    // XFetch: minus the logarithm of a random number, times beta, is how many fill durations early.
    if (early > 0) input.early = String(Math.round(-Math.log(1 - Math.random()) * early * 1000));
    if (refresh) input.refresh = String(Math.floor(elapsed));
    return input;
  }

  /** Looks until there is an answer. */
  async #rounds<T>(call: Call<T>, first: Awaitable<Fields> | undefined): Promise<CacheAnswer<T>> {
    const { key, plan, filler } = call;
    let wait: ChangeWait | undefined;
    try {
      for (let round = 0;; round++) {
        const changes = round === 0 ? call.changes : this.#settings.near?.changes ?? 0;
        let look: Look;
        try {
          look = await this.#look(call, wait?.options(), first);
        } catch (error) {
          return await this.#withoutStore(error, call);
        }
        first = undefined;
        const { entry, tags, grant, sentAt, busy, holder } = look;
        if (grant === undefined) call.looked();
        if (entry && this.#answers(entry, call, grant, round)) {
          if (entry.fresh > 0) this.#settings.near?.keep(key, kindOf(plan), { ...entry, sentAt, changes });
          return answerOf(entry, round > 0);
        }
        // A fill that failed meanwhile is this caller's answer: a round asks a failing origin once.
        const failure = this.#flights.failureSince(key, call.began);
        if (failure) {
          call.looked();
          if (grant !== undefined) await this.#abandon(key, { filler, grant });
          return this.#graceOf(entry, failure.error, true);
        }
        if (grant !== undefined) {
          return await this.#refill(call, entry, { filler, grant, sentAt, tags, changes }, round > 0);
        }
        if (wait === undefined) {
          wait = new ChangeWait(this.#store, key, this.#settings.clock, plan.signal);
          this.#flights.enter(key, wait);
          // The first look noted no version, which only waiters need: the second one does, and the wait
          // starts from it.
          if (this.#store.watch) continue;
        }
        const backoff = Math.min(MAX_BACKOFF, 10 * 2 ** round) * (0.5 + Math.random() / 2);
        await wait.next({ longest: busy + 1, backoff });
        const landed = this.#flights.landedWith(key, holder);
        if (landed && landed.kind === kindOf(plan) && plan.tags.length === 0 && plan.schema === undefined) {
          return { state: "hit", value: valueOf(landed.text), age: 0, remaining: landed.ttl, waited: true };
        }
      }
    } finally {
      if (wait) this.#flights.leave(key, wait);
    }
  }

  /** Whether this caller may answer the entry, without a fill of its own. */
  #answers<T>(
    entry: CacheEntry,
    { plan, sentAt }: Call<T>,
    grant: string | undefined,
    round: number,
  ): boolean {
    if (grant !== undefined) return false;
    // A value that was filled after this call began is as current as one that this call would fill, even if
    // it is stale by now.
    if (round > 0 && entry.age < this.#settings.clock.monotonic() - sentAt) return true;
    return !plan.refresh && entry.stale > 0;
  }

  /** One look at the key and its tags, in one trip; a second where what is cached is out of date. */
  async #look(
    { key, plan, filler, sentAt: began }: Pick<Call<unknown>, "key" | "plan" | "filler" | "sentAt">,
    options: TransactOptions = { signal: plan.signal },
    first?: Awaitable<Fields>,
  ): Promise<Look> {
    const { clock } = this.#settings;
    let sentAt = clock.monotonic();
    const input = this.#readInput(plan, filler, sentAt - began);
    let output: Fields;
    let tags = "";
    if (first !== undefined) {
      output = first instanceof Promise ? await this.#transact(readCache, key, input, options, first) : first;
    } else {
      [output, tags] = await Promise.all([
        this.#transact(readCache, key, input, options),
        this.#tagText(plan.tags, options),
      ]);
    }
    let entry = await this.#usable(output, tags, plan);
    if (entry === undefined && output.tags !== undefined) {
      // Something is cached that must not be answered: it is passed over by name, so that it can be refilled.
      sentAt = clock.monotonic();
      output = await this.#transact(readCache, key, { ...input, outdated: output.tags }, options);
      entry = await this.#usable(output, tags, plan);
    }
    const { grant, busy, holder } = output;
    return { entry, tags, grant, sentAt, busy: Number(busy ?? 0), holder };
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

  /**
   * Fills what this caller was granted: before it answers, or after it where there is something to answer
   * meanwhile.
   */
  async #refill<T>(
    call: Call<T>,
    entry: CacheEntry | undefined,
    grant: Grant,
    waited: boolean,
  ): Promise<CacheAnswer<T>> {
    const { plan } = call;
    const work = this.#fill(call, entry, grant);
    plan.waitUntil?.(work); // its error is the caller's below, or reported
    if (plan.waitUntil && !plan.refresh && entry && entry.stale > 0) {
      work.catch(this.#settings.report);
      return answerOf(entry, waited);
    }
    try {
      const { value, ttl } = await interruptible(work, plan.signal);
      return { state: "filled", value, age: 0, remaining: ttl, waited: false };
    } catch (error) {
      plan.signal?.throwIfAborted();
      return this.#graceOf(entry, error, waited);
    }
  }

  /**
   * Asks the origin under the lease, stores its answer, and returns the stored value, as later callers get
   * it.
   */
  async #fill<T>(
    call: Call<T>,
    entry: CacheEntry | undefined,
    grant: Grant,
  ): Promise<{ readonly value: T; readonly ttl: number }> {
    const { key } = call;
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
      lost: (why) => new HoldfastError("claim-lost", `Cannot fill the value as ${why}`),
    });
    const began = clock.monotonic();
    try {
      const { value, plan } = await askOrigin(
        call,
        lease.signal,
        entry?.value as T | undefined,
        this.#settings.maxLifetime,
      );
      const text = textOf(value);
      const took = Math.ceil(clock.monotonic() - began);
      lease.end();
      const ttl = (text === undefined ? plan?.absent : plan?.ttl) ?? 0;
      const kept = await this.#keep(key, plan, text, took, grant);
      const holder = `${grant.filler} ${grant.grant}`;
      this.#flights.land(key, undefined, kept ? { holder, kind: kindOf(call.plan), text, ttl } : undefined);
      return { value: valueOf(text), ttl };
    } catch (error) {
      lease.end();
      this.#flights.land(key, { error });
      await this.#abandon(key, grant);
      throw error;
    }
  }

  /**
   * Stores the filled value and answers whether it is kept. It is the caller's in any case: a failure is
   * reported.
   */
  async #keep(
    key: string,
    plan: CachePlan | undefined,
    text: string | undefined,
    took: number,
    grant: Grant,
  ): Promise<boolean> {
    try {
      if (plan !== undefined && (text !== undefined || plan.absent !== undefined)) {
        this.#checkSize(text);
        const input: Record<string, string> = entryInput(plan, text, took, grant.tags);
        input.filler = grant.filler;
        input.grant = grant.grant;
        const sentAt = this.#settings.clock.monotonic();
        const { done } = await this.#transact(fillCache, key, input);
        if (done !== "1") return false; // the grant has ended: there is nothing to give back
        const value = { text, age: 0, fresh: Number(input.ttl), sentAt, changes: grant.changes };
        this.#settings.near?.keep(key, kindOf(plan), value);
        return true;
      }
    } catch (error) {
      this.#settings.report(error);
    }
    await this.#abandon(key, grant);
    return false;
  }

  async #abandon(key: string, { filler, grant }: Pick<Grant, "filler" | "grant">): Promise<void> {
    // The lease ends by itself where this fails.
    await this.#transact(abandonFill, key, { filler, grant }).catch(this.#settings.report);
  }

  /**
   * Refuses a value that the engine cannot hold.
   *
   * @throws {HoldfastError} `value-too-large`
   */
  #checkSize(text: string | undefined): void {
    const { maxValueLength } = this.#store.limits;
    if (text === undefined || text.length + RECORD_OVERHEAD <= maxValueLength) return;
    throw new HoldfastError(
      "value-too-large",
      `Cannot cache the value as ${this.#store.engine} takes at most ${maxValueLength}`,
    );
  }

  /** The answer of the origin while the store is down: one call a key at a time. */
  async #withoutStore<T>(error: unknown, call: Call<T>): Promise<CacheAnswer<T>> {
    const { key, plan } = call;
    plan.signal?.throwIfAborted();
    this.#settings.overlook(error);
    if (this.#uncached.has(key)) call.looked(); // or two batches could wait for each other
    else if (this.#uncached.size >= MAX_UNCACHED_FILLS) throw error;
    const { lease: patience, maxLifetime } = this.#settings;
    const { number } = call;
    const bounds = { number, latest: () => this.#calls, patience, signal: plan.signal };
    const value = await sharedFill(this.#uncached, key, bounds, async () => {
      const { value } = await askOrigin(call, undefined, undefined, maxLifetime);
      return valueOf<T>(textOf(value));
    });
    return { state: "uncached", value, age: 0, remaining: 0, waited: false };
  }

  /** The expired value that `grace` still allows, where the origin failed; its error otherwise. */
  #graceOf<T>(entry: CacheEntry | undefined, error: unknown, waited: boolean): CacheAnswer<T> {
    if (entry === undefined || entry.grace <= 0) throw error;
    this.#settings.report(error);
    return { ...answerOf<T>(entry, waited), state: "grace", error };
  }

  async peek<T = unknown>(key: string, options: PeekOptions<T> = {}): Promise<CachedValue<T> | undefined> {
    checkPeek(options);
    const { version = "", schema, signal } = options;
    const entry = readEntry(await this.#transact(readCache, key, { schema: version }, { signal }));
    if (entry === undefined) return undefined;
    if (entry.tags !== await this.#tagText(tagNames(entry.tags), { signal })) return undefined;
    return await cachedValue(entry, schema);
  }

  async set(key: string, value: unknown, options: CacheEntryOptions): Promise<void> {
    const plan = setPlan(options, this.#settings.maxLifetime);
    const text = givenText(value);
    this.#checkSize(text);
    await this.#change([key], async () => {
      const { signal } = plan;
      const tags = await this.#tagText(plan.tags, { signal });
      const input = { ...entryInput(plan, text, 0, tags), id: randomToken(12) };
      await this.#transact(putCache, key, input, { signal });
    });
  }

  async invalidate(key: string | readonly string[], options: CallOptions = {}): Promise<void> {
    const keys = keysOf(key);
    // A copy that arrives late costs a fill and nothing else.
    await this.#change(
      keys,
      () => Promise.all(keys.map((key) => this.#transact(invalidateCache, key, {}, options))),
    );
  }

  async expire(key: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.#change([key], () => this.#transact(expireCache, key, {}, options))).done === "1";
  }

  async invalidateTags(tags: readonly string[], options: CallOptions = {}): Promise<void> {
    const names = checkTags(tags);
    const input = { id: randomToken(6), ttl: String(2 * this.#settings.maxLifetime) };
    await this.#change(undefined, () =>
      Promise.all(
        names.map((name) =>
          this.#persist(() => this.#tags.transact(raiseTag, name, input, options), options.signal)
        ),
      ));
  }

  /**
   * Makes a change that this isolate's memory must not outlast: what is read before its end is not kept
   * there, and what waits for a fill of the keys looks again. `undefined`: any key may be changed.
   */
  async #change<T>(keys: readonly string[] | undefined, work: () => Promise<T>): Promise<T> {
    this.#settings.near?.forget(keys);
    try {
      return await work();
    } finally {
      this.#settings.near?.forget(keys);
      for (const key of keys ?? []) this.#flights.land(key);
    }
  }

  async #tagText(names: readonly string[], { signal }: CallOptions): Promise<string> {
    if (names.length === 0) return "";
    return tagText(names, await this.#persist(() => this.#tags.getMany<string>(names, { signal }), signal));
  }

  /** A transition, retried; `first` is its first attempt, where that was sent already. */
  #transact(
    transition: Transition,
    key: string,
    input: Fields,
    options: TransactOptions = {},
    first?: Promise<Fields>,
  ): Promise<Fields> {
    return this.#persist(() => {
      const call = first ?? this.#store.transact(transition, key, input, options);
      first = undefined;
      return call;
    }, options.signal);
  }

  #persist<T>(call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const { clock, timeout } = this.#settings;
    return Promise.resolve(retry(call, { clock, attempts: 3, timeout, signal }));
  }
}

/** The version and the tags: a value stands for another only where both are the same. */
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

/** Whether the output of a read is a fresh value that needs no refill. */
function isFresh(output: Fields): boolean {
  return output.tags === "" && output.grant === undefined && output.busy === undefined;
}

function answerOf<T>(entry: CacheEntry, waited: boolean): CacheAnswer<T> {
  const state = entry.fresh > 0 ? "hit" : "stale";
  return { state, value: entry.value as T, age: entry.age, remaining: entry.fresh, waited };
}
