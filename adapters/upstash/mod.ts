/**
 * Holdfast on Upstash Redis: every transition is a Lua script that runs next to the data, in one request, on
 * Redis's own clock. Takes your `Redis` from `@upstash/redis`, or a URL and a token.
 *
 * ```ts
 * import { createLocks } from "@holdfast/edge";
 * import { upstashStore } from "@holdfast/edge/upstash";
 *
 * const store = upstashStore({ url: "https://example.upstash.io", token: "secret" });
 * const locks = createLocks(store);
 * ```
 *
 * **Guarantees.** Atomic per key; one request per operation. Upstash replicates asynchronously: a failover
 * may forget an acknowledged write, so check fencing tokens where it matters.
 *
 * @module
 */

export type { RedisScripts } from "./_client.ts";
export type { UpstashConnection } from "./_transport.ts";
export * from "./upstash_store.ts";
