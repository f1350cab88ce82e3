import type { Clock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { interruptible } from "../deadline.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { LONGEST } from "./_limits.ts";
import type { LockRoom } from "./_unfenced.ts";
import type { Lock, LockHandle, Release, UnfencedLock } from "./lock.ts";
import { extendLock, releaseLock } from "./lock_transitions.ts";

/** Where a lock lives, and by whose time. */
export interface Place {
  readonly store: LockRoom;
  readonly clock: Clock;
  readonly key: string;
  readonly owner: string;
}

/** What was granted. */
export interface Grant {
  readonly ttl: number;
  /** The holder's own monotonic time before the request left: the lease began no earlier. */
  readonly sentAt: number;
  readonly fence: string;
  readonly e: string;
  readonly renew: boolean;
  readonly maxHold: number;
}

/** When a holder stops to count on its lease: two clocks may run at different rates; their offset never matters. */
export function deadline(sentAt: number, ttl: number): number {
  return sentAt + ttl - Math.min(2 + ttl / 100, ttl / 2);
}

/** A ttl in milliseconds. */
export function leaseLength(ttl: Duration): number {
  const length = toMilliseconds(ttl, "ttl");
  if (length <= LONGEST) return length;
  throw new RangeError(`Cannot lock as 'ttl' must be at most 365 days: current value is ${ttl}`);
}

/** What is known about a release. */
export interface GivenBack {
  readonly result: Release;
  /** Whether a try may have had its effect although it failed. */
  readonly doubt: boolean;
}

/**
 * Gives back what an owner has or waits for, as well as can be; repeating it is safe. A holder's is tried again after a while
 * as long as its lease lasts, a ghost's, whom nobody waits for, at once.
 */
export async function giveBack(
  { store, clock, key, owner }: Place,
  fence: string | undefined,
  until?: number,
  doubt = false,
): Promise<GivenBack> {
  for (let attempt = 1;; attempt++) {
    try {
      const { result, blind } = await store.transact(
        releaseLock,
        key,
        fence === undefined ? { owner } : { owner, fence },
      );
      // An earlier try may have been the one that released it, or one that nobody here saw: what has a memory can tell, mostly.
      const unsure = blind
        ? doubt || (until !== undefined && clock.monotonic() < until)
        : doubt && result === "overtaken";
      return { result: unsure ? "unconfirmed" : result as Release, doubt };
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      doubt ||= error.ambiguous;
      if (!error.retryable || attempt === 3 || (until !== undefined && clock.monotonic() >= until)) {
        return { result: "unconfirmed", doubt };
      }
      if (until !== undefined) await clock.sleep((20 + Math.random() * 30) * attempt);
    }
  }
}

/** Gives back what nobody knows they have, once the call that may have got it has come to its end. */
export function dropGhost(place: Place, pending: Promise<unknown>): void {
  pending.catch(() => {}).then(() => giveBack(place, undefined)).catch(() => {});
}

/** Why a timer ends; without a reason, each would get an exception of its own, with a stack. */
const OVER = "over";

function lost(why: string): HoldfastError {
  return new HoldfastError("lock-lost", `Cannot go on under the lock as ${why}`);
}

/** A lock as far as it needs no token. */
export class HeldLock implements UnfencedLock {
  readonly key: string;
  readonly owner: string;
  readonly #fence: string;
  readonly #place: Place;
  readonly #ttl: number;
  readonly #mostUntil: number;
  protected expires: number;
  #deadline: number;
  #over: string | undefined;
  // Both are made for those who look at the signal: most locks are over before anybody did.
  #controller: AbortController | undefined;
  #timer: AbortController | undefined;
  #renewing: AbortController | undefined;
  #extending: Promise<unknown> = Promise.resolve();
  #release: Promise<Release> | undefined;
  #doubt = false;
  #last = false;

  constructor(place: Place, grant: Grant) {
    this.#place = place;
    this.key = place.key;
    this.owner = place.owner;
    this.#fence = grant.fence;
    this.#ttl = grant.ttl;
    this.#mostUntil = grant.sentAt + grant.maxHold;
    this.expires = Number(grant.e);
    this.#deadline = deadline(grant.sentAt, grant.ttl);
    if (grant.renew) this.#renew();
  }

  get remaining(): number {
    return this.#ended() ? 0 : this.#deadline - this.#place.clock.monotonic();
  }

  get signal(): AbortSignal {
    const fresh = this.#controller === undefined;
    const { signal } = this.#controller ??= new AbortController();
    if (this.#ended()) this.#controller.abort(lost(this.#over!));
    else if (fresh) this.#arm();
    return signal;
  }

  assertHeld(): void {
    if (this.#ended()) throw lost(this.#over!);
  }

  async extend(ttl?: Duration, options?: CallOptions): Promise<boolean> {
    const length = ttl === undefined ? this.#ttl : leaseLength(ttl);
    // One after the other, or nobody could tell which of two the engine saw last.
    const extended = this.#extending.then(() => {
      options?.signal?.throwIfAborted();
      return this.#extend(length);
    });
    this.#extending = extended.catch(() => {});
    return await interruptible(extended, options?.signal);
  }

  async #extend(wanted: number): Promise<boolean> {
    const { store, clock, key, owner } = this.#place;
    if (this.#ended()) return false;
    const sentAt = clock.monotonic();
    const length = Math.min(wanted, Math.ceil(this.#mostUntil - sentAt));
    if (length <= 0) return !this.#ended();
    // It may make the lease shorter, and its reply may be lost.
    this.#deadline = Math.min(this.#deadline, deadline(sentAt, length));
    try {
      const call = store.transact(extendLock, key, { owner, ttl: String(length) });
      const output = await interruptible(call, this.signal);
      if (output.e === undefined) this.#lose();
      if (this.#ended()) return false;
      this.expires = Number(output.e);
      this.#deadline = deadline(sentAt, length);
      this.#last = length < wanted;
      return !this.#ended();
    } catch (error) {
      if (this.#ended()) return false;
      throw error;
    } finally {
      if (!this.#ended()) this.#arm();
    }
  }

  async release(options?: CallOptions): Promise<Release> {
    this.#lose("it was given back");
    return await interruptible(this.#release ??= this.#giveBack(), options?.signal);
  }

  async #giveBack(): Promise<Release> {
    let given: GivenBack | undefined;
    try {
      given = await giveBack(this.#place, this.#fence, this.#deadline, this.#doubt);
      this.#doubt = given.doubt;
      return given.result;
    } finally {
      if (given === undefined || given.result === "unconfirmed") this.#release = undefined; // may be repeated
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** Stops renewing; the lease stays as long as it is. */
  settle(): void {
    this.#renewing?.abort(OVER);
  }

  /** Lost is for good, and noticed also where no timer could run. */
  #ended(): boolean {
    if (this.#over === undefined && this.#place.clock.monotonic() >= this.#deadline) this.#lose();
    return this.#over !== undefined;
  }

  #lose(why = "its lease has ended"): void {
    if (this.#over !== undefined) return;
    this.#over = why;
    this.#timer?.abort(OVER);
    this.#renewing?.abort(OVER);
    this.#controller?.abort(lost(why));
  }

  #arm(): void {
    if (this.#controller === undefined) return;
    this.#timer?.abort(OVER);
    const timer = this.#timer = new AbortController();
    const { clock } = this.#place;
    clock.sleep(Math.max(0, this.#deadline - clock.monotonic()), timer.signal).then(() => {
      if (!this.#ended()) this.#arm(); // longer than one timer can be
    }, () => {});
  }

  /** Extends when a third of the lease is gone, and often while that fails. */
  async #renew(): Promise<void> {
    const { clock } = this.#place;
    const { signal } = this.#renewing = new AbortController();
    let failed = false;
    while (!signal.aborted) {
      const due = this.#deadline - this.#ttl * 2 / 3 - clock.monotonic();
      await clock.sleep(Math.max(1, failed ? this.#ttl / 10 : due), signal).catch(() => {});
      if (signal.aborted || this.#last) return; // no extension goes beyond maxHold
      failed = !await this.extend(this.#ttl).catch(() => false);
    }
  }
}

/** The lock that {@linkcode Locks.acquire} answers. */
export class FencedLock extends HeldLock implements Lock {
  readonly fencingToken: number;
  readonly #ttl: number;

  constructor(place: Place, grant: Grant) {
    super(place, grant);
    this.fencingToken = Number(grant.fence);
    this.#ttl = grant.ttl;
  }

  get expiresAt(): number {
    return this.expires;
  }

  toJSON(): LockHandle {
    return { key: this.key, owner: this.owner, fencingToken: this.fencingToken, ttl: this.#ttl };
  }
}
