import type { Attempt, Hold } from "./idempotency.ts";

/**
 * The attempt that the work gets, for `run` and for the helpers of `src/http` alike. A class: an object literal with
 * an accessor has a shape of its own at each call, which the collector keeps for long.
 */
export class HeldAttempt implements Attempt {
  readonly #hold: Hold;

  /** An attempt under a hold. */
  constructor(readonly key: string, readonly attempt: number, hold: Hold, readonly pin: () => void) {
    this.#hold = hold;
  }

  /** The signal of the hold, which is created when it is read: most work never reads it. */
  get signal(): AbortSignal {
    return this.#hold.signal;
  }
}
