/**
 * Sessions on two stores: a primary that decides, and a secondary that knows what the primary decided, answers while the
 * primary is away, and never brings back what was ended.
 *
 * The primary numbers the writes of a session. A copy travels with its number and its absolute end, and is stored only
 * where it is newer and nothing was buried; so an older save never wins, and no copy outlives the original. The strategy
 * says how *saves* travel. What ends something (delete, rotate, revoke) is acknowledged by both sides or rejects with
 * `not-replicated`, and then stays queued until both know.
 *
 * | strategy | a save answers when | the secondary is down | what an answered save survives |
 * | --- | --- | --- | --- |
 * | `async` | the primary has it | saves go on until the queue is full | losing the secondary, or this isolate (with an `outbox`) |
 * | `acknowledged` | both have it | it rejects, is stored all the same, and stays queued | losing either side |
 * | `sync` | both have it | it rejects before anything is written, once that is known | losing either side |
 */
import type { Clock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { ReplicatedIndex } from "./_replicated_index.ts";
import { type Ending, Replication, type Work, worthWaiting } from "./_replication.ts";
import { isPermanent, mayHaveHappened } from "./_replication_side.ts";
import { atomicSessionStore } from "./atomic_session_store.ts";
import { NotReplicatedError } from "./replicated_error.ts";
import { sessionExpiry, type SessionRecord } from "./session_record.ts";
import type {
  Atomic,
  IndexedSessionStore,
  SessionChange,
  SessionDelete,
  SessionFound,
  SessionIndex,
  SessionSaved,
} from "./session_store.ts";

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
/** A copy learned longer ago is loaded again before it is shipped. */
const FRESH = 5_000;
/** How long an ending is tried when nobody knows how long the session would have lived. */
const INSIST = 86_400_000;
/** What a forgetful primary is given back counts as newer than whatever it had written and forgotten. */
const LEAP = 1_000_000;
/** How often a copy may change while it is given back. */
const HEALERS = 8;

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

class ReplicatedSessionStore implements ReplicatedSessions {
  readonly consistency = "atomic";
  readonly index: SessionIndex;
  readonly #both: Replication;
  readonly #index: ReplicatedIndex;

  constructor(
    primary: IndexedSessionStore,
    secondary: IndexedSessionStore,
    options: ReplicatedSessionsOptions,
  ) {
    this.#both = new Replication(
      primary,
      secondary,
      options,
      (work) => work.kind === "session" ? this.#ship(work) : this.#index.ship(work),
    );
    this.index = this.#index = new ReplicatedIndex(this.#both, (key) => this.exists(key));
  }

  get pending(): number {
    return this.#both.queue.size;
  }

  async load(key: string, { signal }: CallOptions = {}): Promise<SessionFound> {
    // Its end may not have reached the primary yet: here at least it counts.
    const end = this.#both.pending("session", key)?.end;
    if (end !== undefined) return { state: "ended", why: end.why };
    let found: SessionFound;
    try {
      found = await this.#both.primary.call("load", (store, signal) => store.load(key, { signal }), signal);
    } catch (error) {
      if (this.#both.options.degradedReads === false || isPermanent(error) || signal?.aborted) throw error;
      return await this.#fallback(key, error, signal);
    }
    return found.state === "unknown" && this.#both.options.primaryForgets
      ? await this.#heal(key, signal)
      : found;
  }

  async exists(key: string, options?: CallOptions): Promise<boolean> {
    return (await this.load(key, options)).state === "live";
  }

  /** What the secondary knows for certain; that it knows nothing, or thinks a session idle, proves nothing. */
  async #fallback(key: string, error: unknown, signal: AbortSignal | undefined): Promise<SessionFound> {
    let copy: SessionFound;
    try {
      copy = await this.#both.secondary.call(
        "fallback",
        (store, signal) => store.load(key, { signal }),
        signal,
      );
    } catch {
      throw error;
    }
    if (copy.state === "live" && this.#both.clock.now() < sessionExpiry(copy.record)) {
      return { ...copy, degraded: true };
    }
    if (copy.state === "ended" && copy.why !== "expired") return copy;
    throw error;
  }

  /**
   * Gives a session back to a primary that forgot it, or tells it that it ended. What the primary wrote before it forgot may
   * still be on its way to the secondary: the copy leaps ahead of all that first, in one step, so that of two histories one
   * goes on and the other is told.
   */
  async #heal(key: string, signal?: AbortSignal): Promise<SessionFound> {
    const { primary, secondary } = this.#both;
    for (let round = 1;; round++) {
      const copy = await secondary.call("load", (store, signal) => store.load(key, { signal }), signal);
      if (copy.state === "unknown" || (copy.state === "ended" && copy.why === "expired")) return copy;
      if (copy.state === "ended") {
        const { why } = copy as { readonly why: SessionDelete["why"] };
        await primary.call(
          "heal",
          (store, signal) => store.delete(key, { why, absent: "bury", signal }),
          signal,
        );
        return copy;
      }
      const { version: ifVersion } = copy.record;
      const put = { type: "put", record: { ...copy.record, version: ifVersion + LEAP } } as const;
      const leapt = await secondary.call(
        "heal",
        (store, signal) => store.save(key, { ...put, ifVersion }, { signal }),
        signal,
      );
      if (leapt.state !== "saved") {
        if (round < HEALERS) continue;
        throw new HoldfastError("contention", "Cannot give the session back as others change it", {
          retryable: true,
        });
      }
      let saved: SessionSaved;
      try {
        saved = await primary.call("heal", (store, signal) => store.save(key, put, { signal }), signal);
      } catch (error) {
        this.#both.failed("session", key, undefined, error);
        throw error;
      }
      return "record" in saved ? { state: "live", record: saved.record } : saved;
    }
  }

  async save(key: string, change: SessionChange, { signal }: CallOptions = {}): Promise<SessionSaved> {
    const both = this.#both;
    const end = both.pending("session", key)?.end;
    if (end !== undefined) return { state: "ended", why: end.why };
    if (both.options.strategy === "sync") both.secondary.assertAsks();
    const entry = await both.reserve("session", key, signal);
    let saved: SessionSaved;
    try {
      saved = await this.#write(key, change, signal);
    } catch (error) {
      both.failed("session", key, entry, error);
      throw error;
    }
    if (saved.state !== "saved") {
      if (entry !== undefined) both.queue.settle(entry, false);
      return saved;
    }
    const { record } = saved;
    if (entry !== undefined) learn(entry.work, record, both.clock.monotonic());
    await both.finish(entry, async () => {
      if (!await this.#copy(key, record)) throw new NotReplicatedError("neither", false);
    });
    return saved;
  }

  async #write(key: string, change: SessionChange, signal: AbortSignal | undefined): Promise<SessionSaved> {
    const { primary, options } = this.#both;
    const write = () => primary.call("save", (store, signal) => store.save(key, change, { signal }), signal);
    const saved = await write();
    if (saved.state !== "unknown" || !options.primaryForgets) return saved;
    const healed = await this.#heal(key, signal);
    return healed.state === "live" ? await write() : healed;
  }

  async delete(key: string, { why, absent, signal }: SessionDelete): Promise<SessionRecord | undefined> {
    const both = this.#both;
    const { primary, secondary, queue } = both;
    if (why === "rotated") await this.#assertHears(key, signal);
    const end: Ending = { why, until: both.clock.now() + INSIST, primary: true, secondary: true };
    const entry = await both.reserveEnd("session", key, { end });
    let last: SessionRecord | undefined;
    let fault: { readonly error: unknown } | undefined;
    let unknown = false;
    try {
      // The primary decides who of many callers gets it, so it must not answer for a session that it forgot.
      if (both.options.primaryForgets) await this.load(key, { signal });
      last = await primary.call(
        "delete",
        (store, signal) => store.delete(key, { why, ...(absent && { absent }), signal }),
        signal,
      );
      end.primary = false;
      // Who comes second makes sure that the copy is dead, too; where nothing ever was, nothing is buried. That a primary
      // which forgets knows nothing proves nothing.
      if (last === undefined && absent !== "bury" && !both.options.primaryForgets) {
        unknown = (await primary.call("load", (store, signal) =>
          store.load(key, { signal }), signal)).state === "unknown";
      }
    } catch (error) {
      fault = { error };
    }
    if (unknown) {
      if (entry !== undefined) queue.settle(entry, false);
      return undefined;
    }
    const doubtful = fault !== undefined && mayHaveHappened(fault.error);
    try {
      // What is still on its way finds the grave.
      await secondary.call(
        "delete",
        (store, signal) => store.delete(key, { why, absent: "bury", signal }),
        signal,
      );
      end.secondary = false;
      // Until then a primary that forgets may have been given the copy back.
      if (both.options.primaryForgets && !end.primary) await this.#bury("primary", key, why);
    } catch (error) {
      fault ??= { error };
    }
    if (fault === undefined) {
      if (entry !== undefined) {
        entry.work.end = undefined;
        queue.settle(entry, false);
      }
      return last;
    }
    const { error } = fault;
    const committed = !end.primary ? "primary" : !end.secondary ? "secondary" : "neither";
    if (isPermanent(error) || entry === undefined) {
      if (entry !== undefined) queue.settle(entry, false);
      if (isPermanent(error)) throw error;
      both.drop("session", key, error);
      throw new NotReplicatedError(committed, false, error);
    }
    if (last !== undefined) end.until = Math.max(last.endsAt, both.clock.now());
    const ending = entry.work.end = joined(entry.work.end, end);
    queue.settle(entry, true, true);
    if (!worthWaiting(error)) throw new NotReplicatedError(committed, true, error);
    await both.acknowledged(queue.shipped(entry), committed);
    // Of many callers one gets it, also if it took the primary a second try.
    if (ending === end) last ??= end.taken;
    // Whether this call ended the session on the primary, or another one did, nobody can tell any more.
    if (doubtful && last === undefined) throw new NotReplicatedError("primary", false, error);
    return last;
  }

  /**
   * What ends because it goes on elsewhere need not end at all: better it stays as it is than that its copy does not hear of
   * it, since who had it would have neither.
   */
  async #assertHears(key: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#both.secondary.call("load", (store, signal) => store.load(key, { signal }), signal);
    } catch (error) {
      if (isPermanent(error) || signal?.aborted) throw error;
      throw new HoldfastError(
        "backend-unavailable",
        "Cannot rotate the session as the secondary does not answer",
        { retryable: true, cause: error },
      );
    }
  }

  async #ship(work: Work): Promise<void> {
    const { primary, clock, options } = this.#both;
    const { id, end, record, owed } = work;
    if (end !== undefined) return await this.#shipEnd(work, end);
    work.record = undefined;
    let found: SessionFound = record !== undefined && clock.monotonic() - record.at < FRESH
      ? { state: "live", record: record.value }
      : await primary.call("load", (store, signal) => store.load(id, { signal }));
    if (found.state === "unknown" && options.primaryForgets) found = await this.#heal(id);
    let goesOn = true;
    if (found.state === "live") goesOn = await this.#copy(id, found.record);
    else if (found.state === "ended" && found.why !== "expired") await this.#bury("secondary", id, found.why);
    const lost = work.lost || (owed > 0 && !(goesOn && continues(found, owed)));
    work.lost = false;
    if (work.owed === owed) work.owed = 0;
    // What was answered for but not shipped before the primary forgot it is gone, and whoever waits must hear it.
    if (options.primaryForgets && lost) throw new NotReplicatedError("neither", false);
  }

  async #shipEnd(work: Work, end: Ending): Promise<void> {
    if (end.secondary) await this.#bury("secondary", work.id, end.why);
    end.secondary = false;
    // Until the copy was buried, a primary that forgets may have been given it back.
    if (end.primary || this.#both.options.primaryForgets) {
      end.taken ??= await this.#bury("primary", work.id, end.why);
    }
    end.primary = false;
    work.record = undefined;
    if (work.end === end) work.end = undefined;
  }

  /** Gives the secondary a copy; whether the history it belongs to is still the one that counts. */
  async #copy(key: string, record: SessionRecord): Promise<boolean> {
    const { primary, secondary } = this.#both;
    const put = (store: IndexedSessionStore, record: SessionRecord, signal: AbortSignal) =>
      store.save(key, { type: "put", record }, { signal });
    const saved = await secondary.call("ship", (store, signal) => put(store, record, signal));
    if (saved.state === "conflict" && !continues({ state: "live", record: saved.record }, record.version)) {
      // The primary forgot, and another isolate began a new history on the copy: both go on with that one.
      await primary.call("heal", (store, signal) => put(store, saved.record, signal));
      return false;
    }
    // A grave on the secondary alone: somebody's delete did not reach the primary. It was meant.
    if (saved.state === "ended" && saved.why !== "expired") await this.#bury("primary", key, saved.why);
    return true;
  }

  async #bury(
    side: "primary" | "secondary",
    key: string,
    why: SessionDelete["why"],
  ): Promise<SessionRecord | undefined> {
    return await this.#both[side].call(
      "ship",
      (store, signal) => store.delete(key, { why, absent: "bury", signal }),
    );
  }

  async flush({ timeout = "10s", signal }: CallOptions & { readonly timeout?: Duration } = {}): Promise<
    { pending: number }
  > {
    return { pending: await this.#both.flush(toMilliseconds(timeout, "timeout"), signal) };
  }

  async close({ timeout = "4s" }: { readonly timeout?: Duration } = {}): Promise<{ pending: number }> {
    return { pending: await this.#both.close(toMilliseconds(timeout, "timeout")) };
  }

  async recover(
    { olderThan = "1m", timeout = "10s" }: { readonly olderThan?: Duration; readonly timeout?: Duration } =
      {},
  ): Promise<{ found: number; pending: number }> {
    return await this.#both.recover(
      toMilliseconds(olderThan, "olderThan"),
      toMilliseconds(timeout, "timeout"),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Whether the history of what was found goes on from that version. */
function continues(found: SessionFound, version: number): boolean {
  if (found.state !== "live") return found.state === "ended";
  return found.record.version >= version && found.record.version < version + LEAP / 2;
}

function learn(work: Work, record: SessionRecord, at: number): void {
  // Answers arrive in any order: an older one says nothing, even if the newer one was tried and failed.
  if (record.version <= work.newest) return;
  if (work.owed > 0 && !continues({ state: "live", record }, work.owed)) work.lost = true;
  work.owed = work.newest = record.version;
  work.record = { value: record, at };
}

/** Two endings of one session are one: what is left to do of both. */
function joined(known: Ending | undefined, next: Ending): Ending {
  if (known === undefined) return next;
  known.until = Math.max(known.until, next.until);
  known.primary &&= next.primary;
  known.secondary &&= next.secondary;
  return known;
}
