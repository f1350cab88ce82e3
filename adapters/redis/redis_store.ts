import { type Duration, toMilliseconds } from "../../src/duration.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import { checkFunction, checkInteger, checkOptionNames, type OptionNames } from "../../src/validate.ts";
// The scripts and the engine are Upstash's: they move to a folder of their own when that branch has settled.
import { clientRunner } from "../upstash/_client.ts";
import { UpstashEngine } from "../upstash/_engine.ts";
import { KeySpace } from "../upstash/_keys.ts";
import { ScriptBook } from "../upstash/_scripts.ts";
import { allScripts } from "../upstash/scripts.ts";
import { fitClient, type RedisClient } from "./redis_clients.ts";

/**
 * Options of {@linkcode redisStore}.
 *
 * @category Stores
 */
export interface RedisStoreOptions {
  /**
   * The namespace of the store's keys in the database, which all begin with it and a colon. No other key is
   * ever touched, and two prefixes never meet. At most 256 bytes. On a Redis Cluster, a hash tag
   * (`"{holdfast}"`) keeps all keys on one node, where many of them need one script only.
   * @default {"holdfast"}
   */
  readonly prefix?: string | undefined;
  /**
   * Whether the server is a Redis Cluster: scripts then take the keys of one slot, and listings go from node
   * to node.
   * @default {true for ioredis' Cluster, node-redis' createCluster() and clients that are fitted by hand; false for the others}
   */
  readonly cluster?: boolean | undefined;
  /**
   * The time limit of a call, repetitions included.
   * @default {"5s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The time limit of one command. A call takes more than one where the server does not know its script yet.
   * @default {the value of `timeout`}
   */
  readonly attemptTimeout?: Duration | undefined;
  /**
   * The longest value in UTF-16 code units. Redis takes 512 MB; a value of that size is a mistake, and blocks
   * every other call.
   * @default {16_000_000}
   */
  readonly maxValueLength?: number | undefined;
  /** A virtual time in place of the clock of Redis, for tests of the engine itself. */
  readonly virtualTime?: (() => number) | undefined;
}

const OPTIONS = {
  prefix: true,
  cluster: true,
  timeout: true,
  attemptTimeout: true,
  maxValueLength: true,
  virtualTime: true,
} satisfies OptionNames<RedisStoreOptions>;

/**
 * Makes a store on Redis or Valkey 6.2 and later over your own client: `Redis` and `Cluster` of ioredis, a
 * client, pool, sentinel or cluster of node-redis after its `connect()`, or Bun's `RedisClient`. Any other
 * client is fitted in two lines (`RedisScripts`).
 *
 * The client's own retries are safe: a script that arrives twice is executed once, and answered alike for a
 * minute.
 *
 * @throws {TypeError} when the client is of no known kind, or for an unknown option
 * @throws {RangeError} for a time limit, length or prefix out of its range
 * @category Stores
 * @example
 * ```ts ignore
 * import { Redis } from "ioredis";
 * import { createLocks } from "@holdfast/edge";
 * import { redisStore } from "@holdfast/edge/redis";
 *
 * const store = redisStore(new Redis("redis://localhost:6379"), { prefix: "shop" });
 * await using lock = await createLocks(store).acquire("job:nightly", { ttl: "30s" });
 * ```
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions = {}): AtomicStore {
  const task = "make a Redis store";
  checkOptionNames(task, options, OPTIONS);
  checkFunction(task, "virtualTime", options.virtualTime);
  const { scripts, cluster: detected, hash } = fitClient(client);
  const { cluster = detected } = options;
  if (typeof cluster !== "boolean") {
    throw new TypeError(`Cannot ${task} as 'cluster' must be a boolean: current type is ${typeof cluster}`);
  }
  const timeout = toMilliseconds(options.timeout ?? "5s", "timeout");
  const attemptTimeout = toMilliseconds(options.attemptTimeout ?? timeout, "attemptTimeout");
  const maxValueLength = checkInteger(task, "maxValueLength", options.maxValueLength ?? 16_000_000);
  // Redis and Valkey refuse Upstash's first line of a script: they are never asked.
  const state = { keyLocking: false, syncToken: undefined };
  const book = new ScriptBook(state, allScripts, options.virtualTime !== undefined);
  return storeFromEngine(
    new UpstashEngine({
      name: "redis",
      runner: clientRunner(scripts, book, { timeout, attemptTimeout }, hash),
      binding: client,
      book,
      keys: new KeySpace(options.prefix ?? "holdfast", cluster),
      maxValueLength,
    }, options.virtualTime),
  );
}
