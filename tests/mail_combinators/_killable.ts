/**
 * Processes that are killed, as far as a store and a provider can tell: at one point they ask nothing and
 * receive nothing any more.
 */
import type { AtomicStore, Clock } from "@holdfast/edge";
import type { Mailer } from "@holdfast/edge/mail";
import { finishItem } from "../../src/outbox/outbox_transitions.ts";

/**
 * One life; it ends at its `steps`-th step, before it is done or after. A step is a call to the store or to
 * the mailer.
 */
export class Life {
  dead = false;
  /** The keys of messages that it has noted as sent. */
  readonly noted = new Set<unknown>();
  #steps: number;
  readonly #after: boolean;
  readonly #over = Promise.withResolvers<void>();
  /** Resolves when it ended. */
  readonly over: Promise<void> = this.#over.promise;

  /** The runtime's clock, whose timers end with the process. */
  readonly clock: Clock = {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    sleep: (milliseconds, signal) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, milliseconds);
        signal?.addEventListener("abort", () => {
          clearTimeout(timer);
          reject(signal.reason);
        });
        this.over.then(() => clearTimeout(timer));
      }),
  };

  constructor(steps: number, after: boolean) {
    this.#steps = steps;
    this.#after = after;
  }

  /** Ends it from outside. */
  kill(): void {
    this.dead = true;
    this.#over.resolve();
  }

  async step<T>(run: () => Promise<T>): Promise<T> {
    if (!this.dead && --this.#steps === 0) {
      this.kill();
      if (this.#after) await run().catch(() => {});
    }
    if (this.dead) return await new Promise<never>(() => {});
    const result = await run().then((value) => () => value, (error) => () => {
      throw error;
    });
    if (this.dead) return await new Promise<never>(() => {});
    return result();
  }

  store(store: AtomicStore): AtomicStore {
    return new Proxy(store, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        if (name === "namespace") return (space: string) => this.store(target.namespace(space));
        return (...args: unknown[]) =>
          this.step(async () => {
            const result = await value.apply(target, args);
            if (args[0] === finishItem) this.noted.add(args[1]);
            return result;
          });
      },
    });
  }

  mailer(mailer: Mailer): Mailer {
    return { ...mailer, send: (message, options) => this.step(() => mailer.send(message, options)) };
  }
}
