import type { Clock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";

/** A lease kept alive while the work goes on; see `Idempotency.hold`. */
export class LeaseHold {
  readonly signal: AbortSignal;
  readonly #clock: Clock;
  readonly #lease: number;
  readonly #lost = new AbortController();
  readonly #stopped = new AbortController();
  #deadline: number;

  /** `since` is the monotonic time before the last confirmed request was sent: the lease may end `lease` after that. */
  constructor(
    extend: (signal: AbortSignal) => Promise<boolean>,
    { clock, lease, since, signal }: {
      clock: Clock;
      lease: number;
      since: number;
      signal?: AbortSignal | undefined;
    },
  ) {
    this.#clock = clock;
    this.#lease = lease;
    this.#deadline = since + lease;
    this.signal = signal ? AbortSignal.any([signal, this.#lost.signal]) : this.#lost.signal;
    this.#watch();
    this.#beat(extend);
  }

  stop(): void {
    this.#stopped.abort();
  }

  #lose(why: string): void {
    if (this.#stopped.signal.aborted) return;
    this.stop();
    this.#lost.abort(new HoldfastError("claim-lost", `Cannot go on with the work as ${why}`));
  }

  /** Whatever the network does, the holder hears in time that its lease may be over. */
  async #watch(): Promise<void> {
    for (;;) {
      const left = this.#deadline - this.#clock.monotonic();
      if (left <= 0) return this.#lose("its lease could not be extended in time");
      if (!await this.#sleep(left)) return;
    }
  }

  async #beat(extend: (signal: AbortSignal) => Promise<boolean>): Promise<void> {
    let pause = this.#lease / 3;
    while (await this.#sleep(pause)) {
      const sent = this.#clock.monotonic();
      try {
        if (!await extend(this.#stopped.signal)) return this.#lose("another caller took it over");
        this.#deadline = sent + this.#lease;
        pause = this.#lease / 3;
      } catch {
        pause = this.#lease / 10; // what does not pass, the deadline ends
      }
    }
  }

  /** `false` when it was stopped. */
  #sleep(milliseconds: number): Promise<boolean> {
    return this.#clock.sleep(milliseconds, this.#stopped.signal).then(() => true, () => false);
  }
}
