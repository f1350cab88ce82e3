/**
 * The memory engine: a bounded `Map` with deadlines, without timers. State lives in one isolate and ends with
 * it: right for tests, development and single-process servers, wrong where two isolates must agree.
 */
import { type Clock, systemClock } from "../../src/clock.ts";
import { canResolveElsewhere, LOOK_INTERVAL } from "../../src/cross_request.ts";
import { deferred } from "../../src/deferred.ts";
import type { AtomicStore, TransactOptions } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions, EngineWatchOptions } from "../../src/store/engine.ts";
import type { ListPage } from "../../src/store/key_value_store.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import type { Fields, Retention, Transition, Write } from "../../src/store/transition.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { BoundedEntries, type Entry } from "./_bounded_entries.ts";
import { EngineClock } from "./_engine_clock.ts";

/**
 * Options of {@linkcode memoryStore}.
 *
 * @category Stores
 */
export interface MemoryStoreOptions {
  /**
   * The maximum number of records. A full store evicts values and throttle counters first, the oldest of the namespace that has
   * most; sessions when only an eighth of the store is left to those. Held locks, idempotency records, tombstones, blocks and
   * outbox records are never evicted. They may fill three quarters of the store, those of one namespace half of it; beyond that
   * a write of such a record fails with `store-full`.
   * @default {100_000}
   */
  readonly maxEntries?: number | undefined;
  /**
   * The clock of deadlines. The store follows its monotonic time: setting the wall clock changes no deadline.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const OPTIONS = { maxEntries: true, clock: true } satisfies OptionNames<MemoryStoreOptions>;

/**
 * A store in this isolate's memory.
 *
 * @throws {TypeError} for an unknown option
 * @throws {RangeError} when `maxEntries` is not a positive integer
 * @category Stores
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * const store = memoryStore({ maxEntries: 10_000 });
 * await store.set("greeting", "hello", { ttl: "5m" });
 * if (await store.get("greeting") !== "hello") throw new Error("unexpected");
 * ```
 */
export function memoryStore(options: MemoryStoreOptions = {}): AtomicStore {
  checkOptionNames("make a memory store", options, OPTIONS);
  const { maxEntries = 100_000, clock = systemClock } = options;
  checkInteger("make a memory store", "maxEntries", maxEntries);
  return storeFromEngine(new MemoryEngine(maxEntries, clock));
}

/** A wait for a change of a record, or of one of its fields. */
interface Watcher {
  readonly field: string | undefined;
  /** The field's value when the wait began. */
  readonly before: string | undefined;
  readonly changed: () => void;
}

class MemoryEngine implements AtomicEngine {
  readonly name = "memory";
  readonly limits = { maxKeyBytes: 2048, maxValueLength: 128 * 1024 * 1024 };
  readonly #entries: BoundedEntries;
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #clock: Clock;
  readonly #now: () => number;

  constructor(maxEntries: number, clock: Clock) {
    this.#entries = new BoundedEntries(maxEntries);
    this.#clock = clock;
    const time = new EngineClock(clock);
    this.#now = () => time.now();
  }

  get(key: string): string | undefined {
    const entry = this.#live(key);
    if (entry === undefined) return undefined;
    return typeof entry.content === "string" ? entry.content : entry.content.v ?? "\0";
  }

  set(key: string, value: string, ttl: number | undefined): void {
    this.#put(key, value, ttl === undefined ? Infinity : this.#now() + ttl, "evictable");
  }

  delete(key: string): boolean {
    const live = this.#live(key) !== undefined;
    this.#remove(key);
    return live;
  }

  touch(key: string, ttl: number): boolean {
    const entry = this.#live(key);
    if (entry === undefined) return false;
    entry.expiresAt = this.#now() + ttl;
    return true;
  }

  list({ prefix, cursor, limit }: EngineListOptions): ListPage {
    return this.#entries.page(prefix, cursor, limit, this.#now);
  }

  transact(transition: Transition, key: string, input: Fields, options?: TransactOptions): Fields {
    const now = this.#now(); // once: on a hot path reading the clock costs as much as the look itself
    const entry = this.#live(key, now);
    const record = entry && fieldsOf(entry);
    const { output, write } = transition.apply(record, input, now);
    // A transition may hand on what it was given: the caller's objects and the stored ones stay apart.
    const answer = output === record ? { ...output } : output;
    if (write) this.#write(key, write.record === input ? { ...write, record: { ...input } } : write);
    options?.onVersion?.(this.#version(key));
    return answer;
  }

  async watch(key: string, { timeout, since, field, signal }: EngineWatchOptions): Promise<boolean> {
    if (since !== undefined && since !== this.#version(key)) return true;
    signal?.throwIfAborted();
    if (!canResolveElsewhere()) {
      await this.#clock.sleep(Math.min(timeout, LOOK_INTERVAL), signal);
      return timeout > LOOK_INTERVAL || since !== this.#version(key);
    }
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers);
    const before = field === undefined ? undefined : this.#fields(key)?.[field];
    // The writer that ends the wait may be another request: on Workers it may resolve a promise of this one,
    // but abort no signal.
    const ended = deferred<boolean>();
    const watcher: Watcher = { field, before, changed: () => ended.resolve(true) };
    watchers.add(watcher);
    const onAbort = () => ended.resolve(false);
    signal?.addEventListener("abort", onAbort, { once: true });
    const over = new AbortController();
    this.#clock.sleep(timeout, over.signal).then(onAbort, () => {});
    const changed = await ended.promise;
    over.abort("over"); // without a reason it would make an exception, with a stack
    signal?.removeEventListener("abort", onAbort);
    watchers.delete(watcher);
    if (watchers.size === 0 && this.#watchers.get(key) === watchers) this.#watchers.delete(key);
    signal?.throwIfAborted();
    return changed;
  }

  /** Tells this state of a record from every other; "0" where there is none. */
  #version(key: string): string {
    const entry = this.#entries.get(key);
    return entry === undefined ? "0" : `${entry.number}.${entry.writes}`;
  }

  #live(key: string, now?: number): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.expiresAt === Infinity) return entry;
    return (now ?? this.#now()) < entry.expiresAt ? entry : undefined;
  }

  #write(key: string, { record, expiresAt = Infinity, retention = "evictable" }: Write): void {
    if (record === undefined) return this.#remove(key);
    // A value's deadline is kept once, in the entry.
    const plain = record.v !== undefined && Object.keys(record).length === (record.e === undefined ? 1 : 2);
    this.#put(key, plain ? record.v! : record, expiresAt, retention);
  }

  #put(key: string, content: string | Fields, expiresAt: number, retention: Retention): void {
    this.#entries.put(key, content, expiresAt, retention, this.#now);
    if (this.#watchers.size > 0) this.#notify(key);
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(entry);
    this.#notify(key);
  }

  #fields(key: string): Fields | undefined {
    const entry = this.#entries.get(key);
    return entry && fieldsOf(entry);
  }

  #notify(key: string): void {
    const watchers = this.#watchers.get(key);
    if (watchers === undefined) return;
    const after = this.#fields(key);
    for (const { field, before, changed } of [...watchers]) {
      if (field === undefined || before !== after?.[field]) changed();
    }
  }
}

/** A record's fields; a plain value's are its text and its deadline. */
function fieldsOf(entry: Entry): Fields {
  if (typeof entry.content !== "string") return entry.content;
  return entry.expiresAt === Infinity
    ? { v: entry.content }
    : { v: entry.content, e: String(entry.expiresAt) };
}
