import { systemClock } from "../../src/clock.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import type { AtomicStore, TransactOptions } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions, EngineWatchOptions } from "../../src/store/engine.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import { atomicStore } from "../../src/store/store.ts";
import type { Fields, Transition } from "../../src/store/transition.ts";
import { getValue, setValue } from "../../src/store/value_transitions.ts";
import { interruptible, withTimeout } from "../../src/deadline.ts";
import type { HoldfastStub, Refusal } from "./rpc.ts";

/** Where Cloudflare can be asked to make an object. */
export type LocationHint = "wnam" | "enam" | "sam" | "weur" | "eeur" | "apac" | "oc" | "afr" | "me";

/** What we use of a `DurableObjectNamespace<HoldfastObject>`, by shape: the binding from `env`. */
export interface HoldfastNamespace {
  /** The stub of the object with that name. */
  getByName(name: string, options?: { locationHint?: LocationHint }): HoldfastStub;
}

/** Options of {@linkcode durableObjectStore}. */
export interface DurableObjectStoreOptions {
  /**
   * How many objects share the keys; a store that has them can `list` and `clear`. It is part of their names: with another
   * number the store begins empty.
   * @default {undefined} (every key has an object of its own)
   */
  readonly shards?: number;
  /**
   * What the names of the objects begin with; stores with different prefixes never meet.
   * @default {""}
   */
  readonly prefix?: string;
  /** Near where to make an object that does not exist yet. */
  readonly locationHint?: LocationHint;
  /**
   * How long until an operation counts as lost.
   * @default {"10s"}
   */
  readonly timeout?: Duration;
}

/**
 * A store on Durable Objects of the class `HoldfastObject`, or of one that extends it.
 *
 * @throws {TypeError} when the first argument is no binding
 * @throws {RangeError} when `shards` is not a positive integer
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
  const { shards } = options;
  if (shards !== undefined && !(Number.isSafeInteger(shards) && shards > 0)) {
    throw new RangeError(
      `Cannot make a store as 'shards' must be a positive integer: current value is ${shards}`,
    );
  }
  return atomicStore(new DurableObjectEngine(namespace, options));
}

/** The longest time that one call waits for a change, in milliseconds; the object allows no more. */
const WATCH = 20_000;

/** The pause after a wait that the object refused or a fault ended, in milliseconds; with jitter. */
const WATCH_RETRY = 1000;

/** What one call may carry; Workers RPC takes 32 MiB. */
const MOST_CALL_LENGTH = 8_000_000;

class DurableObjectEngine implements AtomicEngine {
  readonly name = "durable-objects";
  // Longer names do not reach an object; the object itself measures the record in bytes.
  readonly limits = { maxKeyBytes: 1024, maxValueLength: 2_000_000 };
  readonly binding: object;
  readonly scope: string;
  readonly #namespace: HoldfastNamespace;
  readonly #shards: number | undefined;
  readonly #prefix: string;
  readonly #hint: { locationHint?: LocationHint };
  readonly #timeout: number;

  constructor(namespace: HoldfastNamespace, options: DurableObjectStoreOptions) {
    this.#namespace = namespace;
    this.binding = namespace;
    this.scope = JSON.stringify([options.prefix ?? "", options.shards ?? 0]);
    this.#shards = options.shards;
    this.#prefix = options.prefix ?? "";
    this.#hint = options.locationHint === undefined ? {} : { locationHint: options.locationHint };
    this.#timeout = toMilliseconds(options.timeout ?? "10s", "timeout");
  }

  async transact(
    transition: Transition,
    key: string,
    input: Fields,
    options?: TransactOptions,
  ): Promise<Fields> {
    const writes = transition.name !== getValue.name;
    const { output, version } = await this.#transact(transition.name, key, input, options, writes);
    options?.onVersion?.(String(version));
    return output;
  }

  async get(key: string, options?: CallOptions): Promise<string | undefined> {
    return (await this.#transact(getValue.name, key, {}, options, false)).output.v;
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
        refuse(await this.#call(name, (stub) => stub.setMany(part, ttl), options, true));
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

  /** A page is of one shard; the cursor says of which, and behind which key. */
  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const shards = this.#shards;
    if (shards === undefined) {
      throw new TypeError(
        "Cannot list or clear as every key has an object of its own: make the store with 'shards'",
      );
    }
    const [shard, after] = cursor === undefined ? [0] : JSON.parse(cursor) as [number, string?];
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
   * The object compares its record with the version that the caller has seen: no change is missed, whichever call arrives first, and
   * none after a restart of the object. The time that is left travels with each call, so no call outlives its waiter by much.
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
        // The object restarted, or the connection to it broke. Without a version a change may have been missed.
        if (seen === undefined) return true;
      }
      await clock.sleep(Math.min(left, WATCH_RETRY * (0.5 + Math.random() / 2)), signal);
      // An object with too many waiters does not notify: the caller asks for itself.
      return true;
    }
  }

  async #transact(
    name: string,
    key: string,
    input: Fields,
    options: CallOptions | undefined,
    writes: boolean,
  ): Promise<{ output: Fields; version: number }> {
    const done = await this.#call(
      this.#object(key),
      (stub) => stub.transact(name, key, input),
      options,
      writes,
    );
    if ("refused" in done) throw refusal(done.refused);
    return done;
  }

  /** One call to one object. Every call has a stub of its own, as one that threw is broken. */
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
    try {
      return await withTimeout(run(this.#stub(name)), this.#timeout, signal, late);
    } catch (error) {
      if (signal?.aborted || error instanceof HoldfastError) throw error;
      throw fault(error, writes);
    }
  }

  #stub(name: string): HoldfastStub {
    return this.#namespace.getByName(name, this.#hint);
  }

  #object(key: string): string {
    return this.#shards === undefined ? this.#prefix + key : this.#shard(hash(key) % this.#shards);
  }

  #shard(shard: number): string {
    return `${this.#prefix}shard ${shard} of ${this.#shards}`;
  }

  /** Calls every object once, with what is its own. */
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

/** Few enough for one call. */
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

/** FNV-1a over UTF-16, mixed once more. It says where a key lives: it never changes. */
function hash(key: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}

function refuse(refused: Refusal | undefined): void {
  if (refused !== undefined) throw refusal(refused);
}

function refusal(refused: Refusal): HoldfastError {
  return new HoldfastError(
    refused,
    refused === "transition-unknown"
      ? "Cannot run the transition as the object's class does not know its name: add it to its 'transitions'"
      : "Cannot store the record as an object takes at most 2000000 bytes, its key included",
  );
}

/** Cloudflare says on the error whether the object was too busy to begin, and whether to ask again. */
function fault(cause: unknown, writes: boolean): HoldfastError {
  const { overloaded, retryable } = Object(cause) as { overloaded?: boolean; retryable?: boolean };
  if (overloaded) {
    return new HoldfastError("backend-unavailable", "Cannot use the object as it is overloaded", { cause });
  }
  return new HoldfastError("backend-unavailable", "Cannot use the object as the call to it failed", {
    retryable: retryable === true,
    ambiguous: writes,
    cause,
  });
}
