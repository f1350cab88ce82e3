/**
 * Locks with leases and fencing tokens.
 *
 * A lock is a lease: it ends by itself, and no lock service can stop a paused holder from going on. So a holder
 * is told in time (`signal`, `assertHeld()`, by its own monotonic clock, whatever the network does), and the
 * resource can refuse a late one by the `fencingToken`, which strictly increases per key.
 */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { randomToken } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { Turn } from "../store/_turn.ts";
import { acquireLock, extendLock, inspectLock, releaseLock } from "./lock_transitions.ts";

/** Options of {@linkcode createLocks}. */
export interface LocksOptions {
  /**
   * The namespace the locks live in; two `Locks` share keys only when they share it.
   * @default {"lock"}
   */
  readonly name?: string;
  /**
   * Whose monotonic time bounds a holder.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/** Options of {@linkcode Locks.acquire}. */
export interface AcquireOptions {
  /** How long the lease lasts unless extended. */
  readonly ttl: Duration;
  /** How long to wait for somebody else's lock; without it, not at all. */
  readonly wait?: Duration | undefined;
  /** Gives up waiting; the call rejects with the signal's reason and leaves no lock behind. */
  readonly signal?: AbortSignal | undefined;
}

/** What {@linkcode Locks.inspect} answers. */
export interface LockState {
  /** Whether somebody has the lock. */
  readonly held: boolean;
  /** Milliseconds until the lease ends; 0 when nobody has it. */
  readonly remaining: number;
  /** The last fencing token handed out, if any is remembered. */
  readonly fencingToken: number | undefined;
}

/** What became of a released lock. Only `overtaken` means that another holder ran beside or after this one. */
export type Release = "released" | "expired" | "overtaken";

/** A lease that was granted. */
export interface Lock extends AsyncDisposable {
  /** What is locked. */
  readonly key: string;
  /** This holder's random id, the same for every retry of its acquisition. */
  readonly owner: string;
  /** Strictly increases per key, over holders, processes, expiry and restarts: hand it to the resource. */
  readonly fencingToken: number;
  /** When the lease ends by the engine's clock, in milliseconds since the epoch. */
  readonly expiresAt: number;
  /** Milliseconds this holder may still count on, by its own monotonic clock. */
  readonly remaining: number;
  /** Aborts with `lock-lost` when the lease can no longer be counted on. */
  readonly signal: AbortSignal;
  /** Throws `lock-lost` when the lease can no longer be counted on, also after a stall in which no timer ran. */
  assertHeld(): void;
  /** Makes the lease end `ttl` from now (default: as acquired); `false` when it was lost, which is final. */
  extend(ttl?: Duration): Promise<boolean>;
  /** Gives the lock back. A call that failed may be repeated. */
  release(): Promise<Release>;
}

/** Locks on one store. */
export interface Locks {
  /** One round trip: the lock, or `undefined` when somebody else has it for longer than `wait`. */
  acquire(key: string, options: AcquireOptions): Promise<Lock | undefined>;
  /**
   * Runs `fn` under the lock and gives it back. Its result or error is never replaced by a failed release.
   *
   * @throws {HoldfastError} `lock-timeout` when the lock was not free within `wait`
   */
  withLock<T>(key: string, options: AcquireOptions, fn: (lock: Lock) => T | Promise<T>): Promise<T>;
  /** Who has it is nobody's business; whether and for how long is. */
  inspect(key: string): Promise<LockState>;
}

/**
 * Locks over any atomic store.
 *
 * @example
 * ```ts
 * import { createLocks, memoryStore } from "@holdfast/edge";
 * const locks = createLocks(memoryStore());
 * await using lock = await locks.acquire("job:nightly", { ttl: "30s", wait: "5s" });
 * if (!lock) throw new Error("somebody else has it");
 * lock.signal.throwIfAborted();
 * ```
 */
export function createLocks(store: AtomicStore, options: LocksOptions = {}): Locks {
  const { name = "lock", clock = systemClock } = options;
  return new StoreLocks(store.namespace(name), clock);
}

/** Allowance for two clocks that run at different rates; their offset never matters. */
function margin(ttl: number): number {
  return Math.min(2 + ttl / 100, ttl / 2);
}

class StoreLocks implements Locks {
  readonly #store: AtomicStore;
  readonly #clock: Clock;

  constructor(store: AtomicStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  async acquire(key: string, options: AcquireOptions): Promise<Lock | undefined> {
    const ttl = toMilliseconds(options.ttl, "ttl");
    const wait = options.wait === undefined ? 0 : toMilliseconds(options.wait, "wait");
    const { signal } = options;
    const clock = this.#clock;
    // One owner per logical acquisition: a repeated call is answered like the first.
    const owner = randomToken(16);
    const giveUpAt = clock.monotonic() + wait;
    for (let round = 1;; round++) {
      signal?.throwIfAborted();
      // Whoever waits listens before it asks again, or a release in between would go unheard.
      const turn = round === 1 ? undefined : new Turn(this.#store, clock, key, signal);
      try {
        const sentAt = clock.monotonic();
        const output = await this.#store.transact(acquireLock, key, { owner, ttl: String(ttl) });
        if (output.fence !== undefined) {
          const lock = new HeldLock(this.#store, clock, key, owner, ttl, sentAt, output);
          if (!signal?.aborted && lock.remaining > 0) return lock;
          await lock.release().catch(() => {}); // it ends by itself
          if (clock.monotonic() >= giveUpAt) return undefined;
          continue;
        }
        const left = giveUpAt - clock.monotonic();
        if (left <= 0) return undefined;
        await turn?.wait(Math.min(Number(output.remaining) + 1, left), round);
      } finally {
        turn?.end();
      }
    }
  }

  async withLock<T>(key: string, options: AcquireOptions, fn: (lock: Lock) => T | Promise<T>): Promise<T> {
    const lock = await this.acquire(key, options);
    if (lock === undefined) {
      throw new HoldfastError("lock-timeout", "Cannot run under the lock as somebody else has it", {
        retryable: true,
      });
    }
    try {
      return await fn(lock);
    } finally {
      await lock.release().catch(() => {}); // the lease ends by itself, and fn's outcome is what counts
    }
  }

  async inspect(key: string): Promise<LockState> {
    const output = await this.#store.transact(inspectLock, key, {});
    return {
      held: output.remaining !== undefined,
      remaining: Number(output.remaining ?? 0),
      fencingToken: output.f === undefined ? undefined : Number(output.f),
    };
  }
}

class HeldLock implements Lock {
  readonly key: string;
  readonly owner: string;
  readonly fencingToken: number;
  readonly #store: AtomicStore;
  readonly #clock: Clock;
  readonly #ttl: number;
  readonly #controller = new AbortController();
  #expiresAt: number;
  #deadline: number;
  #timer: AbortController | undefined;
  #release: Release | undefined;

  constructor(
    store: AtomicStore,
    clock: Clock,
    key: string,
    owner: string,
    ttl: number,
    sentAt: number,
    grant: Readonly<Record<string, string>>,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.key = key;
    this.owner = owner;
    this.#ttl = ttl;
    this.fencingToken = Number(grant.fence);
    this.#expiresAt = Number(grant.e);
    this.#deadline = sentAt + ttl - margin(ttl);
    this.#arm();
  }

  get expiresAt(): number {
    return this.#expiresAt;
  }

  get remaining(): number {
    return this.#over() ? 0 : this.#deadline - this.#clock.monotonic();
  }

  get signal(): AbortSignal {
    if (!this.#release) this.#over();
    return this.#controller.signal;
  }

  assertHeld(): void {
    if (this.#over()) throw lost();
  }

  async extend(ttl?: Duration): Promise<boolean> {
    const length = ttl === undefined ? this.#ttl : toMilliseconds(ttl, "ttl");
    if (this.#over()) return false;
    const sentAt = this.#clock.monotonic();
    const output = await this.#store.transact(extendLock, this.key, {
      owner: this.owner,
      ttl: String(length),
    });
    if (output.e === undefined) this.#lose();
    if (this.#over()) return false;
    this.#expiresAt = Number(output.e);
    this.#deadline = sentAt + length - margin(length);
    this.#arm();
    return !this.#over();
  }

  async release(): Promise<Release> {
    if (this.#release) return this.#release;
    const input = { owner: this.owner, fence: String(this.fencingToken) };
    const output = await this.#store.transact(releaseLock, this.key, input);
    this.#release = output.result as Release;
    this.#timer?.abort();
    this.#lose();
    return this.#release;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release().catch(() => {}); // the lease ends by itself
  }

  /** Lost is for good, and noticed also where no timer could run. */
  #over(): boolean {
    if (this.#controller.signal.aborted) return true;
    if (this.#clock.monotonic() < this.#deadline) return false;
    this.#lose();
    return true;
  }

  #lose(): void {
    this.#timer?.abort();
    if (!this.#controller.signal.aborted) this.#controller.abort(lost());
  }

  #arm(): void {
    this.#timer?.abort();
    const timer = this.#timer = new AbortController();
    const left = this.#deadline - this.#clock.monotonic();
    this.#clock.sleep(Math.max(0, left), timer.signal).then(() => {
      if (!this.#over()) this.#arm(); // longer than one timer can be
    }, () => {});
  }
}

function lost(): HoldfastError {
  return new HoldfastError("lock-lost", "Cannot go on under the lock as its lease has ended");
}
