/**
 * The queue of changes that still have to reach the other side: keys, not events. A key is in the queue once
 * however often it changed, so memory is bounded, and shipping sends what is true then, so an older state
 * never follows a newer one. Each key has one shipment at a time, several keys are shipped at once, and a key
 * that fails delays no other.
 *
 * A key with a write of unknown outcome is looked at again, at growing intervals, until the write can hardly
 * take effect any more. Between the looks it is *watched*: it takes no place in the queue, and the oldest
 * watched keys make room for new ones.
 */
import type { Clock } from "../clock.ts";
import { deferred } from "../deferred.ts";
import { HoldfastError } from "../errors.ts";
import { CircuitOpenError } from "./circuit.ts";
import { isPermanent } from "./side.ts";

/** The longest backoff, in milliseconds. */
const MAX_DELAY = 5_000;
/** Retry budget: ten successes allow one retry. Without budget, retries wait the longest delay. */
const BUDGET = 10;
/**
 * The time a write of unknown outcome is watched, in milliseconds: 300 times the default `attemptTimeout`.
 */
const WATCH = 600_000;

/** The next look at a key with a write of unknown outcome. */
interface Look {
  readonly at: number;
  readonly interval: number;
  readonly until: number;
  readonly first: boolean;
}

/** A key in the queue. */
export class Entry<Work> {
  /** The number of writes under way that may make it dirty. */
  held = 0;
  /** True if something is to be shipped. */
  dirty = false;
  /** True if it is being shipped. */
  running = false;
  /** Ends the delay until its next attempt or look. */
  timer: AbortController | undefined;
  /** A write of unknown outcome may still take effect. */
  look: Look | undefined;
  /** True if it only waits for its next look, and takes no place. */
  watched = false;
  /** True if a caller waits for it: it starts although as many as allowed are shipped already. */
  urgent = false;
  /** Failures in a row. */
  attempts = 0;
  /** Grows with every change, so that a waiter knows which shipment carries its change. */
  generation = 0;
  readonly waiters: { readonly generation: number; resolve(): void; reject(error: unknown): void }[] = [];

  constructor(readonly key: string, readonly work: Work, readonly since: number) {}
}

/** Options of {@linkcode ReplicationQueue}. */
export interface QueueOptions<Work> {
  readonly parallel: number;
  /** The number of attempts of a shipment, the first included. */
  readonly attempts: number;
  readonly delay: number;
  /** The maximum number of watched keys. */
  readonly maxWatched: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** Ships what there is to ship. */
  ship(entry: Entry<Work>): Promise<void>;
  /** Discards what is known about the work, as it may be outdated. */
  invalidate(work: Work): void;
  /** True if a side is known to be away. */
  outage(): boolean;
  /** True if it must not be given up yet, however often it failed. */
  mustDeliver(work: Work): boolean;
  /** Called with what is given up. */
  dropped(entry: Entry<Work>, error: unknown): void;
  /** Called with what leaves the queue. */
  done(entry: Entry<Work>): void;
}

export class ReplicationQueue<Work> {
  readonly #entries = new Map<string, Entry<Work>>();
  readonly #watched = new Set<Entry<Work>>();
  readonly #ready = new Set<Entry<Work>>();
  readonly #vacancies = new Set<() => void>();
  readonly #emptied = new Set<() => void>();
  readonly #options: QueueOptions<Work>;
  #active = 0;
  #stopped = false;
  #budget = BUDGET;

  constructor(options: QueueOptions<Work>) {
    this.#options = options;
  }

  /** The number of keys that take a place. */
  get size(): number {
    return this.#entries.size - this.#watched.size;
  }

  /** The age of the oldest of them, in milliseconds. */
  get lag(): number {
    for (const entry of this.#entries.values()) {
      if (!entry.watched) return this.#options.clock.monotonic() - entry.since;
    }
    return 0;
  }

  get(key: string): Entry<Work> | undefined {
    return this.#entries.get(key);
  }

  /** A place for the key, its own if it has one, as long as fewer than `limit` are taken. */
  take(key: string, limit: number, work: () => Work): Entry<Work> | undefined {
    let entry = this.#entries.get(key);
    if ((entry === undefined || entry.watched) && this.size >= limit) return undefined;
    if (entry === undefined) {
      entry = new Entry(key, work(), this.#options.clock.monotonic());
      this.#entries.set(key, entry);
    }
    this.#unwatch(entry);
    entry.held++;
    return entry;
  }

  /** Waits until a key has given its place back, for so many milliseconds at most. */
  async vacancy(milliseconds: number, signal?: AbortSignal): Promise<void> {
    await this.#within(this.#vacancies, milliseconds, signal);
  }

  /** Waits until no key takes a place, for so many milliseconds at most. */
  async empty(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (this.size > 0) await this.#within(this.#emptied, milliseconds, signal);
  }

  /** Ends the write that held the place; `changed` says whether there may be something to ship. */
  settle(entry: Entry<Work>, changed: boolean, urgent = false): void {
    entry.held--;
    if (changed) this.#change(entry, urgent);
    this.#next(entry);
  }

  /**
   * Ends a write of unknown outcome: it may still take effect. First looked at now and after so many
   * milliseconds.
   */
  doubt(entry: Entry<Work>, milliseconds: number, urgent = false): void {
    const now = this.#options.clock.monotonic();
    entry.look = { at: now + milliseconds, interval: milliseconds, until: now + WATCH, first: true };
    this.settle(entry, true, urgent);
  }

  /** Looks at a key at once, if it is in the queue; answers whether it is. */
  lookNow(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#options.invalidate(entry.work);
    this.#change(entry, false);
    this.#wake(entry);
    this.#next(entry);
    return true;
  }

  /** Resolves when what is in the entry now has been shipped, rejects when it is given up. */
  shipped(entry: Entry<Work>): Promise<void> {
    const { promise, resolve, reject } = deferred<void>();
    if (this.#entries.get(entry.key) !== entry) resolve();
    else entry.waiters.push({ generation: entry.generation, resolve, reject });
    return promise;
  }

  /** Ends all delays and rejects all waiters. Pending entries stay in the queue and are not tried again. */
  stop(): void {
    this.#stopped = true;
    const stopped = new HoldfastError("not-replicated", "Cannot go on shipping as the store was closed");
    for (const entry of this.#entries.values()) {
      entry.timer?.abort();
      this.#notify(entry, entry.generation, (waiter) => waiter.reject(stopped));
    }
  }

  /** Waits for a notification, for so many milliseconds at most; rejects with the signal's reason. */
  async #within(listeners: Set<() => void>, milliseconds: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve } = deferred<void>();
    const timer = new AbortController();
    const end = () => resolve();
    listeners.add(end);
    signal?.addEventListener("abort", end, { once: true });
    if (milliseconds < Infinity) this.#options.clock.sleep(milliseconds, timer.signal).then(end, () => {});
    await promise;
    timer.abort();
    listeners.delete(end);
    signal?.removeEventListener("abort", end);
    signal?.throwIfAborted();
  }

  #change(entry: Entry<Work>, urgent: boolean): void {
    entry.dirty = true;
    entry.generation++;
    if (urgent) entry.urgent = true;
    // A key that failed a moment ago keeps its delay, unless a caller waits for it.
    if (urgent || entry.attempts === 0) this.#wake(entry);
  }

  /**
   * Moves an entry on after any change of its state. Exactly one of these holds afterwards: it is being
   * shipped, it waits for a timer, it is ready, it is held by a write, or it has left the queue.
   */
  #next(entry: Entry<Work>): void {
    if (entry.running || this.#entries.get(entry.key) !== entry) return;
    if (entry.timer !== undefined) {
      // Delayed until its next look, and no write holds it any more.
      if (!entry.dirty && entry.look?.first === false && entry.held === 0) this.#watch(entry);
    } else if (entry.dirty) {
      this.#ready.add(entry);
      this.#pump();
    } else if (entry.look !== undefined) this.#awaitLook(entry, entry.look);
    else if (entry.held === 0) this.#remove(entry);
  }

  #remove(entry: Entry<Work>): void {
    this.#entries.delete(entry.key);
    this.#watched.delete(entry);
    this.#options.done(entry);
    this.#vacated();
  }

  #vacated(): void {
    notifyAll(this.#vacancies);
    if (this.size === 0) notifyAll(this.#emptied);
  }

  /** The first look still takes a place, as a late effect is likely by then; later ones do not. */
  #awaitLook(entry: Entry<Work>, look: Look): void {
    const now = this.#options.clock.monotonic();
    let next = look;
    if (look.at <= now) {
      const interval = look.interval * 2;
      entry.look = now + interval < look.until
        ? { at: now + interval, interval, until: look.until, first: false }
        : undefined;
      if (entry.look === undefined) return this.#next(entry);
      next = entry.look;
    }
    if (!next.first && entry.held === 0) this.#watch(entry);
    this.#delay(entry, Math.max(1, next.at - now), () => {
      this.#options.invalidate(entry.work);
      entry.dirty = true;
    });
  }

  #watch(entry: Entry<Work>): void {
    if (entry.watched) return;
    entry.watched = true;
    this.#watched.add(entry);
    for (const oldest of this.#watched) {
      if (this.#watched.size <= this.#options.maxWatched) break;
      if (oldest === entry || oldest.running) continue;
      // Its late effect, if it comes at all, is found by the next read.
      this.#wake(oldest);
      this.#ready.delete(oldest);
      this.#remove(oldest);
    }
    this.#vacated();
  }

  #unwatch(entry: Entry<Work>): void {
    entry.watched = false;
    this.#watched.delete(entry);
  }

  #pump(): void {
    if (this.#stopped) return;
    for (const entry of this.#ready) {
      if (this.#active >= this.#options.parallel && !entry.urgent) continue;
      this.#ready.delete(entry);
      this.#run(entry);
    }
  }

  async #run(entry: Entry<Work>): Promise<void> {
    const { generation } = entry;
    entry.running = true;
    entry.dirty = false;
    entry.urgent = false;
    this.#active++;
    let failure: { readonly error: unknown } | undefined;
    try {
      await this.#options.ship(entry);
    } catch (error) {
      failure = { error };
    }
    this.#active--;
    entry.running = false;
    if (failure === undefined) {
      entry.attempts = 0;
      this.#budget = Math.min(BUDGET, this.#budget + 1 / BUDGET);
      this.#notify(entry, generation, (waiter) => waiter.resolve());
    } else this.#failed(entry, generation, failure.error);
    this.#next(entry);
    this.#pump();
  }

  #failed(entry: Entry<Work>, generation: number, error: unknown): void {
    const { attempts, mustDeliver, dropped, outage } = this.#options;
    // Failures while a side is away do not count.
    if (!outage()) entry.attempts++;
    const exhausted = entry.attempts >= attempts;
    // A permanent fault (a misconfiguration) is given up at once, and after the last attempt if the work must
    // be delivered. Any other fault is given up after the last attempt, and never if the work must be
    // delivered.
    const must = mustDeliver(entry.work);
    if (isPermanent(error) ? exhausted || !must : exhausted && !must) {
      entry.attempts = 0;
      // A watched key is only looked at. It holds no change that a caller waits for, so nothing is dropped.
      if (!entry.watched) dropped(entry, error);
      this.#notify(entry, generation, (waiter) => waiter.reject(error));
      return;
    }
    entry.dirty = true;
    this.#delay(entry, this.#backoff(entry, error), () => {});
  }

  #delay(entry: Entry<Work>, milliseconds: number, then: () => void): void {
    if (this.#stopped) return;
    const timer = entry.timer = new AbortController();
    this.#options.clock.sleep(milliseconds, timer.signal).then(() => {
      if (entry.timer !== timer) return; // ended meanwhile, and perhaps another one began
      entry.timer = undefined;
      then();
      this.#next(entry);
    }, () => {});
  }

  #wake(entry: Entry<Work>): void {
    entry.timer?.abort();
    entry.timer = undefined;
  }

  /**
   * The delay before the next attempt: full jitter, doubling up to `MAX_DELAY`, on top of the time that the
   * server asked for. An open circuit is waited for instead, as an attempt before would fail at once. Without
   * retry budget the delay is at its maximum: when most shipments fail, retries must not add to the load.
   */
  #backoff(entry: Entry<Work>, error: unknown): number {
    const { delay, random } = this.#options;
    if (error instanceof CircuitOpenError) return (error.retryAfter ?? 0) + 1 + random() * delay;
    if (this.#budget < 1) return MAX_DELAY * (0.5 + random() / 2);
    this.#budget--;
    const asked = error instanceof HoldfastError ? error.retryAfter ?? 0 : 0;
    const exponential = delay * 2 ** Math.max(0, entry.attempts - 1);
    return Math.min(MAX_DELAY, asked) + 1 + random() * Math.min(MAX_DELAY, exponential);
  }

  #notify(
    entry: Entry<Work>,
    generation: number,
    settle: (waiter: Entry<Work>["waiters"][number]) => void,
  ): void {
    for (let i = entry.waiters.length - 1; i >= 0; i--) {
      if (entry.waiters[i]!.generation <= generation) settle(entry.waiters.splice(i, 1)[0]!);
    }
  }
}

function notifyAll(listeners: Set<() => void>): void {
  for (const listener of [...listeners]) listener();
}
