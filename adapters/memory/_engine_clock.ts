import { type Clock, systemClock } from "../../src/clock.ts";

/** The maximum number of times a reading is used again, should the wall clock stand still. */
const MAX_REUSE = 64;

/**
 * The memory engine's time: whole milliseconds since the epoch that never step. It starts at the wall clock
 * and then follows the monotonic one, so a wall clock that is set while a lock is held neither ends its lease
 * early nor keeps it longer.
 */
export class EngineClock {
  readonly #clock: Clock;
  // A monotonic reading costs Deno five times as much as a wall-clock one. Within one millisecond of the wall
  // clock the last reading is used again; only with the system's clock, as a test's own may move in other
  // ways.
  readonly #reuses: boolean;
  #wall = 0;
  #now = 0;
  #reuse = 0;
  /** Wall clock less monotonic clock at the first use: at import time some runtimes have no clock yet. */
  #offset: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#reuses = clock === systemClock;
  }

  now(): number {
    if (!this.#reuses) return this.#read();
    const wall = Date.now();
    if (wall === this.#wall && this.#reuse-- > 0) return this.#now;
    this.#wall = wall;
    this.#reuse = MAX_REUSE;
    return this.#now = this.#read();
  }

  #read(): number {
    const monotonic = this.#clock.monotonic();
    this.#offset ??= this.#clock.now() - monotonic;
    return Math.floor(this.#offset + monotonic);
  }
}
