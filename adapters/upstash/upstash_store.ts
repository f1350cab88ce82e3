import type { Duration } from "../../src/duration.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { checkFunction, checkNeededOptions, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { clientRunner, isClient, type RedisScripts } from "./_client.ts";
import { redisCluster } from "./_cluster.ts";
import { KeySpace } from "./_keys.ts";
import type { UpstashScripts } from "./_lua.ts";
import { type BookOptions, type DatabaseState, ScriptBook } from "./_scripts.ts";
import { checkScripts, redisEngineStore, timeoutsOf } from "./_store_parts.ts";
import { type UpstashConnection, UpstashTransport } from "./_transport.ts";
import { inVirtualTime } from "./_virtual_time.ts";
import { allScripts } from "./scripts.ts";

/**
 * Options of {@linkcode upstashStore}.
 *
 * @category Stores
 */
export interface UpstashStoreOptions {
  /**
   * The namespace of the store's keys in the database, which all begin with it and a colon. No other key is
   * ever touched, and two prefixes never meet: a colon inside one is escaped. At most 256 bytes. On a Redis
   * Cluster, a hash tag (`"{holdfast}"`) keeps all keys on one node, where many of them need one script only.
   * @default {"holdfast"}
   */
  readonly prefix?: string | undefined;
  /**
   * The time limit of a call, repetitions included.
   * @default {"5s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The time limit of one request. A call takes more than one where the server does not know its script yet.
   * @default {the value of `timeout`}
   */
  readonly attemptTimeout?: Duration | undefined;
  /**
   * The longest value in UTF-16 code units; Upstash takes requests of 1 MB unless the plan says otherwise.
   * @default {900_000}
   */
  readonly maxValueLength?: number | undefined;
  /**
   * The scripts of your own transitions, as `@holdfast/edge/upstash/compile` writes them, beside those of the
   * contracts. A transition without a script works too, in two requests instead of one.
   * @default {[]}
   */
  readonly scripts?: readonly UpstashScripts[] | undefined;
  /** A virtual time in place of the clock of Redis, for tests of the engine itself. */
  readonly virtualTime?: (() => number) | undefined;
}

const LEAN_OPTIONS = {
  prefix: true,
  timeout: true,
  attemptTimeout: true,
  maxValueLength: true,
  scripts: true,
} satisfies OptionNames<CreateUpstashStoreOptions>;

const TASK = "make a store";

/**
 * Makes a store on Upstash Redis, or on any Redis 6.2 and later whose client is fitted to {@linkcode
 * RedisScripts}.
 *
 * At most 10,000 calls, or 64 MiB of their arguments, wait for replies at a time; the next call is refused
 * with `queue-full`.
 *
 * @throws {TypeError} when there is neither a client nor a URL and a token, or for an unknown option
 * @throws {RangeError} for a time limit, length or prefix out of its range
 * @category Stores
 * @example
 * ```ts
 * import { upstashStore } from "@holdfast/edge/upstash";
 * const store = upstashStore({ url: "https://example.upstash.io", token: "secret" }, { prefix: "shop" });
 * if (store.engine !== "upstash") throw new Error("unexpected");
 * ```
 */
export function upstashStore(
  redis: RedisScripts | UpstashConnection,
  options: UpstashStoreOptions = {},
): AtomicStore {
  const names = { ...LEAN_OPTIONS, virtualTime: true } satisfies OptionNames<UpstashStoreOptions>;
  checkOptionNames(TASK, options, names);
  const { virtualTime, scripts: own } = options;
  checkFunction(TASK, "virtualTime", virtualTime);
  const scripts = [...allScripts, ...checkScripts(own === undefined ? [] : own)];
  const wrap = virtualTime && inVirtualTime;
  const parts = { ...options, scripts };
  if (!isClient(redis)) return overHttp(redis, parts, { wrap, loads: wrap !== undefined });
  const keys = new KeySpace(options.prefix, mayBeCluster(redis) ? redisCluster : undefined);
  const book = new ScriptBook(stateOf(redis), scripts, { wrap, loads: true, cluster: keys.listed });
  const runner = clientRunner(redis, book, timeoutsOf(options));
  return redisEngineStore({ name: "upstash", runner, binding: redis, book, keys }, 900_000, parts);
}

/**
 * Options of {@linkcode createUpstashStore}.
 *
 * @category Stores
 */
export interface CreateUpstashStoreOptions extends Omit<UpstashStoreOptions, "virtualTime"> {
  /** The scripts that the store carries. */
  readonly scripts: readonly UpstashScripts[];
}

/**
 * Makes a store over Upstash's HTTP endpoint as {@linkcode upstashStore} does, which carries only the scripts
 * that it is given: those of the contracts that an app uses. Other transitions work too, in two requests
 * instead of one. A client of your own with chosen scripts is `createRedisStore` of `./redis`.
 *
 * @throws {TypeError} when there is no URL and token, or for an unknown option
 * @throws {RangeError} for a time limit, length or prefix out of its range
 * @category Stores
 * @example
 * ```ts
 * import { createThrottle } from "@holdfast/edge";
 * import { createUpstashStore, throttleScripts } from "@holdfast/edge/upstash";
 *
 * const connection = { url: "https://example.upstash.io", token: "secret" };
 * const store = createUpstashStore(connection, { scripts: [throttleScripts] });
 * createThrottle(store, { name: "api", limit: 100, window: "1m" });
 * ```
 */
export function createUpstashStore(
  connection: UpstashConnection,
  options: CreateUpstashStoreOptions,
): AtomicStore {
  checkNeededOptions(TASK, options, LEAN_OPTIONS, "'scripts'");
  return overHttp(connection, { ...options, scripts: checkScripts(options.scripts) });
}

/** The parts of a store whose scripts are checked. */
type Parts = CreateUpstashStoreOptions & Pick<UpstashStoreOptions, "virtualTime">;

function overHttp(connection: UpstashConnection, options: Parts, form?: BookOptions): AtomicStore {
  if (typeof connection !== "object" || connection === null) {
    throw new TypeError(`Cannot ${TASK} as it needs { url, token } or a Redis client: 'url' is missing`);
  }
  const misplaced = Object.keys(LEAN_OPTIONS).find((name) => Object.hasOwn(connection, name));
  if (misplaced !== undefined) {
    throw new TypeError(
      `Cannot ${TASK} as '${misplaced}' is an option of the store: give it in the second argument`,
    );
  }
  checkFunction(TASK, "fetch", connection.fetch);
  const binding = connectionObject(connection);
  const book = new ScriptBook(stateOf(binding), options.scripts, form);
  const runner = new UpstashTransport(connection, book, timeoutsOf(options));
  return redisEngineStore(
    { name: "upstash", runner, binding, book, keys: new KeySpace(options.prefix) },
    900_000,
    options,
  );
}

/**
 * Whether a client may talk to a Redis Cluster. A cluster has no REST endpoint, so neither our transport nor
 * the official client does, which has more methods than a fitted client needs.
 */
function mayBeCluster(redis: RedisScripts): boolean {
  return typeof (redis as { readonly pipeline?: unknown }).pipeline !== "function";
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

const states = new WeakMap<object, DatabaseState>();

function stateOf(binding: object): DatabaseState {
  let state = states.get(binding);
  if (state === undefined) states.set(binding, state = { keyLocking: true, syncToken: undefined });
  return state;
}
