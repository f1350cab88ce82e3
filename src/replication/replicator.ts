/** The parts that replicated sessions and their index share: two sides, a queue, the outbox, the strategy. */
import type { Clock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { IndexedSessionStore } from "../session/session_store.ts";
import { checkFunction, checkInteger, checkOneOf, checkOptionNames, type OptionNames } from "../validate.ts";
import { CircuitOpenError } from "./circuit.ts";
import { NotReplicatedError } from "./not_replicated_error.ts";
import type { WhenUnavailable } from "./read_plan.ts";
import type { ReplicatedSessionsOptions, ReplicationOperation } from "./replicated_sessions.ts";
import { ReplicationOutbox } from "./replication_outbox.ts";
import { type Entry, ReplicationQueue } from "./replication_queue.ts";
import { type SafeCallbacks, safeCallbacks } from "./safe_callbacks.ts";
import { mayHaveHappened, Side, type SideOptions } from "./side.ts";
import type { IndexChange, Work } from "./work.ts";

const TASK = "replicate sessions";
/** The number of changes to an index that are repeated one by one; beyond that the two sides are compared. */
const MAX_CHANGES = 16;

const OPTIONS = {
  strategy: true,
  reads: true,
  whenUnavailable: true,
  queueSize: true,
  whenFull: true,
  retryAttempts: true,
  retryDelay: true,
  parallel: true,
  attemptTimeout: true,
  timeout: true,
  outbox: true,
  waitUntil: true,
  onFault: true,
  onDropped: true,
  onOperation: true,
  clock: true,
  random: true,
} satisfies OptionNames<ReplicatedSessionsOptions>;

/** The options, checked and with their defaults. */
export interface Settings {
  readonly strategy: "async" | "sync" | "acknowledged";
  readonly reads: "both" | "primary";
  readonly whenUnavailable: WhenUnavailable;
  readonly whenFull: "wait" | "reject" | "inline";
  readonly queueSize: number;
  readonly retryAttempts: number;
  readonly retryDelay: number;
  readonly parallel: number;
  readonly attemptTimeout: number;
  readonly timeout: number;
}

/**
 * Checks the options before anything is done.
 *
 * @throws {TypeError} for an unknown name or choice, or a callback that is no function
 * @throws {RangeError} for a number or duration out of its range
 */
function settingsOf(options: ReplicatedSessionsOptions): Settings {
  checkOptionNames(TASK, options, OPTIONS);
  for (const name of ["waitUntil", "onFault", "onDropped", "onOperation", "random"] as const) {
    checkFunction(TASK, name, options[name]);
  }
  const { strategy = "async", reads = "both", whenUnavailable = "confirm", whenFull = "wait" } = options;
  const { queueSize = 1000, retryAttempts = 3, parallel = 16 } = options;
  const { retryDelay = "100ms", attemptTimeout = "2s", timeout = "5s" } = options;
  return {
    strategy: checkOneOf(TASK, "strategy", strategy, ["async", "sync", "acknowledged"] as const),
    reads: checkOneOf(TASK, "reads", reads, ["both", "primary"] as const),
    whenUnavailable: checkOneOf(
      TASK,
      "whenUnavailable",
      whenUnavailable,
      ["confirm", "degrade", "throw"] as const,
    ),
    whenFull: checkOneOf(TASK, "whenFull", whenFull, ["wait", "reject", "inline"] as const),
    queueSize: checkInteger(TASK, "queueSize", queueSize),
    retryAttempts: checkInteger(TASK, "retryAttempts", retryAttempts),
    parallel: checkInteger(TASK, "parallel", parallel),
    retryDelay: toMilliseconds(retryDelay, "retryDelay"),
    attemptTimeout: toMilliseconds(attemptTimeout, "attemptTimeout"),
    timeout: toMilliseconds(timeout, "timeout"),
  };
}

export class Replicator {
  readonly primary: Side<IndexedSessionStore>;
  readonly secondary: Side<IndexedSessionStore>;
  readonly queue: ReplicationQueue<Work>;
  readonly clock: Clock;
  readonly settings: Settings;
  readonly #callbacks: SafeCallbacks;
  /** The number of places that saves may use: what ends a session always finds one. */
  readonly #forSaves: number;
  readonly #outbox: ReplicationOutbox | undefined;
  #closed = false;

  constructor(
    primary: IndexedSessionStore,
    secondary: IndexedSessionStore,
    options: ReplicatedSessionsOptions,
    ship: (work: Work) => Promise<void>,
  ) {
    const settings = this.settings = settingsOf(options);
    const callbacks = this.#callbacks = safeCallbacks(options);
    const { clock, random } = callbacks;
    this.clock = clock;
    this.#forSaves = Math.max(1, Math.floor(settings.queueSize * 0.75));
    this.queue = new ReplicationQueue<Work>({
      parallel: settings.parallel,
      attempts: settings.retryAttempts,
      delay: settings.retryDelay,
      maxWatched: settings.queueSize,
      clock,
      random,
      ship: ({ work }) => ship(work),
      invalidate: (work) => {
        work.record = undefined;
        work.compare = true;
      },
      outage: () => !this.primary.isUp || !this.secondary.isUp,
      mustDeliver: ({ end, revoke }) => Math.max(end?.until ?? 0, revoke?.until ?? 0) > clock.now(),
      dropped: (entry, error) => this.#dropped(entry, error),
      done: ({ work }) => this.#outbox?.unmark(work),
    });
    const side: SideOptions = {
      clock,
      random,
      timeout: settings.attemptTimeout,
      report: (operation) => this.#report(operation),
      onFault: callbacks.onFault,
    };
    this.primary = new Side("primary", primary, side);
    this.secondary = new Side("secondary", secondary, side);
    this.#outbox = options.outbox &&
      new ReplicationOutbox(
        new Side("outbox", options.outbox.namespace("replication"), side),
        clock,
        random,
      );
  }

  /** The work that is still pending under a key. */
  pending(kind: Work["kind"], id: string): Work | undefined {
    return this.queue.get(`${kind}:${id}`)?.work;
  }

  /**
   * Takes a place in the queue if one is free now: for work that may be lost, as the next read finds it
   * again.
   */
  take(kind: Work["kind"], id: string): Entry<Work> | undefined {
    return this.#closed ? undefined : this.#take(kind, id, this.#forSaves);
  }

  /**
   * A place in the queue before the write that will need it; `undefined` when the caller must ship its own
   * copy.
   *
   * @throws {HoldfastError} `queue-full` when there is no room and `whenFull` does not allow to go on
   */
  async reserve(kind: Work["kind"], id: string, signal?: AbortSignal): Promise<Entry<Work> | undefined> {
    if (this.#closed) return undefined;
    const { whenFull, attemptTimeout } = this.settings;
    const giveUpAt = this.clock.monotonic() + attemptTimeout;
    let entry = this.#take(kind, id, this.#forSaves);
    while (entry === undefined && whenFull === "wait") {
      const left = giveUpAt - this.clock.monotonic();
      if (left <= 0) break;
      await this.queue.vacancy(left, signal);
      entry = this.#take(kind, id, this.#forSaves);
    }
    if (entry === undefined) {
      if (whenFull === "inline") return undefined;
      this.#report({ operation: "reserve", side: "secondary", outcome: "refused", durationMs: 0 });
      const message = `Cannot save as ${this.#forSaves} keys wait to be replicated`;
      throw new HoldfastError("queue-full", message, { retryable: true });
    }
    try {
      await this.#outbox?.mark(entry);
    } catch (error) {
      this.queue.settle(entry, false);
      throw error;
    }
    return entry;
  }

  /**
   * Reserves a place for the end of a session, which saves cannot use up; `undefined` when none is left.
   * `intent` is recorded in the outbox.
   */
  async reserveEnd(
    kind: Work["kind"],
    id: string,
    intent: Pick<Work, "end" | "revoke">,
  ): Promise<Entry<Work> | undefined> {
    const entry = this.#closed ? undefined : this.#take(kind, id, this.settings.queueSize);
    // A mark that could not be written stops no end: a side that does not answer is the caller's error.
    if (entry !== undefined) await this.#outbox?.mark(entry, intent).catch(() => {});
    return entry;
  }

  /**
   * Ends a write that happened on the primary: the strategy decides whether the caller waits for its copy.
   */
  async finish(entry: Entry<Work> | undefined, inline: () => Promise<unknown>): Promise<void> {
    if (entry === undefined) {
      await inline().catch((error) => {
        if (error instanceof NotReplicatedError) throw error;
        throw new NotReplicatedError("primary", false, error);
      });
      return;
    }
    const wait = this.settings.strategy !== "async";
    this.queue.settle(entry, true, wait);
    if (wait) await this.acknowledged(this.queue.shipped(entry), "primary");
    else this.keepAlive(entry);
  }

  /** Keeps the isolate alive until the entry is shipped. */
  keepAlive(entry: Entry<Work>): void {
    this.#callbacks.waitUntil(this.queue.shipped(entry).catch(() => {}));
  }

  /** Waits for a shipment as long as for a request. */
  async acknowledged(shipped: Promise<void>, committed: NotReplicatedError["committed"]): Promise<void> {
    try {
      await this.#atMost(
        this.settings.attemptTimeout,
        shipped,
        () => new NotReplicatedError(committed, true),
      );
    } catch (error) {
      if (error instanceof NotReplicatedError) throw error;
      throw new NotReplicatedError(committed, false, error);
    }
  }

  /** Bounds a whole call by `timeout`; what it began goes on. */
  async bounded<T>(work: Promise<T>): Promise<T> {
    const { timeout } = this.settings;
    return await this.#atMost(
      timeout,
      work,
      () =>
        new HoldfastError("timeout", `Cannot finish the call within ${timeout} ms`, {
          retryable: true,
          ambiguous: true,
        }),
    );
  }

  async #atMost<T>(milliseconds: number, work: Promise<T>, overdue: () => Error): Promise<T> {
    const timer = new AbortController();
    const late = this.clock.sleep(milliseconds, timer.signal).then(
      () => {
        throw overdue();
      },
      () => new Promise<never>(() => {}),
    );
    try {
      return await Promise.race([work, late]);
    } finally {
      work.catch(() => {}); // when it fails later, its caller has been told already
      timer.abort();
    }
  }

  /**
   * Handles a write that failed or was not answered. If it may have taken effect, its key is compared, now
   * and later.
   */
  async failed(
    kind: Work["kind"],
    id: string,
    place: Entry<Work> | undefined,
    error: unknown,
  ): Promise<void> {
    const happened = mayHaveHappened(error);
    // No place was reserved before the write; reserves one now.
    const size = this.settings.queueSize;
    const entry = place ?? (happened && !this.#closed ? this.#take(kind, id, size) : undefined);
    if (entry === undefined) {
      if (happened) this.drop(kind, id, error);
      return;
    }
    // The caller learns of the fault only after the mark is written: then another isolate can look after it.
    if (place === undefined) await this.#outbox?.mark(entry).catch(() => {});
    entry.work.compare = true;
    if (happened) this.queue.doubt(entry, 2 * this.settings.attemptTimeout);
    else this.queue.settle(entry, false);
  }

  /** A request that was given up has had its effect after all: looks at its key now. */
  effectCameLate(kind: Work["kind"], id: string): void {
    if (this.#closed || this.queue.lookNow(`${kind}:${id}`)) return;
    this.repairLater(kind, id);
  }

  /** Compares the two sides in the background, if there is room. */
  repairLater(kind: Work["kind"], id: string): void {
    if (this.pending(kind, id) !== undefined && this.queue.lookNow(`${kind}:${id}`)) return;
    const entry = this.take(kind, id);
    if (entry === undefined) return; // the next read finds it
    entry.work.compare = true;
    this.queue.settle(entry, true);
    this.keepAlive(entry);
  }

  /** Notes a change to the index; too many, and the two sides are compared instead. */
  note(entry: Entry<Work>, change: IndexChange): void {
    const { work } = entry;
    if (work.changes.length < MAX_CHANGES) work.changes.push(change);
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

  /** Ships what other isolates left in the outbox. */
  async recover(olderThan: number, milliseconds: number): Promise<{ found: number; pending: number }> {
    const outbox = this.#outbox;
    if (outbox === undefined) throw new TypeError("Cannot recover as there is no 'outbox'");
    const giveUpAt = this.clock.monotonic() + milliseconds;
    const { queueSize } = this.settings;
    let found = 0;
    for await (const [key, mark] of outbox.orphans(olderThan)) {
      let entry = this.#take(mark.kind, mark.id, queueSize);
      while (entry === undefined && this.clock.monotonic() < giveUpAt) {
        await this.queue.vacancy(giveUpAt - this.clock.monotonic());
        entry = this.#take(mark.kind, mark.id, queueSize);
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
    return this.queue.take(`${kind}:${id}`, limit, () => ({
      kind,
      id,
      latestVersion: 0,
      pendingVersion: 0,
      lateVersion: 0,
      lostWrites: 0,
      changes: [],
      compare: false,
      marks: new Map(),
    }));
  }

  #dropped({ work, dirty }: Entry<Work>, error: unknown): void {
    this.drop(work.kind, work.id, error);
    work.end = work.revoke = undefined;
    work.changes = [];
    work.compare = true;
    if (dirty) return; // what came meanwhile has its own attempts
    work.record = undefined;
    work.pendingVersion = 0;
  }

  /** Reports that something was given up. */
  drop(kind: Work["kind"], key: string, error: unknown): void {
    this.#callbacks.onDropped({ kind, key, error });
  }

  #report(operation: Pick<ReplicationOperation, "operation" | "side" | "outcome" | "durationMs">): void {
    const { onOperation } = this.#callbacks;
    if (onOperation === undefined) return;
    const { size: pending, lag: lagMs } = this.queue;
    onOperation({ contract: "replicated-sessions", ...operation, pending, lagMs });
  }
}

/** True if waiting for a retry makes sense: an open circuit will not close in time. */
export function worthWaiting(error: unknown): boolean {
  return !(error instanceof CircuitOpenError);
}
