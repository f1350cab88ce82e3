/**
 * Holdfast on Deno KV: Deno Deploy's own database, SQLite on your machine. A transition is one read and one
 * checked commit; contended keys of one isolate share a commit.
 *
 * ```ts
 * import { createLocks } from "@holdfast/edge";
 * import { denoKvStore } from "@holdfast/edge/deno-kv";
 *
 * using kv = await Deno.openKv(":memory:");
 * const locks = createLocks(denoKvStore(kv));
 * await locks.withLock("job:nightly", { ttl: "30s" }, (lock) => console.log(lock.fencingToken));
 * ```
 *
 * **Guarantees.** Atomic per key and durable. Deadlines are checked against the caller's clock: a lease, a
 * claim or a window that one isolate wrote ends for another earlier by as much as the other's clock is ahead,
 * and never by more. A lock with a `lockDelay` above the worst difference is never taken from its holder
 * early, and fencing tokens increase whatever the clocks say. A value or record takes at most 64 KiB, a key
 * 2,042 bytes less its prefix; 4,096 calls may wait for one key in an isolate.
 *
 * @module
 */

export * from "./deno_kv_store.ts";
