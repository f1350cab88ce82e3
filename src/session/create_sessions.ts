/** The sessions of a store: the overloads say what each kind of store can promise. */
import type { Schema, SchemaOutput } from "../schema.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { StoreSessions } from "./_store_sessions.ts";
import type { Atomic, IndexedSessionStore, SessionStore } from "./session_store.ts";
import type { RequestSessions, Sessions, SessionsOptions } from "./sessions.ts";

/**
 * Sessions over any atomic store, or over a `SessionStore` of your own. One without an index gives
 * {@linkcode RequestSessions}; one that is eventually consistent needs `eventual: true`.
 *
 * @throws {TypeError} when the store is none, or eventually consistent without `eventual: true`, or an option
 *   is unknown
 * @throws {RangeError} when a duration or a limit is not positive
 * @category Sessions
 * @example
 * ```ts
 * import { createSessions, memoryStore } from "@holdfast/edge";
 * const sessions = createSessions(memoryStore());
 * const first = sessions.open(null);
 * first.set("theme", "dark");
 * const cookie = await sessions.commit(first);
 * const second = sessions.open(cookie!.split(";")[0]);
 * if (await second.get("theme") !== "dark") throw new Error("unexpected");
 * ```
 */
export function createSessions<S extends Schema = Schema<Record<string, unknown>>>(
  store: AtomicStore | Atomic<IndexedSessionStore>,
  options?: SessionsOptions<S>,
): Sessions<SchemaOutput<S>>;
/** Sessions over a store that is only eventually consistent; see its own promises. */
export function createSessions<S extends Schema = Schema<Record<string, unknown>>>(
  store: IndexedSessionStore,
  options: SessionsOptions<S> & { readonly eventual: true },
): Sessions<SchemaOutput<S>>;
/** Sessions over a store without an index, where a user's sessions can neither be listed nor ended. */
export function createSessions<S extends Schema = Schema<Record<string, unknown>>>(
  store: Atomic<SessionStore>,
  options?: SessionsOptions<S>,
): RequestSessions<SchemaOutput<S>>;
export function createSessions<S extends Schema = Schema<Record<string, unknown>>>(
  store: AtomicStore | SessionStore,
  options: SessionsOptions<S> = {},
): Sessions<SchemaOutput<S>> {
  return new StoreSessions<SchemaOutput<S>>(store, options);
}
