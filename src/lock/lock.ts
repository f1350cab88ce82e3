/** What a holder has in its hands. */
import type { Duration } from "../duration.ts";
import type { CallOptions } from "../store/key_value_store.ts";

/**
 * What became of a lock that was given back.
 *
 * - `released`: it was still ours.
 * - `expired`: the lease had ended, and nobody came after.
 * - `overtaken`: the lease had ended, and another holder ran beside or after this one.
 * - `unconfirmed`: the engine could not be reached, or its reply was lost. It ends by itself, and releasing may be repeated.
 */
export type Release = "released" | "expired" | "overtaken" | "unconfirmed";

/** A lease that was granted, on one lock or on several. */
export interface Lease extends AsyncDisposable {
  /** This holder's random id, the same for every retry of its acquisition. */
  readonly owner: string;
  /** Milliseconds this holder may still count on, by its own monotonic clock. */
  readonly remaining: number;
  /**
   * Aborts with `lock-lost` when the lease can no longer be counted on, or was given back. It does so at the deadline, whatever
   * the network does; only where no timer runs (a synchronous stall) must `assertHeld()` be asked.
   */
  readonly signal: AbortSignal;
  /** Throws `lock-lost` when the lease can no longer be counted on, also after a stall in which no timer ran. */
  assertHeld(): void;
  /**
   * Makes the lease end `ttl` from now (default: as acquired), but not after `maxHold`; `false` when it was lost, which is final.
   *
   * @throws {RangeError} when `ttl` is not positive and finite
   * @throws {HoldfastError} when the engine cannot be reached; what was left of the lease is still there
   */
  extend(ttl?: Duration, options?: CallOptions): Promise<boolean>;
  /**
   * Gives it back; from the call on it is no longer held. Faults do not throw: they are `unconfirmed`. A `signal` ends the wait for
   * the outcome, not the release.
   */
  release(options?: CallOptions): Promise<Release>;
}

/** What another process needs to take over a lock: {@linkcode Locks.resume}. Whoever has it can have the lock: keep it secret. */
export interface LockHandle {
  /** What is locked. */
  readonly key: string;
  /** Who has it until it is taken over. */
  readonly owner: string;
  /** The token of who has it until it is taken over. */
  readonly fencingToken: number;
  /** Milliseconds the lease lasts when it is taken over. */
  readonly ttl: number;
}

/**
 * A lock that is held without a fencing token. Its engine may remember nobody: then `release()` says `expired` also when somebody
 * came after and is gone again, and `unconfirmed` for good when an earlier try may have been the one that released it.
 */
export interface UnfencedLock extends Lease {
  /** What is locked. */
  readonly key: string;
}

/** A lock that is held. */
export interface Lock extends UnfencedLock {
  /** Strictly increases per key, over holders, processes, expiry and restarts: hand it to the resource. */
  readonly fencingToken: number;
  /** When the lease ends by the engine's clock, in milliseconds since the epoch. */
  readonly expiresAt: number;
  /**
   * What another process needs to go on with this lock. Once it has, this holder is told by its `signal` when it next
   * extends, and its `release()` takes nothing away from the new one. Until then it is the holder: do not log it.
   */
  toJSON(): LockHandle;
}

/** Several locks that are held together. */
export interface LockSet extends Lease {
  /** One per key, in the order of the keys that were asked for. */
  readonly locks: readonly Lock[];
}
