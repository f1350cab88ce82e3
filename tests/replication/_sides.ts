/**
 * Two sides that a test controls: down, hanging, late, empty, or set back. Web APIs alone, so that it runs
 * in every runtime.
 */
import { HoldfastError, memoryStore } from "@holdfast/edge";
import { type Atomic, atomicSessionStore, type IndexedSessionStore } from "@holdfast/edge/sessions";
import type { Clock } from "@holdfast/edge";

export type Store = Atomic<IndexedSessionStore>;

/** A session store whose memory can be lost, and whose calls can fail, hang, or take their time. */
export class ControlledSide {
  mode: "up" | "down" | "hanging" = "up";
  /** The time that a call is on its way, in milliseconds. */
  delay = 0;
  /**
   * The delay at which a save takes effect after its call was given up, in milliseconds; undefined: as
   * called.
   */
  late: number | undefined;
  calls: string[] = [];
  readonly #clock: Clock;
  #inner: Store;
  readonly store: Store;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#inner = this.#empty();
    this.store = this.#controlled(() => this.#inner, "");
  }

  /** The store behind the network. */
  get inner(): Store {
    return this.#inner;
  }

  /** Restarts empty; answers what brings the old memory back. */
  forget(): () => void {
    const before = this.#inner;
    this.#inner = this.#empty();
    return () => void (this.#inner = before);
  }

  /** Keeps a copy of these sessions; answers what sets the side back to it. */
  async snapshot(keys: readonly string[]): Promise<() => void> {
    const copy = this.#empty();
    for (const key of keys) {
      const found = await this.#inner.load(key);
      if (found.state === "live") await copy.save(key, { type: "put", record: found.record });
    }
    return () => void (this.#inner = copy);
  }

  /** The calls since the last look. */
  asked(): string[] {
    return this.calls.splice(0);
  }

  #empty(): Store {
    return atomicSessionStore(memoryStore({ clock: this.#clock }), { remember: "10m" });
  }

  #controlled<T extends object>(current: () => T, path: string): T {
    return new Proxy({} as T, {
      get: (_target, name) => {
        const value: unknown = Reflect.get(current(), name);
        if (typeof value === "object" && value !== null) {
          return this.#controlled(() => Reflect.get(current(), name) as object, `${path}${String(name)}.`);
        }
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          const call = path + String(name);
          this.calls.push(call);
          if (this.mode === "hanging") return await new Promise(() => {});
          if (this.mode === "down") {
            throw new HoldfastError("backend-unavailable", "Cannot reach it", { retryable: true });
          }
          const late = call === "save" ? this.late : undefined;
          // A request in flight is not cancelled by its caller's abort.
          if (late !== undefined) args = args.slice(0, 2);
          const wait = late ?? this.delay;
          if (wait > 0) await this.#clock.sleep(wait);
          const now = current(); // it may have lost its memory meanwhile
          return await (Reflect.get(now, name) as (...args: unknown[]) => unknown).apply(now, args);
        };
      },
    });
  }
}
