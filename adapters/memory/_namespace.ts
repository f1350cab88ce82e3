/**
 * The maximum number of keys in one map. A map that is full copies itself into one of twice the size, and a
 * million keys take it tens of milliseconds; this many take about two.
 */
const MOST_PER_MAP = 1 << 17;

/** The further maps of a large namespace: a power of two, so that a million keys are about 16,000 a map. */
const SHARDS = 64;

/**
 * The records of one or more namespaces that share a bound: per level of retention the ends of its list, and
 * its length.
 */
export class Pool {
  /** The slots of the oldest and the newest record of each level; -1 for none. */
  readonly oldest = [-1, -1, -1];
  readonly newest = [-1, -1, -1];
  readonly sizes = [0, 0, 0];

  constructor(readonly path: string) {}
}

/**
 * The keys of one namespace, as its own callers know them, and the slot of each record. So no key is put
 * together from path and name at a call, and a key that the caller uses again has its hash already.
 */
export class Namespace {
  #slots = new Map<string, number>();
  #shards: Map<string, number>[] | undefined;
  size = 0;
  /** Whether it is out of the register since its last record left; it comes back with the next one. */
  gone = true;

  constructor(readonly path: string, public pool: Pool) {}

  find(key: string): number | undefined {
    const slot = this.#slots.get(key);
    return slot !== undefined || this.#shards === undefined ? slot : this.#shards[shardOf(key)]!.get(key);
  }

  /** Adds a key that is not there. */
  add(key: string, slot: number): void {
    this.size++;
    if (this.#slots.size < MOST_PER_MAP) return void this.#slots.set(key, slot);
    this.#shards ??= Array.from({ length: SHARDS }, () => new Map());
    this.#shards[shardOf(key)]!.set(key, slot);
  }

  remove(key: string): void {
    this.size--;
    if (!this.#slots.delete(key)) this.#shards![shardOf(key)]!.delete(key);
    if (this.size === 0) this.#shards = undefined;
  }

  /** The key as the engine's interface names it. */
  fullKey(key: string): string {
    if (this.path !== "") return this.path + ":" + key;
    return key.charCodeAt(0) === SLASH ? "/:" + key : key;
  }
}

const SLASH = 47;
const COLON = ":";

/**
 * The path of the namespace and the key in it, of a key as the engine's interface names it; see `_keys.ts` of
 * the store.
 */
export function partsOf(full: string): [path: string, key: string] {
  if (full.charCodeAt(0) !== SLASH) return ["", full];
  const end = full.indexOf(COLON);
  return [end === 1 ? "" : full.slice(0, end), full.slice(end + 1)];
}

/** Spreads keys by their last characters, which differ where keys are counted up or drawn at random. */
function shardOf(key: string): number {
  let hash = key.length;
  for (let i = Math.max(0, key.length - 6); i < key.length; i++) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x9e3779b1);
  }
  return (hash >>> 16) & (SHARDS - 1);
}
