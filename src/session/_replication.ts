/** What sessions and their index share when they are replicated: two sides, one queue, the outbox, the strategy. */
import { type Clock, systemClock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { CircuitOpenError } from "./_circuit.ts";
import { ReplicationOutbox } from "./_replication_outbox.ts";
import { type Entry, ReplicationQueue } from "./_replication_queue.ts";
import { mayHaveHappened, Side } from "./_replication_side.ts";
import type { IndexChange, Work } from "./_replication_work.ts";
import { NotReplicatedError } from "./replicated_error.ts";
import type { ReplicatedSessionsOptions, ReplicationOperation } from "./replicated_sessions.ts";
import type { IndexedSessionStore } from "./session_store.ts";

/** How many small changes to an index are worth remembering. */
const MOST_CHANGES = 16;

export class Replication {
  readonly primary: Side<IndexedSessionStore>;
  readonly secondary: Side<IndexedSessionStore>;
  readonly queue: ReplicationQueue<Work>;
  readonly clock: Clock;
  readonly timeout: number;
  readonly #size: number;
  readonly #forSaves: number;
  readonly options: ReplicatedSessionsOptions;
  readonly #outbox: ReplicationOutbox | undefined;
  #closed = false;

  constructor(
    primary: IndexedSessionStore,
    secondary: IndexedSessionStore,
    options: ReplicatedSessionsOptions,
    ship: (work: Work) => Promise<void>,
  ) {
    const { clock = systemClock, random = Math.random, outbox } = options;
    oneOf("strategy", options.strategy ?? "async", ["async", "sync", "acknowledged"]);
    oneOf("onFull", options.onFull ?? "wait", ["wait", "reject", "sync"]);
    this.options = options;
    this.clock = clock;
    this.timeout = toMilliseconds(options.timeout ?? "2s", "timeout");
    this.#size = positive("queueSize", options.queueSize ?? 1000);
    this.#forSaves = Math.max(1, Math.floor(this.#size * 0.75));
    this.queue = new ReplicationQueue<Work>({
      parallel: positive("parallel", options.parallel ?? 16),
      attempts: positive("retryAttempts", options.retryAttempts ?? 3, 0),
      delay: toMilliseconds(options.retryDelay ?? "100ms", "retryDelay"),
      clock,
      random,
      ship: ({ work }) => ship(work),
      suspect: (work) => {
        work.record = undefined;
        work.compare = true;
      },
      outage: () => !this.primary.isUp || !this.secondary.isUp,
      insists: (work) => (work.end?.until ?? 0) > clock.now() || work.revoke !== undefined,
      dropped: (entry, error) => this.#dropped(entry, error),
      done: ({ work }) => this.#outbox?.unmark(work),
    });
    const side = {
      clock,
      random,
      timeout: this.timeout,
      report: (told: Pick<ReplicationOperation, "operation" | "side" | "outcome" | "durationMs">) =>
        this.#report(told),
    };
    this.primary = new Side("primary", primary, side);
    this.secondary = new Side("secondary", secondary, side);
    this.#outbox = outbox &&
      new ReplicationOutbox(new Side("outbox", outbox.namespace("replication"), side), clock, random);
  }

  /** What is still to be shipped under a key. */
  pending(kind: Work["kind"], id: string): Work | undefined {
    return this.queue.get(`${kind}:${id}`)?.work;
  }

  /** A place in the queue if there is one at once: for what may also be lost. */
  take(kind: Work["kind"], id: string): Entry<Work> | undefined {
    return this.#closed ? undefined : this.#take(kind, id, this.#forSaves);
  }

  /**
   * A place in the queue before the write that will need it; `undefined` when the caller must ship by itself. What ends
   * something may use the whole queue and never waits; what saves leaves a quarter free for it.
   */
  async reserve(
    kind: Work["kind"],
    id: string,
    signal?: AbortSignal,
  ): Promise<Entry<Work> | undefined> {
    if (this.#closed) return undefined;
    const { onFull = "wait" } = this.options;
    const limit = this.#forSaves;
    const giveUpAt = this.clock.monotonic() + this.timeout;
    let entry = this.#take(kind, id, limit);
    while (entry === undefined && onFull === "wait") {
      const left = giveUpAt - this.clock.monotonic();
      if (left <= 0) break;
      await this.queue.vacancy(left, signal);
      entry = this.#take(kind, id, limit);
    }
    if (entry === undefined) {
      if (onFull === "sync") return undefined;
      this.#report({ operation: "reserve", side: "secondary", outcome: "refused", durationMs: 0 });
      throw new HoldfastError("queue-full", `Cannot save as ${limit} sessions wait to be replicated`, {
        retryable: true,
      });
    }
    try {
      await this.#outbox?.mark(entry);
    } catch (error) {
      this.queue.settle(entry, false);
      throw error;
    }
    return entry;
  }

  /** A place for something that must not be refused, if there is one at all; `intent` says what is to be done. */
  async reserveEnd(
    kind: Work["kind"],
    id: string,
    intent: Pick<Work, "end" | "revoke">,
  ): Promise<Entry<Work> | undefined> {
    const entry = this.#closed ? undefined : this.#take(kind, id, this.#size);
    // Without its mark it ends all the same, and is reported if it does not.
    if (entry !== undefined) await this.#outbox?.mark(entry, intent).catch(() => {});
    return entry;
  }

  /** The write is over: gives the place back, or lets the strategy decide how the change travels. */
  async finish(entry: Entry<Work> | undefined, inline: () => Promise<unknown>): Promise<void> {
    const { strategy = "async", waitUntil } = this.options;
    if (entry === undefined) {
      await inline().catch((error) => {
        if (error instanceof NotReplicatedError) throw error;
        throw new NotReplicatedError("primary", false, error);
      });
      return;
    }
    const wait = strategy !== "async";
    this.queue.settle(entry, true, wait);
    if (wait) await this.acknowledged(this.queue.shipped(entry), "primary");
    else waitUntil?.(this.queue.shipped(entry).catch(() => {}));
  }

  /** Waits for a shipment as long as for any other answer. */
  async acknowledged(shipped: Promise<void>, committed: NotReplicatedError["committed"]): Promise<void> {
    const bell = new AbortController();
    const late = this.clock.sleep(this.timeout, bell.signal).then(() => {
      throw new NotReplicatedError(committed, true);
    }, () => {});
    try {
      await Promise.race([shipped, late]);
    } catch (error) {
      if (error instanceof NotReplicatedError) throw error;
      throw new NotReplicatedError(committed, false, error);
    } finally {
      shipped.catch(() => {});
      bell.abort();
    }
  }

  /** The write failed: what may have happened all the same is looked after. */
  async failed(
    kind: Work["kind"],
    id: string,
    place: Entry<Work> | undefined,
    error: unknown,
  ): Promise<void> {
    const happened = mayHaveHappened(error);
    // Who had to go without a place needs one now.
    const entry = place ?? (happened && !this.#closed ? this.#take(kind, id, this.#size) : undefined);
    if (entry === undefined) {
      if (happened) this.drop(kind, id, error);
      return;
    }
    // A place taken so late has no mark yet, and nobody else would look after it.
    if (place === undefined) await this.#outbox?.mark(entry).catch(() => {});
    entry.work.compare = true;
    if (happened) this.queue.doubt(entry, 2 * this.timeout);
    else this.queue.settle(entry, false);
  }

  /** Notes a change to the index; too many, and the two sides are compared instead. */
  note(entry: Entry<Work>, change: IndexChange): void {
    const { work } = entry;
    if (work.changes.length < MOST_CHANGES) work.changes.push(change);
    else work.compare = true;
  }

  /** Waits until everything is shipped, for so many milliseconds at most. */
  async flush(milliseconds: number, signal?: AbortSignal): Promise<number> {
    await this.queue.empty(milliseconds, signal);
    await this.#outbox?.settled();
    return this.queue.size;
  }

  async close(milliseconds: number): Promise<number> {
    this.#closed = true;
    const pending = await this.flush(milliseconds);
    this.queue.stop();
    return pending;
  }

  /** Ships what isolates that are gone left in the outbox. */
  async recover(olderThan: number, milliseconds: number): Promise<{ found: number; pending: number }> {
    const outbox = this.#outbox;
    if (outbox === undefined) throw new TypeError("Cannot recover as there is no 'outbox'");
    const giveUpAt = this.clock.monotonic() + milliseconds;
    let found = 0;
    for await (const [key, mark] of outbox.orphans(olderThan)) {
      let entry = this.#take(mark.kind, mark.id, this.#size);
      while (entry === undefined && this.clock.monotonic() < giveUpAt) {
        await this.queue.vacancy(giveUpAt - this.clock.monotonic());
        entry = this.#take(mark.kind, mark.id, this.#size);
      }
      if (entry === undefined) return { found, pending: this.queue.size };
      found++;
      const { work } = entry;
      work.marks.set(key, mark);
      work.end ??= mark.end && { ...mark.end };
      work.revoke ??= mark.revoke && { ...mark.revoke };
      work.compare = true;
      this.queue.settle(entry, true);
    }
    return { found, pending: await this.flush(Math.max(1, giveUpAt - this.clock.monotonic())) };
  }

  #take(kind: Work["kind"], id: string, limit: number): Entry<Work> | undefined {
    return this.queue.take(`${kind}:${id}`, limit, () => {
      return { kind, id, newest: 0, owed: 0, lost: 0, changes: [], compare: false, marks: new Map() };
    });
  }

  #dropped({ work, dirty }: Entry<Work>, error: unknown): void {
    this.drop(work.kind, work.id, error);
    work.end = work.revoke = undefined;
    work.changes = [];
    work.compare = true;
    if (dirty) return; // what came meanwhile has its own turn
    work.record = undefined;
    work.owed = 0;
  }

  /** Tells that something was given up. */
  drop(kind: Work["kind"], key: string, error: unknown): void {
    try {
      this.options.onDropped?.({ kind, key, error });
    } catch {
      // its own affair
    }
  }

  #report(told: Pick<ReplicationOperation, "operation" | "side" | "outcome" | "durationMs">): void {
    const { onOperation } = this.options;
    if (onOperation === undefined) return;
    try {
      onOperation({
        contract: "replicated-sessions",
        ...told,
        pending: this.queue.size,
        lagMs: this.queue.lag,
      });
    } catch {
      // its own affair
    }
  }
}

/** Whether waiting for a retry makes sense: an open circuit will not close in time. */
export function worthWaiting(error: unknown): boolean {
  return !(error instanceof CircuitOpenError);
}

function positive(name: string, value: number, least = 1): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new RangeError(
    `Cannot replicate sessions as '${name}' must be an integer from ${least}: current value is ${value}`,
  );
}

function oneOf(name: string, value: string, known: readonly string[]): void {
  if (known.includes(value)) return;
  throw new TypeError(
    `Cannot replicate sessions as '${name}' must be one of ${known.join(", ")}: current value is ${value}`,
  );
}
