/** The factory of replicated sessions. */
import { atomicSessionStore } from "../session/atomic_session_store.ts";
import type { Atomic, IndexedSessionStore } from "../session/session_store.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { ReplicatedSessionStore } from "./replicated_session_store.ts";
import type { ReplicatedSessions, ReplicatedSessionsOptions } from "./replicated_sessions.ts";

/**
 * Tombstones stay longer than any request is under way; those of known sessions until the session's own end.
 */
const REMEMBER = "10m";

/**
 * A session store over two: any `AtomicStore`, or session stores that are atomic.
 *
 * @throws {TypeError} when a side is eventually consistent or has no index, or an option is unknown
 * @throws {RangeError} when a number or a duration is not positive
 * @category Session replication
 * @example
 * ```ts
 * import { createSessions, memoryStore } from "@holdfast/edge";
 * import { replicatedSessions } from "@holdfast/edge/sessions";
 * const [primary, secondary] = [memoryStore(), memoryStore()]; // say Upstash and Durable Objects
 * await using store = replicatedSessions(primary, secondary, { strategy: "acknowledged" });
 * const sessions = createSessions(store);
 * const session = sessions.open(null);
 * session.set("theme", "dark");
 * await sessions.commit(session); // both have it
 * ```
 */
export function replicatedSessions(
  primary: AtomicStore | Atomic<IndexedSessionStore>,
  secondary: AtomicStore | Atomic<IndexedSessionStore>,
  options: ReplicatedSessionsOptions = {},
): ReplicatedSessions {
  return new ReplicatedSessionStore(side("primary", primary), side("secondary", secondary), options);
}

function side(name: string, store: AtomicStore | IndexedSessionStore): IndexedSessionStore {
  if (typeof (store as AtomicStore | undefined)?.transact === "function") {
    return atomicSessionStore(store as AtomicStore, { remember: REMEMBER });
  }
  const sessions = store as IndexedSessionStore | undefined;
  if (sessions?.consistency === "atomic" && sessions.index !== undefined) return sessions;
  throw new TypeError(
    `Cannot replicate sessions as the ${name} must be atomic and have an index: current value is ${sessions?.consistency}`,
  );
}
