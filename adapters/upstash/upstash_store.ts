import { type Clock, systemClock } from "../../src/clock.ts";
import { HoldfastError } from "../../src/errors.ts";
import { randomToken } from "../../src/secret.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { transactByCompareAndSet, type VersionedRecord } from "../../src/store/compare_and_set.ts";
import type { AtomicEngine, EngineListOptions } from "../../src/store/engine.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import { atomicStore } from "../../src/store/store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";
import { COMMIT, DELETE_MANY, GET_MANY, LIST, LOAD, luaScript, SET_MANY } from "./_lua.ts";
import { RedisReplyError, type UpstashConnection, upstashScripts } from "./_transport.ts";
import { LUA_TWINS } from "./_twins.ts";

/**
 * What we use of a Redis client, by shape. `Redis` from `@upstash/redis` has it, on any of its import paths; other clients are
 * fitted in two lines:
 *
 * ```ts ignore
 * const store = upstashStore({
 *   evalsha: (sha, keys, args) => ioredis.evalsha(sha, keys.length, ...keys, ...args),
 *   eval: (script, keys, args) => ioredis.eval(script, keys.length, ...keys, ...args),
 * });
 * ```
 */
export interface RedisScripts {
  /** Runs a script the server knows by its SHA-1. */
  evalsha(sha: string, keys: string[], args: string[]): Promise<unknown>;
  /** Runs a script. */
  eval(script: string, keys: string[], args: string[]): Promise<unknown>;
}

/** Options of {@linkcode upstashStore}. */
export interface UpstashStoreOptions {
  /**
   * What every key begins with; nothing outside it is ever touched.
   * @default {"holdfast:"}
   */
  readonly prefix?: string;
  /**
   * Milliseconds until an operation counts as lost.
   * @default {5000}
   */
  readonly timeout?: number;
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
  const scripts = handedIn ? redis : upstashScripts(redis, options.timeout ?? 5000);
  // A client that was handed in may send a call twice without telling: what must not happen twice is marked.
  return atomicStore(new UpstashEngine(scripts, handedIn, options));
}

const CHUNK = 500;
const CHUNK_BYTES = 250_000;

class UpstashEngine implements AtomicEngine {
  readonly name = "upstash";
  readonly limits: { maxKeyBytes: number; maxValueLength: number };
  readonly #redis: RedisScripts;
  readonly #resends: boolean;
  readonly #prefix: string;
  readonly #timeout: number;
  readonly #now: () => string;
  readonly #clock: Clock;
  readonly #scripts = new Map<string, Promise<{ text: string; sha: string }>>();

  constructor(redis: RedisScripts, resends: boolean, options: UpstashStoreOptions) {
    this.#redis = redis;
    this.#resends = resends;
    this.#prefix = options.prefix ?? "holdfast:";
    this.#timeout = options.timeout ?? 5000;
    this.limits = { maxKeyBytes: 8192, maxValueLength: options.maxValueLength ?? 900_000 };
    const { virtualTime } = options;
    this.#now = virtualTime ? () => String(virtualTime()) : () => "";
    this.#clock = systemClock;
  }

  async transact(transition: Transition, key: string, input: Fields, options?: CallOptions): Promise<Fields> {
    const twin = LUA_TWINS[transition.name];
    if (twin === undefined) return await this.#byCompareAndSet(transition, key, input, options?.signal);
    const keys = this.#keys(key, twin.kind === "once");
    const args = [this.#now(), ...Object.entries(input).flat()];
    return fields(await this.#run(luaScript(twin.lua), keys, args, options?.signal, twin.kind !== "read"));
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
        const [now, ...pairs] = texts(
          await this.#run(LOAD, this.#keys(key, false), [this.#now()], signal, false),
        );
        time = Number(now);
        return { record: pairs.length === 0 ? undefined : fromPairs(pairs), version: pairs };
      },
      commit: async (_key: string, version: unknown, write: Write): Promise<boolean> => {
        const loaded = version as string[];
        const next = write.record === undefined ? [] : Object.entries(write.record).flat();
        const deadline = write.expiresAt === undefined ? "" : String(write.expiresAt);
        const args = [this.#now(), String(loaded.length), ...loaded, deadline, ...next];
        return texts(await this.#run(COMMIT, this.#keys(key, true), args, signal, true))[0] === "1";
      },
    };
    // The transition sees the time that its record was read at.
    const clock: Clock = { ...this.#clock, now: () => time };
    return transactByCompareAndSet(backend, transition, key, input, { clock, signal });
  }

  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const [from = "0", ...left] = cursor === undefined ? [] : JSON.parse(cursor) as string[];
    let next = from;
    let keys = left;
    if (left.length === 0) {
      const pattern = (this.#prefix + prefix).replace(/[\\*?[\]]/g, "\\$&") + "*";
      [next = "0", ...keys] = texts(await this.#run(LIST, [], [from, pattern, String(limit)], signal, false));
    }
    // SCAN answers about as many as it was asked for: the rest waits in the cursor.
    const rest = keys.slice(limit);
    const page = keys.slice(0, limit).map((key) => left.length > 0 ? key : key.slice(this.#prefix.length));
    if (rest.length > 0) {
      const later = rest.map((key) => left.length > 0 ? key : key.slice(this.#prefix.length));
      return { keys: page, cursor: JSON.stringify([next, ...later]) };
    }
    return next === "0" ? { keys: page } : { keys: page, cursor: JSON.stringify([next]) };
  }

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    const replies = await Promise.all(
      chunks(keys, (key) => key.length).map((some) =>
        this.#run(GET_MANY, some.map((key) => this.#prefix + key), [], options?.signal, false)
      ),
    );
    return (replies as string[][]).flat().map((reply) => reply === "" ? undefined : reply.slice(1));
  }

  async setMany(
    entries: readonly (readonly [string, string])[],
    ttl: number | undefined,
    options?: CallOptions,
  ): Promise<void> {
    await Promise.all(
      chunks(entries, ([key, value]) => key.length + value.length).map((some) => {
        const args = [ttl === undefined ? "" : String(ttl), ...some.map(([, value]) => value)];
        return this.#run(SET_MANY, some.map(([key]) => this.#prefix + key), args, options?.signal, true);
      }),
    );
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    const replies = await Promise.all(
      chunks(keys, (key) => key.length).map((some) =>
        this.#run(DELETE_MANY, some.map((key) => this.#prefix + key), [], options?.signal, true)
      ),
    );
    return replies.reduce((sum: number, reply) => sum + Number(reply), 0);
  }

  #keys(key: string, once: boolean): string[] {
    const full = this.#prefix + key;
    return once && this.#resends ? [full, `holdfast-once:${randomToken(12)}`] : [full];
  }

  /** EVALSHA, and EVAL once where the server does not know the script: nothing has happened then. */
  async #run(
    text: string,
    keys: string[],
    args: string[],
    signal: AbortSignal | undefined,
    writes: boolean,
  ): Promise<unknown> {
    const { sha } = await this.#script(text);
    signal?.throwIfAborted();
    try {
      return await this.#inTime(this.#redis.evalsha(sha, keys, args), signal, writes);
    } catch (error) {
      if (!isReply(error, "NOSCRIPT")) throw fault(error, writes, signal);
    }
    try {
      return await this.#inTime(this.#redis.eval(text, keys, args), signal, writes);
    } catch (error) {
      throw fault(error, writes, signal);
    }
  }

  async #inTime<T>(work: Promise<T>, signal: AbortSignal | undefined, writes: boolean): Promise<T> {
    if (!this.#resends) return await work; // our own transport keeps time itself
    const over = Promise.withResolvers<never>();
    const timer = setTimeout(() => over.reject(lost("timeout", writes)), this.#timeout);
    const abort = () => over.reject(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([work, over.promise]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      work.catch(() => {}); // a loser's failure is nobody's
    }
  }

  #script(text: string): Promise<{ text: string; sha: string }> {
    let script = this.#scripts.get(text);
    if (script === undefined) {
      script = crypto.subtle.digest("SHA-1", new TextEncoder().encode(text)).then((digest) => ({
        text,
        sha: Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join(""),
      }));
      this.#scripts.set(text, script);
    }
    return script;
  }
}

function texts(reply: unknown): string[] {
  if (Array.isArray(reply) && reply.every((part) => typeof part === "string" && part.startsWith("~"))) {
    return reply.map((part: string) => part.slice(1));
  }
  throw new HoldfastError("backend-unavailable", "Cannot use Redis as its reply was none of our scripts'");
}

function fromPairs(pairs: readonly string[]): Fields {
  const record: Record<string, string> = {};
  for (let i = 0; i < pairs.length; i += 2) record[pairs[i]!] = pairs[i + 1]!;
  return record;
}

function fields(reply: unknown): Fields {
  return fromPairs(texts(reply));
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

function isReply(error: unknown, word: string): boolean {
  return error instanceof Error && error.message.includes(word);
}

function lost(code: "timeout" | "backend-unavailable", ambiguous: boolean): HoldfastError {
  return new HoldfastError(
    code,
    `Cannot use Redis as ${code === "timeout" ? "it did not reply in time" : "it failed"}`,
    {
      retryable: true,
      ambiguous,
    },
  );
}

/** Clients quote the whole command in their errors, values included: nothing of that is passed on. */
function fault(error: unknown, writes: boolean, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof HoldfastError) {
    if (error.ambiguous && !writes) {
      const { code, message, retryable, retryAfter } = error;
      return new HoldfastError(code, message, { retryable, ...(retryAfter !== undefined && { retryAfter }) });
    }
    return error;
  }
  if (isReply(error, "WRONGTYPE")) {
    return new HoldfastError(
      "corrupt-record",
      "Cannot read the record as another program wrote under its key",
    );
  }
  if (isReply(error, "max request size exceeded")) {
    return new HoldfastError("value-too-large", "Cannot send the request as Redis refuses one so large");
  }
  if (error instanceof RedisReplyError || isReply(error, "ERR ") || isReply(error, "NOPERM")) {
    return new HoldfastError("backend-unavailable", "Cannot use Redis as it refused the command");
  }
  return lost("backend-unavailable", writes);
}
