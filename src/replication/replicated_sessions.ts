/**
 * Sessions on two stores: a primary that decides, and a secondary that has copies of what the primary
 * decided, answers while the primary is away, and never brings back what was ended.
 * `replicatedSessions(primary, secondary)` makes one.
 *
 * The primary numbers the writes of a session. A copy travels with its version and its absolute end, and is
 * stored only where it is newer and no tombstone is; so an older save never wins, and no copy outlives the
 * original. The strategy says how *saves* travel. What ends a session (delete, rotate, revoke) is
 * acknowledged by both sides, or rejects with `not-replicated` and stays queued until both have it. A
 * rotation is refused, and nothing has changed, while a side is unreachable.
 *
 * | strategy | a save answers when | the secondary is down | what an answered save survives |
 * | --- | --- | --- | --- |
 * | `async` | the primary has it | saves go on until the queue is full | losing the secondary, or this isolate (with an `outbox`) |
 * | `acknowledged` | the primary has it, then the secondary | it rejects, is stored all the same, and stays queued | losing either side |
 * | `sync` | both have it, written in parallel | it rejects before anything is written, once that is known | losing either side |
 *
 * ## How the sides become equal
 *
 * A side may be late (a write takes effect long after its caller was told of a timeout), may restart empty,
 * and may be set back to an older state. No write and no read trusts one side alone:
 *
 * - A tombstone on either side ends the session.
 * - A read asks both sides at once. A live session needs the secondary's word (see `whenUnavailable`). The
 *   copy is repaired from a newer primary. A primary that lacks versions which the copy has was set back or
 *   restarted, and gets the copy back.
 * - A write of unknown outcome is looked at again when its answer arrives late, and after 2, 4, 8 … times the
 *   `attemptTimeout`, for ten minutes. What takes effect even later is found by the next read, or by
 *   `sweepSessions`, which reads every session.
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { IndexedSessionStore } from "../session/session_store.ts";

/**
 * The strategy of saves: when one is answered, and how it reaches the secondary.
 *
 * @category Session replication
 */
export type ReplicationStrategy = "async" | "sync" | "acknowledged";

/**
 * Options of {@linkcode replicatedSessions}.
 *
 * @category Session replication
 */
export interface ReplicatedSessionsOptions {
  /**
   * The way of a save: answered when the primary has it and shipped afterwards, or answered when both sides
   * have it.
   * @default {"async"}
   */
  readonly strategy?: ReplicationStrategy | undefined;
  /**
   * The sides that a read asks. `"both"`: both at once, so that an ended session stays ended although the
   * primary was set back to an older state; the copy is repaired on the way. `"primary"`: the primary, and
   * the secondary only on a miss or an outage; one call cheaper, but an ended session is readable again on a
   * primary that was set back, until its next write.
   * @default {"both"}
   */
  readonly reads?: "both" | "primary" | undefined;
  /**
   * The behaviour of a read while a side cannot be asked.
   *
   * - `"confirm"`: the secondary answers alone while the primary is away, marked `degraded`. While the
   *   secondary is away a live session is refused with its fault, after it was asked twice: a primary that
   *   was set back to an older state knows sessions that have ended, and nothing on it tells. No ended
   *   session is read, whatever the primary forgets and whatever fails at once.
   * - `"degrade"`: the primary answers alone, too, if this store saw no outage of it for ten minutes. For a
   *   primary that never loses an acknowledged write. Otherwise an ended session is read if the primary was
   *   set back, unseen by this store, while the secondary is away.
   * - `"throw"`: both sides must answer.
   * @default {"confirm"}
   */
  readonly whenUnavailable?: "confirm" | "degrade" | "throw" | undefined;
  /**
   * The maximum number of keys that wait to be shipped. Saves use three quarters, so that there is always
   * room for what ends a session.
   * @default {1000}
   */
  readonly queueSize?: number | undefined;
  /**
   * The behaviour of a save when the queue is full, before it writes anything: wait for room for as long as
   * `attemptTimeout`, reject with `queue-full`, or ship its own copy before it answers.
   * @default {"wait"}
   */
  readonly whenFull?: "wait" | "reject" | "inline" | undefined;
  /**
   * The number of attempts of a shipment, the first included, before it is given up and reported to
   * `onDropped`. Attempts during an outage do not count. What ends a session is tried until the session would
   * have ended by itself.
   * @default {3}
   */
  readonly retryAttempts?: number | undefined;
  /**
   * The longest delay before the second attempt; it doubles with each, up to 5 seconds, and the delay is
   * random below it.
   * @default {"100ms"}
   */
  readonly retryDelay?: Duration | undefined;
  /**
   * The number of keys shipped at once.
   * @default {16}
   */
  readonly parallel?: number | undefined;
  /**
   * The time one request to one side may take.
   * @default {"2s"}
   */
  readonly attemptTimeout?: Duration | undefined;
  /**
   * The time a whole call may take, waiting for room and for the secondary's acknowledgement included. The
   * call is ambiguous then; what it began goes on.
   * @default {"5s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The store in which keys are recorded before they are written, so that `recover` can ship what a crashed
   * isolate left behind. Costs a save one more call.
   */
  readonly outbox?: AtomicStore | undefined;
  /**
   * Keeps the isolate alive while something is shipped. On Workers make a store per request, with the
   * `waitUntil` of the request's context: otherwise a shipment ends with its request.
   */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined;
  /**
   * Called with every misconfiguration and unexpected error of a side, with the outage that opens a circuit,
   * and with what `waitUntil` or `clock` throws.
   */
  readonly onFault?: ((error: unknown, context: ReplicationFaultContext) => void) | undefined;
  /** Called with every shipment that was given up. */
  readonly onDropped?: ((dropped: DroppedReplication) => void) | undefined;
  /**
   * Called after every request to a side, when a circuit changes, and when a save is refused by a full
   * queue.
   */
  readonly onOperation?: ((operation: ReplicationOperation) => void) | undefined;
  /**
   * The clock that measures and sleeps.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
  /**
   * The source of jitter, from 0 up to 1.
   * @default {Math.random}
   */
  readonly random?: (() => number) | undefined;
}

/**
 * The origin of a fault.
 *
 * @category Session replication
 */
export interface ReplicationFaultContext {
  /** The side that was asked; absent for a callback of the application. */
  readonly side?: ReplicationOperation["side"];
  /** The request, or the callback that threw. */
  readonly operation: ReplicationOperation["operation"] | "waitUntil" | "clock" | "random";
}

/**
 * A shipment that was given up.
 *
 * @category Session replication
 */
export interface DroppedReplication {
  /** A session, or what is known about a user. */
  readonly kind: "session" | "user";
  /** Its key in the store: a hash, of a token or of a user id. */
  readonly key: string;
  /** The last error. */
  readonly error: unknown;
}

/**
 * A request to a side, or an event between the two; without keys and values.
 *
 * @category Session replication
 */
export interface ReplicationOperation {
  /** The contract's name. */
  readonly contract: "replicated-sessions";
  /**
   * `load`, `save`, `delete`, `index`: as called. `ship`: a copy on its way. `compare`: the secondary's part
   * of a read. `repair`: the primary gets a copy back. `outbox`: a mark. `circuit`: its new state is the
   * outcome. `reserve`: no room.
   */
  readonly operation:
    | "load"
    | "save"
    | "delete"
    | "index"
    | "ship"
    | "compare"
    | "repair"
    | "outbox"
    | "circuit"
    | "reserve";
  /** The store that was asked. */
  readonly side: "primary" | "secondary" | "outbox";
  /** The result. `refused`: not asked, as the circuit is open; not begun, as the queue is full. */
  readonly outcome: "ok" | "error" | "timeout" | "refused" | "closed" | "open" | "half-open";
  /** The time it took, in milliseconds. */
  readonly durationMs: number;
  /** The number of keys that wait to be shipped. */
  readonly pending: number;
  /** The age of the oldest of them, in milliseconds. */
  readonly lagMs: number;
}

/**
 * Sessions on two stores.
 *
 * @category Session replication
 */
export interface ReplicatedSessions extends IndexedSessionStore, AsyncDisposable {
  /** Each call takes effect at once, on the primary. */
  readonly consistency: "atomic";
  /** The number of keys that wait to be shipped; not those that are only looked at again. */
  readonly pending: number;
  /** Waits until nothing is pending, for `timeout` at most (10 seconds); returns how many are left. */
  flush(
    options?: CallOptions & { readonly timeout?: Duration | undefined },
  ): Promise<{ readonly pending: number }>;
  /**
   * Flushes, then stops shipping; later saves ship before they answer. Call it when the process is told to
   * end (4 seconds by default, which Deno Deploy allows).
   */
  close(options?: { readonly timeout?: Duration | undefined }): Promise<{ readonly pending: number }>;
  /**
   * Ships what other isolates recorded in the `outbox` more than `olderThan` ago (a minute): call it from
   * cron or an alarm. Returns how many keys it found and how many are pending after `timeout` (10 seconds).
   *
   * @throws {TypeError} when there is no `outbox`
   */
  recover(
    options?: { readonly olderThan?: Duration | undefined; readonly timeout?: Duration | undefined },
  ): Promise<{ readonly found: number; readonly pending: number }>;
}
