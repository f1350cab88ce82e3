/**
 * A circuit breaker: after several failures in a row a store is not asked for a while. Then one request is
 * let through as a probe, and its outcome decides for all.
 */
import type { Clock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";

/** Closed: requests pass. Open: they are refused. Half-open: a probe is on its way. */
export type CircuitState = "closed" | "open" | "half-open";

/** The number of failures in a row that opens it. */
const FAILURES = 3;
/** The time it stays open at first and at most, in milliseconds; each probe that fails doubles it. */
const REST = 500;
const MAX_REST = 5_000;
/** The delay before asking again while a probe is on its way, in milliseconds. */
const PROBING = 50;

/** A request that was refused, so that it certainly had no effect. */
export class CircuitOpenError extends HoldfastError {
  constructor(side: string, retryAfter: number) {
    super("backend-unavailable", `Cannot ask the ${side} as it failed ${FAILURES} times and more in a row`, {
      retryable: true,
      retryAfter,
    });
  }
}

export class Circuit {
  readonly #side: string;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #changed: (state: CircuitState) => void;
  #state: CircuitState = "closed";
  #failures = 0;
  #rest = REST;
  #until = 0;
  #closedAt = -Infinity;

  constructor(side: string, clock: Clock, random: () => number, changed: (state: CircuitState) => void) {
    this.#side = side;
    this.#clock = clock;
    this.#random = random;
    this.#changed = changed;
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** True if it was closed all the time for so many milliseconds. */
  closedFor(milliseconds: number): boolean {
    return this.isClosed && this.#clock.monotonic() - this.#closedAt >= milliseconds;
  }

  /** Throws when a request would be refused. */
  assertPasses(): void {
    if (this.#state === "closed") return;
    if (this.#state === "half-open") throw new CircuitOpenError(this.#side, PROBING);
    const left = this.#until - this.#clock.monotonic();
    if (left > 0) throw new CircuitOpenError(this.#side, left);
  }

  /** Lets a request pass or throws; the caller reports its outcome with `succeeded` or `failed`. */
  enter(): void {
    this.assertPasses();
    if (this.#state === "open") this.#become("half-open");
  }

  succeeded(): void {
    this.#failures = 0;
    this.#rest = REST;
    if (this.#state === "closed") return;
    this.#closedAt = this.#clock.monotonic();
    this.#become("closed");
  }

  failed(): void {
    this.#failures++;
    if (this.#state === "open" || (this.#state === "closed" && this.#failures < FAILURES)) return;
    // Jitter: isolates that saw the same failure must not probe at the same moment.
    this.#until = this.#clock.monotonic() + this.#rest * (0.5 + this.#random() / 2);
    this.#rest = Math.min(this.#rest * 2, MAX_REST);
    this.#become("open");
  }

  #become(state: CircuitState): void {
    this.#state = state;
    this.#changed(state);
  }
}
