/**
 * A world without real time: every wait is an event, the seed decides the order of those that fall together,
 * and nothing else is left to chance. The same seed lives the same life.
 */
import type { Clock } from "@holdfast/edge";
import { Random } from "../support/random.ts";

interface Event {
  readonly at: number;
  readonly order: number;
  readonly happen: () => void;
}

/** The turns that a chain of promises gets before time goes on; none of ours is longer. */
const TURNS = 30;

export class World {
  readonly random: Random;
  readonly #events: Event[] = []; // a heap
  #now = 1_700_000_000_000;
  /** Looks at the world after every event. */
  watch: () => void = () => {};
  events = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  get now(): number {
    return this.#now;
  }

  /** Happens that many milliseconds from now. */
  later(milliseconds: number, happen: () => void): void {
    const event = { at: this.#now + Math.max(0, milliseconds), order: this.random.next(), happen };
    const heap = this.#events;
    let i = heap.push(event) - 1;
    for (let parent; i > 0 && before(event, heap[parent = (i - 1) >> 1]!); i = parent) {
      heap[i] = heap[parent]!;
      heap[parent] = event;
    }
  }

  delay(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.later(milliseconds, resolve));
  }

  /** Lets events happen until the work is done. */
  async until(work: Promise<unknown>): Promise<void> {
    let done = false;
    let failure: { readonly error: unknown } | undefined;
    work.then(() => done = true, (error) => {
      failure = { error };
    });
    for (;;) {
      for (let i = 0; i < TURNS; i++) await undefined;
      if (failure) throw failure.error;
      if (done) return;
      this.watch();
      const event = this.#next();
      if (event === undefined) throw new Error("nothing is going to happen, and the work is not done");
      this.#now = event.at;
      this.events++;
      event.happen();
    }
  }

  /** Lets so much time pass. */
  async pass(milliseconds: number): Promise<void> {
    await this.until(this.delay(milliseconds));
  }

  #next(): Event | undefined {
    const heap = this.#events;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || first === last) return first;
    let i = 0;
    heap[0] = last;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) return first;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) return first;
      heap[i] = heap[child]!;
      heap[child] = last;
      i = child;
    }
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** The clock of a machine in the world: off by a constant, and it stops with its machine. */
export class MachineClock implements Clock {
  alive = true;
  readonly #world: World;
  readonly #skew: number;

  constructor(world: World, skew: number) {
    this.#world = world;
    this.#skew = skew;
  }

  now(): number {
    return Math.floor(this.#world.now) + this.#skew;
  }

  monotonic(): number {
    return this.#world.now;
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => reject(signal!.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#world.later(milliseconds, () => {
        signal?.removeEventListener("abort", onAbort);
        if (this.alive) resolve();
      });
    });
  }
}
