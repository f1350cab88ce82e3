/** The session store that `replicatedSessions` answers. */
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { ReplicatedIndex } from "./_replicated_index.ts";
import { Replication, worthWaiting } from "./_replication.ts";
import type { Ending } from "./_replication_work.ts";
import { isPermanent, mayHaveHappened } from "./_replication_side.ts";
import { learn, SessionCopies } from "./_session_copies.ts";
import { NotReplicatedError } from "./replicated_error.ts";
import type { ReplicatedSessions, ReplicatedSessionsOptions } from "./replicated_sessions.ts";
import { sessionExpiry, type SessionRecord } from "./session_record.ts";
import type {
  IndexedSessionStore,
  SessionChange,
  SessionDelete,
  SessionFound,
  SessionIndex,
  SessionSaved,
} from "./session_store.ts";

/** How long an ending is tried when nobody knows how long the session would have lived. */
const INSIST = 86_400_000;

export class ReplicatedSessionStore implements ReplicatedSessions {
  readonly consistency = "atomic";
  readonly index: SessionIndex;
  readonly #both: Replication;
  readonly #index: ReplicatedIndex;
  readonly #copies: SessionCopies;

  constructor(
    primary: IndexedSessionStore,
    secondary: IndexedSessionStore,
    options: ReplicatedSessionsOptions,
  ) {
    this.#both = new Replication(
      primary,
      secondary,
      options,
      (work) => work.kind === "session" ? this.#copies.ship(work) : this.#index.ship(work),
    );
    this.#copies = new SessionCopies(this.#both);
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
      ? await this.#copies.heal(key, signal)
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
      await both.failed("session", key, entry, error);
      throw error;
    }
    if (saved.state !== "saved") {
      if (entry !== undefined) both.queue.settle(entry, false);
      return saved;
    }
    const { record } = saved;
    if (entry !== undefined) learn(entry.work, record, both.clock.monotonic());
    await both.finish(entry, async () => {
      if (!await this.#copies.copy(key, record)) throw new NotReplicatedError("neither", false);
    });
    return saved;
  }

  async #write(key: string, change: SessionChange, signal: AbortSignal | undefined): Promise<SessionSaved> {
    const { primary, options } = this.#both;
    const write = () => primary.call("save", (store, signal) => store.save(key, change, { signal }), signal);
    const saved = await write();
    if (saved.state !== "unknown" || !options.primaryForgets) return saved;
    const healed = await this.#copies.heal(key, signal);
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
      if (both.options.primaryForgets && !end.primary) await this.#copies.bury("primary", key, why);
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

/** Two endings of one session are one: what is left to do of both. */
function joined(known: Ending | undefined, next: Ending): Ending {
  if (known === undefined) return next;
  known.until = Math.max(known.until, next.until);
  known.primary &&= next.primary;
  known.secondary &&= next.secondary;
  return known;
}
