/**
 * The memory engine: a `Map` with deadlines, bounded, without timers. State lives in one isolate and dies with
 * it: right for tests, development and single-process servers, wrong where two isolates must agree.
 */
import { type Clock, systemClock } from "../../src/clock.ts";
import { HoldfastError } from "../../src/errors.ts";
import type { AtomicStore, WatchOptions } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions } from "../../src/store/engine.ts";
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

/** Somebody who waits for a record, or for one field of it, to change. */
interface Watcher {
  readonly field: string | undefined;
  readonly done: () => void;
}

class MemoryEngine implements AtomicEngine {
  readonly name = "memory";
  readonly limits = { maxKeyBytes: 2048, maxValueLength: 128 * 1024 * 1024 };
  readonly #entries = new Map<string, Entry>();
  readonly #watchers = new Map<string, Set<Watcher>>();
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

  transact(transition: Transition, key: string, input: Fields): Fields {
    const entry = this.#live(key);
    const step = transition.apply(entry && fieldsOf(entry), input, this.#clock.now());
    if (step.write) this.#write(key, step.write);
    return step.output;
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
    if (entry === undefined || entry.expiresAt === Infinity || this.#clock.now() < entry.expiresAt) {
      return entry;
    }
    return undefined;
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
    const before = this.#watchers.size > 0 ? this.#entries.get(key) : undefined;
    this.#entries.set(key, entry);
    this.#sweep(now);
    if (this.#watchers.size > 0) this.#notify(key, before, entry);
  }

  #remove(key: string): void {
    const before = this.#entries.get(key);
    if (this.#entries.delete(key)) this.#notify(key, before, undefined);
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

  #notify(key: string, before: Entry | undefined, after: Entry | undefined): void {
    for (const { field, done } of [...this.#watchers.get(key) ?? []]) {
      if (
        field === undefined ||
        (before && fieldsOf(before)[field]) !== (after && fieldsOf(after)[field])
      ) done();
    }
  }
}

function fieldsOf(entry: Entry): Fields {
  if (typeof entry.content !== "string") return entry.content;
  return entry.expiresAt === Infinity
    ? { v: entry.content }
    : { v: entry.content, e: String(entry.expiresAt) };
}
