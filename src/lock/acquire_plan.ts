/** The decisions of an acquisition, without I/O: the checked options, and what follows from each reply. */
import { toMilliseconds } from "../duration.ts";
import type { Fields } from "../store/transition.ts";
import {
  checkFunction,
  checkInteger,
  checkNeededOptions,
  checkOneOf,
  type OptionNames,
} from "../validate.ts";
import {
  CHECK,
  LONGEST,
  MOST_SHARING,
  PAUSE,
  QUEUE_PAUSE,
  QUEUE_PAUSE_MOST,
  QUEUE_PAUSE_STEP,
  TICKET,
  TICKET_GAIN,
  TICKET_SPARE,
  TICKET_STEP,
} from "./_limits.ts";
import type { AcquireOptions, LockCallOptions, ResumeOptions } from "./lock.ts";

/** An acquisition with its options checked, in milliseconds. */
export interface AcquirePlan {
  readonly ttl: number;
  readonly wait: number;
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
  /** Whether to wait in the queue of the record. */
  readonly queues: boolean;
  readonly renew: boolean;
  readonly maxHold: number;
  /** The number of holders at a time. */
  readonly limit: number;
  /** Keeps the release of an orphaned acquisition alive. */
  readonly waitUntil: AcquireOptions["waitUntil"];
  /** Milliseconds for which a lock that lapsed stays taken. */
  readonly lockDelay: number | undefined;
}

const HOLD_OPTIONS = { ttl: true, renew: true, maxHold: true, signal: true, timeout: true } as const;

const ACQUIRE_OPTIONS = {
  ttl: true,
  renew: true,
  maxHold: true,
  signal: true,
  timeout: true,
  wait: true,
  fair: true,
  permits: true,
  mode: true,
  lockDelay: true,
  waitUntil: true,
} satisfies OptionNames<AcquireOptions>;

/**
 * Checks the options of an acquisition. `timeout` is the default of the `Locks`.
 *
 * @throws {TypeError} or `RangeError`
 */
export function planAcquire(options: AcquireOptions, timeout: number): AcquirePlan {
  checkNeededOptions("lock", options, ACQUIRE_OPTIONS, "at least a 'ttl'");
  const { permits, mode, fair = mode !== undefined } = options;
  const hold = planHold(options, timeout);
  const wait = options.wait === undefined ? 0 : toMilliseconds(options.wait, "wait");
  const { lockDelay } = options;
  if (mode !== undefined) {
    checkOneOf("lock", "mode", mode, ["read", "write"]);
    if (permits !== undefined) throw new TypeError("Cannot lock as 'mode' and 'permits' exclude each other");
  }
  if (permits !== undefined) checkInteger("lock", "permits", permits, 1, MOST_SHARING);
  checkBoolean("fair", fair);
  checkFunction("lock", "waitUntil", options.waitUntil);
  const limit = mode === "read" ? MOST_SHARING : permits ?? 1;
  const { ttl, timeout: bound, signal, renew, maxHold } = hold;
  // Property by property: on a hot path each spread costs as much as all the rest.
  return {
    ttl,
    wait,
    timeout: bound,
    signal,
    queues: fair && wait > 0,
    renew,
    maxHold,
    limit,
    waitUntil: options.waitUntil,
    lockDelay: lockDelay === undefined ? undefined : toMilliseconds(lockDelay, "lockDelay"),
  };
}

/** Checks the options of a resumption. */
export function planResume(options: ResumeOptions, timeout: number): ReturnType<typeof planHold> {
  const known = HOLD_OPTIONS satisfies OptionNames<ResumeOptions>;
  checkNeededOptions("resume the lock", options, known, "at least a 'ttl'");
  return planHold(options, timeout);
}

function planHold(options: ResumeOptions, timeout: number) {
  const { renew = false, signal } = options;
  checkBoolean("renew", renew);
  const longest = renew ? 3_600_000 : Infinity;
  const maxHold = options.maxHold === undefined ? longest : toMilliseconds(options.maxHold, "maxHold");
  return {
    ttl: Math.min(leaseLength(options.ttl), maxHold),
    timeout: callTimeout(options, timeout),
    signal,
    renew,
    maxHold,
  };
}

/** The timeout of a call in milliseconds. */
export function callTimeout(options: LockCallOptions | undefined, standard: number): number {
  return options?.timeout === undefined ? standard : toMilliseconds(options.timeout, "timeout");
}

/** A ttl in milliseconds. */
export function leaseLength(ttl: AcquireOptions["ttl"]): number {
  const length = toMilliseconds(ttl, "ttl");
  if (length <= LONGEST) return length;
  throw new RangeError(`Cannot lock as 'ttl' must be at most 365 days: current value is ${ttl}`);
}

function checkBoolean(name: string, value: unknown): void {
  checkOneOf("lock", name, value, [true, false]);
}

/** The next step of an acquisition after a reply. */
export type NextStep =
  /** It has the lock. */
  | { readonly do: "hold"; readonly fence: string; readonly until: string }
  /** It asks again after a change, or after `longest`; after `backoff` where the engine cannot notify. */
  | {
    readonly do: "wait";
    /** The maximum number of waiters before it in the queue; `undefined` when it is not in the queue. */
    readonly ahead: number | undefined;
    readonly longest: number;
    readonly backoff: number;
  }
  /** Its lock was taken away before it was known here. */
  | { readonly do: "stop" };

/** Decides by the reply, and by the backoff before. `random` is from 0 to 1. */
export function nextStep(reply: Fields, backoff: number, random: number): NextStep {
  const { fence, until, remaining } = reply;
  if (fence !== undefined) return { do: "hold", fence, until: until! };
  if (remaining === undefined) return { do: "stop" };
  const ahead = reply.ahead === undefined ? undefined : Number(reply.ahead);
  // Only the first in a queue has something to do when a lease ends; the others are notified.
  if (ahead) return { do: "wait", ahead, longest: CHECK, backoff: queuePause(ahead) * (0.8 + random / 5) };
  const queued = ahead !== undefined;
  return {
    do: "wait",
    ahead,
    longest: Math.min(Number(remaining) + 1, queued ? CHECK : Infinity),
    backoff: nextBackoff(backoff, queued ? QUEUE_PAUSE : PAUSE, random),
  };
}

/** The longest backoff in a queue, before which the turn of the waiter cannot come. */
function queuePause(ahead: number): number {
  return Math.min(QUEUE_PAUSE_MOST, Math.max(QUEUE_PAUSE, ahead * QUEUE_PAUSE_STEP));
}

/**
 * The monotonic time until which a waiter may look at its place without renewing its ticket: as of a reply to
 * a request sent at `sentAt`, and with the backoff after the look counted in. The first in the queue asks for
 * the lock itself.
 */
export function looksUntil(sentAt: number, ahead: number | undefined): number {
  if (!ahead) return -Infinity;
  // A ticket that would gain less than TICKET_GAIN was left as it is.
  const lasts = TICKET - TICKET_GAIN + ahead * TICKET_STEP;
  return sentAt + lasts - TICKET_SPARE - queuePause(ahead);
}

/** Decorrelated jitter: from 10 ms to three times the backoff before, at most `most`. */
export function nextBackoff(before: number, most: number, random: number): number {
  return Math.min(most, 10 + random * (before * 3 - 10));
}
