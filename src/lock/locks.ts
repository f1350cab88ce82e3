/**
 * Locks with leases and fencing tokens.
 *
 * A lock is a lease: it ends by itself, and no lock service can stop a paused holder from going on. So a holder
 * is told in time (`signal`, `assertHeld()`, by its own monotonic clock, whatever the network does), and the
 * resource can refuse a late one by the `fencingToken`, which strictly increases per key.
 */
import { type Clock, systemClock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { interruptible } from "../deadline.ts";
import { retry } from "../retry.ts";
import { randomToken } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { Turn } from "../store/_turn.ts";
import { deadline, dropGhost, FencedLock, HeldLock, type Place } from "./_held_lock.ts";
import { CHECK, PAUSE, QUEUE_PAUSE } from "./_limits.ts";
import { type LockRequest, lockRequest } from "./_request.ts";
import { HeldLocks } from "./_lock_set.ts";
import { type LockRoom, unfencedRoom } from "./_unfenced.ts";
import type { Lock, LockHandle, LockSet, UnfencedLock } from "./lock.ts";
import { acquireLock, forceLock, inspectLock } from "./lock_transitions.ts";

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

/** Options of {@linkcode Locks.resume}, and what every acquisition can say about the time it holds. */
export interface HoldOptions {
  /**
   * Whether the lease is extended by itself, from a third of it on, until it is released or `maxHold` is over.
   * @default {false}
   */
  readonly renew?: boolean | undefined;
  /**
   * The longest this holder can have the lock, however often it is extended: a stuck job ends.
   * @default {"1h" with `renew`, else without end}
   */
  readonly maxHold?: Duration | undefined;
}

/** Options of {@linkcode Locks.acquire}. */
export interface AcquireOptions extends HoldOptions {
  /** How long the lease lasts unless extended; at most 365 days. */
  readonly ttl: Duration;
  /** How long to wait for somebody else's lock, and to ask again after faults; without it, not at all. */
  readonly wait?: Duration | undefined;
  /** Gives up; the call rejects with the signal's reason and leaves no lock behind. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether to wait in a queue: first come, first served. A waiter that died delays those behind it by at most a second, once; when
   * several in a row died, by a second each and five seconds more. At most 256 queue, others ask again now and then.
   * @default {false, true with `mode`}
   */
  readonly fair?: boolean | undefined;
  /**
   * How many may hold the lock at a time, up to 256: a semaphore. All who use the key should say the same number. One who says
   * nothing, or 1, has it alone.
   * @default {1}
   */
  readonly permits?: number | undefined;
  /** `"read"` shares the lock with other readers, up to 256; `"write"` has it alone. Who waits, waits in the queue: no writer starves. */
  readonly mode?: "read" | "write" | undefined;
  /**
   * How long the lock stays taken after a lease that ended without a release: time for a paused holder's last write to arrive,
   * where the resource cannot check a fencing token.
   */
  readonly lockDelay?: Duration | undefined;
  /**
   * Whether the holder gets a fencing token.
   * @default {true}
   */
  readonly fenced?: true | undefined;
}

/**
 * Options of an acquisition without a fencing token: less is sent and stored where the engine has a command for it (Upstash: one
 * `SET`). Only for what a paused holder's late write cannot spoil, as no resource can tell it from the others.
 */
export interface UnfencedOptions extends HoldOptions, Pick<AcquireOptions, "ttl" | "wait" | "signal"> {
  /** All users of a key must say the same: locks with and without a token do not exclude each other. */
  readonly fenced: false;
}

/** What {@linkcode Locks.inspect} answers. */
export interface LockState {
  /** Whether somebody has the lock. */
  readonly held: boolean;
  /** How many have it. */
  readonly holders: number;
  /** How many wait for it in its queue. */
  readonly waiting: number;
  /** Milliseconds until it is free unless somebody extends or takes it, a `lockDelay` included; 0 when it is. */
  readonly remaining: number;
  /** The last fencing token handed out, if any is remembered. */
  readonly fencingToken: number | undefined;
}

/** Locks on one store. */
export interface Locks {
  /**
   * One round trip: the lock, or `undefined` when somebody else has it for longer than `wait`.
   *
   * @throws {TypeError} or `RangeError` for options or a key that cannot be, before anything is sent
   * @throws {HoldfastError} when the engine could not be reached until `wait` was over, or `timeout` when the lease had ended
   * before its grant arrived
   */
  acquire(key: string, options: AcquireOptions): Promise<Lock | undefined>;
  /** The same without a fencing token, and apart: `inspect`, `forceRelease` and `resume` know nothing of it. */
  acquire(key: string, options: UnfencedOptions): Promise<UnfencedLock | undefined>;
  /**
   * All of several locks or none, in one order for everybody, so that two callers never wait for each other. One round trip a key;
   * what was acquired first is renewed while the rest is waited for.
   */
  acquireAll(keys: readonly string[], options: AcquireOptions): Promise<LockSet | undefined>;
  /**
   * Runs `fn` under the lock and gives it back. Its result or error is never replaced by a failed release.
   *
   * @throws {HoldfastError} `lock-timeout` when the lock was not free within `wait`
   */
  withLock<T>(key: string, options: AcquireOptions, fn: (lock: Lock) => T | Promise<T>): Promise<T>;
  /** The same without a fencing token. */
  withLock<T>(key: string, options: UnfencedOptions, fn: (lock: UnfencedLock) => T | Promise<T>): Promise<T>;
  /**
   * Goes on with a lock that another process holds, under a new owner and a new fencing token, or `undefined`: it holds it no more.
   *
   * @throws {TypeError} when the handle is none
   */
  resume(handle: LockHandle, options?: HoldOptions & CallOptions): Promise<Lock | undefined>;
  /** Who has it is nobody's business; whether and for how long is. */
  inspect(key: string, options?: CallOptions): Promise<LockState>;
  /** Takes the lock from whoever has it now; their next extension tells them. Answers whether somebody had. Two round trips. */
  forceRelease(key: string, options?: CallOptions): Promise<boolean>;
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
 *
 * // Three at a time, first come, first served, extended while they work:
 * await using slot = await locks.acquire("gpu", { permits: 3, fair: true, ttl: "10s", renew: true, wait: "1m" });
 * // All or none:
 * await using both = await locks.acquireAll(["account:1", "account:2"], { ttl: "10s", wait: "5s" });
 * if (!slot || both?.locks.length !== 2) throw new Error("unexpected");
 * ```
 */
export function createLocks(store: AtomicStore, options: LocksOptions = {}): Locks {
  const { name = "lock", clock = systemClock } = options;
  return new StoreLocks(store.namespace(name), clock);
}

class StoreLocks implements Locks {
  readonly #store: AtomicStore;
  readonly #unfenced: LockRoom;
  readonly #clock: Clock;

  constructor(store: AtomicStore, clock: Clock) {
    this.#store = store;
    this.#unfenced = unfencedRoom(store);
    this.#clock = clock;
  }

  acquire(key: string, options: AcquireOptions): Promise<Lock | undefined>;
  acquire(key: string, options: UnfencedOptions): Promise<UnfencedLock | undefined>;
  async acquire(
    key: string,
    options: AcquireOptions | UnfencedOptions,
  ): Promise<Lock | UnfencedLock | undefined> {
    const request = lockRequest(options, this.#clock);
    // One owner per logical acquisition: a repeated call is answered like the first. Without a handle nobody can guess it to gain
    // anything, and it need differ only from who wants the same key meanwhile.
    return await this.#acquire(key, randomToken(request.fenced ? 16 : 10), request);
  }

  async #acquire(key: string, owner: string, request: LockRequest): Promise<HeldLock | undefined> {
    const { giveUpAt, signal, queues, input, fenced } = request;
    const clock = this.#clock;
    const store = fenced ? this.#store : this.#unfenced;
    const Kind = fenced ? FencedLock : HeldLock;
    const place = { store, clock, key, owner };
    let pending: Promise<unknown> = Promise.resolve();
    let [loose, queued, pause] = [false, false, 10];
    let failure: HoldfastError | undefined;
    try {
      for (let round = 1;; round++) {
        signal?.throwIfAborted();
        // Whoever waits listens before it asks again, or a release in between would go unheard.
        const turn = round === 1
          ? undefined
          : new Turn(store, clock, key, signal, queued ? `p${owner}` : undefined);
        try {
          const sentAt = clock.monotonic();
          let longest = Infinity;
          try {
            const wait = queues ? { wait: String(Math.max(1, Math.ceil(giveUpAt - sentAt))) } : {};
            const call = store.transact(acquireLock, key, { owner, ...input, ...wait });
            pending = call;
            loose = true; // until a reply says otherwise
            const { fence, e, remaining, ahead } = await interruptible(call, signal);
            signal?.throwIfAborted();
            if (fence === undefined) {
              loose = queued = ahead !== undefined;
              failure = undefined;
              longest = Math.min(Number(remaining) + 1, queued ? CHECK : Infinity);
            } else if (clock.monotonic() < deadline(sentAt, request.ttl)) {
              loose = false;
              return new Kind(place, { ...request, sentAt, fence, e: e! });
            } else failure = late();
          } catch (error) {
            if (!(error instanceof HoldfastError && error.retryable)) throw error;
            failure = error;
          }
          const left = giveUpAt - clock.monotonic();
          if (left <= 0) break;
          // Decorrelated jitter, but never beyond what is known: the lease that is waited for, and the end of the wait.
          pause = Math.min(queued ? QUEUE_PAUSE : PAUSE, 10 + Math.random() * (pause * 3 - 10));
          const rest = Math.max(pause, failure?.retryAfter ?? 0);
          if (failure === undefined && turn) await turn.wait(Math.min(longest, left), round, pause);
          else if (failure || !store.watch) await clock.sleep(Math.min(rest, longest, left), signal);
        } finally {
          turn?.end();
        }
      }
      if (failure) throw failure;
      return undefined;
    } finally {
      if (loose) dropGhost(place, pending); // it may have been granted, or wait
    }
  }

  async acquireAll(keys: readonly string[], options: AcquireOptions): Promise<LockSet | undefined> {
    const request = lockRequest(options, this.#clock);
    if (!request.fenced) throw new TypeError("Cannot lock as several keys go without 'fenced: false'");
    const names = [...new Set(keys)].sort();
    if (names.length === 0) throw new TypeError("Cannot lock as at least one key is needed");
    const owner = randomToken(16);
    const began = this.#clock.monotonic();
    const held = new Map<string, FencedLock>();
    let complete = false;
    try {
      for (const key of names) {
        const lock = await this.#acquire(key, owner, {
          ...request,
          renew: names.length > 1 || request.renew,
        });
        if (lock === undefined) return undefined;
        held.set(key, lock as FencedLock);
      }
      const set = new HeldLocks(Array.from(new Set(keys), (key) => held.get(key)!), owner);
      if (!request.renew) {
        for (const lock of held.values()) lock.settle();
        // The first have used up some of their time while the last were waited for.
        if (this.#clock.monotonic() - began > request.ttl / 10) await set.extend();
      }
      if (set.signal.aborted) throw late();
      complete = true;
      return set;
    } finally {
      const undone = complete ? [] : Array.from(held.values(), (lock) => lock.release());
      if (!request.signal?.aborted) await Promise.all(undone);
    }
  }

  async withLock<T>(
    key: string,
    options: AcquireOptions | UnfencedOptions,
    fn: (lock: Lock) => T | Promise<T>,
  ): Promise<T> {
    const lock = await this.acquire(key, options as AcquireOptions);
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

  async resume(handle: LockHandle, options: HoldOptions & CallOptions = {}): Promise<Lock | undefined> {
    const { key, owner: from } = handle ?? {};
    if (typeof from !== "string" || from === "" || typeof key !== "string") {
      throw new TypeError("Cannot resume the lock as the handle must be what a lock's toJSON() answered");
    }
    const request = lockRequest({ ...options, ttl: handle.ttl }, this.#clock);
    const place: Place = { store: this.#store, clock: this.#clock, key, owner: randomToken(16) };
    const input = { owner: place.owner, from, ttl: String(request.ttl) };
    const { signal } = options;
    signal?.throwIfAborted();
    let [sentAt, settled] = [0, false];
    let pending: Promise<unknown> = Promise.resolve();
    try {
      const { fence, e } = await retry(() => {
        sentAt = this.#clock.monotonic();
        const call = this.#store.transact(acquireLock, key, input);
        pending = call;
        return interruptible(call, signal);
      }, { clock: this.#clock, signal });
      const lock = fence === undefined
        ? undefined
        : new FencedLock(place, { ...request, sentAt, fence, e: e! });
      if (lock?.remaining === 0) throw late();
      settled = true;
      return lock;
    } finally {
      if (!settled) dropGhost(place, pending); // it may have been passed on
    }
  }

  async inspect(key: string, options?: CallOptions): Promise<LockState> {
    const output = await this.#store.transact(inspectLock, key, {}, options);
    const holders = Number(output.held ?? 0);
    return {
      held: holders > 0,
      holders,
      waiting: Number(output.waiting ?? 0),
      remaining: Number(output.remaining ?? 0),
      fencingToken: output.f === undefined ? undefined : Number(output.f),
    };
  }

  async forceRelease(key: string, options?: CallOptions): Promise<boolean> {
    const { f, held } = await this.#store.transact(inspectLock, key, {}, options);
    if (f === undefined) return false;
    // By the token that was seen, so that a repetition never takes the lock from who came after.
    const { count } = await this.#store.transact(forceLock, key, { fence: f }, options);
    return held !== "0" && count !== "0";
  }
}

function late(): HoldfastError {
  return new HoldfastError("timeout", "Cannot lock as the lease had ended before its grant arrived", {
    retryable: true,
  });
}
