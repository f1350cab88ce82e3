import { type Clock, systemClock } from "../../src/clock.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { randomToken } from "../../src/secret.ts";
import type { HoldfastError } from "../../src/errors.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { transactByCompareAndSet, type VersionedRecord } from "../../src/store/compare_and_set.ts";
import type { AtomicEngine, EngineListOptions } from "../../src/store/engine.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import { atomicStore } from "../../src/store/store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";
import { clientRunner, type RedisScripts } from "./_client.ts";
import { fault, lost, says } from "./_faults.ts";
import { inputArgs } from "./_lua.ts";
import { type Script, scripts } from "./_scripts.ts";
import { type ScriptRunner, type UpstashConnection, UpstashTransport } from "./_transport.ts";
import { LUA_TWINS } from "./_twins.ts";

/** Options of {@linkcode upstashStore}. */
export interface UpstashStoreOptions {
  /**
   * What every key begins with; nothing outside it is ever touched.
   * @default {"holdfast:"}
   */
  readonly prefix?: string;
  /**
   * After how long without a reply an operation counts as lost.
   * @default {"5s"}
   */
  readonly timeout?: Duration;
  /**
   * The longest value; Upstash takes requests of 1 MB unless the plan says otherwise.
   * @default {900_000}
   */
  readonly maxValueLength?: number;
  /** A virtual time in place of Redis's own, for tests of the engine itself. */
  readonly virtualTime?: () => number;
}

/**
 * A store on Upstash Redis, or on any Redis 6.2 and later whose client is fitted to {@linkcode RedisScripts}.
 *
 * @throws {TypeError} when there is neither a client nor a URL and a token
 * @example
 * ```ts
 * import { upstashStore } from "@holdfast/edge/upstash";
 * const store = upstashStore({ url: "https://example.upstash.io", token: "secret" }, { prefix: "shop:" });
 * if (store.engine !== "upstash") throw new Error("unexpected");
 * ```
 */
export function upstashStore(
  redis: RedisScripts | UpstashConnection,
  options: UpstashStoreOptions = {},
): AtomicStore {
  const handedIn = "evalsha" in redis;
  if (handedIn && (typeof redis.evalsha !== "function" || typeof redis.eval !== "function")) {
    throw new TypeError("Cannot make a store as the Redis client must have 'evalsha' and 'eval'");
  }
  const timeout = toMilliseconds(options.timeout ?? "5s", "timeout");
  const runner = handedIn ? clientRunner(redis, timeout) : new UpstashTransport(redis, timeout);
  return atomicStore(new UpstashEngine(runner, handedIn ? redis : connectionObject(redis), options));
}

/** One object per database, so that stores made anew for each request share what is kept per binding. */
const connections = new Map<string, object>();
const MAX_CONNECTIONS = 100;

function connectionObject({ url, token }: UpstashConnection): object {
  const id = JSON.stringify([url, token]);
  let known = connections.get(id);
  if (known === undefined) {
    if (connections.size >= MAX_CONNECTIONS) connections.clear();
    connections.set(id, known = {});
  }
  return known;
}

const CHUNK = 500;
const CHUNK_BYTES = 250_000;

class UpstashEngine implements AtomicEngine {
  readonly name = "upstash";
  readonly limits: { maxKeyBytes: number; maxValueLength: number };
  readonly scope: string;
  readonly #runner: ScriptRunner;
  readonly #prefix: string;
  readonly #virtualTime: (() => number) | undefined;
  #keyLocking = true;
  #known: ReadonlyMap<string, Script> | undefined;

  constructor(runner: ScriptRunner, readonly binding: object, options: UpstashStoreOptions) {
    const { prefix = "holdfast:", maxValueLength = 900_000, virtualTime } = options;
    this.#runner = runner;
    this.#prefix = this.scope = prefix;
    this.limits = { maxKeyBytes: 8192, maxValueLength };
    this.#virtualTime = virtualTime;
  }

  transact(transition: Transition, key: string, input: Fields, options?: CallOptions): Promise<Fields> {
    const twin = LUA_TWINS[transition.name];
    if (twin === undefined) return this.#byCompareAndSet(transition, key, input, options?.signal);
    const keys = this.#keys([key], twin.kind === "once");
    const args = inputArgs(input, twin.fields);
    if (this.#virtualTime) args.unshift(...this.#now());
    const read = (reply: unknown) => {
      if (twin.output === undefined || typeof reply === "string") return fromPairs(list<string>(reply));
      const figures = Array.isArray(reply) ? reply : [reply];
      const output = figures.every(Number.isSafeInteger) ? twin.output(figures) : undefined;
      if (output === undefined) throw strange();
      return output;
    };
    return this.#run(transition.name, keys, args, options?.signal, twin.kind !== "read", read);
  }

  #byCompareAndSet(
    transition: Transition,
    key: string,
    input: Fields,
    signal?: AbortSignal,
  ): Promise<Fields> {
    let time = 0;
    const backend = {
      load: async (): Promise<VersionedRecord> => {
        const keys = this.#keys([key], false);
        const [now, ...pairs] = await this.#run("load", keys, this.#now(), signal, false, list<string>);
        time = Number(now);
        return { record: pairs.length === 0 ? undefined : fromPairs(pairs), version: pairs };
      },
      commit: async (_key: string, version: unknown, write: Write): Promise<boolean> => {
        const loaded = version as string[];
        const next = write.record === undefined ? [] : Object.entries(write.record).flat();
        const deadline = write.expiresAt === undefined ? "" : String(write.expiresAt);
        const args = [...this.#now(), String(loaded.length), ...loaded, deadline, ...next];
        return (await this.#run("commit", this.#keys([key], true), args, signal, true, list))[0] === "1";
      },
    };
    // The transition sees the time that its record was read at.
    const clock: Clock = { ...systemClock, now: () => time };
    return transactByCompareAndSet(backend, transition, key, input, { clock, signal });
  }

  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const [from = "0", ...left] = cursor === undefined ? [] : JSON.parse(cursor) as string[];
    let next = from;
    let keys = left;
    if (left.length === 0) {
      const pattern = (this.#prefix + prefix).replace(/[\\*?[\]]/g, "\\$&") + "*";
      [next = "0", ...keys] = await this.#run(
        "list",
        [],
        [from, pattern, String(limit)],
        signal,
        false,
        list<string>,
      );
      // SCAN may show a key twice.
      keys = [...new Set(keys)].map((key) => key.slice(this.#prefix.length)).filter((key) =>
        !key.startsWith("//")
      );
    }
    // SCAN answers about as many as it was asked for: the rest waits in the cursor.
    const later = keys.splice(limit);
    if (later.length === 0 && next === "0") return { keys };
    return { keys, cursor: JSON.stringify([next, ...later]) };
  }

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    const replies = await Promise.all(
      chunks(keys, (key) => key.length).map((some) =>
        this.#run("get-many", this.#keys(some, false), [], options?.signal, false, list<string | false>)
      ),
    );
    return replies.flat().map((text) => text === false ? undefined : text);
  }

  async setMany(
    entries: readonly (readonly [string, string])[],
    ttl: number | undefined,
    options?: CallOptions,
  ): Promise<void> {
    await Promise.all(
      chunks(entries, ([key, value]) => key.length + value.length).map((some) => {
        const args = [
          ...this.#now(),
          ttl === undefined ? "" : String(ttl),
          ...some.map(([, value]) => value),
        ];
        return this.#run(
          "set-many",
          some.map(([key]) => this.#prefix + key),
          args,
          options?.signal,
          true,
          list,
        );
      }),
    );
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    const replies = await Promise.all(
      chunks(keys, (key) => key.length).map((some) =>
        this.#run("delete-many", this.#keys(some, true), [], options?.signal, true, list)
      ),
    );
    return replies.reduce((sum, [count]) => sum + Number(count), 0);
  }

  #now(): string[] {
    return this.#virtualTime ? [String(this.#virtualTime())] : [];
  }

  /** No key of a store begins with two slashes: what is remembered there meets none, and `list` passes over it. */
  #keys([first, ...others]: readonly string[], once: boolean): string[] {
    const memory = once ? [`//${randomToken(12)}`] : [];
    return [first!, ...memory, ...others].map((key) => this.#prefix + key);
  }

  async #scripts(): Promise<ReadonlyMap<string, Script>> {
    const keyLocking = this.#keyLocking;
    const all = await scripts(keyLocking, this.#virtualTime !== undefined);
    if (keyLocking === this.#keyLocking) this.#known = all;
    return all;
  }

  async #run<T>(
    name: string,
    keys: string[],
    args: string[],
    signal: AbortSignal | undefined,
    writes: boolean,
    read: (reply: unknown) => T,
  ): Promise<T> {
    const keyLocking = this.#keyLocking;
    const known = this.#known ?? await this.#scripts();
    signal?.throwIfAborted();
    try {
      return read(await this.#runner.run(known.get(name)!, keys, args, signal));
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      // Redis and Valkey know no key locking and refuse to compile such a script: nothing has happened then.
      if (!keyLocking || !says(error, /shebang|compiling script/)) throw fault(error, writes);
    }
    [this.#keyLocking, this.#known] = [false, undefined];
    return await this.#run<T>(name, keys, args, signal, writes, read);
  }
}

/** What a script answered; Lua has one word for an empty list and an empty object. */
function list<T>(reply: unknown): T[] {
  let items: unknown;
  try {
    if (typeof reply === "string" && reply.startsWith("~")) items = JSON.parse(reply.slice(1));
  } catch {
    // it broke off
  }
  if (typeof items !== "object" || items === null) throw strange();
  return Array.isArray(items) ? items : [];
}

function strange(): HoldfastError {
  return lost("its reply was none of our scripts'");
}

function fromPairs(pairs: readonly string[]): Fields {
  const record: Record<string, string> = {};
  for (let i = 0; i < pairs.length; i += 2) record[pairs[i]!] = pairs[i + 1]!;
  return record;
}

/** Few enough and small enough for one request. */
function chunks<T>(items: readonly T[], size: (item: T) => number): T[][] {
  const all: T[][] = [];
  let bytes = Infinity;
  for (const item of items) {
    if (bytes > CHUNK_BYTES || all.at(-1)!.length >= CHUNK) {
      all.push([]);
      bytes = 0;
    }
    all.at(-1)!.push(item);
    bytes += size(item);
  }
  return all;
}
