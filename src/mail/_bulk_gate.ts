import type { Clock } from "../clock.ts";
import { interruptible } from "../deadline.ts";

/** Lets requests pass in the order they came; ends with `leave()`. */
export interface Turn {
  /** Whether no other request is under way. */
  readonly alone: boolean;
  /** Lets the next request pass. */
  leave(): void;
}

/**
 * The gate before the requests of one bulk. It is open until the provider refuses one for its rate; from then
 * on requests pass one at a time, in the order they came, and none before the time that the provider asked
 * for. Without it every request under way would be refused again and again, and the unlucky ones would use up
 * their attempts.
 */
export class BulkGate {
  readonly #clock: Clock;
  #oneByOne = false;
  #opensAt = -Infinity;
  #last: Promise<void> = Promise.resolve();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Notes a refusal: no request passes for so many milliseconds. */
  limit(wait: number): void {
    this.#oneByOne = true;
    this.#opensAt = Math.max(this.#opensAt, this.#clock.monotonic() + wait);
  }

  /** Waits for a turn; rejects with the signal's reason. */
  async enter(signal: AbortSignal | undefined): Promise<Turn> {
    if (!this.#oneByOne) return { alone: false, leave() {} };
    const before = this.#last;
    let leave!: () => void;
    this.#last = new Promise((resolve) => leave = resolve);
    try {
      await interruptible(before, signal);
      await this.open(signal);
    } catch (error) {
      before.then(leave); // one that gives up leaves the queue, and those behind wait for the one before
      throw error;
    }
    return { alone: true, leave };
  }

  /** Waits until requests may pass. */
  async open(signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      const wait = this.#opensAt - this.#clock.monotonic();
      if (wait <= 0) return;
      await this.#clock.sleep(wait, signal);
    }
  }
}
