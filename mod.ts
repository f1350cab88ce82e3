/**
 * Storage, sessions, locks, idempotency, throttling and email for edge apps: one set of contracts, proven by one published
 * test suite.
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

export * from "./adapters/memory/memory_mailer.ts";
export * from "./adapters/memory/memory_store.ts";
export * from "./src/clock.ts";
export * from "./src/duration.ts";
export * from "./src/mail/bulk.ts";
export * from "./src/mail/failover.ts";
export * from "./src/mail/idempotent.ts";
export * from "./src/mail/mime.ts";
export * from "./src/mail/observed.ts";
export * from "./src/mail/outbox.ts";
export * from "./src/mail/rate_limited.ts";
export * from "./src/mail/retrying.ts";
export * from "./src/errors.ts";
export * from "./src/idempotency/create_idempotency.ts";
export * from "./src/idempotency/idempotency.ts";
export * from "./src/lock/create_locks.ts";
export * from "./src/lock/lock.ts";
export type { Schema, SchemaOutput, SchemaResult } from "./src/schema.ts";
export * from "./src/session/atomic_session_store.ts";
export * from "./src/replication/copy_sessions.ts";
export * from "./src/session/key_value_session_store.ts";
export * from "./src/replication/not_replicated_error.ts";
export * from "./src/replication/replicated_sessions.ts";
export * from "./src/replication/create_replicated_sessions.ts";
export * from "./src/session/sealed_sessions.ts";
export * from "./src/session/session_event.ts";
export * from "./src/session/session_record.ts";
export * from "./src/session/session_store.ts";
export * from "./src/session/sessions.ts";
export * from "./src/store/atomic_store.ts";
export * from "./src/store/cached_store.ts";
export * from "./src/store/observed_store.ts";
export * from "./src/store/compare_and_set.ts";
export * from "./src/store/engine.ts";
export * from "./src/store/key_value_store.ts";
export * from "./src/store/store.ts";
export * from "./src/store/transition.ts";
export { createThrottle } from "./src/throttle/create_throttle.ts";
export * from "./src/throttle/throttle.ts";
export { type Address, type AddressInput, formatAddress, parseAddress } from "./src/mail/address.ts";
export type { Attachment, AttachmentData, PreparedAttachment } from "./src/mail/attachment.ts";
export { type Delivery, MailError, type MailErrorOptions, type MailPhase } from "./src/mail/mail_error.ts";
export type { BatchOptions, BulkSender, Mailer, Receipt, Rejection, SendOptions } from "./src/mail/mailer.ts";
export type { LazyBytes } from "./src/mail/pieces.ts";
export {
  type Calendar,
  type Message,
  type PreparedMessage,
  prepareMessage,
  type Unsubscribe,
} from "./src/mail/message.ts";
export { outboxTransitions } from "./src/mail/outbox_transitions.ts";
export { idempotencyTransitions } from "./src/idempotency/idempotency_transitions.ts";
export { lockTransitions } from "./src/lock/lock_transitions.ts";
export type { Session } from "./src/session/session.ts";
export type { SessionCookieOptions } from "./src/session/session_cookie.ts";
export type { BoundSession } from "./src/session/session_response.ts";
export { sessionTransitions } from "./src/session/session_transitions.ts";
export { valueTransitions } from "./src/store/value_transitions.ts";
export { throttleTransitions } from "./src/throttle/throttle_transitions.ts";
