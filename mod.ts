/**
 * Storage, sessions, locks, idempotency, throttling and email for edge apps: one set of contracts, proven by
 * one published test suite.
 *
 * ```ts
 * import { createLocks, memoryStore } from "@holdfast/edge";
 *
 * const locks = createLocks(memoryStore());
 * await locks.withLock("job:nightly", { ttl: "30s", wait: "5s" }, async (lock) => {
 *   lock.signal.throwIfAborted(); // aborted the moment the lease is lost
 *   await Promise.resolve(lock.fencingToken); // strictly increasing: hand it to what you write to
 * });
 * ```
 *
 * @module
 */

export * from "./adapters/memory/memory_store.ts";
export * from "./src/clock.ts";
export type { Duration } from "./src/duration.ts";
export * from "./src/errors.ts";
export * from "./src/idempotency/create_idempotency.ts";
export * from "./src/idempotency/idempotency.ts";
export * from "./src/lock/create_locks.ts";
export * from "./src/lock/lock.ts";
export * from "./src/schema.ts";
export * from "./src/session/create_sessions.ts";
export type { Session } from "./src/session/session.ts";
export type { SessionCookieOptions } from "./src/session/session_cookie.ts";
export type { SessionEvent } from "./src/session/session_event.ts";
export * from "./src/session/sessions.ts";
export type { AtomicStore, Conditional, Counter, IncrementOptions } from "./src/store/atomic_store.ts";
export * from "./src/store/key_value_store.ts";
export { createThrottle } from "./src/throttle/create_throttle.ts";
export * from "./src/throttle/throttle.ts";
