import type { Clock } from "@holdfast/edge";

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #now = 1_700_000_000_000;
  #sleepers = new Set<{ at: number; wake: () => void }>();

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      // Timers are whole milliseconds, as is the time.
      const sleeper = { at: this.#now + Math.ceil(milliseconds), wake: resolve };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", () => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      }, { once: true });
    });
  }

  /**
   * Moves on, waking sleepers in the order of their deadlines, each before time goes further; `settled` ends when what
   * a sleeper began is over.
   */
  async advance(milliseconds: number, settled: () => Promise<void> = oneTurn): Promise<void> {
    const until = this.#now + milliseconds;
    for (;;) {
      const next = [...this.#sleepers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.at);
      this.#sleepers.delete(next);
      next.wake();
      await settled();
    }
    this.#now = until;
    await settled();
  }
}

function oneTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
