import { type Clock, systemClock } from "./clock.ts";
import { interruptible, withTimeout } from "./deadline.ts";
import { deferred } from "./deferred.ts";
import { HoldfastError } from "./errors.ts";
import { callAfter } from "./call_after.ts";
import { answered } from "./safely.ts";

/** With four attempts the three delays between them take 350 ms at most: 50 + 100 + 200. */
const ATTEMPTS = 4;
/** The longest first delay, in milliseconds; each further one is twice as long, up to `MAX_DELAY`. */
const FIRST_DELAY = 50;
/** The longest delay, in milliseconds. A server that asks for more is left to the caller. */
const MAX_DELAY = 1000;

/** Options of {@linkcode retry}. */
export interface RetryOptions {
  /** The clock that measures and sleeps. */
  readonly clock: Clock;
  /**
   * The minimum number of attempts, the first included.
   * @default {4}
   */
  readonly attempts?: number | undefined;
  /** Milliseconds for which attempts go on after `attempts` of them failed. */
  readonly least?: number | undefined;
  /** Milliseconds for the whole call, an attempt under way included. */
  readonly timeout?: number | undefined;
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Repeats a call after a retryable fault, with exponential backoff and jitter. Only for calls that may be
 * repeated. By default it gives up after four attempts; with `least` it goes on for that time, in delays of
 * half a second to a second.
 *
 * Once an attempt was ambiguous the whole call is: a later refusal does not tell what the earlier attempt
 * did.
 *
 * @throws {HoldfastError} the last fault, or `timeout` at the deadline
 */
export function retry<T>(call: () => T | Promise<T>, options: RetryOptions): T | Promise<T> {
  // Without a promise, and a look at the clock, where an engine in this process answers at once.
  const answer = answered(call);
  return answer instanceof Promise || options.signal ? repeated(answer, call, options) : answer;
}

async function repeated<T>(
  answer: T | Promise<T>,
  call: () => T | Promise<T>,
  options: RetryOptions,
): Promise<T> {
  const { clock, attempts = ATTEMPTS, least = 0, timeout = Infinity, signal } = options;
  const began = clock.monotonic();
  const deadline = began + timeout;
  let ambiguous = false;
  for (let attempt = 1;; attempt++) {
    try {
      const left = deadline - clock.monotonic();
      if (attempt > 1) {
        if (left <= 0) throw overdue(ambiguous);
        answer = answered(call);
      }
      if (deadline === Infinity) return await answer;
      return await within(Promise.resolve(answer), left, options, () => overdue(true));
    } catch (error) {
      if (signal?.aborted || !(error instanceof HoldfastError)) throw error;
      ambiguous ||= error.ambiguous;
      const delay = Math.max(backoff(attempt), error.retryAfter ?? 0);
      const now = clock.monotonic();
      const last = attempt >= attempts && now >= began + least;
      if (!error.retryable || last || delay > MAX_DELAY || now + delay >= deadline) {
        throw error.ambiguous === ambiguous ? error : asAmbiguous(error);
      }
      await clock.sleep(delay, signal);
    }
  }
}

/** Bounds an attempt: on the runtime's clock by a timer that calls share, on another by its own. */
async function within<T>(
  work: Promise<T>,
  milliseconds: number,
  { clock, signal }: RetryOptions,
  late: () => Error,
): Promise<T> {
  if (clock === systemClock) return await withTimeout(work, milliseconds, signal, late);
  const timer = deferred<never>();
  const done = callAfter(clock, milliseconds, () => timer.reject(late()));
  timer.promise.catch(() => {});
  try {
    return await interruptible(Promise.race([work, timer.promise]), signal);
  } finally {
    done();
  }
}

/** The delay after a failed attempt, in milliseconds, between half and all of 50, 100, 200 … 1000. */
function backoff(attempt: number): number {
  return Math.min(MAX_DELAY, FIRST_DELAY * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
}

function overdue(ambiguous: boolean): HoldfastError {
  return new HoldfastError("timeout", "Cannot finish the call as its time is over", {
    retryable: true,
    ambiguous,
  });
}

/** The same fault, of a call that may have had its effect in an earlier attempt. */
function asAmbiguous(error: HoldfastError): HoldfastError {
  const { code, message, retryable, retryAfter } = error;
  return new HoldfastError(code, message, { retryable, retryAfter, ambiguous: true, cause: error });
}
