/**
 * The memory engine: a `Map` with deadlines, bounded, without timers. State lives in one isolate and dies with
 * it: right for tests, development and single-process servers, wrong where two isolates must agree.
 */
import { type Clock, systemClock } from "../../src/clock.ts";
import { HoldfastError } from "../../src/errors.ts";
import type { AtomicStore, TransactOptions } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions, EngineWatchOptions } from "../../src/store/engine.ts";
import type { ListPage } from "../../src/store/key_value_store.ts";
import { atomicStore } from "../../src/store/store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";

/** Options of {@linkcode memoryStore}. */
export interface MemoryStoreOptions {
  /**
   * How many records to keep. When full, a new one takes the place of the one created longest ago; held locks and
   * idempotency records never go, and when nothing else is left the write fails with `store-full`.
   * @default {100_000}
   */
  readonly maxEntries?: number;
  /**
   * Whose time decides about deadlines.
   * @default {systemClock}
   */
  readonly clock?: Clock;
}

/**
 * A store in this isolate's memory.
 *
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
  const { maxEntries = 100_000, clock = systemClock } = options;
  if (!(Number.isInteger(maxEntries) && maxEntries > 0)) {
    throw new RangeError(
      `Cannot make a memory store as 'maxEntries' must be a positive integer: current value is ${maxEntries}`,
    );
  }
  return atomicStore(new MemoryEngine(maxEntries, clock));
}

/** How many records each write looks at beside its own: enough to keep the dead below the living, too few to feel. */
const SWEEP = 2;

/** Finding a dead one buys one more look, up to this many: every dead record was paid for by the write that made it. */
const SWEEP_MOST = 1000;

/** A plain value keeps its text alone; a contract's record keeps its fields. */
class Entry {
  constructor(
    readonly key: string,
    readonly content: string | Fields,
    public expiresAt: number,
    readonly pinned: boolean,
  ) {}
}

/** A wait for a record, or for one field of it, to change. */
interface Watcher {
  readonly field: string | undefined;
  /** The field's value when the wait began. */
  readonly before: string | undefined;
  readonly changed: () => void;
}

class MemoryEngine implements AtomicEngine {
  readonly name = "memory";
  readonly limits = { maxKeyBytes: 2048, maxValueLength: 128 * 1024 * 1024 };
  readonly #entries = new Map<string, Entry>();
  readonly #watchers = new Map<string, Set<Watcher>>();
  // A version is given to a state of a record when it is first asked for, which only waiters do.
  readonly #versions = new WeakMap<Entry, string>();
  #lastVersion = 0;
  readonly #maxEntries: number;
  readonly #clock: Clock;
  // Two hands go round and round, one for the dead, one for the oldest; a Map's iterator lives through changes.
  #hand: Iterator<Entry>;
  #oldest: Iterator<Entry>;

  constructor(maxEntries: number, clock: Clock) {
    this.#maxEntries = maxEntries;
    this.#clock = clock;
    this.#hand = this.#entries.values();
    this.#oldest = this.#entries.values();
  }

  get(key: string): string | undefined {
    const entry = this.#live(key);
    if (entry === undefined) return undefined;
    return typeof entry.content === "string" ? entry.content : entry.content.v ?? "\0";
  }

  set(key: string, value: string, ttl: number | undefined): void {
    const now = ttl === undefined ? undefined : this.#clock.now();
    this.#put(new Entry(key, value, now === undefined ? Infinity : now + ttl!, false), now);
  }

  delete(key: string): boolean {
    const live = this.#live(key) !== undefined;
    this.#remove(key);
    return live;
  }

  touch(key: string, ttl: number): boolean {
    const entry = this.#live(key);
    if (entry === undefined) return false;
    entry.expiresAt = this.#clock.now() + ttl;
    return true;
  }

  list({ prefix, cursor, limit }: EngineListOptions): ListPage {
    const keys: string[] = [];
    for (const key of this.#entries.keys()) {
      if (key.startsWith(prefix) && (cursor === undefined || key > cursor) && this.#live(key)) keys.push(key);
    }
    keys.sort();
    return keys.length > limit ? { keys: keys.slice(0, limit), cursor: keys[limit - 1]! } : { keys };
  }

  transact(transition: Transition, key: string, input: Fields, options?: TransactOptions): Fields {
    const now = this.#clock.now(); // once: on a hot path reading the clock costs as much as the look itself
    const entry = this.#live(key, now);
    const step = transition.apply(entry && fieldsOf(entry), input, now);
    if (step.write) this.#write(key, step.write);
    options?.onVersion?.(this.#version(key));
    return step.output;
  }

  async watch(key: string, { timeout, since, field, signal }: EngineWatchOptions): Promise<boolean> {
    if (since !== undefined && since !== this.#version(key)) return true;
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers);
    const over = new AbortController();
    const entry = this.#entries.get(key);
    const before = field === undefined ? undefined : entry && fieldsOf(entry)[field];
    let changed = false;
    const watcher = { field, before, changed: () => (changed = true, over.abort()) };
    watchers.add(watcher);
    try {
      await this.#clock.sleep(timeout, signal ? AbortSignal.any([signal, over.signal]) : over.signal);
    } catch {
      signal?.throwIfAborted();
    } finally {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(key) === watchers) this.#watchers.delete(key);
    }
    return changed;
  }

  /** Tells this state of a record from every other; "0" where there is none. */
  #version(key: string): string {
    const entry = this.#entries.get(key);
    if (entry === undefined) return "0";
    let version = this.#versions.get(entry);
    if (version === undefined) this.#versions.set(entry, version = String(++this.#lastVersion));
    return version;
  }

  #live(key: string, now?: number): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.expiresAt === Infinity) return entry;
    return (now ?? this.#clock.now()) < entry.expiresAt ? entry : undefined;
  }

  #write(key: string, { record, expiresAt = Infinity, pinned = false }: Write): void {
    if (record === undefined) return this.#remove(key);
    // A value's deadline is kept once, in the entry.
    const plain = record.v !== undefined && Object.keys(record).length === (record.e === undefined ? 1 : 2);
    this.#put(new Entry(key, plain ? record.v! : record, expiresAt, pinned), undefined);
  }

  #put(entry: Entry, now: number | undefined): void {
    const { key } = entry;
    if (this.#entries.size >= this.#maxEntries && !this.#entries.has(key)) this.#makeRoom();
    this.#entries.set(key, entry);
    this.#sweep(now);
    if (this.#watchers.size > 0) this.#notify(key, entry);
  }

  #remove(key: string): void {
    if (this.#entries.delete(key)) this.#notify(key, undefined);
  }

  #sweep(now: number | undefined): void {
    for (let looked = 0, most = SWEEP; looked < most; looked++) {
      const { value, done } = this.#hand.next();
      if (done) return void (this.#hand = this.#entries.values());
      if (value.expiresAt === Infinity) continue;
      now ??= this.#clock.now();
      if (now < value.expiresAt) continue;
      this.#entries.delete(value.key);
      if (most < SWEEP_MOST) most++;
    }
  }

  #makeRoom(): void {
    for (let looked = 0; looked <= this.#entries.size; looked++) {
      const { value, done } = this.#oldest.next();
      if (done) this.#oldest = this.#entries.values();
      else if (!value.pinned || this.#clock.now() >= value.expiresAt) {
        return void this.#entries.delete(value.key);
      }
    }
    throw new HoldfastError(
      "store-full",
      `Cannot store the record as all ${this.#maxEntries} entries are held locks or idempotency records`,
      { retryable: true },
    );
  }

  #notify(key: string, after: Entry | undefined): void {
    for (const { field, before, changed } of [...this.#watchers.get(key) ?? []]) {
      if (field === undefined || before !== (after && fieldsOf(after)[field])) changed();
    }
  }
}

function fieldsOf(entry: Entry): Fields {
  if (typeof entry.content !== "string") return entry.content;
  return entry.expiresAt === Infinity
    ? { v: entry.content }
    : { v: entry.content, e: String(entry.expiresAt) };
}
