import { withTimeout } from "../../src/deadline.ts";
import { late, says } from "./_faults.ts";
import type { Script } from "./_scripts.ts";
import type { ScriptRunner } from "./_transport.ts";

/**
 * What we use of a Redis client, by shape. `Redis` from `@upstash/redis` has it, on any of its import paths; other clients are
 * fitted in two lines, here `ioredis`, and `redis` (node-redis) after its `connect()`:
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
 */
export interface RedisScripts {
  /** Runs a script the server knows by its SHA-1. */
  evalsha(sha: string, keys: string[], args: string[]): Promise<unknown>;
  /** Runs a script. */
  eval(script: string, keys: string[], args: string[]): Promise<unknown>;
}

/** Runs scripts on a client that was handed in, which has no timeout that we know of. */
export function clientRunner(redis: RedisScripts, timeout: number): ScriptRunner {
  const over = () => late(timeout);
  return {
    async run({ sha, text }: Script, keys, args, signal) {
      try {
        return await withTimeout(redis.evalsha(sha, keys, args), timeout, signal, over);
      } catch (error) {
        if (!says(error, "NOSCRIPT")) throw error;
        return await withTimeout(redis.eval(text, keys, args), timeout, signal, over);
      }
    },
  };
}
