/**
 * Holdfast on Cloudflare Durable Objects: every operation is one call to the object that has the key, which
 * runs it on its own SQLite and its own clock. Your Worker exports the class from
 * `@holdfast/edge/durable-objects/object`.
 *
 * ```ts ignore
 * import { createLocks } from "@holdfast/edge";
 * import { durableObjectStore } from "@holdfast/edge/durable-objects";
 * export { HoldfastObject } from "@holdfast/edge/durable-objects/object";
 *
 * export default {
 *   async fetch(_request: Request, env: Env): Promise<Response> {
 *     const locks = createLocks(durableObjectStore(env.HOLDFAST));
 *     return await locks.withLock("job:nightly", { ttl: "30s", wait: "5s" }, () => new Response("done"));
 *   },
 * };
 * ```
 *
 * **Guarantees.** Linearizable per key and durable: a reply leaves an object only after its writes are on
 * disk. A waiter for a lock is notified of its release. An alarm deletes expired records, a thousand at a
 * time, and an object left empty has no storage. A key and its record take at most 2 MB together. The Worker
 * needs a `compatibility_date` of 2024-04-03 or later.
 *
 * **Where keys live.** By default every key has an object of its own: keys never wait for each other, and
 * there is no list of them, so `list()` and `clear()` throw a `TypeError`. With `shards: n` the keys share n
 * objects, which can be listed; an object does some hundred writes a second.
 *
 * @module
 */

export * from "./durable_object_store.ts";
export type { HoldfastStub, Refusal, Transacted, Watched } from "./rpc.ts";
