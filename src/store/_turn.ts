import type { Clock } from "../clock.ts";
import type { AtomicStore } from "./atomic_store.ts";

/** One wait for a record to change. It listens from its making on, so that nothing that happens later is missed. */
export class Turn {
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  readonly #over = new AbortController();
  readonly #until: AbortSignal;
  readonly #changed: Promise<void> | undefined;

  /** Begins to listen to the record, or to one field of it, where the engine can notify. */
  constructor(
    store: Pick<AtomicStore, "watch">,
    clock: Clock,
    key: string,
    signal: AbortSignal | undefined,
    field?: string,
  ) {
    this.#clock = clock;
    this.#signal = signal;
    this.#until = signal ? AbortSignal.any([signal, this.#over.signal]) : this.#over.signal;
    this.#changed = store.watch?.(key, { signal: this.#until, field });
  }

  /** Until the record changed, or `longest` milliseconds; where the engine cannot notify, a jittered while. */
  async wait(longest: number, round: number, pause: number = backoff(round)): Promise<void> {
    const length = this.#changed ? longest : Math.min(longest, pause);
    const timer = this.#clock.sleep(length, this.#until).catch(() => {});
    // An engine that fails to listen is asked again later, like one that cannot.
    const changed = this.#changed?.catch(() => this.#clock.sleep(Math.min(longest, pause), this.#until));
    await (changed ? Promise.race([changed.catch(() => {}), timer]) : timer);
    this.#signal?.throwIfAborted();
  }

  /** Stops listening. */
  end(): void {
    this.#over.abort("over"); // without a reason it would make an exception, with a stack
    this.#changed?.catch(() => {});
  }
}

function backoff(round: number): number {
  return Math.min(1000, 10 * 2 ** round) * (0.5 + Math.random() / 2);
}
