import type { Clock } from "../clock.ts";
import type { AtomicStore } from "./atomic_store.ts";

/** One wait for a record to change. It listens from its making on, so that nothing that happens later is missed. */
export class Turn {
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  readonly #over = new AbortController();
  readonly #until: AbortSignal;
  readonly #changed: Promise<void> | undefined;

  /** Begins to listen, where the engine can notify. */
  constructor(store: AtomicStore, clock: Clock, key: string, signal: AbortSignal | undefined) {
    this.#clock = clock;
    this.#signal = signal;
    this.#until = signal ? AbortSignal.any([signal, this.#over.signal]) : this.#over.signal;
    this.#changed = store.watch?.(key, { signal: this.#until });
  }

  /** Until the record changed, or `longest` milliseconds; where the engine cannot notify, a jittered while. */
  async wait(longest: number, round: number): Promise<void> {
    const backoff = this.#changed ? longest : Math.min(1000, 10 * 2 ** round) * (0.5 + Math.random() / 2);
    const timer = this.#clock.sleep(Math.min(longest, backoff), this.#until).catch(() => {});
    await (this.#changed ? Promise.race([this.#changed, timer]) : timer);
    this.#signal?.throwIfAborted();
  }

  /** Stops listening. */
  end(): void {
    this.#over.abort();
  }
}
