import { setImmediate } from "node:timers";
import type { Clock } from "@holdfast/edge";

/** A clock of virtual time: when all that runs has come to rest, it goes on to the next deadline at once. */
export class VirtualClock implements Clock {
  #now = 0;
  #order = 0;
  /** A heap: the earliest deadline first, equal ones in the order in which they came. */
  readonly #waits: { at: number; order: number; wake: (() => void) | undefined }[] = [];

  now(): number {
    return 1_700_000_000_000 + Math.floor(this.#now);
  }

  monotonic(): number {
    return this.#now;
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const wait = { at: this.#now + milliseconds, order: this.#order++, wake: resolve as () => void };
      this.#push(wait);
      signal?.addEventListener("abort", () => {
        (wait as { wake: (() => void) | undefined }).wake = undefined;
        reject(signal.reason);
      }, { once: true });
    });
  }

  /** Lets time pass until `over` answers that it is enough. */
  async run(over: () => boolean): Promise<void> {
    await rest();
    while (!over()) {
      const wait = this.#pop();
      if (wait === undefined) throw new Error("Cannot go on as nothing waits");
      if (wait.wake === undefined) continue;
      this.#now = Math.max(this.#now, wait.at);
      wait.wake();
      await rest();
    }
  }

  #before(a: number, b: number): boolean {
    const [one, other] = [this.#waits[a]!, this.#waits[b]!];
    return one.at < other.at || (one.at === other.at && one.order < other.order);
  }

  #swap(a: number, b: number): void {
    [this.#waits[a], this.#waits[b]] = [this.#waits[b]!, this.#waits[a]!];
  }

  #push(wait: { at: number; order: number; wake: (() => void) | undefined }): void {
    let at = this.#waits.push(wait) - 1;
    for (let parent = (at - 1) >> 1; at > 0 && this.#before(at, parent); parent = (at - 1) >> 1) {
      this.#swap(at, parent);
      at = parent;
    }
  }

  #pop() {
    this.#swap(0, Math.max(0, this.#waits.length - 1));
    const least = this.#waits.pop();
    for (let at = 0;;) {
      let next = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#waits.length && this.#before(child, next)) next = child;
      }
      if (next === at) return least;
      this.#swap(at, next);
      at = next;
    }
  }
}

/** Ends when no microtask is left. */
function rest(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
