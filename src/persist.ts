import type { Clock } from "./clock.ts";
import { HoldfastError } from "./errors.ts";

const TRIES = 4;
const FIRST_PAUSE = 25;
const LONGEST_PAUSE = 1000;

/** How long to go on. */
export interface PersistOptions {
  readonly clock: Clock;
  /** Where the clock's monotonic time may go before the last try, beside a few tries in any case. */
  readonly until?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Asks again after a fault that may pass, with jittered pauses. Only for what may be repeated. */
export async function persist<T>(
  ask: () => Promise<T>,
  { clock, until = -Infinity, signal }: PersistOptions,
): Promise<T> {
  for (let tries = 1;; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof HoldfastError && error.retryable) || signal?.aborted) throw error;
      if (tries >= TRIES && clock.monotonic() >= until) throw error;
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** tries) * (0.5 + Math.random() / 2);
      if ((error.retryAfter ?? 0) > LONGEST_PAUSE) throw error; // the backend knows that it will take longer
      await clock.sleep(Math.max(pause, error.retryAfter ?? 0), signal);
    }
  }
}
