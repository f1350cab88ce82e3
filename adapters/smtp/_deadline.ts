/** The time that one sending may take, in all and step by step. */
import { abortReason } from "../../src/mail/outcome.ts";
import { LONGEST_TIMER } from "../../src/timer.ts";

/** The end of a wait. The connection that it was for is of no further use. */
export class Interrupted extends Error {
  constructor(readonly code: "timeout" | "aborted", cause?: unknown) {
    super(code === "timeout" ? "it took too long" : "the signal was aborted", { cause });
  }
}

/** The deadline of one call: its timeout, and the caller's signal. */
export class Deadline {
  readonly #over = new AbortController();
  readonly #interrupted: Promise<never>;
  readonly #total: ReturnType<typeof setTimeout>;
  readonly #abort: () => void;
  readonly #caller: AbortSignal | undefined;

  constructor(total: number, caller?: AbortSignal) {
    this.#caller = caller;
    this.#abort = () => this.#over.abort(new Interrupted("aborted", abortReason(caller!)));
    this.#total = this.#after(total);
    this.#interrupted = new Promise((_, reject) => {
      this.signal.addEventListener("abort", () => reject(this.signal.reason), { once: true });
    });
    this.#interrupted.catch(() => {}); // there may be no wait when it comes
    if (caller?.aborted) this.#abort();
    else caller?.addEventListener("abort", this.#abort, { once: true });
  }

  /** Aborts with an {@linkcode Interrupted}. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Waits for the work; for one step no longer than `milliseconds`. */
  async wait<T>(work: Promise<T>, milliseconds?: number): Promise<T> {
    const timer = milliseconds === undefined ? undefined : this.#after(milliseconds);
    try {
      return await Promise.race([this.#interrupted, work]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the timer and leaves the caller's signal. */
  end(): void {
    clearTimeout(this.#total);
    this.#caller?.removeEventListener("abort", this.#abort);
  }

  #after(milliseconds: number): ReturnType<typeof setTimeout> {
    return setTimeout(
      () => this.#over.abort(new Interrupted("timeout")),
      Math.min(milliseconds, LONGEST_TIMER),
    );
  }
}
