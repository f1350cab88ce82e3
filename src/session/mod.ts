/**
 * Stores of sessions, sealed sessions, replication and copying: what stands behind or beside `createSessions`
 * of `@holdfast/edge`.
 *
 * ```ts
 * import { createSessions, memoryStore } from "@holdfast/edge";
 * import { atomicSessionStore, replicatedSessions } from "@holdfast/edge/sessions";
 *
 * const near = atomicSessionStore(memoryStore());
 * const far = atomicSessionStore(memoryStore());
 * await using store = replicatedSessions(near, far, { strategy: "sync" });
 * const sessions = createSessions(store);
 * ```
 *
 * @module
 */

export * from "../replication/copy_sessions.ts";
export * from "../replication/create_replicated_sessions.ts";
export * from "../replication/not_replicated_error.ts";
export * from "../replication/replicated_sessions.ts";
export * from "./atomic_session_store.ts";
export * from "./key_value_session_store.ts";
export * from "./sealed_sessions.ts";
export { sessionExpiry, type SessionRecord } from "./session_record.ts";
export * from "./session_store.ts";
