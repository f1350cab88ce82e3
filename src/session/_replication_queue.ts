/**
 * What still has to reach the other side: keys, not events. A key is there once however often it changed, so memory is
 * bounded, and shipping sends what is true then, so an older state never follows a newer one. Each key is shipped by one
 * chain at a time, several keys at once, and one that fails waits by itself.
 */
import type { Clock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";
import { CircuitOpenError } from "./_circuit.ts";
import { isPermanent } from "./_replication_side.ts";

/** Backoff never exceeds this, in milliseconds. */
const LONGEST_WAIT = 5_000;
/** Retries are bought with successes, ten for one; without means they go at the slowest pace. */
const BUDGET = 10;

/** A key in the queue. */
export class Entry<Work> {
  /** Writes under way that may make it dirty. */
  held = 0;
  /** Whether something is to be shipped. */
  dirty = false;
  /** Being shipped. */
  running = false;
  /** Waiting to be tried or looked at again. */
  nap: AbortController | undefined;
  /** A write of unknown outcome may still take effect until then: it is looked for once more. */
  doubt: number | undefined;
  /** Somebody waits for it: it does not stand in line. */
  urgent = false;
  /** Failures in a row. */
  attempts = 0;
  /** Grows with every change: who waits for one knows which shipment carries it. */
  generation = 0;
  readonly waiters: { readonly generation: number; resolve(): void; reject(error: unknown): void }[] = [];

  constructor(readonly key: string, readonly work: Work, readonly since: number) {}
}

/** What the queue needs to know. */
export interface QueueOptions<Work> {
  readonly parallel: number;
  readonly attempts: number;
  readonly delay: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** Ships what is there to ship; the entry says what, and learns what is left. */
  ship(entry: Entry<Work>): Promise<void>;
  /** What is known about the work may be outdated. */
  suspect(work: Work): void;
  /** Whether a side is known to be away. */
  outage(): boolean;
  /** Whether it must not be given up yet, however often it failed. */
  insists(work: Work): boolean;
  /** Hears what is given up. */
  dropped(entry: Entry<Work>, error: unknown): void;
  /** Hears what left the queue shipped, or had nothing to ship. */
  done(entry: Entry<Work>): void;
}

export class ReplicationQueue<Work> {
  readonly #entries = new Map<string, Entry<Work>>();
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

  /** How many keys are in it. */
  get size(): number {
    return this.#entries.size;
  }

  /** How long the oldest of them has been, in milliseconds. */
  get lag(): number {
    for (const entry of this.#entries.values()) return this.#options.clock.monotonic() - entry.since;
    return 0;
  }

  get(key: string): Entry<Work> | undefined {
    return this.#entries.get(key);
  }

  /** A place for the key, its own if it has one, as long as fewer than `limit` are taken. */
  take(key: string, limit: number, work: () => Work): Entry<Work> | undefined {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      if (this.#entries.size >= limit) return undefined;
      entry = new Entry(key, work(), this.#options.clock.monotonic());
      this.#entries.set(key, entry);
    }
    entry.held++;
    return entry;
  }

  /** Waits until a key has left the queue, for so many milliseconds at most. */
  async vacancy(milliseconds: number, signal?: AbortSignal): Promise<void> {
    await this.#within(this.#vacancies, milliseconds, signal);
  }

  /** Waits until the queue is empty, for so many milliseconds at most. */
  async empty(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (this.#entries.size > 0) await this.#within(this.#emptied, milliseconds, signal);
  }

  /** The write that held the place is over; `changed` says whether there may be something to ship. */
  settle(entry: Entry<Work>, changed: boolean, urgent = false): void {
    entry.held--;
    if (changed) {
      entry.dirty = true;
      entry.generation++;
      if (urgent) entry.urgent = true;
      // What failed a moment ago rests, unless somebody waits for it.
      if (urgent || entry.attempts === 0) this.#wake(entry);
    }
    this.#next(entry);
  }

  /** The write that held the place failed, and may take effect all the same, even a while later. */
  doubt(entry: Entry<Work>, milliseconds: number): void {
    entry.doubt = this.#options.clock.monotonic() + milliseconds;
    this.settle(entry, true);
  }

  /** Resolves when what is in the entry now has been shipped, rejects when it is given up. */
  shipped(entry: Entry<Work>): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#entries.get(entry.key) !== entry) return resolve();
      entry.waiters.push({ generation: entry.generation, resolve, reject });
    });
  }

  /** Ends all waiting; what is still in the queue stays there and is not tried again. */
  stop(): void {
    this.#stopped = true;
    const stopped = new HoldfastError("not-replicated", "Cannot go on shipping as the store was closed");
    for (const entry of this.#entries.values()) {
      entry.nap?.abort();
      this.#tell(entry, entry.generation, (waiter) => waiter.reject(stopped));
    }
  }

  async #within(listeners: Set<() => void>, milliseconds: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const bell = new AbortController();
    listeners.add(resolve);
    signal?.addEventListener("abort", () => resolve(), { once: true });
    if (milliseconds < Infinity) this.#options.clock.sleep(milliseconds, bell.signal).then(resolve, () => {});
    await promise;
    bell.abort();
    listeners.delete(resolve);
    signal?.throwIfAborted();
  }

  /** Decides what is next for an entry that nobody is working on. */
  #next(entry: Entry<Work>): void {
    if (entry.running || entry.nap !== undefined || this.#entries.get(entry.key) !== entry) return;
    if (entry.dirty) {
      this.#ready.add(entry);
      this.#pump();
    } else if (entry.doubt !== undefined) {
      this.#sleep(entry, Math.max(1, entry.doubt - this.#options.clock.monotonic()), () => {
        if (entry.doubt! <= this.#options.clock.monotonic()) entry.doubt = undefined;
        entry.dirty = true;
        this.#options.suspect(entry.work);
      });
    } else if (entry.held === 0) {
      this.#entries.delete(entry.key);
      this.#options.done(entry);
      ring(this.#vacancies);
      if (this.#entries.size === 0) ring(this.#emptied);
    }
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
      this.#budget = Math.min(BUDGET, this.#budget + 0.1);
      this.#tell(entry, generation, (waiter) => waiter.resolve());
    } else this.#failed(entry, generation, failure.error);
    this.#next(entry);
    this.#pump();
  }

  #failed(entry: Entry<Work>, generation: number, error: unknown): void {
    const { attempts, insists, dropped, outage } = this.#options;
    // What fails while everything fails is not to blame: an outage costs nobody their place.
    if (!outage()) entry.attempts++;
    if ((isPermanent(error) || entry.attempts > attempts) && !insists(entry.work)) {
      entry.attempts = 0;
      dropped(entry, error);
      this.#tell(entry, generation, (waiter) => waiter.reject(error));
      return;
    }
    entry.dirty = true;
    this.#sleep(entry, this.#wait(entry, error), () => {});
  }

  #sleep(entry: Entry<Work>, milliseconds: number, then: () => void): void {
    if (this.#stopped) return;
    const nap = entry.nap = new AbortController();
    this.#options.clock.sleep(milliseconds, nap.signal).then(() => {
      entry.nap = undefined;
      then();
      this.#next(entry);
    }, () => {});
  }

  #wake(entry: Entry<Work>): void {
    entry.nap?.abort();
    entry.nap = undefined;
  }

  /** Full jitter, doubling up to a cap. */
  #wait(entry: Entry<Work>, error: unknown): number {
    const { delay, random } = this.#options;
    if (error instanceof CircuitOpenError) return (error.retryAfter ?? 0) + 1 + random() * delay;
    if (this.#budget < 1) return LONGEST_WAIT * (0.5 + random() / 2);
    this.#budget--;
    const asked = (error as { readonly retryAfter?: number } | undefined)?.retryAfter ?? 0;
    return asked + 1 + random() * Math.min(LONGEST_WAIT, delay * 2 ** Math.max(0, entry.attempts - 1));
  }

  #tell(
    entry: Entry<Work>,
    generation: number,
    tell: (waiter: Entry<Work>["waiters"][number]) => void,
  ): void {
    for (let i = entry.waiters.length - 1; i >= 0; i--) {
      if (entry.waiters[i]!.generation <= generation) tell(entry.waiters.splice(i, 1)[0]!);
    }
  }
}

function ring(listeners: Set<() => void>): void {
  for (const listener of [...listeners]) listener();
}
