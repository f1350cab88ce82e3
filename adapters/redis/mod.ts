/**
 * Holdfast on Redis and Valkey, over your own client: ioredis, node-redis, Bun's `RedisClient`, and their
 * cluster clients. Every transition that writes is a Lua script that runs next to the data, in one command,
 * on the clock of Redis; what only reads is one command too. Upstash over HTTP is `./upstash`.
 *
 * ```ts ignore
 * import { createClient } from "redis";
 * import { createThrottle } from "@holdfast/edge";
 * import { redisStore } from "@holdfast/edge/redis";
 *
 * const client = await createClient({ url }).connect();
 * const store = redisStore(client);
 * const { allowed } = await createThrottle(store, { name: "api", limit: 100, window: "1m" }).check("visitor");
 * ```
 *
 * **Guarantees.** Atomic per key; one command per operation. A copy of a command that a client sends again is
 * executed once and answered alike for a minute, on a server that evicts nothing (`maxmemory-policy
 * noeviction`). Redis replicates asynchronously: a failover may lose an acknowledged write, so check fencing
 * tokens where it matters.
 *
 * @module
 */

export type { RedisScripts } from "../upstash/_client.ts";
export type { UpstashScripts } from "../upstash/_lua.ts";
export { betterAuthScripts } from "../upstash/generated/better_auth.ts";
export { cacheScripts } from "../upstash/generated/cache.ts";
export { idempotencyScripts } from "../upstash/generated/idempotency.ts";
export { lockScripts } from "../upstash/generated/lock.ts";
export { outboxScripts } from "../upstash/generated/outbox.ts";
export { sessionScripts } from "../upstash/generated/session.ts";
export { throttleScripts } from "../upstash/generated/throttle.ts";
export { valuesScripts } from "../upstash/generated/values.ts";
export type { BunRedisClient, IoRedisClient, NodeRedisClient, RedisClient } from "./redis_clients.ts";
export {
  createRedisStore,
  type CreateRedisStoreOptions,
  redisStore,
  type RedisStoreOptions,
} from "./redis_store.ts";
