/**
 * The records of a memory store: a map with a bound, in which records that protect are never evicted and one
 * namespace cannot take the place of all others.
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

/**
 * How many records each write looks at beside its own: enough to keep the expired ones few, too few to cost.
 */
const SWEEP = 2;

/** An expired record allows one look more, up to this many. */
const MAX_SWEEP = 1000;

/**
 * How many namespaces have a pool of their own; the others share one, so that finding the largest stays
 * cheap.
 */
const MAX_POOLS = 64;

/** How many records one page of a list looks at, so that a rare prefix does not hold up the process. */
const MAX_LOOKED = 10_000;

/** How many lists remember where they stopped; the others find their place by a walk from the start. */
const MAX_OPEN_LISTS = 16;

const LEVELS: Readonly<Record<Retention, Level>> = { evictable: 0, kept: 1, protected: 2 };
type Level = 0 | 1 | 2;
const [EVICTABLE, KEPT, PROTECTED] = [0, 1, 2] as const;

/**
 * A plain value keeps its text alone; a contract's record keeps its fields. The list of its pool and level is
 * made of the entries themselves, in one class without initial values: a write makes one object, whatever
 * there is.
 */
export class Entry {
  /** Counts the writes of this record: with `number` it tells one state from another. */
  writes = 0;

  constructor(
    readonly key: string,
    /** Rises in the order of creation, which is the order of the map. */
    readonly number: number,
    readonly pool: Pool,
    public content: string | Fields,
    public expiresAt: number,
    public level: Level,
    /** The one before it in its list. */
    public previous: Entry | undefined,
    /** The one after it in its list. */
    public next: Entry | undefined,
  ) {}
}

/** An end of each list of a pool. */
type Ends = [Entry | undefined, Entry | undefined, Entry | undefined];

/** The records of a namespace, by level: the ends of each list, and its length. */
class Pool {
  readonly oldest: Ends = [undefined, undefined, undefined];
  readonly newest: Ends = [undefined, undefined, undefined];
  readonly sizes: [number, number, number] = [0, 0, 0];

  constructor(readonly path: string) {}
}

/** Where a list stopped: the first record of the next page, and the iterator behind it. */
interface OpenList {
  readonly pending: Entry;
  readonly rest: Iterator<Entry>;
}

/** See the module. */
export class BoundedEntries {
  readonly #entries = new Map<string, Entry>();
  readonly #pools = new Map<string, Pool>();
  readonly #sizes: [number, number, number] = [0, 0, 0];
  readonly #openLists = new Map<number, OpenList>();
  readonly #maxEntries: number;
  readonly #minEvictable: number;
  readonly #maxProtected: number;
  #created = 0;
  // Walks through the records again and again, a few steps a write; a map's iterator lives through changes.
  #sweeper: Iterator<Entry>;

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries;
    this.#minEvictable = Math.floor(maxEntries / 8);
    this.#maxProtected = Math.max(1, Math.floor(maxEntries * 3 / 4));
    this.#sweeper = this.#entries.values();
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  /**
   * Creates or replaces a record.
   *
   * @throws {HoldfastError} `store-full`; nothing was changed
   */
  put(
    key: string,
    content: string | Fields,
    expiresAt: number,
    retention: Retention,
    now: () => number,
  ): void {
    const level = LEVELS[retention];
    const known = this.#entries.get(key);
    const pool = known?.pool ?? this.#poolOf(key);
    if (level === PROTECTED && known?.level !== PROTECTED) this.#admit(pool, now);
    if (known === undefined) {
      if (this.#entries.size >= this.#maxEntries) this.#evictFor(level);
      const entry = new Entry(key, ++this.#created, pool, content, expiresAt, level, undefined, undefined);
      this.#entries.set(key, entry);
      this.#pools.set(pool.path, pool);
      this.#link(entry);
    } else {
      known.content = content;
      known.writes++;
      known.expiresAt = expiresAt;
      if (known.level !== level) {
        this.#unlink(known);
        known.level = level;
        this.#link(known);
        this.#pools.set(pool.path, pool);
      }
    }
    this.#sweep(now);
  }

  delete(entry: Entry): void {
    if (this.#entries.delete(entry.key)) this.#unlink(entry);
  }

  /**
   * A page of live keys in the order of their creation. The cursor is the number of the last one seen, and
   * that of the last one created before the first page: a key that is deleted and created again meanwhile has
   * a higher number and is not listed twice.
   */
  page(prefix: string, cursor: string | undefined, limit: number, now: () => number): ListPage {
    const place = /^(\d{1,16})-(\d{1,16})$/.exec(cursor ?? `0-${this.#created}`);
    if (place === null) throw badCursor();
    const [after, end] = [Number(place[1]), Number(place[2])];
    const open = this.#openLists.get(after);
    this.#openLists.delete(after);
    const rest = open?.rest ?? this.#entries.values();
    let next = open === undefined ? rest.next() : { value: open.pending, done: false };
    const keys: string[] = [];
    let last = after;
    for (let looked = 0; !next.done; next = rest.next()) {
      const entry: Entry = next.value;
      if (entry.number <= after) continue; // the walk from the start
      if (entry.number > end) break;
      const found = entry.key.startsWith(prefix) && this.#entries.get(entry.key) === entry &&
        (entry.expiresAt === Infinity || now() < entry.expiresAt);
      if ((found && keys.length === limit) || looked++ === MAX_LOOKED) {
        this.#remember(last, { pending: entry, rest });
        return { keys, cursor: `${last}-${end}` };
      }
      last = entry.number;
      if (found) keys.push(entry.key);
    }
    return { keys };
  }

  #remember(number: number, open: OpenList): void {
    this.#openLists.set(number, open);
    if (this.#openLists.size <= MAX_OPEN_LISTS) return;
    this.#openLists.delete(this.#openLists.keys().next().value!);
  }

  #poolOf(key: string): Pool {
    // Engine keys: `/outer/inner/:key`, or a bare key without a slash in front.
    const path = key.charCodeAt(0) === 47 /* slash */ ? key.slice(0, key.indexOf(":")) : "";
    const known = this.#pools.get(path);
    if (known !== undefined) return known;
    if (path === "" || this.#pools.size < MAX_POOLS) return new Pool(path);
    return this.#pools.get("") ?? new Pool("");
  }

  #link(entry: Entry): void {
    const { pool, level } = entry;
    const last = pool.newest[level];
    entry.previous = last;
    if (last === undefined) pool.oldest[level] = entry;
    else last.next = entry;
    pool.newest[level] = entry;
    pool.sizes[level]++;
    this.#sizes[level]++;
  }

  #unlink(entry: Entry): void {
    const { pool, level, previous, next } = entry;
    if (previous === undefined) pool.oldest[level] = next;
    else previous.next = next;
    if (next === undefined) pool.newest[level] = previous;
    else next.previous = previous;
    // A removed entry that something still points at must keep no others alive.
    entry.previous = entry.next = undefined;
    this.#sizes[level]--;
    pool.sizes[level]--;
    if (pool.sizes[0] + pool.sizes[1] + pool.sizes[2] === 0) this.#pools.delete(pool.path);
  }

  /** Refuses another protected record where its pool has its share. */
  #admit(pool: Pool, now: () => number): void {
    if (this.#hasShare(pool)) return;
    // What has expired makes space: the oldest of the pool, and what the sweep finds.
    const oldest = pool.oldest[PROTECTED];
    if (oldest !== undefined && now() >= oldest.expiresAt) this.delete(oldest);
    this.#sweep(now);
    if (!this.#hasShare(pool)) this.#refuse();
  }

  #hasShare({ sizes }: Pool): boolean {
    return sizes[PROTECTED] < 2 * (this.#maxProtected - this.#sizes[PROTECTED]);
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
      if (largest === undefined || pool.sizes[level] > largest.sizes[level]) largest = pool;
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

  #sweep(now: () => number): void {
    let time: number | undefined;
    for (let looked = 0, most = SWEEP; looked < most; looked++) {
      const { value, done } = this.#sweeper.next();
      if (done) return void (this.#sweeper = this.#entries.values());
      if (value.expiresAt === Infinity) continue;
      time ??= now();
      if (time < value.expiresAt) continue;
      this.delete(value);
      if (most < MAX_SWEEP) most++;
    }
  }
}
