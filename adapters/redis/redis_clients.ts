/**
 * The clients of Redis that people have, by shape, and what is used of each: a way to run a script by its
 * hash and by its text. Nothing is imported: a client is told by the methods that only it has.
 */
import { HoldfastError } from "../../src/errors.ts";
import type { RedisScripts } from "../upstash/_client.ts";

/**
 * The part of `Redis` and `Cluster` of `ioredis` that the store uses, by shape.
 *
 * @category Stores
 */
export interface IoRedisClient {
  /** Runs a script that the server knows. */
  evalsha(sha: string, count: number, ...keysAndArgs: string[]): PromiseLike<unknown>;
  /** Runs a script. */
  eval(script: string, count: number, ...keysAndArgs: string[]): PromiseLike<unknown>;
  /** Reads a hash. */
  hgetall(key: string): PromiseLike<unknown>;
  /** Tells the client from others. */
  // deno-lint-ignore no-explicit-any
  defineCommand(name: string, definition: any): unknown;
}

/**
 * The part that the store uses of `createClient()`, `createClientPool()`, `createSentinel()` and
 * `createCluster()` of `redis`, by shape.
 *
 * @category Stores
 */
export interface NodeRedisClient {
  /** Runs a script that the server knows. */
  evalSha(sha: string, options: { keys: string[]; arguments: string[] }): PromiseLike<unknown>;
  /** Runs a script. */
  eval(script: string, options: { keys: string[]; arguments: string[] }): PromiseLike<unknown>;
  /** Reads a hash. */
  hGetAll(key: string): PromiseLike<unknown>;
  /** Whether `connect()` was called. */
  readonly isOpen?: boolean | undefined;
}

/**
 * The part of `RedisClient` of Bun that the store uses, by shape.
 *
 * @category Stores
 */
export interface BunRedisClient {
  /** Sends a command. */
  send(command: string, args: string[]): PromiseLike<unknown>;
  /** Tells the client from others. */
  readonly connected: boolean;
}

/**
 * Any of the clients, or one of another kind that is fitted to two functions.
 *
 * @category Stores
 */
export type RedisClient = IoRedisClient | NodeRedisClient | BunRedisClient | RedisScripts;

/** A client, fitted. */
export interface FittedClient {
  /** The way to run a script. */
  readonly scripts: RedisScripts;
  /** Whether it talks to a Redis Cluster. */
  readonly cluster: boolean;
  /** The way to read a hash, where the client asks the primary itself. */
  readonly hash?: (key: string) => PromiseLike<unknown>;
}

/** The methods by which clients are told apart. */
type Methods = Partial<Record<"evalsha" | "evalSha" | "eval" | "send" | "sendCommand", unknown>> & {
  readonly [name: string]: unknown;
};

/**
 * Fits a client.
 *
 * @throws {TypeError} when it is none, or one that another subpath takes
 */
export function fitClient(client: RedisClient): FittedClient {
  const methods = Object(client) as Methods;
  const has = (name: string) => typeof methods[name] === "function";
  if (has("evalsha") && has("defineCommand") && has("getBuiltinCommands")) {
    return ofIoRedis(client as IoRedisClient, methods.isCluster === true);
  }
  if (has("evalSha") && has("eval")) {
    // Of node-redis' clients only that of a cluster gives out the clients of its nodes. A sentinel may ask a
    // replica for what only reads, and has no `asap`; a client may keep a cache of its own.
    const asksPrimary = has("asap") && methods.clientSideCache === undefined;
    return ofNodeRedis(client as NodeRedisClient, has("nodeClient") && "masters" in methods, asksPrimary);
  }
  if (has("send") && !has("sendCommand") && "connected" in methods) return ofBun(client as BunRedisClient);
  if (has("evalsha") && has("eval")) {
    if (has("pipeline") && has("multi") && has("createScript")) {
      throw new TypeError(
        "Cannot make a Redis store as the client is of '@upstash/redis': use upstashStore() of ./upstash",
      );
    }
    return { scripts: client as RedisScripts, cluster: true };
  }
  if ("url" in methods && "token" in methods) {
    throw new TypeError("Cannot make a Redis store of a URL and a token: use upstashStore() of ./upstash");
  }
  throw new TypeError(
    "Cannot make a Redis store as it needs a client of ioredis, node-redis or Bun, or one fitted to " +
      "{ evalsha(sha, keys, args), eval(script, keys, args) }",
  );
}

function ofIoRedis(redis: IoRedisClient, cluster: boolean): FittedClient {
  const scripts: RedisScripts = {
    evalsha: async (sha, keys, args) => await redis.evalsha(sha, keys.length, ...keys, ...args),
    eval: async (script, keys, args) => await redis.eval(script, keys.length, ...keys, ...args),
  };
  // A client of a cluster may send what only reads to a replica.
  return cluster ? { scripts, cluster } : { scripts, cluster, hash: (key) => redis.hgetall(key) };
}

function ofNodeRedis(redis: NodeRedisClient, cluster: boolean, asksPrimary: boolean): FittedClient {
  let opened = false;
  /**
   * Refuses a client that `connect()` was never called on: no call will ever succeed, so it is no outage, in
   * which requests may pass. One that was closed later ends with an error of its own.
   */
  const open = () => {
    opened ||= redis.isOpen !== false;
    if (opened) return redis;
    throw new HoldfastError(
      "misconfigured",
      "Cannot use Redis as its client was never connected: call connect()",
    );
  };
  const scripts: RedisScripts = {
    evalsha: async (sha, keys, args) => await open().evalSha(sha, { keys, arguments: args }),
    eval: async (script, keys, args) => await open().eval(script, { keys, arguments: args }),
  };
  return asksPrimary && !cluster
    ? { scripts, cluster, hash: async (key) => await open().hGetAll(key) }
    : { scripts, cluster };
}

function ofBun(redis: BunRedisClient): FittedClient {
  const send = async (command: string, script: string, keys: string[], args: string[]) =>
    await redis.send(command, [script, String(keys.length), ...keys, ...args]);
  const scripts: RedisScripts = {
    evalsha: (sha, keys, args) => send("EVALSHA", sha, keys, args),
    eval: (script, keys, args) => send("EVAL", script, keys, args),
  };
  return { scripts, cluster: false, hash: (key) => redis.send("HGETALL", [key]) };
}
