/**
 * The store behind `replicatedSessions`.
 *
 * Its promises: a save that resolves is on the primary, and on the secondary as far as `strategy` says; a
 * session that was ended is never live again; of concurrent deletes one returns the record.
 *
 * Each call asks one side or both, lets a pure plan decide on the answers, and executes the plan: `planRead`
 * (`read_plan.ts`) decides what a read answers, `planEnd` and `planRotation` (`end_plan.ts`) what becomes of
 * a delete. What a side lacks after the call is queued under the session's key (`replication_queue.ts`) and
 * shipped by `SessionCopies`, which decides which of two different records counts. The place in the queue is
 * reserved before the write: a full queue must refuse a save while nothing has happened yet.
 */
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { SessionRecord } from "../session/session_record.ts";
import type {
  IndexedSessionStore,
  SessionChange,
  SessionDelete,
  SessionFound,
  SessionIndex,
  SessionSaved,
} from "../session/session_store.ts";
import { checkOptionNames } from "../validate.ts";
import { type Deleted, planEnd, planRotation } from "./end_plan.ts";
import { NotReplicatedError } from "./not_replicated_error.ts";
import { planRead, sameChange } from "./read_plan.ts";
import { ReplicatedIndex } from "./replicated_index.ts";
import type { ReplicatedSessions, ReplicatedSessionsOptions } from "./replicated_sessions.ts";
import type { Entry } from "./replication_queue.ts";
import { RecentVersions } from "./recent_versions.ts";
import { Replicator, worthWaiting } from "./replicator.ts";
import { recordWrite, SessionCopies } from "./session_copies.ts";
import { isPermanent, mayHaveHappened } from "./side.ts";
import type { Ending, Work } from "./work.ts";

/** The time a delete is retried for, in milliseconds, when the session's own end is unknown. */
const DELETE_RETRY_MS = 86_400_000;

export class ReplicatedSessionStore implements ReplicatedSessions {
  readonly consistency = "atomic";
  readonly index: SessionIndex;
  readonly #replicator: Replicator;
  readonly #index: ReplicatedIndex;
  readonly #copies: SessionCopies;
  readonly #versions: RecentVersions;

  constructor(
    primary: IndexedSessionStore,
    secondary: IndexedSessionStore,
    options: ReplicatedSessionsOptions,
  ) {
    this.#replicator = new Replicator(
      primary,
      secondary,
      options,
      (work) => work.kind === "session" ? this.#copies.ship(work) : this.#index.ship(work),
    );
    this.#copies = new SessionCopies(this.#replicator);
    this.#versions = new RecentVersions(this.#replicator.settings.queueSize);
    this.index = this.#index = new ReplicatedIndex(this.#replicator);
  }

  get pending(): number {
    return this.#replicator.queue.size;
  }

  async load(key: string, { signal }: CallOptions = {}): Promise<SessionFound> {
    return await this.#replicator.bounded(this.#load(key, signal));
  }

  async #load(key: string, signal: AbortSignal | undefined): Promise<SessionFound> {
    // A queued end may not have reached either side yet. In this isolate it counts at once.
    const end = this.#replicator.pending("session", key)?.end;
    if (end !== undefined) {
      const { why, next } = end;
      return { state: "ended", why, ...(next !== undefined && { next }) };
    }
    const { reads, whenUnavailable } = this.#replicator.settings;
    const [primary, secondary] = reads === "both"
      ? await this.#askBoth(key, signal)
      : await this.#askInTurn(key, signal);
    signal?.throwIfAborted();
    const { clock, primary: side } = this.#replicator;
    const next = planRead(primary, secondary, whenUnavailable, clock.now(), side.isSteady);
    if (next.type === "reject") throw next.error;
    if (next.type === "restore") return await this.#restore(key, next.primary, next.copy, signal);
    if (next.found.state === "live") this.#versions.note(key, next.found.record.version);
    if (next.repair) this.#replicator.repairLater("session", key);
    return next.found;
  }

  /**
   * Asks both sides in parallel. With `confirm` a live session needs the secondary's word that it was not
   * ended there, so a secondary that failed is asked once more.
   */
  async #askBoth(key: string, signal: AbortSignal | undefined) {
    const answers = await Promise.allSettled([
      this.#ask("primary", key, signal),
      this.#ask("secondary", key, signal),
    ]);
    const [primary, secondary] = answers;
    const needed = this.#replicator.settings.whenUnavailable === "confirm" && !signal?.aborted &&
      primary.status === "fulfilled" && primary.value.state === "live";
    if (!needed || secondary.status === "fulfilled" || isPermanent(secondary.reason)) return answers;
    const [again] = await Promise.allSettled([this.#ask("secondary", key, signal)]);
    return [primary, again] as const;
  }

  /** The secondary is asked only when the primary does not know the session or cannot be asked. */
  async #askInTurn(key: string, signal: AbortSignal | undefined) {
    const [primary] = await Promise.allSettled([this.#ask("primary", key, signal)]);
    const known = primary.status === "fulfilled" && primary.value.state !== "unknown";
    const ask = known ? Promise.resolve(primary.value) : this.#ask("secondary", key, signal);
    const [secondary] = await Promise.allSettled([ask]);
    return [primary, secondary] as const;
  }

  async #ask(
    side: "primary" | "secondary",
    key: string,
    signal: AbortSignal | undefined,
  ): Promise<SessionFound> {
    const operation = side === "primary" ? "load" : "compare";
    return await this.#replicator[side].call(operation, (store, signal) => store.load(key, { signal }), {
      signal,
    });
  }

  /**
   * The primary lost what the secondary has. If it cannot take it back now, the copy answers as in an
   * outage.
   */
  async #restore(
    key: string,
    primary: SessionFound,
    copy: SessionFound,
    signal: AbortSignal | undefined,
  ): Promise<SessionFound> {
    // Timed out by the primary's clock: restored only if the copy is newer, in the background.
    if (primary.state === "ended") {
      this.#replicator.repairLater("session", key);
      return primary;
    }
    try {
      return await this.#copies.restore(key, signal);
    } catch (error) {
      const degrades = this.#replicator.settings.whenUnavailable !== "throw";
      if (!degrades || isPermanent(error) || signal?.aborted || copy.state !== "live") throw error;
      return { ...copy, degraded: true };
    }
  }

  async exists(key: string, options?: CallOptions): Promise<boolean> {
    return (await this.load(key, options)).state === "live";
  }

  async save(key: string, change: SessionChange, { signal }: CallOptions = {}): Promise<SessionSaved> {
    return await this.#replicator.bounded(this.#save(key, change, signal));
  }

  async #save(key: string, change: SessionChange, signal: AbortSignal | undefined): Promise<SessionSaved> {
    const replicator = this.#replicator;
    const end = replicator.pending("session", key)?.end;
    if (end !== undefined) return { state: "ended", why: end.why };
    const sync = replicator.settings.strategy === "sync";
    if (sync) replicator.secondary.assertAsks();
    const entry = await replicator.reserve("session", key, signal);
    const same = sync && entry !== undefined ? this.#parallelChange(key, change) : undefined;
    const copied = same && this.#write("secondary", key, same, signal);
    copied?.catch(() => {}); // looked at below, when the primary has answered
    let saved: SessionSaved;
    try {
      saved = await this.#write("primary", key, change, signal);
      if (saved.state === "unknown") saved = await this.#saveRestored(key, change, signal);
    } catch (error) {
      throw await this.#saveFailed(key, entry, error, copied);
    }
    if (saved.state !== "saved") {
      // The secondary may have stored the parallel change that the primary refused: compares the two.
      if (entry !== undefined) replicator.queue.settle(entry, copied !== undefined);
      return saved;
    }
    this.#versions.note(key, saved.record.version);
    await this.#acknowledge(key, saved.record, entry, copied);
    return saved;
  }

  /**
   * The change for a write on the secondary beside the primary's, if it can be made safely: bound to the
   * version that this isolate saw last, so that a copy which arrives late changes nothing. A change that
   * depends on what is there is the primary's to decide first.
   */
  #parallelChange(key: string, change: SessionChange): SessionChange | undefined {
    if (change.type === "create") return change;
    const ifVersion = this.#versions.get(key);
    if (change.type === "put" || change.ifVersion !== undefined || ifVersion === undefined) return undefined;
    return { ...change, ifVersion };
  }

  /**
   * Saves a session that the primary does not know. If the secondary has a copy, the primary lost the
   * session: it gets the copy back, and the change is made once more.
   */
  async #saveRestored(
    key: string,
    change: SessionChange,
    signal: AbortSignal | undefined,
  ): Promise<SessionSaved> {
    try {
      const restored = await this.#copies.restore(key, signal);
      if (restored.state !== "live") return restored;
    } catch (error) {
      // With `degrade` the primary's word is enough while the secondary is away.
      const away = this.#replicator.settings.whenUnavailable === "degrade" && !isPermanent(error);
      if (!away || mayHaveHappened(error) || signal?.aborted) throw error;
      return { state: "unknown" };
    }
    return await this.#write("primary", key, change, signal);
  }

  /**
   * The error of a save that the primary did not confirm. If the parallel write reached the secondary, the
   * save is not lost: it is queued for the primary, and the error says where it is.
   */
  async #saveFailed(
    key: string,
    entry: Entry<Work> | undefined,
    error: unknown,
    copied: Promise<SessionSaved> | undefined,
  ): Promise<unknown> {
    const replicator = this.#replicator;
    const [copy] = await Promise.allSettled([copied]);
    const happened = copy.status === "fulfilled"
      ? copy.value?.state === "saved"
      : mayHaveHappened(copy.reason);
    if (!happened || entry === undefined) {
      await replicator.failed("session", key, entry, error);
      return error;
    }
    // The secondary has the newer record: the primary gets it when it answers again.
    entry.work.compare = true;
    replicator.queue.doubt(entry, 2 * replicator.settings.attemptTimeout);
    const committed = copy.status === "fulfilled" ? "secondary" : "neither";
    return isPermanent(error) ? error : new NotReplicatedError(committed, true, error);
  }

  /** Lets the strategy decide how a record that the primary has stored reaches the secondary. */
  async #acknowledge(
    key: string,
    record: SessionRecord,
    entry: Entry<Work> | undefined,
    copied: Promise<SessionSaved> | undefined,
  ): Promise<void> {
    const replicator = this.#replicator;
    const [copy] = await Promise.allSettled([copied]);
    // Recorded after the parallel write has settled: a shipment under way takes along every record that it
    // finds, and its waiters would get the outcome of this write.
    if (entry !== undefined) recordWrite(entry.work, record, replicator.clock.monotonic());
    if (entry !== undefined && copy.status === "rejected" && mayHaveHappened(copy.reason)) {
      // The parallel write may take effect after what is shipped now: the key is looked at again later.
      replicator.queue.doubt(entry, 2 * replicator.settings.attemptTimeout, true);
      return await replicator.acknowledged(replicator.queue.shipped(entry), "primary");
    }
    const there = copy.status === "fulfilled" ? copy.value : undefined;
    if (entry !== undefined && there?.state === "saved" && sameChange(there.record, record)) {
      // Both sides have the change, with the times of two clocks: a shipment in the background copies the
      // primary's.
      replicator.queue.settle(entry, true);
      return replicator.keepAlive(entry);
    }
    await replicator.finish(entry, async () => {
      if (!await this.#copies.copy(key, record)) throw new NotReplicatedError("neither", false);
    });
  }

  async #write(
    side: "primary" | "secondary",
    key: string,
    change: SessionChange,
    signal: AbortSignal | undefined,
  ): Promise<SessionSaved> {
    return await this.#replicator[side].call("save", (store, signal) => store.save(key, change, { signal }), {
      signal,
      late: () => this.#replicator.effectCameLate("session", key),
    });
  }

  async delete(key: string, options: SessionDelete): Promise<SessionRecord | undefined> {
    return await this.#replicator.bounded(this.#delete(key, options));
  }

  async #delete(key: string, options: SessionDelete): Promise<SessionRecord | undefined> {
    const taken = options.why === "rotated" && await this.#isTaken(key, options.signal);
    const last = await this.#endBoth(key, options);
    return taken ? undefined : last;
  }

  async #endBoth(key: string, options: SessionDelete): Promise<SessionRecord | undefined> {
    const { why, next, signal } = options;
    const until = this.#replicator.clock.now() + DELETE_RETRY_MS;
    const end: Ending = { why, ...(next !== undefined && { next }), until, primary: true, secondary: true };
    const entry = await this.#replicator.reserveEnd("session", key, { end });
    const [primary, secondary] = await this.#deleteBoth(key, options);
    const plan = planEnd(primary, secondary, end);
    if (plan.type === "queue") return await this.#queueEnd(key, entry, end, plan);
    if (plan.type === "reject") {
      if (entry !== undefined) this.#replicator.queue.settle(entry, false);
      throw plan.error;
    }
    if (plan.type === "done") {
      this.#settleEnd(entry);
      return plan.last;
    }
    try {
      const last = await this.#askPrimary(key, end, plan.copy, signal);
      this.#settleEnd(entry);
      return last;
    } catch (error) {
      if (isPermanent(error)) {
        if (entry !== undefined) this.#replicator.queue.settle(entry, false);
        throw error;
      }
      end.secondary = false;
      const { copy: last } = plan;
      return await this.#queueEnd(key, entry, end, { error, committed: "secondary", last, doubtful: false });
    }
  }

  /**
   * A rotation asks both sides first: it is refused, and changes nothing, while one of them is unreachable,
   * since the session would end on one side and the user could lose both the old and the new one. Returns
   * whether another caller has ended it.
   */
  async #isTaken(key: string, signal: AbortSignal | undefined): Promise<boolean> {
    const [primary, secondary] = await Promise.allSettled([
      this.#ask("primary", key, signal),
      this.#ask("secondary", key, signal),
    ]);
    signal?.throwIfAborted();
    if (primary.status === "rejected") throw refused("primary", primary.reason);
    if (secondary.status === "rejected") throw refused("secondary", secondary.reason);
    const plan = planRotation(primary.value, secondary.value);
    if (plan.type === "restore") {
      await this.#copies.restore(key, signal).catch((error) => {
        throw refused("primary", error);
      });
    }
    return plan.type === "ended";
  }

  /**
   * Both sides get a tombstone, the secondary even where it knows nothing, as a copy may be on its way. A
   * revocation goes to both at once; a rotation to the primary first, which decides which of several callers
   * gets the session.
   */
  async #deleteBoth(key: string, options: SessionDelete): Promise<[Deleted, Deleted]> {
    const { why, next, signal } = options;
    const { primary, secondary } = this.#replicator;
    // A primary without the record gets its tombstone later, after its answer: until then the copy's record
    // counts.
    const first = primary.call(
      "delete",
      (store, signal) => store.delete(key, { why, next, lasting: true, signal }),
      { signal },
    );
    const second = () =>
      secondary.call(
        "delete",
        (store, signal) => store.delete(key, { why, next, absent: "tombstone", lasting: true, signal }),
        { signal },
      );
    if (why === "revoked") return await Promise.allSettled([first, second()]);
    const [deleted] = await Promise.allSettled([first]);
    const [copy] = await Promise.allSettled([second()]);
    return [deleted, copy];
  }

  /**
   * Finds out why the primary's delete returned nothing. Either another caller was first, or the primary does
   * not know the session. The latter proves nothing, as a primary may have restarted empty: it gets a
   * tombstone, so that no late write creates the session again, and the secondary's record is the answer.
   */
  async #askPrimary(
    key: string,
    end: Ending,
    copy: SessionRecord | undefined,
    signal: AbortSignal | undefined,
  ): Promise<SessionRecord | undefined> {
    const known = await this.#ask("primary", key, signal);
    if (known.state === "ended") return undefined;
    return await this.#copies.end("primary", key, end, signal) ?? copy;
  }

  #settleEnd(entry: Entry<Work> | undefined): void {
    if (entry === undefined) return;
    entry.work.end = undefined;
    entry.work.record = undefined;
    this.#replicator.queue.settle(entry, false);
  }

  /** One side lacks its tombstone: it stays queued, and the caller waits for it as long as for a request. */
  async #queueEnd(
    key: string,
    entry: Entry<Work> | undefined,
    end: Ending,
    plan: {
      readonly error: unknown;
      readonly committed: NotReplicatedError["committed"];
      readonly last: SessionRecord | undefined;
      readonly doubtful: boolean;
    },
  ): Promise<SessionRecord | undefined> {
    const replicator = this.#replicator;
    const { error, committed, doubtful } = plan;
    let { last } = plan;
    if (entry === undefined) {
      replicator.drop("session", key, error);
      throw new NotReplicatedError(committed, false, error);
    }
    if (last !== undefined) end.until = Math.max(last.endsAt, replicator.clock.now());
    const ending = entry.work.end = joined(entry.work.end, end);
    replicator.queue.settle(entry, true, true);
    if (!worthWaiting(error)) throw new NotReplicatedError(committed, true, error);
    await replicator.acknowledged(replicator.queue.shipped(entry), committed);
    // A later attempt may have got the record from the primary. It belongs to the caller whose end is queued.
    if (ending === end) last ??= end.taken;
    // It is unknown whether this call ended the session on the primary, or another one.
    if (doubtful && last === undefined) throw new NotReplicatedError("primary", false, error);
    return last;
  }

  async flush(
    options: CallOptions & { readonly timeout?: Duration | undefined } = {},
  ): Promise<{ pending: number }> {
    checkOptionNames("flush", options, { timeout: true, signal: true });
    const { timeout = "10s", signal } = options;
    return { pending: await this.#replicator.flush(toMilliseconds(timeout, "timeout"), signal) };
  }

  async close(options: { readonly timeout?: Duration | undefined } = {}): Promise<{ pending: number }> {
    checkOptionNames("close the store", options, { timeout: true });
    return { pending: await this.#replicator.close(toMilliseconds(options.timeout ?? "4s", "timeout")) };
  }

  async recover(
    options: { readonly olderThan?: Duration | undefined; readonly timeout?: Duration | undefined } = {},
  ): Promise<{ found: number; pending: number }> {
    checkOptionNames("recover", options, { olderThan: true, timeout: true });
    const { olderThan = "1m", timeout = "10s" } = options;
    return await this.#replicator.recover(
      toMilliseconds(olderThan, "olderThan"),
      toMilliseconds(timeout, "timeout"),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The error of a rotation that is not begun: the side's own error if it is permanent. */
function refused(side: "primary" | "secondary", error: unknown): unknown {
  if (isPermanent(error)) return error;
  return new HoldfastError(
    "backend-unavailable",
    `Cannot rotate the session as the ${side} does not answer`,
    {
      retryable: true,
      cause: error,
    },
  );
}

/** Two ends of one session are one: what is left to do for both. */
function joined(known: Ending | undefined, next: Ending): Ending {
  if (known === undefined) return next;
  known.until = Math.max(known.until, next.until);
  known.next ??= next.next;
  known.primary &&= next.primary;
  known.secondary &&= next.secondary;
  return known;
}
