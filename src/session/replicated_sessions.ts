/**
 * Sessions on two stores: a primary that decides, and a secondary that knows what the primary decided, answers while the
 * primary is away, and never brings back what was ended.
 *
 * The primary numbers the writes of a session. A copy travels with its number and its absolute end, and is stored only
 * where it is newer and nothing was buried; so an older save never wins, and no copy outlives the original. The strategy
 * says how *saves* travel. What ends something (delete, rotate, revoke) is acknowledged by both sides or rejects with
 * `not-replicated`, and then stays queued until both know. Before a session is rotated the secondary is asked whether it
 * hears: if not, the rotation is refused and nothing has changed.
 *
 * | strategy | a save answers when | the secondary is down | what an answered save survives |
 * | --- | --- | --- | --- |
 * | `async` | the primary has it | saves go on until the queue is full | losing the secondary, or this isolate (with an `outbox`) |
 * | `acknowledged` | both have it | it rejects, is stored all the same, and stays queued | losing either side |
 * | `sync` | both have it | it rejects before anything is written, once that is known | losing either side |
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { ReplicatedSessionStore } from "./_replicated_store.ts";
import { atomicSessionStore } from "./atomic_session_store.ts";
import type { Atomic, IndexedSessionStore } from "./session_store.ts";

/** How saves travel to the secondary. */
export type ReplicationStrategy = "async" | "sync" | "acknowledged";

/** Options of {@linkcode replicatedSessions}. */
export interface ReplicatedSessionsOptions {
  /**
   * How saves travel: answered by the primary and shipped behind it, or answered when both sides have them.
   * @default {"async"}
   */
  readonly strategy?: ReplicationStrategy;
  /**
   * How many keys may wait to be shipped. Saves use three quarters, so that what ends a session always finds room.
   * @default {1000}
   */
  readonly queueSize?: number;
  /**
   * What a save does when the queue is full, before it writes anything: wait for room as long as for any answer, reject
   * with `queue-full`, or ship by itself before it answers.
   * @default {"wait"}
   */
  readonly onFull?: "wait" | "reject" | "sync";
  /**
   * How often a shipment is tried again before it is given up and `onDropped` hears of it. An outage costs no tries: while
   * a circuit is open nothing is tried. What ends a session is tried until the session would have ended by itself.
   * @default {3}
   */
  readonly retryAttempts?: number;
  /**
   * The longest wait before the first retry; it doubles with each, up to 5 seconds, and the wait is random below it.
   * @default {"100ms"}
   */
  readonly retryDelay?: Duration;
  /**
   * How many keys are shipped at once.
   * @default {16}
   */
  readonly parallel?: number;
  /**
   * How long any call to either side may take.
   * @default {"2s"}
   */
  readonly timeout?: Duration;
  /**
   * Whether the primary may forget what it was told (it evicts, or restarts empty): then what it does not know is looked up
   * on the secondary and given back to it. Otherwise a miss is the truth, and costs one call.
   * @default {false}
   */
  readonly primaryForgets?: boolean;
  /**
   * Whether reads are answered by the secondary, and marked `degraded`, while the primary is away.
   * @default {true}
   */
  readonly degradedReads?: boolean;
  /**
   * Where dirty keys are recorded before they are written, so that `recover` can ship what a crashed isolate left
   * behind. Costs a save one more call on its way.
   */
  readonly outbox?: AtomicStore | undefined;
  /**
   * Keeps the isolate alive while something is shipped. On Workers make a store per request and hand its context's on:
   * what is not kept alive dies with the request.
   */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined;
  /** Hears what was given up. */
  readonly onDropped?: ((dropped: DroppedReplication) => void) | undefined;
  /** Hears of every call to either side, of circuits that open and close, and of saves that were refused. */
  readonly onOperation?: ((operation: ReplicationOperation) => void) | undefined;
  /**
   * Whose time decides.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
  /**
   * The source of jitter, from 0 up to 1.
   * @default {Math.random}
   */
  readonly random?: (() => number) | undefined;
}

/** Something that was not shipped and will not be. */
export interface DroppedReplication {
  /** A session, or what is known about a user. */
  readonly kind: "session" | "user";
  /** Its key in the store: a hash, of a token or of a user id. */
  readonly key: string;
  /** What went wrong last. */
  readonly error: unknown;
}

/** Something that happened between the two sides; without keys and values. */
export interface ReplicationOperation {
  /** Always this. */
  readonly contract: "replicated-sessions";
  /**
   * `load`, `save`, `delete`, `index`: as asked for. `ship`: a copy on its way. `fallback`: a degraded read. `heal`: given
   * back to a primary that forgot. `outbox`: a mark. `circuit`: its new state is the outcome. `reserve`: no room.
   */
  readonly operation:
    | "load"
    | "save"
    | "delete"
    | "index"
    | "ship"
    | "fallback"
    | "heal"
    | "outbox"
    | "circuit"
    | "reserve";
  /** Who was asked. */
  readonly side: "primary" | "secondary" | "outbox";
  /** How it went. */
  readonly outcome: "ok" | "error" | "timeout" | "refused" | "closed" | "open" | "half-open";
  /** How long it took, in milliseconds. */
  readonly durationMs: number;
  /** How many keys wait to be shipped. */
  readonly pending: number;
  /** How long the oldest of them has been waiting, in milliseconds. */
  readonly lagMs: number;
}

/** Sessions on two stores. */
export interface ReplicatedSessions extends IndexedSessionStore, AsyncDisposable {
  /** Each call takes effect at once, on the primary. */
  readonly consistency: "atomic";
  /** How many keys wait to be shipped. */
  readonly pending: number;
  /** Waits until nothing does, or until the time is over (10 seconds); answers how many are left. */
  flush(options?: CallOptions & { readonly timeout?: Duration }): Promise<{ readonly pending: number }>;
  /**
   * Flushes, then stops shipping; whoever saves later ships before it answers. Call it when the process is told to end
   * (4 seconds unless told otherwise, which Deno Deploy allows).
   */
  close(options?: { readonly timeout?: Duration }): Promise<{ readonly pending: number }>;
  /**
   * Ships what isolates that are gone recorded in the `outbox` longer than `olderThan` ago (a minute): call it from cron or
   * an alarm. Answers how many keys it found and how many are still waiting after `timeout` (10 seconds).
   *
   * @throws {TypeError} when there is no `outbox`
   */
  recover(
    options?: { readonly olderThan?: Duration; readonly timeout?: Duration },
  ): Promise<{ readonly found: number; readonly pending: number }>;
}

/** Graves outlast every copy that may still be on its way. */
const REMEMBER = "10m";

/**
 * A session store over two: any `AtomicStore`, or session stores that are atomic.
 *
 * @throws {TypeError} when a side is eventually consistent or has no index, or an option is none we know
 * @throws {RangeError} when a number or a duration is not positive
 * @example
 * ```ts
 * import { createSessions, memoryStore, replicatedSessions } from "@holdfast/edge";
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
