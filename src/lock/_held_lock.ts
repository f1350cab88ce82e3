/**
 * A lock that is held: its lease, and its release.
 *
 * A failed release is retried, as it would leave the key locked until the lease ends. Repeating it is safe:
 * the transition answers the same owner the same. After a lost reply `overtaken` proves nothing, since the
 * first attempt may have released the lock before the next holder came: the result is then `unconfirmed`.
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { Lease, leaseDeadline } from "../lease.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { repeatable } from "../store/call_id.ts";
import { ask } from "../store/direct.ts";
import type { Awaitable } from "../store/engine.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import { checkOptionNames, type OptionNames } from "../validate.ts";
import { bounded, inTime } from "./_bounded.ts";
import { callTimeout, leaseLength } from "./acquire_plan.ts";
import type { Gate } from "./_gate.ts";
import type { Lock, LockCallOptions, LockHandle, Release } from "./lock.ts";
import { extendLock, releaseLock } from "./lock_transitions.ts";

const CALL_OPTIONS = { signal: true, timeout: true } satisfies OptionNames<LockCallOptions>;

/** The key of an acquisition, its owner, and what its calls need. */
export interface Place {
  readonly store: AtomicStore;
  readonly gate: Gate;
  readonly clock: Clock;
  readonly key: string;
  readonly owner: string;
  /** The timeout of a call, in milliseconds. */
  readonly timeout: number;
}

/** The grant of an acquisition. */
export interface Grant {
  readonly ttl: number;
  /** The holder's own monotonic time before the request was sent: the lease began no earlier. */
  readonly sentAt: number;
  readonly fence: string;
  readonly until: string;
  readonly renew: boolean;
  readonly maxHold: number;
  /** Aborts the lock's signal and ends renewal. */
  readonly signal?: AbortSignal | undefined;
}

/** What a holder is told that goes on after its own release. */
const RELEASED = "it was released";

/** The maximum number of attempts of one release. */
const RELEASE_ATTEMPTS = 3;

/** The state of knowledge about a release. */
export interface ReleaseAttempt {
  readonly result: Release;
  /** Whether an attempt may have had its effect although it failed. */
  readonly ambiguous: boolean;
}

/** Options of {@linkcode releaseWithRetry}. */
export interface ReleaseRetryOptions {
  /** The call id of all attempts; a release that repeats an unconfirmed one has the same. */
  readonly call?: CallOptions | undefined;
  /** The end of the holder's lease. */
  readonly until?: number | undefined;
  /** Whether an earlier release may have had its effect. */
  readonly ambiguous?: boolean | undefined;
}

/**
 * Releases the lock of an owner, or its place in the queue. With `until`, the end of a holder's lease, a
 * failure is retried after a delay, until then. Without it the acquisition is orphaned, and a failure is
 * retried at once.
 */
function releaseWithRetry(
  place: Place,
  fence: string | undefined,
  options: ReleaseRetryOptions = {},
): Awaitable<ReleaseAttempt> {
  const { store, key, owner } = place;
  const { call = repeatable(), ambiguous = false } = options;
  const input = fence === undefined ? { owner } : { owner, fence };
  const send = () => ask(store, releaseLock, key, input, call);
  const reply = send();
  return reply instanceof Promise
    ? retried(place.clock, reply, send, ambiguous, options.until)
    : attemptOf(reply, ambiguous);
}

function attemptOf({ result }: Fields, ambiguous: boolean): ReleaseAttempt {
  // An earlier attempt may have released the lock before another holder came.
  const unsure = ambiguous && result === "overtaken";
  return { result: unsure ? "unconfirmed" : result as Release, ambiguous };
}

async function retried(
  clock: Clock,
  reply: Awaitable<Fields>,
  send: () => Awaitable<Fields>,
  ambiguous: boolean,
  until: number | undefined,
): Promise<ReleaseAttempt> {
  for (let attempt = 1;; attempt++) {
    try {
      return attemptOf(await reply, ambiguous);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      ambiguous ||= error.ambiguous;
      const over = until !== undefined && clock.monotonic() >= until;
      if (!error.retryable || attempt === RELEASE_ATTEMPTS || over) {
        return { result: "unconfirmed", ambiguous };
      }
      if (until !== undefined) await clock.sleep((20 + Math.random() * 30) * attempt);
      reply = send();
    }
  }
}

/** Releases an orphaned acquisition, once the call that may have got it has ended. */
export async function releaseOrphan(place: Place, pending: Promise<unknown> | undefined): Promise<void> {
  await pending?.catch(() => {});
  await Promise.resolve(releaseWithRetry(place, undefined)).catch(() => {});
  place.gate.notify(place.key);
}

/** The error of a call that exceeded its timeout. */
export function overdue(task: string): HoldfastError {
  return new HoldfastError("timeout", `Cannot ${task} as the engine did not reply in time`, {
    retryable: true,
    ambiguous: true,
  });
}

/**
 * The lock that {@linkcode Locks.acquire} returns. Its owner and its store are private: printing it shows no
 * secret.
 */
export class HeldLock implements Lock {
  readonly key: string;
  readonly fencingToken: number;
  readonly #place: Place;
  readonly #grant: Grant;
  #kept: Lease | undefined;
  #released = false;
  #expiresAt: number;
  #release: Awaitable<Release> | undefined;
  /** The call id of the release. A release that is repeated after a lost reply is the same call. */
  #releaseCall: CallOptions | undefined;
  #ambiguous = false;

  constructor(place: Place, grant: Grant) {
    this.#place = place;
    this.#grant = grant;
    this.key = place.key;
    this.fencingToken = Number(grant.fence);
    this.#expiresAt = Number(grant.until);
    if (grant.renew || grant.signal) this.#lease;
  }

  /** Made when it is needed: most locks are released before. */
  get #lease(): Lease {
    if (this.#kept !== undefined) return this.#kept;
    const { store, clock, key, owner } = this.#place;
    const lease = this.#kept = new Lease({
      ...this.#grant,
      clock,
      length: this.#grant.ttl,
      lost: (why) => new HoldfastError("lock-lost", `Cannot go on under the lock as ${why}`),
      extend: async (length) => {
        const { until } = await ask(store, extendLock, key, { owner, ttl: String(length) });
        if (until === undefined) return false;
        this.#expiresAt = Number(until);
        return true;
      },
    });
    if (this.#released) lease.end(RELEASED);
    return lease;
  }

  get expiresAt(): number {
    return this.#expiresAt;
  }

  get remaining(): number {
    return this.#lease.remaining;
  }

  get signal(): AbortSignal {
    return this.#lease.signal;
  }

  assertHeld(): void {
    this.#lease.assertHeld();
  }

  handle(): LockHandle {
    return { key: this.key, owner: this.#place.owner };
  }

  async extend(ttl?: Duration, options?: LockCallOptions): Promise<boolean> {
    checkOptionNames("extend the lock", options, CALL_OPTIONS);
    const length = ttl === undefined ? this.#grant.ttl : leaseLength(ttl);
    const timeout = callTimeout(options, this.#place.timeout);
    const extended = this.#lease.extend(length, options?.signal);
    return await bounded(extended, timeout, options?.signal, () => overdue("extend the lock"));
  }

  async release(options?: LockCallOptions): Promise<Release> {
    checkOptionNames("release the lock", options, CALL_OPTIONS);
    const timeout = callTimeout(options, this.#place.timeout);
    this.#released = true;
    this.#kept?.end(RELEASED);
    try {
      const released = this.#release ?? this.#releaseOnce();
      return await inTime(released, timeout, options?.signal, () => overdue("release the lock"));
    } catch (error) {
      if (options?.signal?.aborted || !(error instanceof HoldfastError)) throw error;
      this.#ambiguous = true;
      return "unconfirmed";
    }
  }

  #releaseOnce(): Awaitable<Release> {
    const { fence, sentAt, ttl } = this.#grant;
    const attempt = releaseWithRetry(this.#place, fence, {
      call: this.#releaseCall ??= repeatable(),
      until: this.#kept?.deadline ?? leaseDeadline(sentAt, ttl),
      ambiguous: this.#ambiguous,
    });
    if (!(attempt instanceof Promise)) return this.#noted(attempt);
    return this.#release = attempt.then((done) => this.#noted(done), (error) => {
      this.#noted();
      throw error;
    });
  }

  /** Notes the end of a release; an unconfirmed one may be repeated. */
  #noted(
    { result, ambiguous }: ReleaseAttempt = { result: "unconfirmed", ambiguous: this.#ambiguous },
  ): Release {
    this.#ambiguous = ambiguous;
    this.#release = result === "unconfirmed" ? undefined : result;
    this.#place.gate.notify(this.key);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** Ends renewal. The lease keeps its present end. */
  stopRenewal(): void {
    this.#kept?.stop();
  }
}
