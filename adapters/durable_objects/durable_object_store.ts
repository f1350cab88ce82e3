/**
 * The store on Durable Objects, as seen by the Worker that calls them; `object.ts` is the other side.
 *
 * Every call is one RPC to the object of its key, which runs the transition on its own storage
 * (`_records.ts`). Without `shards` each key has an object of its own: calls of different keys never wait for
 * each other, and nothing can be listed. With `shards` a hash of the key picks one of so many objects, each
 * with all of its keys in one table.
 *
 * A call is sent once. After a fault it is unknown whether the object has run it, so an error of a write is
 * `ambiguous`, and the contract above decides whether to repeat it.
 */
import { systemClock } from "../../src/clock.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import type { AtomicStore, TransactOptions } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions, EngineWatchOptions } from "../../src/store/engine.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import { badCursor } from "../../src/store/cursor.ts";
import { storePrefix } from "../../src/store/prefix.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import type { Fields, Transition } from "../../src/store/transition.ts";
import { getValue, setValue } from "../../src/store/value_transitions.ts";
import { interruptible, withTimeout } from "../../src/deadline.ts";
import { checkInteger, checkOneOf, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { objectFault, refusal } from "./_faults.ts";
import type { HoldfastStub, Refusal, Transacted } from "./rpc.ts";

const LOCATION_HINTS = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"] as const;

/**
 * The region near which Cloudflare makes an object.
 *
 * @category Stores
 */
export type LocationHint = "wnam" | "enam" | "sam" | "weur" | "eeur" | "apac" | "oc" | "afr" | "me";

/**
 * The part of a `DurableObjectNamespace<HoldfastObject>` that the store uses, by shape: the binding from
 * `env`.
 *
 * @category Stores
 */
export interface HoldfastNamespace {
  /** The stub of the object with that name. */
  getByName(name: string, options?: { locationHint?: LocationHint }): HoldfastStub;
}

/**
 * Options of {@linkcode durableObjectStore}.
 *
 * @category Stores
 */
export interface DurableObjectStoreOptions {
  /**
   * The number of objects that share the keys; only a store with this option can `list` and `clear`. It is
   * part of the objects' names: with another number the store starts empty.
   * @default {undefined} (every key has an object of its own)
   */
  readonly shards?: number | undefined;
  /**
   * The beginning of the names of all objects; stores with different prefixes never meet. At most 256 bytes.
   * @default {""}
   */
  readonly prefix?: string | undefined;
  /** The region near which an object is made that does not exist yet. */
  readonly locationHint?: LocationHint | undefined;
  /**
   * The maximum time of one call to an object.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
}

const OPTIONS = {
  shards: true,
  prefix: true,
  locationHint: true,
  timeout: true,
} satisfies OptionNames<DurableObjectStoreOptions>;

/**
 * A store on Durable Objects of the class `HoldfastObject`, or of one that extends it.
 *
 * @throws {TypeError} when the first argument is no binding, for an unknown option and a bad `locationHint`
 * @throws {RangeError} when `shards` is not a positive integer, or `prefix` is too long
 * @category Stores
 * @example
 * ```ts ignore
 * import { createThrottle } from "@holdfast/edge";
 * import { durableObjectStore } from "@holdfast/edge/durable-objects";
 *
 * const store = durableObjectStore(env.HOLDFAST, { locationHint: "weur" });
 * const throttle = createThrottle(store, { name: "api", limit: 100, window: "1m" });
 * const { allowed } = await throttle.check("visitor");
 * ```
 */
export function durableObjectStore(
  namespace: HoldfastNamespace,
  options: DurableObjectStoreOptions = {},
): AtomicStore {
  if (typeof namespace?.getByName !== "function") {
    throw new TypeError("Cannot make a store as it needs the binding of a Durable Object namespace");
  }
  checkOptionNames("make a store", options, OPTIONS);
  const { shards, locationHint } = options;
  if (shards !== undefined) checkInteger("make a store", "shards", shards);
  if (locationHint !== undefined) checkOneOf("make a store", "locationHint", locationHint, LOCATION_HINTS);
  return storeFromEngine(new DurableObjectEngine(namespace, options));
}

/** The longest name of an object, in bytes. */
const MAX_NAME_BYTES = 1024;

/** The longest time that one call waits for a change, in milliseconds; the object allows no more. */
const WATCH = 20_000;

/** The pause after a wait that the object refused or a fault ended, in milliseconds; with jitter. */
const WATCH_RETRY = 1000;

/** The maximum length of one call; Workers RPC takes 32 MiB. */
const MOST_CALL_LENGTH = 8_000_000;

class DurableObjectEngine implements AtomicEngine {
  readonly name = "durable-objects";
  readonly limits: { readonly maxKeyBytes: number; readonly maxValueLength: number };
  readonly binding: object;
  readonly scope: string;
  readonly #namespace: HoldfastNamespace;
  readonly #shards: number | undefined;
  readonly #prefix: string;
  readonly #hint: { locationHint: LocationHint } | undefined;
  readonly #timeout: number;

  constructor(namespace: HoldfastNamespace, options: DurableObjectStoreOptions) {
    this.#namespace = namespace;
    this.binding = namespace;
    this.scope = JSON.stringify([options.prefix ?? "", options.shards ?? 0]);
    this.#shards = options.shards;
    const { text, bytes } = storePrefix(options.prefix ?? "");
    this.#prefix = text;
    // The colon takes one. The object itself measures the record in bytes.
    this.limits = { maxKeyBytes: MAX_NAME_BYTES - bytes - 1, maxValueLength: 2_000_000 };
    const { locationHint } = options;
    this.#hint = locationHint === undefined ? undefined : { locationHint };
    this.#timeout = toMilliseconds(options.timeout ?? "10s", "timeout");
  }

  transact(
    transition: Transition,
    key: string,
    input: Fields,
    options?: TransactOptions,
  ): Promise<Fields> {
    return this.#transact(transition.name, key, input, options, transition.name !== getValue.name);
  }

  async get(key: string, options?: CallOptions): Promise<string | undefined> {
    return (await this.#transact(getValue.name, key, {}, options, false)).v;
  }

  async set(key: string, v: string, ttl: number | undefined, options?: CallOptions): Promise<void> {
    const input = ttl === undefined ? { v } : { v, ttl: String(ttl) };
    await this.#transact(setValue.name, key, input, options, true);
  }

  async delete(key: string, options?: CallOptions): Promise<boolean> {
    return await this.deleteMany([key], options) === 1;
  }

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    const values = new Map<string, string | undefined>();
    await this.#each(keys, (key) => key, async (name, some) => {
      while (some.length > 0) {
        const got = await this.#call(name, (stub) => stub.getMany(some), options, false);
        got.forEach((value, i) => values.set(some[i]!, value));
        some = some.slice(got.length);
      }
    });
    return keys.map((key) => values.get(key));
  }

  async setMany(
    entries: readonly (readonly [string, string])[],
    ttl: number | undefined,
    options?: CallOptions,
  ): Promise<void> {
    await this.#each(entries, ([key]) => key, async (name, some) => {
      for (const part of parts(some)) {
        throwRefusal(await this.#call(name, (stub) => stub.setMany(part, ttl), options, true));
      }
    });
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    let deleted = 0;
    await this.#each(keys, (key) => key, async (name, some) => {
      const count = await this.#call(name, (stub) => stub.deleteMany(some), options, true);
      deleted += count;
    });
    return deleted;
  }

  /** A page of one shard. The cursor is the shard's number and the last key. */
  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const shards = this.#shards;
    if (shards === undefined) {
      throw new TypeError(
        "Cannot list or clear as every key has an object of its own: make the store with 'shards'",
      );
    }
    const [shard, after] = readCursor(cursor, shards);
    const page = await this.#call(
      this.#shard(shard),
      (stub) => stub.list(prefix, after, limit),
      { signal },
      false,
    );
    if (page.cursor !== undefined) return { keys: page.keys, cursor: JSON.stringify([shard, page.cursor]) };
    return shard + 1 < shards
      ? { keys: page.keys, cursor: JSON.stringify([shard + 1]) }
      : { keys: page.keys };
  }

  /**
   * Waits for a change of a record. The object compares its version with `since`, the one that the caller saw
   * last: a change between the caller's read and this call is noticed, and so is one before a restart of the
   * object. Each call carries the time that is left, so none outlives its waiter by much.
   */
  async watch(key: string, { timeout, since, field, signal }: EngineWatchOptions): Promise<boolean> {
    const { clock, until } = { clock: systemClock, until: systemClock.monotonic() + timeout };
    let seen = since === undefined ? undefined : Number(since);
    for (;;) {
      signal?.throwIfAborted();
      const left = Math.ceil(until - clock.monotonic());
      if (left <= 0) return false;
      try {
        const call = this.#stub(this.#object(key)).watch(key, seen, Math.min(left, WATCH), field);
        const watched = await interruptible(call, signal);
        if (watched.changed) return true;
        seen = watched.version;
        if (!watched.refused) continue;
      } catch (error) {
        if (signal?.aborted) throw error;
        // The object restarted, or the connection broke. Without a version it is unknown whether the record
        // has changed: the caller looks for itself.
        if (seen === undefined) return true;
      }
      await clock.sleep(Math.min(left, WATCH_RETRY * (0.5 + Math.random() / 2)), signal);
      // An object with too many waiters does not notify them: the caller looks for itself.
      return true;
    }
  }

  async #transact(
    name: string,
    key: string,
    input: Fields,
    options: TransactOptions | undefined,
    writes: boolean,
  ): Promise<Fields> {
    const text = JSON.stringify(input);
    const run = (stub: HoldfastStub) => stub.transact(name, key, text);
    const done: Transacted = JSON.parse(await this.#call(this.#object(key), run, options, writes));
    if ("refused" in done) throw refusal(done.refused);
    options?.onVersion?.(String(done.version));
    return done.output;
  }

  /** One call to one object. Every call makes a stub, as one that threw is broken. */
  async #call<T>(
    name: string,
    run: (stub: HoldfastStub) => Promise<T>,
    options: CallOptions | undefined,
    writes: boolean,
  ): Promise<T> {
    const signal = options?.signal;
    signal?.throwIfAborted();
    const late = () =>
      new HoldfastError("timeout", "Cannot use the object as it did not reply in time", {
        retryable: true,
        ambiguous: writes,
      });
    let stub: HoldfastStub | undefined;
    try {
      stub = this.#stub(name);
      return await withTimeout(run(stub), this.#timeout, signal, late);
    } catch (error) {
      if (signal?.aborted || error instanceof HoldfastError) throw error;
      // Looked at only here, as each look at a method of a stub makes an object.
      throw objectFault(error, writes, stub === undefined || typeof stub.transact === "function");
    }
  }

  #stub(name: string): HoldfastStub {
    return this.#namespace.getByName(name, this.#hint);
  }

  // The prefix holds no colon and no slash: the first of them ends it, and tells a key from a shard.
  #object(key: string): string {
    return this.#shards === undefined ? `${this.#prefix}:${key}` : this.#shard(hash(key) % this.#shards);
  }

  #shard(shard: number): string {
    return `${this.#prefix}/shard ${shard} of ${this.#shards}`;
  }

  /** Calls every object once, with its own items. */
  async #each<T>(
    items: readonly T[],
    key: (item: T) => string,
    run: (name: string, some: T[]) => Promise<void>,
  ): Promise<void> {
    const byObject = new Map<string, T[]>();
    for (const item of items) {
      const name = this.#object(key(item));
      const some = byObject.get(name);
      if (some) some.push(item);
      else byObject.set(name, [item]);
    }
    await Promise.all(Array.from(byObject, ([name, some]) => run(name, some)));
  }
}

/** The entries in parts that fit one call each. */
function parts(entries: readonly (readonly [string, string])[]): [string, string][][] {
  const all: [string, string][][] = [];
  let length = Infinity;
  for (const [key, value] of entries) {
    if (length + value.length > MOST_CALL_LENGTH) {
      all.push([]);
      length = 0;
    }
    all.at(-1)!.push([key, value]);
    length += key.length + value.length;
  }
  return all;
}

/** FNV-1a over UTF-16, mixed once more. It decides the shard of a key, so it must never change. */
function hash(key: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}

/** Throws the error of a refusal that the object answered. */
function throwRefusal(refused: Refusal | undefined): void {
  if (refused !== undefined) throw refusal(refused);
}

/** The shard and the last key of a cursor. */
function readCursor(cursor: string | undefined, shards: number): [number, string?] {
  if (cursor === undefined) return [0];
  try {
    const [shard, after] = JSON.parse(cursor);
    const sound = Number.isInteger(shard) && shard >= 0 && shard < shards;
    if (sound && (after === undefined || typeof after === "string")) return [shard, after];
  } catch {
    // no JSON
  }
  throw badCursor();
}
