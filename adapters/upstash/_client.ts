import { withTimeout } from "../../src/deadline.ts";
import { fault, isUnknownScript, late, refusesKeyLocking } from "./_faults.ts";
import type { Script, ScriptBook } from "./_scripts.ts";
import type { ScriptRunner, Timeouts, UpstashConnection } from "./_transport.ts";

/**
 * The part of a Redis client that is used, by shape. `Redis` from `@upstash/redis` has it, on any of its
 * import paths; other clients are fitted in two lines, here `ioredis`, and `redis` (node-redis) after its
 * `connect()`. Their cluster clients are fitted alike.
 *
 * ```ts ignore
 * const store = upstashStore({
 *   evalsha: (sha, keys, args) => ioredis.evalsha(sha, keys.length, ...keys, ...args),
 *   eval: (script, keys, args) => ioredis.eval(script, keys.length, ...keys, ...args),
 * });
 *
 * const store = upstashStore({
 *   evalsha: (sha, keys, args) => redis.evalSha(sha, { keys, arguments: args }),
 *   eval: (script, keys, args) => redis.eval(script, { keys, arguments: args }),
 * });
 * ```
 *
 * @category Stores
 */
export interface RedisScripts {
  /** Runs a script that the server knows, by its SHA-1. */
  evalsha(sha: string, keys: string[], args: string[]): Promise<unknown>;
  /** Runs a script. */
  eval(script: string, keys: string[], args: string[]): Promise<unknown>;
}

/**
 * Whether it is a client, and not how to connect. Refuses the clients of other makers that would send
 * nonsense.
 *
 * @throws {TypeError} with what to change
 */
export function isClient(redis: RedisScripts | UpstashConnection): redis is RedisScripts {
  const client = Object(redis) as Partial<RedisScripts> & { readonly evalSha?: unknown };
  if (client.evalsha === undefined && typeof client.evalSha === "function") {
    throw new TypeError(
      "Cannot make a store as a client of node-redis must be wrapped: { evalsha: (sha, keys, args) => " +
        "redis.evalSha(sha, { keys, arguments: args }), eval: … }",
    );
  }
  if (client.evalsha === undefined && client.eval === undefined) return false;
  checkClient(redis as RedisScripts);
  return true;
}

/** Refuses above all an ioredis client itself, whose `evalsha` takes other arguments. */
function checkClient(redis: RedisScripts): void {
  if (typeof redis.evalsha !== "function" || typeof redis.eval !== "function") {
    throw new TypeError("Cannot make a store as the Redis client must have 'evalsha' and 'eval'");
  }
  const ioredis = redis as { readonly defineCommand?: unknown; readonly getBuiltinCommands?: unknown };
  if (typeof ioredis.defineCommand === "function" && typeof ioredis.getBuiltinCommands === "function") {
    throw new TypeError(
      "Cannot make a store as an ioredis client must be wrapped: " +
        "{ evalsha: (sha, keys, args) => redis.evalsha(sha, keys.length, ...keys, ...args), eval: … }",
    );
  }
}

/** Runs scripts on a client that was handed in, with time limits of our own. */
export function clientRunner(
  redis: RedisScripts,
  book: ScriptBook,
  timeouts: Timeouts,
  hash?: (key: string) => PromiseLike<unknown>,
): ScriptRunner {
  return {
    fault,
    ...(hash && {
      hash: (key, signal) => {
        const { timeout, attemptTimeout } = timeouts;
        const limit = Math.min(timeout, attemptTimeout);
        return withTimeout((async () => await hash(key))(), limit, signal, () => late(limit));
      },
    }),
    async run(script, keys, args, signal) {
      const deadline = performance.now() + timeouts.timeout;
      let sent = false;
      const within = (send: () => Promise<unknown>): Promise<unknown> => {
        const left = deadline - performance.now();
        if (left <= 0) throw late(timeouts.timeout, sent);
        signal?.throwIfAborted();
        sent = true;
        const { timeout, attemptTimeout } = timeouts;
        const limit = left < attemptTimeout ? timeout : attemptTimeout; // which of the two ends it
        return withTimeout(send(), Math.min(left, attemptTimeout), signal, () => late(limit));
      };
      const attempt = async ({ sha, text }: Script): Promise<unknown> => {
        try {
          return await within(() => redis.evalsha(sha, keys, args));
        } catch (error) {
          if (!isUnknownScript(error)) throw error;
          return await within(() => redis.eval(text, keys, args));
        }
      };
      try {
        return await attempt(script);
      } catch (error) {
        // A script that does not compile was not executed.
        if (!script.keyLocking || !refusesKeyLocking(error)) throw error;
        return await attempt(await book.withoutKeyLocking(script));
      }
    },
  };
}
