/**
 * The memory engine: a bounded table with deadlines, without timers. State lives in one isolate and ends with
 * it: right for tests, development and single-process servers, wrong where two isolates must agree.
 */
import { type Clock, systemClock } from "../../src/clock.ts";
import { canResolveElsewhere, LOOK_INTERVAL } from "../../src/cross_request.ts";
import { deferred } from "../../src/deferred.ts";
import type { AtomicStore, TransactOptions } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions, EngineWatchOptions } from "../../src/store/engine.ts";
import { LOCAL, type LocalEngine } from "../../src/store/local.ts";
import type { ListPage } from "../../src/store/key_value_store.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { BoundedEntries } from "./_bounded_entries.ts";
import { EngineClock } from "./_engine_clock.ts";
import { type Namespace, partsOf } from "./_namespace.ts";

/**
 * Options of {@linkcode memoryStore}.
 *
 * @category Stores
 */
export interface MemoryStoreOptions {
  /**
   * The maximum number of records. A full store evicts values and throttle counters first, the oldest of the
   * namespace that has most; sessions when only an eighth of the store is left to those. Held locks,
   * idempotency records, tombstones, blocks and outbox records are never evicted. They may fill three
   * quarters of the store, those of one namespace half of it; beyond that a write of such a record fails with
   * `store-full`.
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

class MemoryEngine implements AtomicEngine {
  readonly name = "memory";
  readonly limits = { maxKeyBytes: 2048, maxValueLength: 128 * 1024 * 1024 };
  readonly #state: MemoryState;
  readonly #root: MemoryNamespace;

  constructor(maxEntries: number, clock: Clock) {
    this.#state = new MemoryState(maxEntries, clock);
    this.#root = new MemoryNamespace(this.#state, "");
    // The same engine for the keys of one namespace. A member whose name is computed would keep bundlers from
    // dropping the class.
    (this as { [LOCAL]?: (path: string) => LocalEngine })[LOCAL] = (path) => this.#at(path);
  }

  get(full: string): string | undefined {
    const [path, key] = partsOf(full);
    return this.#at(path).get(key);
  }

  set(full: string, value: string, ttl: number | undefined): void {
    const [path, key] = partsOf(full);
    this.#at(path).set(key, value, ttl);
  }

  delete(full: string): boolean {
    const [path, key] = partsOf(full);
    return this.#at(path).delete(key);
  }

  touch(full: string, ttl: number): boolean {
    const [path, key] = partsOf(full);
    return this.#at(path).touch(key, ttl);
  }

  list({ prefix, cursor, limit }: EngineListOptions): ListPage {
    return this.#state.entries.page(prefix, cursor, limit);
  }

  transact(transition: Transition, full: string, input: Fields, options?: TransactOptions): Fields {
    const [path, key] = partsOf(full);
    return this.#at(path).transact(transition, key, input, options);
  }

  watch(full: string, options: EngineWatchOptions): Promise<boolean> {
    const [path, key] = partsOf(full);
    return this.#at(path).watch(key, options);
  }

  #at(path: string): MemoryNamespace {
    return path === "" ? this.#root : new MemoryNamespace(this.#state, path);
  }
}

/** A wait for a change of a record, or of one of its fields. */
interface Watcher {
  readonly field: string | undefined;
  /** The field's value when the wait began. */
  readonly before: string | undefined;
  readonly changed: () => void;
}

/** The state that all namespaces of a store share. */
class MemoryState {
  readonly entries: BoundedEntries;
  readonly clock: Clock;
  readonly now: () => number;
  /** Waits by path and key; without any, no write looks for them. */
  readonly watchers = new Map<string, Set<Watcher>>();

  constructor(maxEntries: number, clock: Clock) {
    const time = new EngineClock(clock);
    this.clock = clock;
    this.now = () => time.now();
    this.entries = new BoundedEntries(maxEntries, this.now);
  }

  /** Begins a wait; what it returns ends it. */
  watch(path: string, key: string, watcher: Watcher): () => void {
    const name = path + ":" + key;
    const watchers = this.watchers.get(name) ?? new Set();
    this.watchers.set(name, watchers);
    watchers.add(watcher);
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.watchers.get(name) === watchers) this.watchers.delete(name);
    };
  }

  /** Ends the waits for a record whose fields are now `after`. */
  notify(path: string, key: string, after: Fields | undefined): void {
    for (const { field, before, changed } of [...this.watchers.get(path + ":" + key) ?? []]) {
      if (field === undefined || before !== after?.[field]) changed();
    }
  }
}

/** A namespace as a store has it: keys are the caller's own. Many of one path are the same namespace. */
class MemoryNamespace implements LocalEngine {
  readonly #state: MemoryState;
  readonly #path: string;
  #namespace: Namespace;

  constructor(state: MemoryState, path: string) {
    this.#state = state;
    this.#path = path;
    this.#namespace = state.entries.namespace(path);
  }

  /** The namespace; one that lost its last record may have been replaced by another of the same path. */
  get #current(): Namespace {
    if (this.#namespace.gone) this.#namespace = this.#state.entries.registered(this.#path) ?? this.#namespace;
    return this.#namespace;
  }

  get(key: string): string | undefined {
    const { entries } = this.#state;
    const slot = entries.find(this.#current, key);
    if (slot === -1) return undefined;
    const content = entries.content(slot);
    return typeof content === "string" ? content : content.v ?? "\0";
  }

  set(key: string, value: string, ttl: number | undefined): void {
    const now = ttl === undefined ? undefined : this.#state.now();
    const namespace = this.#current;
    const deadline = now === undefined ? Infinity : now + ttl!;
    this.#state.entries.put(namespace, key, value, deadline, "evictable", namespace.find(key), now);
    this.#notify(namespace, key);
  }

  delete(key: string): boolean {
    const namespace = this.#current;
    const live = this.#state.entries.find(namespace, key) !== -1;
    this.#remove(namespace, key);
    return live;
  }

  touch(key: string, ttl: number): boolean {
    const { entries, now } = this.#state;
    const slot = entries.find(this.#current, key);
    if (slot === -1) return false;
    entries.setDeadline(slot, now() + ttl);
    return true;
  }

  transact(transition: Transition, key: string, input: Fields, options?: TransactOptions): Fields {
    const { entries } = this.#state;
    const namespace = this.#current;
    const now = this.#state.now(); // once: on a hot path reading the clock costs as much as the look itself
    const slot = namespace.find(key);
    const record = slot === undefined || !entries.isLive(slot, now) ? undefined : this.#fieldsAt(slot);
    const { output, write } = transition.apply(record, input, now);
    // A transition may hand on what it was given: the caller's objects and the stored ones stay apart.
    const answer = output === record ? { ...output } : output;
    if (write) {
      const own = write.record === input ? { ...write, record: { ...input } } : write;
      this.#write(namespace, key, slot, own, now);
    }
    options?.onVersion?.(entries.version(namespace, key));
    return answer;
  }

  async watch(key: string, { timeout, since, field, signal }: EngineWatchOptions): Promise<boolean> {
    const { entries, clock } = this.#state;
    if (since !== undefined && since !== entries.version(this.#current, key)) return true;
    signal?.throwIfAborted();
    if (!canResolveElsewhere()) {
      await clock.sleep(Math.min(timeout, LOOK_INTERVAL), signal);
      return timeout > LOOK_INTERVAL || since !== entries.version(this.#current, key);
    }
    const before = field === undefined ? undefined : this.#fields(this.#current, key)?.[field];
    // The writer that ends the wait may be another request: on Workers it may resolve a promise of this one,
    // but abort no signal.
    const ended = deferred<boolean>();
    const forget = this.#state.watch(this.#path, key, { field, before, changed: () => ended.resolve(true) });
    const onAbort = () => ended.resolve(false);
    signal?.addEventListener("abort", onAbort, { once: true });
    const over = new AbortController();
    clock.sleep(timeout, over.signal).then(onAbort, () => {});
    const changed = await ended.promise;
    over.abort("over"); // without a reason it would make an exception, with a stack
    signal?.removeEventListener("abort", onAbort);
    forget();
    signal?.throwIfAborted();
    return changed;
  }

  #write(namespace: Namespace, key: string, slot: number | undefined, write: Write, now: number): void {
    const { record, expiresAt = Infinity, retention = "evictable" } = write;
    if (record === undefined) return this.#remove(namespace, key);
    const content = isPlain(record) ? record.v! : record;
    this.#state.entries.put(namespace, key, content, expiresAt, retention, slot, now);
    this.#notify(namespace, key);
  }

  #remove(namespace: Namespace, key: string): void {
    const slot = namespace.find(key);
    if (slot === undefined) return;
    this.#state.entries.delete(slot);
    this.#notify(namespace, key);
  }

  #notify(namespace: Namespace, key: string): void {
    if (this.#state.watchers.size > 0) this.#state.notify(this.#path, key, this.#fields(namespace, key));
  }

  #fields(namespace: Namespace, key: string): Fields | undefined {
    const slot = namespace.find(key);
    return slot === undefined ? undefined : this.#fieldsAt(slot);
  }

  /** A record's fields; a plain value's are its text and its deadline. */
  #fieldsAt(slot: number): Fields {
    const { entries } = this.#state;
    const content = entries.content(slot);
    if (typeof content !== "string") return content;
    const deadline = entries.deadline(slot);
    return deadline === Infinity ? { v: content } : { v: content, e: String(deadline) };
  }
}

/** Whether a record is a plain value, whose deadline is kept once, beside it. */
function isPlain(record: Fields): boolean {
  return record.v !== undefined && Object.keys(record).length === (record.e === undefined ? 1 : 2);
}
