/**
 * The network between a client and its engine, for engines that have none of their own: the same faults,
 * by seed.
 */
import { type AtomicStore, HoldfastError } from "@holdfast/edge";
import type { Random } from "../support/random.ts";
import type { Fault } from "../support/upstash_server.ts";

/** One of the faults of a network, or none; the delays are 40 to 440 ms. */
export function someFault(random: Random, rate: number): Fault | undefined {
  if (!random.chance(rate)) return undefined;
  return random.pick<() => Fault>([
    () => ({ cut: "before" }),
    () => ({ cut: "after" }),
    () => ({ status: 500, body: '{"error":"ERR internal"}', execute: true }),
    () => ({ delay: 40 + random.below(401) }),
  ])();
}

const failed = () =>
  new HoldfastError("backend-unavailable", "Cannot reach the engine", { retryable: true, ambiguous: true });

/** The store, with its calls cut before or after they ran, or delayed. */
export function faultyStore(store: AtomicStore, random: Random, rate: number): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return (space: string) => faultyStore(target.namespace(space), random, rate);
      if (name === "transact") {
        return async (...args: Parameters<AtomicStore["transact"]>) => {
          const fault = someFault(random, rate);
          if (fault && "delay" in fault) await new Promise((resolve) => setTimeout(resolve, fault.delay));
          if (fault && "cut" in fault && fault.cut === "before") throw failed();
          const output = await target.transact(...args);
          if (fault && !("delay" in fault)) throw failed();
          return output;
        };
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
