/**
 * Holdfast on Cloudflare Workers KV: values for reading near the user, everywhere on earth, seldom written.
 *
 * ```ts ignore
 * import { workersKvStore } from "@holdfast/edge/workers-kv";
 *
 * const store = workersKvStore(env.CACHE);
 * await store.set("product:rope", { price: 8900 }, { ttl: "1h" });
 * ```
 *
 * **Guarantees.** Workers KV is eventually consistent: a location that has read a key (or missed it) may
 * repeat that answer for a minute after it was written or deleted elsewhere, and of two writes at the same
 * time the later one wins whole. So this is a `KeyValueStore` and no `AtomicStore`: locks, idempotency,
 * throttles and merging sessions do not compile on it.
 *
 * **Sessions.** `createSessions(keyValueSessionStore(workersKvStore(env.CACHE)), { eventual: true })` keeps
 * sessions here, under the same rule: after a login, a logout or a revocation another place may see the old
 * session for a minute, two requests of one session may undo each other's changes, and a session changed more
 * than once a second is a retryable error. Use it where that is acceptable, never where a revoked session
 * must end at once: for that there are Durable Objects.
 *
 * **Limits.** Keys take 512 bytes, prefix and namespaces included; values 25 MiB; a key takes one write a
 * second, more is a retryable error. Deadlines are exact to the clock of the Worker that reads, below the 60
 * seconds of native expiry too.
 *
 * @module
 */

export * from "./workers_kv_store.ts";
