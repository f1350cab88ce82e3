/**
 * A circuit breaker: a backend that fails again and again is left alone for a while, then asked by one caller, and only
 * when that one is answered by everybody.
 */
import type { Clock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";

/** What a circuit may be: calls pass, calls are refused, one call passes to find out. */
export type CircuitState = "closed" | "open" | "half-open";

/** So many failures in a row open it. */
const FAILURES = 3;
/** How long it stays open at first and at most, in milliseconds; each probe that fails doubles it. */
const REST = 500;
const REST_MOST = 5_000;
/** When to ask again while a probe is on its way, in milliseconds. */
const PROBING = 50;

/** The backend was not asked at all. */
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

  constructor(side: string, clock: Clock, random: () => number, changed: (state: CircuitState) => void) {
    this.#side = side;
    this.#clock = clock;
    this.#random = random;
    this.#changed = changed;
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** Throws when a call would be refused. */
  assertPasses(): void {
    if (this.#state === "closed") return;
    if (this.#state === "half-open") throw new CircuitOpenError(this.#side, PROBING);
    const left = this.#until - this.#clock.monotonic();
    if (left > 0) throw new CircuitOpenError(this.#side, left);
  }

  /** Lets a call pass or throws; whoever passes must tell how it went. */
  enter(): void {
    this.assertPasses();
    if (this.#state === "open") this.#become("half-open");
  }

  succeeded(): void {
    this.#failures = 0;
    this.#rest = REST;
    if (this.#state !== "closed") this.#become("closed");
  }

  failed(): void {
    this.#failures++;
    if (this.#state === "open" || (this.#state === "closed" && this.#failures < FAILURES)) return;
    // Isolates that saw the same failure do not come back in step.
    this.#until = this.#clock.monotonic() + this.#rest * (0.5 + this.#random() / 2);
    this.#rest = Math.min(this.#rest * 2, REST_MOST);
    this.#become("open");
  }

  #become(state: CircuitState): void {
    this.#state = state;
    this.#changed(state);
  }
}
