/**
 * The records of a memory store: a table with a bound, in which records that protect are never evicted and
 * one namespace cannot take the place of all others.
 *
 * A record is a slot, its place in a few arrays, and no object of its own: that takes less memory, leaves the
 * garbage collector nothing to walk through, and lets expiry and lists go from slot to slot. The arrays come
 * in blocks, so that none is ever copied to grow. A record keeps its slot for life, and a slot is used again.
 *
 * Records have a retention (`Write.retention`) and belong to the pool of their namespace. Per pool and
 * retention there is a list in order of creation, so a victim is found, and a refusal decided, without a look
 * at the others:
 *
 * - **Evictable** records leave first: the oldest one of the pool that has most of them.
 * - **Kept** records leave when the evictable ones are down to an eighth of the store. That eighth stays
 *   theirs: otherwise a flood of sessions would reset every throttle.
 * - **Protected** records leave only by their deadline. They have a budget of three quarters of the store,
 *   and a pool may hold twice as many as the budget has left: one pool alone gets half of the store, and
 *   what floods it leaves a share to the others. Beyond its share a write fails with `store-full`.
 */
import { HoldfastError } from "../../src/errors.ts";
import { badCursor } from "../../src/store/cursor.ts";
import type { ListPage } from "../../src/store/key_value_store.ts";
import type { Fields, Retention } from "../../src/store/transition.ts";
import { Namespace, Pool } from "./_namespace.ts";

/**
 * The number of records that each write looks at beside its own: enough to keep the expired ones few, too few
 * to cost.
 */
const SWEEP = 2;

/** An expired record allows one look more, up to this many. */
const MAX_SWEEP = 1000;

/**
 * The number of namespaces that have a pool of their own; the others share one, so that finding the largest
 * stays cheap.
 */
const MAX_POOLS = 64;

/**
 * The number of records that one page of a list looks at, so that a rare prefix does not hold up the process.
 */
const MAX_LOOKED = 10_000;

const LEVELS: Readonly<Record<Retention, Level>> = { evictable: 0, kept: 1, protected: 2 };
type Level = 0 | 1 | 2;
const [EVICTABLE, KEPT, PROTECTED] = [0, 1, 2] as const;

/** The slots of a block, a power of two: a small store takes about 27 kB, and growing takes microseconds. */
const BLOCK_BITS = 9;
const BLOCK = 1 << BLOCK_BITS;

/** So many slots, an array for each property of a record. */
class Block {
  /** The key in its namespace; `undefined` in a free slot. */
  readonly keys = new Array<string | undefined>(BLOCK).fill(undefined);
  /** A plain value's text, or the fields of a contract's record. */
  readonly contents = new Array<string | Fields | undefined>(BLOCK).fill(undefined);
  readonly namespaces = new Array<Namespace | undefined>(BLOCK).fill(undefined);
  /** The deadlines; Infinity for none. */
  readonly deadlines = new Float64Array(BLOCK);
  /** Rises in the order of creation. */
  readonly numbers = new Float64Array(BLOCK);
  /** Counts the writes of a record: with its number it tells one state from another. */
  readonly writes = new Uint32Array(BLOCK);
  readonly levels = new Uint8Array(BLOCK);
  /** The neighbours in the list of the pool and level, in order of creation; -1 for none. */
  readonly previous = new Int32Array(BLOCK);
  readonly next = new Int32Array(BLOCK);
}

/** See the module. */
export class BoundedEntries {
  readonly #blocks: Block[] = [];
  readonly #namespaces = new Map<string, Namespace>();
  readonly #pools = new Map<string, Pool>();
  readonly #sizes: [number, number, number] = [0, 0, 0];
  readonly #maxEntries: number;
  readonly #minEvictable: number;
  readonly #maxProtected: number;
  readonly #now: () => number;
  #size = 0;
  #created = 0;
  /** The slots that were ever used are those below. */
  #used = 0;
  /** The first free slot below; each one's `next` is the following one. */
  #free = -1;
  /** The slot at which the sweep goes on. */
  #swept = 0;

  constructor(maxEntries: number, now: () => number) {
    this.#maxEntries = maxEntries;
    this.#minEvictable = Math.floor(maxEntries / 8);
    this.#maxProtected = Math.max(1, Math.floor(maxEntries * 3 / 4));
    this.#now = now;
  }

  /** The namespace at the path; it is registered while it has a record. */
  namespace(path: string): Namespace {
    return this.registered(path) ?? new Namespace(path, this.#poolOf(path));
  }

  registered(path: string): Namespace | undefined {
    return this.#namespaces.get(path);
  }

  /** The slot of a live record, or -1. */
  find(namespace: Namespace, key: string): number {
    const slot = namespace.find(key);
    return slot !== undefined && this.isLive(slot) ? slot : -1;
  }

  isLive(slot: number, now?: number): boolean {
    const deadline = this.deadline(slot);
    return deadline === Infinity || (now ?? this.#now()) < deadline;
  }

  content(slot: number): string | Fields {
    return this.#blocks[slot >> BLOCK_BITS]!.contents[slot & (BLOCK - 1)]!;
  }

  deadline(slot: number): number {
    return this.#blocks[slot >> BLOCK_BITS]!.deadlines[slot & (BLOCK - 1)]!;
  }

  setDeadline(slot: number, deadline: number): void {
    this.#blocks[slot >> BLOCK_BITS]!.deadlines[slot & (BLOCK - 1)] = deadline;
  }

  /** Tells this state of a record from every other; "0" where there is none. */
  version(namespace: Namespace, key: string): string {
    const slot = namespace.find(key);
    if (slot === undefined) return "0";
    const { numbers, writes } = this.#blocks[slot >> BLOCK_BITS]!;
    return `${numbers[slot & (BLOCK - 1)]}.${writes[slot & (BLOCK - 1)]}`;
  }

  /**
   * Creates or replaces a record. `known` is the key's slot in its namespace, if it has one; `now` is the time,
   * if the caller has read it.
   *
   * @throws {HoldfastError} `store-full`; nothing was changed
   */
  put(
    namespace: Namespace,
    key: string,
    content: string | Fields,
    deadline: number,
    retention: Retention,
    known: number | undefined,
    now?: number,
  ): void {
    const level = LEVELS[retention];
    if (known === undefined) this.#create(namespace, key, content, deadline, level);
    else {
      const block = this.#blocks[known >> BLOCK_BITS]!;
      const i = known & (BLOCK - 1);
      if (block.levels[i] !== level) {
        if (level === PROTECTED) this.#admit(namespace.pool);
        // Its own record may have been the expired one that made space.
        if (block.keys[i] !== key || block.namespaces[i] !== namespace) {
          return this.put(namespace, key, content, deadline, retention, namespace.find(key), now);
        }
        this.#unlink(known);
        this.#link(known, level);
      }
      block.contents[i] = content;
      block.deadlines[i] = deadline;
      block.writes[i]!++;
    }
    this.#sweep(now);
  }

  #create(
    namespace: Namespace,
    key: string,
    content: string | Fields,
    deadline: number,
    level: Level,
  ): void {
    if (namespace.gone) namespace.pool = this.#poolOf(namespace.path);
    if (level === PROTECTED) this.#admit(namespace.pool);
    if (this.#size >= this.#maxEntries) this.#evictFor(level);
    // Only here, as its last record may have been the one that was evicted.
    if (namespace.gone) {
      namespace.gone = false;
      this.#namespaces.set(namespace.path, namespace);
    }
    const slot = this.#take();
    const block = this.#blocks[slot >> BLOCK_BITS]!;
    const i = slot & (BLOCK - 1);
    block.keys[i] = key;
    block.contents[i] = content;
    block.namespaces[i] = namespace;
    block.deadlines[i] = deadline;
    block.numbers[i] = ++this.#created;
    block.writes[i] = 0;
    namespace.add(key, slot);
    this.#size++;
    this.#link(slot, level);
  }

  delete(slot: number): void {
    const block = this.#blocks[slot >> BLOCK_BITS]!;
    const i = slot & (BLOCK - 1);
    const namespace = block.namespaces[i]!;
    this.#unlink(slot);
    namespace.remove(block.keys[i]!);
    if (namespace.size === 0) {
      namespace.gone = true;
      this.#namespaces.delete(namespace.path);
    }
    block.keys[i] = block.contents[i] = block.namespaces[i] = undefined;
    block.next[i] = this.#free;
    this.#free = slot;
    this.#size--;
  }

  /**
   * A page of live keys. The cursor is the slot at which the next page begins, and the number of the last
   * record that was created before the first page: a record keeps its slot, so none is passed over, and a key
   * that is deleted and created again meanwhile has a higher number and is not listed twice.
   */
  page(prefix: string, cursor: string | undefined, limit: number): ListPage {
    const place = /^(\d{1,10})-(\d{1,16})$/.exec(cursor ?? `0-${this.#created}`);
    if (place === null) throw badCursor();
    const [from, end] = [Number(place[1]), Number(place[2])];
    const keys: string[] = [];
    for (let slot = from; slot < this.#used; slot++) {
      if (slot - from === MAX_LOOKED) return { keys, cursor: `${slot}-${end}` };
      const block = this.#blocks[slot >> BLOCK_BITS]!;
      const i = slot & (BLOCK - 1);
      const key = block.keys[i];
      if (key === undefined || block.numbers[i]! > end) continue;
      const namespace = block.namespaces[i]!;
      const { path } = namespace;
      // Most of another namespace is passed over without putting a key together.
      if (path !== "" && !path.startsWith(prefix) && !prefix.startsWith(path)) continue;
      const full = namespace.fullKey(key);
      if (!full.startsWith(prefix)) continue;
      const deadline = block.deadlines[i]!;
      if (deadline !== Infinity && this.#now() >= deadline) continue;
      if (keys.length === limit) return { keys, cursor: `${slot}-${end}` };
      keys.push(full);
    }
    return { keys };
  }

  #poolOf(path: string): Pool {
    const known = this.#pools.get(path);
    if (known !== undefined) return known;
    if (path === "" || this.#pools.size < MAX_POOLS) return new Pool(path);
    return this.#pools.get("") ?? new Pool("");
  }

  /** A free slot. */
  #take(): number {
    const slot = this.#free;
    if (slot >= 0) {
      this.#free = this.#blocks[slot >> BLOCK_BITS]!.next[slot & (BLOCK - 1)]!;
      return slot;
    }
    if (this.#used === this.#blocks.length * BLOCK) this.#blocks.push(new Block());
    return this.#used++;
  }

  /** Puts a record at the end of its list. */
  #link(slot: number, level: Level): void {
    const block = this.#blocks[slot >> BLOCK_BITS]!;
    const i = slot & (BLOCK - 1);
    const { pool } = block.namespaces[i]!;
    const last = pool.newest[level]!;
    block.levels[i] = level;
    block.previous[i] = last;
    block.next[i] = -1;
    if (last === -1) pool.oldest[level] = slot;
    else this.#blocks[last >> BLOCK_BITS]!.next[last & (BLOCK - 1)] = slot;
    pool.newest[level] = slot;
    pool.sizes[level]!++;
    this.#sizes[level]++;
    if (pool.sizes[0]! + pool.sizes[1]! + pool.sizes[2]! === 1) this.#pools.set(pool.path, pool);
  }

  #unlink(slot: number): void {
    const block = this.#blocks[slot >> BLOCK_BITS]!;
    const i = slot & (BLOCK - 1);
    const { pool } = block.namespaces[i]!;
    const level = block.levels[i] as Level;
    const previous = block.previous[i]!;
    const next = block.next[i]!;
    if (previous === -1) pool.oldest[level] = next;
    else this.#blocks[previous >> BLOCK_BITS]!.next[previous & (BLOCK - 1)] = next;
    if (next === -1) pool.newest[level] = previous;
    else this.#blocks[next >> BLOCK_BITS]!.previous[next & (BLOCK - 1)] = previous;
    this.#sizes[level]--;
    pool.sizes[level]!--;
    if (pool.sizes[0]! + pool.sizes[1]! + pool.sizes[2]! === 0) this.#pools.delete(pool.path);
  }

  /** Refuses another protected record where its pool has its share. */
  #admit(pool: Pool): void {
    if (this.#hasShare(pool)) return;
    // What has expired makes space: the oldest of the pool, and what the sweep finds.
    const oldest = pool.oldest[PROTECTED]!;
    if (oldest !== -1 && this.#now() >= this.deadline(oldest)) this.delete(oldest);
    this.#sweep();
    if (!this.#hasShare(pool)) this.#refuse();
  }

  #hasShare({ sizes }: Pool): boolean {
    return sizes[PROTECTED]! < 2 * (this.#maxProtected - this.#sizes[PROTECTED]);
  }

  #evictFor(level: Level): void {
    const [evictable, kept] = this.#sizes;
    const spare = level === EVICTABLE ? evictable >= this.#minEvictable : evictable > this.#minEvictable;
    if (evictable > 0 && (spare || kept === 0)) this.#evict(EVICTABLE);
    else if (kept > 0) this.#evict(KEPT);
    else this.#refuse();
  }

  #evict(level: Level): void {
    let largest: Pool | undefined;
    for (const pool of this.#pools.values()) {
      if (largest === undefined || pool.sizes[level]! > largest.sizes[level]!) largest = pool;
    }
    this.delete(largest!.oldest[level]!);
  }

  #refuse(): never {
    throw new HoldfastError(
      "store-full",
      `Cannot store the record as held locks, claims, tombstones and blocks fill their share of 'maxEntries': ` +
        `${this.#sizes[PROTECTED]} of ${this.#maxEntries} records`,
      { retryable: true },
    );
  }

  #sweep(time?: number): void {
    for (let looked = 0, most = SWEEP; looked < most; looked++) {
      if (this.#swept >= this.#used) return void (this.#swept = 0);
      const slot = this.#swept++;
      const block = this.#blocks[slot >> BLOCK_BITS]!;
      const i = slot & (BLOCK - 1);
      const deadline = block.deadlines[i]!;
      if (block.keys[i] === undefined || deadline === Infinity) continue;
      time ??= this.#now();
      if (time < deadline) continue;
      this.delete(slot);
      if (most < MAX_SWEEP) most++;
    }
  }
}
