import type { Duration } from "../../src/duration.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { checkFunction, checkNeededOptions, checkOptionNames, type OptionNames } from "../../src/validate.ts";
// The scripts and the engine are Upstash's, by the way of which they run on any Redis.
import { clientRunner } from "../upstash/_client.ts";
import { redisCluster } from "../upstash/_cluster.ts";
import { KeySpace } from "../upstash/_keys.ts";
import type { UpstashScripts, Wrap } from "../upstash/_lua.ts";
import { ScriptBook } from "../upstash/_scripts.ts";
import { checkScripts, redisEngineStore, timeoutsOf } from "../upstash/_store_parts.ts";
import { inVirtualTime } from "../upstash/_virtual_time.ts";
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
  /**
   * The scripts of your own transitions, as `@holdfast/edge/upstash/compile` writes them, beside those of the
   * contracts. A transition without a script works too, in two commands instead of one.
   * @default {[]}
   */
  readonly scripts?: readonly UpstashScripts[] | undefined;
  /** A virtual time in place of the clock of Redis, for tests of the engine itself. */
  readonly virtualTime?: (() => number) | undefined;
}

const OPTIONS = {
  prefix: true,
  cluster: true,
  timeout: true,
  attemptTimeout: true,
  maxValueLength: true,
  scripts: true,
} satisfies OptionNames<CreateRedisStoreOptions>;

const TASK = "make a Redis store";

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
  checkOptionNames(TASK, options, { ...OPTIONS, virtualTime: true } satisfies OptionNames<RedisStoreOptions>);
  checkFunction(TASK, "virtualTime", options.virtualTime);
  const own = checkScripts(options.scripts === undefined ? [] : options.scripts);
  return storeOn(
    client,
    { ...options, scripts: [...allScripts, ...own] },
    options.virtualTime && inVirtualTime,
  );
}

/**
 * Options of {@linkcode createRedisStore}.
 *
 * @category Stores
 */
export interface CreateRedisStoreOptions extends Omit<RedisStoreOptions, "virtualTime"> {
  /** The scripts that the store carries. */
  readonly scripts: readonly UpstashScripts[];
}

/**
 * Makes a store as {@linkcode redisStore} does, which carries only the scripts that it is given: those of the
 * contracts that an app uses. Other transitions work too, in two commands instead of one.
 *
 * @throws {TypeError} when the client is of no known kind, or for an unknown option
 * @throws {RangeError} for a time limit, length or prefix out of its range
 * @category Stores
 * @example
 * ```ts ignore
 * import { Redis } from "ioredis";
 * import { createThrottle } from "@holdfast/edge";
 * import { createRedisStore, throttleScripts } from "@holdfast/edge/redis";
 *
 * const store = createRedisStore(new Redis("redis://localhost:6379"), { scripts: [throttleScripts] });
 * await createThrottle(store, { name: "api", limit: 100, window: "1m" }).check("visitor");
 * ```
 */
export function createRedisStore(client: RedisClient, options: CreateRedisStoreOptions): AtomicStore {
  checkNeededOptions(TASK, options, OPTIONS, "'scripts'");
  return storeOn(client, { ...options, scripts: checkScripts(options.scripts) });
}

/** `wrap` puts scripts under the option `virtualTime`. */
function storeOn(
  client: RedisClient,
  options: CreateRedisStoreOptions & Pick<RedisStoreOptions, "virtualTime">,
  wrap?: Wrap,
): AtomicStore {
  const { scripts, cluster: detected, hash } = fitClient(client);
  const { cluster = detected } = options;
  if (typeof cluster !== "boolean") {
    throw new TypeError(`Cannot ${TASK} as 'cluster' must be a boolean: current type is ${typeof cluster}`);
  }
  const keys = new KeySpace(options.prefix, cluster ? redisCluster : undefined);
  // Redis and Valkey refuse Upstash's first line of a script: they are never asked.
  const book = new ScriptBook({ keyLocking: false, syncToken: undefined }, options.scripts, {
    wrap,
    loads: true,
    cluster: keys.listed,
  });
  const runner = clientRunner(scripts, book, timeoutsOf(options), hash);
  return redisEngineStore({ name: "redis", runner, binding: client, book, keys }, 16_000_000, options);
}
