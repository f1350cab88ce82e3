/**
 * Holdfast on Upstash Redis: every transition that writes is a Lua script that runs next to the data, in one
 * request, on the clock of Redis; what only reads is one request too. Takes your `Redis` from
 * `@upstash/redis`, or a URL and a token; any Redis 6.2 and later, a cluster too, through ioredis or
 * node-redis.
 *
 * ```ts
 * import { createLocks } from "@holdfast/edge";
 * import { upstashStore } from "@holdfast/edge/upstash";
 *
 * const store = upstashStore({ url: "https://example.upstash.io", token: "secret" });
 * const locks = createLocks(store);
 * ```
 *
 * **Guarantees.** Atomic per key; one request per operation. A copy of a request that a client or runtime
 * sends again is executed once and answered alike for a minute, on a server that evicts nothing
 * (`maxmemory-policy noeviction`). Upstash replicates asynchronously: a failover may lose an acknowledged
 * write, so check fencing tokens where it matters.
 *
 * @module
 */

export type { RedisScripts } from "./_client.ts";
export type { UpstashScripts } from "./_lua.ts";
export type { UpstashConnection } from "./_transport.ts";
export { betterAuthScripts } from "./generated/better_auth.ts";
export { cacheScripts } from "./generated/cache.ts";
export { idempotencyScripts } from "./generated/idempotency.ts";
export { lockScripts } from "./generated/lock.ts";
export { outboxScripts } from "./generated/outbox.ts";
export { sessionScripts } from "./generated/session.ts";
export { throttleScripts } from "./generated/throttle.ts";
export { valuesScripts } from "./generated/values.ts";
export * from "./upstash_store.ts";
