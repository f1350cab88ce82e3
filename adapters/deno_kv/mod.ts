/**
 * Holdfast on Deno KV: Deno Deploy's own database, SQLite on your machine. A transition is one read and one checked
 * commit; contended keys of one isolate share a commit.
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
 * **Guarantees.** Atomic per key and durable. Deadlines are checked against the caller's clock: between isolates whose
 * clocks differ, a lease is as exact as they are. A value or record takes at most 64 KiB.
 *
 * @module
 */

export * from "./deno_kv_store.ts";
