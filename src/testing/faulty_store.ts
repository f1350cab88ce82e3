/** A store that fails as a network does, by a plan. */
import { HoldfastError } from "../errors.ts";
import { pages } from "../store/_pages.ts";
import type { KeyValueStore, ListOptions } from "../store/key_value_store.ts";
import type { Transition } from "../store/transition.ts";
import { checkMethods } from "../validate.ts";
import { type Fault, faultChooser, type FaultPlan } from "./fault_plan.ts";

const TASK = "make a faulty store";

/**
 * A store around another one whose calls fail by a plan: for tests of what your own code does when the store
 * is away, or when a reply is lost. Every contract runs on it. Calls are counted over all of its namespaces;
 * a `list` is a call a page, and a wait for a change never fails.
 *
 * @throws {TypeError} when the store is none, or the plan neither an array nor a function
 * @category Testing
 * @example
 * ```ts
 * import { createIdempotency, memoryStore } from "@holdfast/edge";
 * import { faultyStore } from "@holdfast/edge/testing";
 *
 * let runs = 0;
 * const idempotency = createIdempotency(faultyStore(memoryStore(), ["lost-reply"]));
 * await idempotency.run("order:17", () => ++runs); // the lost reply is asked for again, by the same owner
 * if (runs !== 1) throw new Error("unexpected");
 * ```
 */
export function faultyStore<Store extends KeyValueStore>(store: Store, plan: FaultPlan): Store {
  checkMethods(TASK, "it must be a KeyValueStore", store, ["get", "set", "namespace"]);
  return withFaults(store, faultChooser(TASK, plan));
}

function withFaults<Store extends KeyValueStore>(
  store: Store,
  choose: (operation: string) => Fault | undefined,
): Store {
  const faulty: Store = new Proxy(store, {
    get(store, name) {
      const member: unknown = Reflect.get(store, name);
      if (typeof member !== "function") return member;
      const call = (...args: unknown[]) => Reflect.apply(member, store, args);
      switch (name) {
        case "namespace":
          return (name: string) => withFaults(store.namespace(name), choose);
        case "list":
          return (options?: ListOptions) => pages(faulty, options);
        case "watch":
          return call;
        case "transact":
          return (transition: Transition, ...rest: unknown[]) =>
            suffer(choose(transition.name), () => call(transition, ...rest));
      }
      if (typeof name === "symbol") return call; // such as that of `using`: no call of a store
      return (...args: unknown[]) => suffer(choose(name), () => call(...args));
    },
  });
  return faulty;
}

async function suffer<T>(fault: Fault | undefined, work: () => T | Promise<T>): Promise<T> {
  if (fault === undefined) return await work();
  if (fault === "lost-reply") await work();
  throw errorOf(fault);
}

/** The error that an engine gives for it. */
function errorOf(fault: Fault): HoldfastError {
  switch (fault) {
    case "unauthorized":
      return new HoldfastError(
        "unauthorized",
        "Cannot use the store as the plan says that it is unauthorized",
      );
    case "rate-limited":
      return new HoldfastError("rate-limited", "Cannot use the store as the plan says that it is busy", {
        retryable: true,
        retryAfter: 1000,
      });
    // The caller of a lost request sees what the caller of a lost reply sees.
    case "lost-request":
    case "lost-reply":
      return new HoldfastError("backend-unavailable", "Cannot reach the store as the plan says so", {
        retryable: true,
        ambiguous: true,
      });
  }
}
