/**
 * Locks over an atomic store; the contract is in `lock.ts`.
 *
 * An acquisition checks its options (`planAcquire`), queues behind those of the same process (`_gate.ts`),
 * and then asks the engine until it is granted or its wait is over: `nextStep` decides after each reply.
 * Every request of it names the same owner, so a repetition after a lost reply gets the same grant. Whatever
 * it may have left at the engine when it gives up, a lock or a place in the queue, is released in the
 * background (`releaseOrphan`).
 */
import { type Clock, systemClock } from "../clock.ts";
import { interruptible } from "../deadline.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { isOutage } from "../fault_class.ts";
import { leaseDeadline } from "../lease.ts";
import { retry } from "../retry.ts";
import { dropRejection } from "../safely.ts";
import { randomToken } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { LeaseCall, repeatable } from "../store/call_id.ts";
import { ChangeWait } from "../store/change_wait.ts";
import { ask } from "../store/direct.ts";
import type { Awaitable } from "../store/engine.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { checkArray, checkOptionNames, checkStore, type OptionNames } from "../validate.ts";
import { inTime } from "./_bounded.ts";
import { type Gate, gateOf, type Place as GatePlace } from "./_gate.ts";
import { HeldLock, overdue, type Place, releaseOrphan } from "./_held_lock.ts";
import { HeldLocks } from "./_held_locks.ts";
import { PAUSE } from "./_limits.ts";
import {
  type AcquirePlan,
  callTimeout,
  looksUntil,
  nextBackoff,
  type NextStep,
  nextStep,
  planAcquire,
  planResume,
} from "./acquire_plan.ts";
import type {
  AcquireOptions,
  ForceReleaseOptions,
  Lock,
  LockCallOptions,
  LockHandle,
  Locks,
  LockSet,
  LocksOptions,
  LockState,
  ResumeOptions,
} from "./lock.ts";
import { acquireLock, forceLock, inspectLock, lookLock } from "./lock_transitions.ts";

const CALL_OPTIONS = { signal: true, timeout: true } satisfies OptionNames<LockCallOptions>;
const FORCE_OPTIONS = { signal: true, timeout: true, id: true } satisfies OptionNames<ForceReleaseOptions>;
const LOCKS_OPTIONS = { name: true, clock: true, timeout: true } satisfies OptionNames<LocksOptions>;

/**
 * Locks over any atomic store.
 *
 * @throws {TypeError | RangeError} for unknown options, and for values of the wrong type or out of range
 * @category Locks
 * @example
 * ```ts
 * import { createLocks, memoryStore } from "@holdfast/edge";
 * const locks = createLocks(memoryStore());
 * await using lock = await locks.acquire("job:nightly", { ttl: "30s", wait: "5s" });
 * if (!lock) throw new Error("another holder has it");
 * lock.signal.throwIfAborted();
 *
 * // Three at a time, first come, first served, extended while they work:
 * const gpu = { permits: 3, fair: true, ttl: "10s", renew: true, wait: "1m" } as const;
 * await using slot = await locks.acquire("gpu", gpu);
 * // All or none:
 * await using both = await locks.acquireAll(["account:1", "account:2"], { ttl: "10s", wait: "5s" });
 * if (!slot || both?.locks.length !== 2) throw new Error("unexpected");
 * ```
 */
export function createLocks(store: AtomicStore, options: LocksOptions = {}): Locks {
  checkStore("create locks", store);
  checkOptionNames("create locks", options, LOCKS_OPTIONS);
  const { name = "lock", clock = systemClock, timeout = "10s" } = options;
  return new StoreLocks(store.namespace(name), clock, toMilliseconds(timeout, "timeout"));
}

type Granted = NextStep & { readonly do: "hold" };

/** The result of one request of an acquisition. */
type Asked =
  | NextStep
  | { readonly do: "repeat"; readonly failure: HoldfastError; readonly backoff: number };

/** An acquisition under way. */
interface Attempt {
  readonly place: Place;
  readonly plan: AcquirePlan;
  /** Monotonic time until which it waits. */
  readonly giveUpAt: number;
  /** Its waits, if it waits at all. */
  readonly change: ChangeWait | undefined;
  /** The signal of the lock itself. */
  readonly bound: AbortSignal | undefined;
  /** The delay before the last request, where the engine cannot notify; in milliseconds. */
  backoff: number;
  /** The monotonic time before the last request was sent. */
  sentAt: number;
  /** The call that may have got the lock. */
  pending: Promise<unknown> | undefined;
  /** Whether something may be left at the engine: a lock, or a place in its queue. */
  loose: boolean;
  /** Monotonic time until which a look at its place in the queue is enough. */
  looksUntil: number;
}

class StoreLocks implements Locks {
  readonly #store: AtomicStore;
  readonly #clock: Clock;
  readonly #timeout: number;
  readonly #gate: Gate;

  constructor(store: AtomicStore, clock: Clock, timeout: number) {
    this.#store = store;
    this.#clock = clock;
    this.#timeout = timeout;
    this.#gate = gateOf(store);
  }

  async acquire(key: string, options: AcquireOptions): Promise<Lock | undefined> {
    return await this.#acquire(key, planAcquire(options, this.#timeout));
  }

  /** `bound` is the signal of the lock, if it has one besides its lease. */
  async #acquire(key: string, plan: AcquirePlan, bound?: AbortSignal): Promise<HeldLock | undefined> {
    const { signal, wait, limit } = plan;
    signal?.throwIfAborted();
    const clock = this.#clock;
    // Most do not wait, and reading the clock costs as much as a look into a map.
    const giveUpAt = wait > 0 ? clock.monotonic() + wait : -Infinity;
    // One owner per acquisition and key: a repeated call is answered like the first, and a handle is of one
    // key.
    const place = this.#place(key, randomToken(16), plan.timeout);
    const change = wait > 0 ? new ChangeWait(this.#store, key, clock, signal) : undefined;
    const attempt: Attempt = {
      place,
      plan,
      giveUpAt,
      change,
      bound,
      backoff: 10,
      sentAt: 0,
      pending: undefined,
      loose: false,
      looksUntil: -Infinity,
    };
    const turn = wait > 0 ? this.#gate.join(key, limit, clock) : undefined;
    try {
      if (turn) await this.#enter(turn, attempt);
      const asked = this.#ask(attempt);
      // Without an await where the engine answers at once.
      if (!(asked instanceof Promise) && asked.do === "hold") return held(attempt, asked);
      return await this.#contend(attempt, await asked);
    } finally {
      turn?.leave();
      if (attempt.loose) {
        const released = releaseOrphan(place, attempt.pending);
        dropRejection(plan.waitUntil?.(released));
      }
    }
  }

  /** Waits behind the acquisitions of this process that came before. */
  async #enter(turn: GatePlace, { change, giveUpAt, plan }: Attempt): Promise<void> {
    // An engine that notifies tells the same.
    if (!this.#store.watch) turn.onRelease = () => change!.notify();
    await turn.enter(giveUpAt, plan.signal);
  }

  /** Asks the engine until it grants the lock or the wait is over. */
  async #contend(attempt: Attempt, asked: Asked): Promise<HeldLock | undefined> {
    const { place, plan, giveUpAt, change } = attempt;
    const { clock } = place;
    for (;; asked = await this.#look(attempt) ?? await this.#ask(attempt)) {
      if (asked.do === "stop") return undefined;
      if (asked.do === "hold") return held(attempt, asked);
      const left = giveUpAt - clock.monotonic();
      if (asked.do === "repeat") {
        if (left <= 0) throw asked.failure;
        const delay = Math.max(asked.backoff, asked.failure.retryAfter ?? 0);
        await clock.sleep(Math.min(delay, left), plan.signal);
      } else {
        if (left <= 0) return undefined;
        const field = asked.ahead !== undefined ? `by:${place.owner}` : undefined;
        await change!.next({ longest: Math.min(asked.longest, left), backoff: asked.backoff, field });
      }
      attempt.backoff = asked.backoff;
    }
  }

  /**
   * Looks at its place in the queue where the engine cannot notify; answers `undefined` when it must ask for
   * the lock: its turn has come, or its ticket needs renewing.
   */
  async #look({ place, plan, backoff, looksUntil }: Attempt): Promise<Asked | undefined> {
    const { store, clock, key, owner } = place;
    if (store.watch || clock.monotonic() >= looksUntil) return undefined;
    try {
      const call = ask(store, lookLock, key, { owner });
      const reply = await inTime(call, plan.timeout, plan.signal, () => overdue("lock"));
      if (reply.ahead === undefined || reply.ahead === "0") return undefined;
      return nextStep(reply, backoff, Math.random());
    } catch (error) {
      plan.signal?.throwIfAborted();
      return this.#again(error, backoff);
    }
  }

  /** The next step after a fault: an outage is waited out, any other fault is thrown. */
  #again(error: unknown, backoff: number): Asked {
    if (!isOutage(error)) throw error;
    return { do: "repeat", failure: error, backoff: nextBackoff(backoff, PAUSE, Math.random()) };
  }

  /** Sends one request, and tells what follows from its reply or its outage. */
  #ask(attempt: Attempt): Awaitable<Asked> {
    const { place, plan, giveUpAt } = attempt;
    const { store, clock, key, owner } = place;
    const sentAt = attempt.sentAt = clock.monotonic();
    const input: Record<string, string> = { owner, ttl: String(plan.ttl) };
    if (plan.limit > 1) input.limit = String(plan.limit);
    if (plan.lockDelay !== undefined) input.delay = String(plan.lockDelay);
    if (plan.queues) input.wait = String(Math.max(1, Math.ceil(giveUpAt - sentAt)));
    plan.signal?.throwIfAborted();
    attempt.loose = true; // until a reply says otherwise
    try {
      const call = ask(store, acquireLock, key, input, attempt.change?.options());
      if (call instanceof Promise) attempt.pending = call;
      const reply = inTime(call, plan.timeout, plan.signal, () => overdue("lock"));
      if (!(reply instanceof Promise)) return stepAfter(attempt, reply);
      return reply.then((reply) => stepAfter(attempt, reply)).catch((error) => {
        return this.#again(error, attempt.backoff);
      });
    } catch (error) {
      return this.#again(error, attempt.backoff);
    }
  }

  async acquireAll(keys: readonly string[], options: AcquireOptions): Promise<LockSet | undefined> {
    const plan = planAcquire(options, this.#timeout);
    checkArray("lock", "keys", keys); // a text is one key, not its characters
    const names = [...new Set(keys)].sort();
    if (names.length === 0) throw new TypeError("Cannot lock as at least one key is needed");
    const began = this.#clock.monotonic();
    const held = new Map<string, HeldLock>();
    let complete = false;
    try {
      for (const key of names) {
        const left = Math.max(0, plan.wait - (this.#clock.monotonic() - began));
        const renew = names.length > 1 || plan.renew;
        const lock = await this.#acquire(key, {
          ...plan,
          wait: left,
          queues: plan.queues && left > 0,
          renew,
        });
        if (lock === undefined) return undefined;
        held.set(key, lock);
      }
      const set = new HeldLocks(Array.from(new Set(keys), (key) => held.get(key)!));
      if (!plan.renew) {
        for (const lock of held.values()) lock.stopRenewal();
        // The first have used up some of their time while the last were waited for.
        if (this.#clock.monotonic() - began > plan.ttl / 10) await set.extend();
      }
      if (set.signal.aborted) throw late();
      complete = true;
      return set;
    } finally {
      const undone = complete ? [] : Array.from(held.values(), (lock) => lock.release());
      if (!plan.signal?.aborted) await Promise.all(undone);
    }
  }

  async withLock<T>(
    key: string,
    options: AcquireOptions,
    fn: (lock: Lock) => T | Promise<T>,
  ): Promise<T> {
    const plan = planAcquire(options, this.#timeout);
    if (typeof fn !== "function") {
      throw new TypeError(
        `Cannot run under the lock as the work must be a function: current type is ${typeof fn}`,
      );
    }
    const lock = await this.#acquire(key, plan, options.signal);
    if (lock === undefined) {
      throw new HoldfastError("lock-timeout", "Cannot run under the lock as another holder has it", {
        retryable: true,
      });
    }
    try {
      return await fn(lock);
    } finally {
      await lock.release().catch(() => {}); // the lease ends by itself, and fn's outcome is what counts
    }
  }

  async resume(handle: LockHandle, options: ResumeOptions): Promise<Lock | undefined> {
    const plan = planResume(options, this.#timeout);
    const { key, owner: from } = handle ?? {};
    if (typeof from !== "string" || from === "" || typeof key !== "string") {
      throw new TypeError("Cannot resume the lock as the handle must be the answer of a lock's handle()");
    }
    const place = this.#place(key, randomToken(16), plan.timeout);
    const input = { owner: place.owner, from, ttl: String(plan.ttl) };
    const call = new LeaseCall(this.#clock, plan.ttl);
    const { fence, until } = await this.#call(acquireLock, key, input, options, () => call.attempt());
    if (fence === undefined) return undefined;
    const lock = new HeldLock(place, {
      ...plan,
      signal: undefined,
      sentAt: call.sentAt!,
      fence,
      until: until!,
    });
    if (lock.remaining === 0) throw late();
    return lock;
  }

  async inspect(key: string, options?: LockCallOptions): Promise<LockState> {
    checkOptionNames("inspect the lock", options, CALL_OPTIONS);
    const output = await this.#call(inspectLock, key, {}, options);
    const [holders, fence] = [Number(output.held ?? 0), Number(output.fence ?? 0)];
    return {
      held: holders > 0,
      holders,
      waiting: Number(output.waiting ?? 0) + this.#gate.waiting(key),
      remaining: Number(output.remaining ?? 0),
      fencingToken: fence === 0 ? undefined : fence,
    };
  }

  async forceRelease(key: string, options: ForceReleaseOptions = {}): Promise<boolean> {
    checkOptionNames("force the release", options, FORCE_OPTIONS);
    const { id = randomToken(16) } = options;
    if (typeof id !== "string" || !/^[\w.:-]{1,64}$/.test(id)) {
      throw new TypeError(
        "Cannot force the release as 'id' must be 1 to 64 of A-Z, a-z, 0-9, '_', '.', ':', '-'",
      );
    }
    const until = this.#clock.monotonic() + callTimeout(options, this.#timeout);
    const { fence } = await this.#call(inspectLock, key, {}, options);
    if (fence === undefined) return false;
    const timeout = Math.max(1, until - this.#clock.monotonic());
    // By the token that was seen, so that a repetition never takes the lock from a holder that came after.
    const { count } = await this.#call(forceLock, key, { fence, id }, { ...options, timeout });
    this.#gate.notify(key);
    return count !== "0";
  }

  #place(key: string, owner: string, timeout: number): Place {
    return { store: this.#store, gate: this.#gate, clock: this.#clock, key, owner, timeout };
  }

  /** A transition that may be repeated, within the call's timeout. */
  async #call(
    transition: Transition,
    key: string,
    input: Fields,
    options: LockCallOptions | undefined,
    attempt: () => CallOptions = named(),
  ): Promise<Fields> {
    const clock = this.#clock;
    const signal = options?.signal;
    const timeout = callTimeout(options, this.#timeout);
    signal?.throwIfAborted();
    return await retry(
      () => interruptible(this.#store.transact(transition, key, input, attempt()), signal),
      { clock, timeout, signal },
    );
  }
}

/** What follows from a reply. */
function stepAfter(attempt: Attempt, reply: Fields): Asked {
  const { place, plan, sentAt } = attempt;
  plan.signal?.throwIfAborted();
  const step = nextStep(reply, attempt.backoff, Math.random());
  if (step.do === "hold" && place.clock.monotonic() >= leaseDeadline(sentAt, plan.ttl)) throw late();
  const ahead = step.do === "wait" ? step.ahead : undefined;
  attempt.loose = ahead !== undefined;
  attempt.looksUntil = looksUntil(sentAt, ahead);
  return step;
}

function held({ place, plan, sentAt, bound }: Attempt, { fence, until }: Granted): HeldLock {
  const { ttl, renew, maxHold } = plan;
  return new HeldLock(place, { ttl, sentAt, fence, until, renew, maxHold, signal: bound });
}

/** One name for every attempt. */
function named(): () => CallOptions {
  const call = repeatable();
  return () => call;
}

function late(): HoldfastError {
  return new HoldfastError("timeout", "Cannot lock as the lease had ended before its grant arrived", {
    retryable: true,
  });
}
