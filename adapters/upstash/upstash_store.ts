import { type Duration, toMilliseconds } from "../../src/duration.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import { checkFunction, checkInteger, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { clientRunner, isClient, type RedisScripts } from "./_client.ts";
import { UpstashEngine } from "./_engine.ts";
import { KeySpace } from "./_keys.ts";
import type { UpstashScripts } from "./_lua.ts";
import { type DatabaseState, ScriptBook } from "./_scripts.ts";
import { type UpstashConnection, UpstashTransport } from "./_transport.ts";
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
   * The scripts of your own transitions, as `@holdfast/edge/upstash/compile` writes them, beside those of the contracts. A transition
   * without a script works too, in two requests instead of one.
   * @default {[]}
   */
  readonly scripts?: readonly UpstashScripts[] | undefined;
  /** A virtual time in place of the clock of Redis, for tests of the engine itself. */
  readonly virtualTime?: (() => number) | undefined;
}

const OPTION_NAMES = {
  prefix: true,
  timeout: true,
  attemptTimeout: true,
  maxValueLength: true,
  scripts: true,
  virtualTime: true,
} satisfies OptionNames<UpstashStoreOptions>;

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
  return createUpstashStore(redis, {
    ...options,
    scripts: [...allScripts, ...checkScripts(options.scripts === undefined ? [] : options.scripts)],
  });
}

/**
 * Options of {@linkcode createUpstashStore}.
 *
 * @category Stores
 */
export interface CreateUpstashStoreOptions extends UpstashStoreOptions {
  /** The scripts that the store carries. */
  readonly scripts: readonly UpstashScripts[];
}

/**
 * Makes a store as {@linkcode upstashStore} does, which carries only the scripts that it is given: those of the contracts
 * that an app uses. Other transitions work too, in two requests instead of one.
 *
 * @throws {TypeError} when there is neither a client nor a URL and a token, or for an unknown option
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
  redis: RedisScripts | UpstashConnection,
  options: CreateUpstashStoreOptions,
): AtomicStore {
  checkOptionNames("make a store", options, OPTION_NAMES);
  checkFunction("make a store", "virtualTime", options.virtualTime);
  const timeout = toMilliseconds(options.timeout ?? "5s", "timeout");
  const attemptTimeout = toMilliseconds(options.attemptTimeout ?? timeout, "attemptTimeout");
  const maxValueLength = checkInteger("make a store", "maxValueLength", options.maxValueLength ?? 900_000);
  const handedIn = isClient(redis, Object.keys(OPTION_NAMES));
  const binding = handedIn ? redis : connectionObject(redis);
  const book = new ScriptBook(
    stateOf(binding),
    checkScripts(options.scripts),
    options.virtualTime !== undefined,
  );
  const timeouts = { timeout, attemptTimeout };
  const runner = handedIn ? clientRunner(redis, book, timeouts) : new UpstashTransport(redis, book, timeouts);
  const keys = new KeySpace(options.prefix ?? "holdfast", handedIn && mayBeCluster(redis));
  return storeFromEngine(
    new UpstashEngine({ runner, binding, book, keys, maxValueLength }, options.virtualTime),
  );
}

function checkScripts(scripts: readonly UpstashScripts[]): readonly UpstashScripts[] {
  const given: unknown = scripts;
  if (
    Array.isArray(given) &&
    given.every((some) => typeof some?.scripts === "object" && Array.isArray(some.parts))
  ) {
    return scripts;
  }
  throw new TypeError("Cannot make a store as 'scripts' must be a list of what the compiler writes");
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
