/**
 * Locks with leases and fencing tokens: the contract.
 *
 * A lock is a lease: it ends by itself, and no lock service can stop a paused holder from going on. So a
 * holder is told in time (`signal`, `assertHeld()`, by its own monotonic clock, whatever the network does),
 * and the resource can refuse a late write by the `fencingToken`, which strictly increases per key.
 *
 * ```ts
 * import { createLocks, memoryStore } from "@holdfast/edge";
 * const locks = createLocks(memoryStore());
 * await using lock = await locks.acquire("job:nightly", { ttl: "30s", wait: "5s" });
 * lock?.signal.throwIfAborted();
 * ```
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { CallOptions } from "../store/key_value_store.ts";

/**
 * Options of `createLocks`.
 *
 * @category Locks
 */
export interface LocksOptions {
  /**
   * The namespace of the locks; two `Locks` share keys only when they share it.
   * @default {"lock"}
   */
  readonly name?: string | undefined;
  /**
   * The clock whose monotonic time bounds a holder.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
  /**
   * The longest time for one call, retries included, unless the call says otherwise. An acquisition that
   * waits may take `wait` longer.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
}

/**
 * Options of every call.
 *
 * @category Locks
 */
export interface LockCallOptions extends CallOptions {
  /**
   * The longest time for the whole call, retries included; then it fails with `timeout`, or a release is
   * `unconfirmed`.
   * @default {the timeout of the `Locks`}
   */
  readonly timeout?: Duration | undefined;
}

/**
 * Options of every acquisition about the time for which it holds.
 *
 * @category Locks
 */
export interface HoldOptions {
  /**
   * Whether the lease is extended by itself, each time a third of it is over, until the lock is released or
   * `maxHold` is over. That keeps no process alive: a program that ends without a release ends.
   * @default {false}
   */
  readonly renew?: boolean | undefined;
  /**
   * The longest time for which this holder has the lock, however often it is extended.
   * @default {"1h" with `renew`, else without end}
   */
  readonly maxHold?: Duration | undefined;
}

/**
 * Options of {@linkcode Locks.acquire}.
 *
 * @category Locks
 */
export interface AcquireOptions extends HoldOptions, LockCallOptions {
  /** The length of the lease, unless it is extended; at most 365 days. */
  readonly ttl: Duration;
  /**
   * The maximum time to wait while others have the lock, and to repeat after outages.
   *
   * In one process, those that wait for the same key are served in the order in which they came; only the
   * first of them asks the store.
   * @default {undefined} (does not wait)
   */
  readonly wait?: Duration | undefined;
  /**
   * Whether to wait in a queue that all processes share: first come, first served.
   *
   * A waiter that died delays those behind it by at most a second, once; several in a row, by a second each
   * and five seconds more. At most 256 processes queue per key, others ask again about once a second. On an
   * engine that cannot notify (Upstash, Redis), a waiter looks every quarter of a second when it is next,
   * else every tenth of a second per waiter ahead, at least every five seconds.
   * @default {false, true with `mode`}
   */
  readonly fair?: boolean | undefined;
  /**
   * The number of holders at a time, up to 256: a semaphore.
   *
   * All users of the key should say the same number. An acquisition without it, or with 1, has the lock
   * alone.
   * @default {1}
   */
  readonly permits?: number | undefined;
  /**
   * `"read"` shares the lock with other readers, up to 256; `"write"` has it alone. Both wait in the queue:
   * no writer starves.
   * @default {undefined}
   */
  readonly mode?: "read" | "write" | undefined;
  /**
   * The time for which the lock stays taken after a lease that ended without a release: time for a paused
   * holder's last write to arrive, where the resource cannot check a fencing token.
   * @default {0}
   */
  readonly lockDelay?: Duration | undefined;
  /**
   * Receives the release of an acquisition that was given up, which goes on after the call: on Workers,
   * `ctx.waitUntil`.
   * @default {undefined} (it goes on by itself)
   */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined;
}

/**
 * Options of {@linkcode Locks.resume}.
 *
 * @category Locks
 */
export interface ResumeOptions extends HoldOptions, LockCallOptions {
  /**
   * The length of the lease, unless it is extended; at most 365 days. It is the resuming process's choice,
   * not the handle's.
   */
  readonly ttl: Duration;
}

/**
 * Options of {@linkcode Locks.forceRelease}.
 *
 * @category Locks
 */
export interface ForceReleaseOptions extends LockCallOptions {
  /**
   * An id of this operation, for a caller that repeats it: with the same id the answer is the same and no
   * later holder loses the lock. It is remembered until eight other acquisitions of the key have ended.
   * @default {a random one}
   */
  readonly id?: string | undefined;
}

/**
 * The outcome of a release.
 *
 * - `released`: the lock was still this holder's.
 * - `expired`: the lease had ended, and no holder came after.
 * - `overtaken`: the lease had ended, and another holder ran beside or after this one.
 * - `unconfirmed`: the engine could not be reached, or its reply was lost. The lease ends by itself, and
 *   releasing may be repeated.
 *
 * @category Locks
 */
export type Release = "released" | "expired" | "overtaken" | "unconfirmed";

/**
 * A lease that is held, on one lock or on several.
 *
 * @category Locks
 */
export interface HeldLease extends AsyncDisposable {
  /** Milliseconds this holder may still count on, by its own monotonic clock. */
  readonly remaining: number;
  /**
   * Aborts with `lock-lost` when the lease can no longer be counted on, or was released. It does so at the
   * deadline, whatever the network does; only where no timer runs (a synchronous stall) must `assertHeld()`
   * be asked.
   */
  readonly signal: AbortSignal;
  /**
   * Passes while the lease can be counted on, also after a stall in which no timer ran.
   *
   * @throws {HoldfastError} `lock-lost`
   */
  assertHeld(): void;
  /**
   * Makes the lease end `ttl` from now (default: as acquired), but not after `maxHold`; `false` when it was
   * lost, which is final. A shorter lease binds this holder at once; to the store, a lease never gets
   * shorter.
   *
   * @throws {RangeError} when `ttl` is not positive and finite
   * @throws {HoldfastError} when the engine cannot be reached; what was left of the lease is still there
   */
  extend(ttl?: Duration, options?: LockCallOptions): Promise<boolean>;
  /**
   * Releases it; from the call on it is no longer held. Faults do not throw: they are `unconfirmed`. A
   * `signal` ends the wait for the outcome, not the release.
   */
  release(options?: LockCallOptions): Promise<Release>;
}

/**
 * Everything that another process needs to take over a lock with {@linkcode Locks.resume}. It is a bearer
 * secret: the process that has it can take the lock.
 *
 * @category Locks
 */
export interface LockHandle {
  /** The locked key. */
  readonly key: string;
  /** The id of the holder, of this key alone. */
  readonly owner: string;
}

/**
 * A lock that is held. The holder's id is in none of its properties: `console.log` and `JSON.stringify` do
 * not show it.
 *
 * @category Locks
 */
export interface Lock extends HeldLease {
  /** The locked key. */
  readonly key: string;
  /** Strictly increases per key, over holders, processes, expiry and restarts: hand it to the resource. */
  readonly fencingToken: number;
  /** The end of the lease by the engine's clock, in milliseconds since the epoch. */
  readonly expiresAt: number;
  /**
   * The handle with which another process goes on with this lock. Once it has, this holder is told by its
   * `signal` when it next extends, and its `release()` takes nothing away from the new one. Until then this
   * one is the holder.
   */
  handle(): LockHandle;
}

/**
 * Several locks that are held together.
 *
 * @category Locks
 */
export interface LockSet extends HeldLease {
  /** One per key, in the order of the keys that were asked for. */
  readonly locks: readonly Lock[];
}

/**
 * The answer of {@linkcode Locks.inspect}.
 *
 * @category Locks
 */
export interface LockState {
  /** Whether the lock is held. */
  readonly held: boolean;
  /** The number of holders. */
  readonly holders: number;
  /** The number of waiters in its queue; of other processes that is one each. */
  readonly waiting: number;
  /** Milliseconds until it is free unless it is extended or taken, a `lockDelay` included; 0 when it is. */
  readonly remaining: number;
  /** The last fencing token handed out, if any is remembered. */
  readonly fencingToken: number | undefined;
}

/**
 * Locks on one store.
 *
 * @category Locks
 */
export interface Locks {
  /**
   * Acquires the lock in one round trip, or answers `undefined` when others have it for longer than `wait`.
   * Once it has the lock, the `signal` has no effect on it.
   *
   * @throws {TypeError | RangeError} for an invalid key or option, before anything is sent
   * @throws {HoldfastError} when the engine could not be reached until `wait` was over, or `timeout` when the
   *   lease had ended before
   * its grant arrived, or the call took too long
   */
  acquire(key: string, options: AcquireOptions): Promise<Lock | undefined>;
  /**
   * Acquires all of several locks or none, always in one order, so that two callers never wait for each
   * other. One round trip a key; what was acquired first is renewed while the rest is waited for.
   */
  acquireAll(keys: readonly string[], options: AcquireOptions): Promise<LockSet | undefined>;
  /**
   * Runs `fn` under the lock and releases it. Give `renew: true` unless `fn` certainly ends within `ttl`:
   * without, the lease ends after `ttl` while `fn` still runs, and another holder may come in beside it. `fn`
   * is told by `lock.signal`, and must heed it either way.
   *
   * Its result or error is never replaced by a failed release. When the `signal` aborts, so does the lock's,
   * and renewal ends.
   *
   * @throws {HoldfastError} `lock-timeout` when the lock was not free within `wait`
   */
  withLock<T>(key: string, options: AcquireOptions, fn: (lock: Lock) => T | Promise<T>): Promise<T>;
  /**
   * Goes on with a lock that another process holds, under a new fencing token, or answers `undefined` when
   * that process does not hold it any more. If the call fails, it may have taken the lock all the same: that
   * lease then lasts until it ends by itself, so that the process that gave the handle away may count on its
   * own lease.
   *
   * @throws {TypeError} when the handle is none
   */
  resume(handle: LockHandle, options: ResumeOptions): Promise<Lock | undefined>;
  /** Tells whether the key is locked and for how long. It does not reveal the owner. */
  inspect(key: string, options?: LockCallOptions): Promise<LockState>;
  /**
   * Takes the lock from its holders; their next extension tells them. Answers whether there was one. Two
   * round trips: a holder that came after the first keeps it.
   */
  forceRelease(key: string, options?: ForceReleaseOptions): Promise<boolean>;
}
