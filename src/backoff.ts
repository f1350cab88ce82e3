import { MAX_RETRY_AFTER } from "./retry_after.ts";

/**
 * The delay before the next attempt: random, up to `delay` doubled per attempt (full jitter), but never
 * before the time that the other side asked for, up to a day.
 */
export function backoff(attempt: number, delay: number, maxDelay: number, retryAfter = 0): number {
  const most = Math.min(maxDelay, delay * 2 ** (attempt - 1));
  const asked = Math.min(retryAfter, MAX_RETRY_AFTER);
  // Clients that one server gave the same time should not all come back at it.
  return Math.ceil(asked + Math.random() * (asked > 0 ? Math.min(most, delay) : most));
}
