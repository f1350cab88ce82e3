/** The network between an isolate and a store: time, loss on the way there and on the way back, outages. */
import { HoldfastError } from "@holdfast/edge";
import type { MachineClock, World } from "./_world.ts";

/** A time in which a store cannot be reached, and the way in which its calls fail. */
export interface Outage {
  readonly from: number;
  readonly to: number;
  /** Whether calls hang rather than fail. */
  readonly hangs: boolean;
}

/** The faults of a network. */
export interface NetworkOptions {
  /** Milliseconds a call takes, as a rule. */
  readonly latency: number;
  /** The chance that a call is lost, half of the time after it took effect. */
  readonly loss: number;
  readonly outages: Outage[];
  /** The milliseconds by which a call may take effect late, long after its caller gave up. */
  readonly late: number;
  /** The time that a caller waits, in milliseconds. */
  readonly timeout: number;
}

export class Network {
  readonly #world: World;
  readonly #options: NetworkOptions;
  /** The number of calls that took effect after their callers gave up. */
  lateEffects = 0;
  /** Whether anything goes wrong at all. */
  calm = false;

  constructor(world: World, options: NetworkOptions) {
    this.#world = world;
    this.#options = options;
  }

  /** A store as one isolate sees it; what was sent before the isolate died still arrives. */
  reach<T extends object>(store: T, machine: MachineClock): T {
    const cache = new Map<PropertyKey, unknown>();
    return new Proxy(store, {
      get: (target, name) => {
        if (cache.has(name)) return cache.get(name);
        const value: unknown = Reflect.get(target, name);
        let seen = value;
        if (typeof value === "function") {
          seen = name === "namespace"
            ? (room: string) => this.reach(value.call(target, room), machine)
            : (...args: unknown[]) => this.#call(machine, () => value.apply(target, args));
        } else if (typeof value === "object" && value !== null) seen = this.reach(value, machine);
        cache.set(name, seen);
        return seen;
      },
    });
  }

  async #call<T>(machine: MachineClock, effect: () => Promise<T>): Promise<T> {
    const { random } = this.#world;
    const { latency, loss, late } = this.#options;
    const lost = this.calm || !random.chance(loss) ? undefined : random.pick(["before", "after"] as const);
    // One call in fifty is on its way for much longer than its caller waits.
    const stray = !this.calm && random.chance(0.02) ? random.below(late) : 0;
    await this.#travel(machine, latency * random.next() + stray);
    const outage = this.#outage();
    if (outage?.hangs) await this.#never();
    if (outage !== undefined || lost === "before") throw unavailable(false);
    if (stray > this.#options.timeout) this.lateEffects++;
    const answer = await effect();
    await this.#travel(machine, latency * random.next());
    if (!machine.alive) await this.#never();
    if (lost === "after") throw unavailable(true);
    return answer;
  }

  /** Adds an outage. */
  cut(outage: Outage): void {
    this.#options.outages.push(outage);
  }

  #outage(): Outage | undefined {
    if (this.calm) return undefined;
    return this.#options.outages.find(({ from, to }) => this.#world.now >= from && this.#world.now < to);
  }

  async #travel(machine: MachineClock, milliseconds: number): Promise<void> {
    if (!machine.alive) await this.#never();
    await this.#world.delay(milliseconds);
  }

  #never(): Promise<never> {
    return new Promise(() => {});
  }
}

function unavailable(ambiguous: boolean): HoldfastError {
  return new HoldfastError("backend-unavailable", "Cannot reach the store", { retryable: true, ambiguous });
}
