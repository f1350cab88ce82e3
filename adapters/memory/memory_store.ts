/**
 * The memory engine: a bounded `Map` with deadlines, without timers. State lives in one isolate and ends with
 * it: right for tests, development and single-process servers, wrong where two isolates must agree.
 */
import { type Clock, systemClock } from "../../src/clock.ts";
import type { AtomicStore, WatchOptions } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions } from "../../src/store/engine.ts";
import type { ListPage } from "../../src/store/key_value_store.ts";
import { atomicStore } from "../../src/store/store.ts";
import type { Fields, Retention, Transition, Write } from "../../src/store/transition.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { BoundedEntries, type Entry } from "./_bounded_entries.ts";
import { EngineClock } from "./_engine_clock.ts";

/** Options of {@linkcode memoryStore}. */
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
  return atomicStore(new MemoryEngine(maxEntries, clock));
}

/** A wait for a change of a record, or of one of its fields. */
interface Watcher {
  readonly field: string | undefined;
  readonly done: () => void;
}

class MemoryEngine implements AtomicEngine {
  readonly name = "memory";
  readonly limits = { maxKeyBytes: 2048, maxValueLength: 128 * 1024 * 1024 };
  readonly #entries: BoundedEntries;
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #now: () => number;

  constructor(maxEntries: number, clock: Clock) {
    this.#entries = new BoundedEntries(maxEntries);
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

  transact(transition: Transition, key: string, input: Fields): Fields {
    const entry = this.#live(key);
    const record = entry && fieldsOf(entry);
    const { output, write } = transition.apply(record, input, this.#now());
    // A transition may hand on what it was given: the caller's objects and the stored ones stay apart.
    const answer = output === record ? { ...output } : output;
    if (write) this.#write(key, write.record === input ? { ...write, record: { ...input } } : write);
    return answer;
  }

  watch(key: string, { signal, field }: WatchOptions): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const watchers = this.#watchers.get(key) ?? new Set();
      this.#watchers.set(key, watchers);
      const done = () => {
        signal.removeEventListener("abort", done);
        watchers.delete(watcher);
        if (watchers.size === 0 && this.#watchers.get(key) === watchers) this.#watchers.delete(key);
        resolve();
      };
      const watcher = { field, done };
      watchers.add(watcher);
      signal.addEventListener("abort", done, { once: true });
    });
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.expiresAt === Infinity || this.#now() < entry.expiresAt) return entry;
    return undefined;
  }

  #write(key: string, { record, expiresAt = Infinity, retention = "evictable" }: Write): void {
    if (record === undefined) return this.#remove(key);
    // A value's deadline is kept once, in the entry.
    const plain = record.v !== undefined && Object.keys(record).length === (record.e === undefined ? 1 : 2);
    this.#put(key, plain ? record.v! : record, expiresAt, retention);
  }

  #put(key: string, content: string | Fields, expiresAt: number, retention: Retention): void {
    if (this.#watchers.size === 0) return this.#entries.put(key, content, expiresAt, retention, this.#now);
    const before = this.#fields(key);
    this.#entries.put(key, content, expiresAt, retention, this.#now);
    this.#notify(key, before, this.#fields(key));
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(entry);
    this.#notify(key, fieldsOf(entry), undefined);
  }

  #fields(key: string): Fields | undefined {
    const entry = this.#entries.get(key);
    return entry && fieldsOf(entry);
  }

  #notify(key: string, before: Fields | undefined, after: Fields | undefined): void {
    for (const { field, done } of [...this.#watchers.get(key) ?? []]) {
      if (field === undefined || before?.[field] !== after?.[field]) done();
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
