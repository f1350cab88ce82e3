import type { Clock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import type { Fields } from "../store/transition.ts";
import { leaseLength } from "./_held_lock.ts";
import { MOST_SHARING } from "./_limits.ts";
import type { AcquireOptions, UnfencedOptions } from "./locks.ts";

/** The options, checked and in milliseconds. */
export interface LockRequest {
  readonly ttl: number;
  readonly giveUpAt: number;
  readonly signal: AbortSignal | undefined;
  readonly queues: boolean;
  readonly fenced: boolean;
  readonly renew: boolean;
  readonly maxHold: number;
  /** What the transition gets besides the owner. */
  readonly input: Fields;
}

/** Checks the options of an acquisition that begins now. */
export function lockRequest(given: AcquireOptions | UnfencedOptions, clock: Clock): LockRequest {
  const options = given as AcquireOptions;
  const fenced = given.fenced !== false;
  const { signal, permits, mode, fair = mode !== undefined } = options;
  const { renew = false } = options;
  const maxHold = options.maxHold === undefined
    ? renew ? toMilliseconds("1h") : Infinity
    : toMilliseconds(options.maxHold, "maxHold");
  const ttl = Math.min(leaseLength(options.ttl), maxHold);
  const wait = options.wait === undefined ? 0 : toMilliseconds(options.wait, "wait");
  const delay = options.lockDelay === undefined ? undefined : toMilliseconds(options.lockDelay, "lockDelay");
  if (mode !== undefined && (permits !== undefined || (mode !== "read" && mode !== "write"))) {
    throw new TypeError("Cannot lock as 'mode' must be \"read\" or \"write\", and goes without 'permits'");
  }
  if (permits !== undefined && !(Number.isInteger(permits) && permits >= 1 && permits <= MOST_SHARING)) {
    throw new RangeError(
      `Cannot lock as 'permits' must be an integer from 1 to ${MOST_SHARING}: current value is ${permits}`,
    );
  }
  if (!fenced && (options.fair ?? permits ?? mode ?? delay) !== undefined) {
    throw new TypeError(
      "Cannot lock as 'fenced: false' goes without 'fair', 'permits', 'mode' and 'lockDelay'",
    );
  }
  const limit = mode === "read" ? MOST_SHARING : permits ?? 1;
  return {
    ttl,
    giveUpAt: clock.monotonic() + wait,
    signal,
    queues: fair && wait > 0,
    fenced,
    renew,
    maxHold,
    input: {
      ttl: String(ttl),
      ...(limit > 1 && { limit: String(limit) }),
      ...(delay !== undefined && { delay: String(delay) }),
    },
  };
}
