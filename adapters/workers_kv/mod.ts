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
 * **Guarantees.** Workers KV is eventually consistent: a place that has read a key (or missed it) may go on answering that for
 * a minute after it was written or deleted elsewhere, and of two writes at the same time the later wins whole. So this is a
 * `KeyValueStore` and no `AtomicStore`: locks, idempotency, throttles and merging sessions do not compile on it.
 *
 * **Sessions.** Session data kept here follows the same rule: after a login, a logout or a revocation another place may see
 * the old session for a minute. Use it where that is acceptable, never where a revoked session must end at once: for that there
 * are Durable Objects.
 *
 * **Limits.** Keys take 512 bytes, prefix and namespaces included; values 25 MiB; a key takes one write a second, more is a
 * retryable error. Deadlines are exact to the clock of the Worker that reads, below the 60 seconds of native expiry too.
 *
 * @module
 */

export * from "./workers_kv_store.ts";
