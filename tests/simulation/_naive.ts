/**
 * Replication as the seed document describes it, in our words: three strategies, a worker with a queue of events that
 * tries each a fixed number of times, an upsert with a time to live on both sides, the secondary asked on a miss. It is
 * here to lose: a simulator that it survives would prove nothing.
 */
import { type AtomicStore, HoldfastError, type ReplicationStrategy } from "@holdfast/edge";
import type { MachineClock } from "./_world.ts";

type Data = Record<string, string>;
type Event =
  | { readonly key: string; readonly type: "save"; readonly data: Data; readonly ttl: number }
  | { readonly key: string; readonly type: "delete" };

const ATTEMPTS = 3;
const DELAY = 100;

export class NaiveReplication {
  readonly #primary: AtomicStore;
  readonly #secondary: AtomicStore;
  readonly #strategy: ReplicationStrategy;
  readonly #clock: MachineClock;
  readonly #queue: Event[] = [];
  #working = false;

  constructor(
    primary: AtomicStore,
    secondary: AtomicStore,
    strategy: ReplicationStrategy,
    clock: MachineClock,
  ) {
    this.#primary = primary;
    this.#secondary = secondary;
    this.#strategy = strategy;
    this.#clock = clock;
  }

  get pending(): number {
    return this.#queue.length;
  }

  async load(key: string): Promise<Data | undefined> {
    return await this.#primary.get<Data>(key) ?? await this.#secondary.get<Data>(key);
  }

  async save(key: string, data: Data, ttl: number): Promise<void> {
    await this.#both({ key, type: "save", data, ttl });
  }

  async delete(key: string): Promise<void> {
    await this.#both({ key, type: "delete" });
  }

  /** Waits until the worker has nothing left to do. */
  async idle(): Promise<void> {
    while (this.#working) await this.#clock.sleep(DELAY);
  }

  async #both(event: Event): Promise<void> {
    if (this.#strategy === "sync") {
      const done = await Promise.allSettled([apply(this.#primary, event), apply(this.#secondary, event)]);
      for (const one of done) if (one.status === "rejected") throw one.reason;
      return;
    }
    await apply(this.#primary, event);
    if (this.#strategy === "acknowledged") return await apply(this.#secondary, event);
    this.#queue.push(event);
    if (!this.#working) void this.#work();
  }

  async #work(): Promise<void> {
    this.#working = true;
    while (this.#queue.length > 0) {
      for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
        try {
          // Its requests had a deadline, too: a worker that hangs for ever would be too easy to beat.
          await Promise.race([
            apply(this.#secondary, this.#queue[0]!),
            this.#clock.sleep(2000).then(() => {
              throw new HoldfastError("timeout", "Cannot wait longer");
            }),
          ]);
          break;
        } catch {
          if (attempt < ATTEMPTS) await this.#clock.sleep(DELAY);
        }
      }
      this.#queue.shift();
    }
    this.#working = false;
  }
}

async function apply(store: AtomicStore, event: Event): Promise<void> {
  if (event.type === "save") await store.set(event.key, event.data, { ttl: event.ttl });
  else await store.delete(event.key);
}
