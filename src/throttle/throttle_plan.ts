/** The options of a throttle, checked once, before there is a store. */
import type { Clock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import { safely } from "../safely.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { checkFunction, checkStore } from "../validate.ts";
import { DenyCache } from "./_deny_cache.ts";
import { checkName, policyLine, resolvePolicies, TASK } from "./policies.ts";
import type { ResolvedPolicy, Throttle, ThrottleBaseOptions, ThrottlePolicy } from "./throttle.ts";

/** The options with every default filled in. */
export interface ThrottlePlan {
  readonly name: string;
  readonly policies: readonly ResolvedPolicy[];
  /** The policies as the transitions take them. */
  readonly lines: readonly string[];
  readonly whenUnavailable: "allow" | "deny" | "throw" | Throttle;
  readonly onFault: (error: unknown) => void;
  readonly timeout: number;
  readonly denyCache: number | undefined;
  readonly clock: Clock | undefined;
}

/** A throttle on a store. Cheap, so that no request has to use the store of another one. */
export interface BoundThrottle {
  readonly plan: ThrottlePlan;
  /** The namespace of its counters. */
  readonly store: AtomicStore;
  readonly denials: DenyCache | undefined;
}

/**
 * Checks the options of a throttle; not their names, which are others in each function that takes them.
 *
 * @throws {RangeError | TypeError} like `createThrottle`
 */
export function planThrottle(options: ThrottleBaseOptions, given: readonly ThrottlePolicy[]): ThrottlePlan {
  const { whenUnavailable = "allow", onFault, timeout = "1s", denyCache, clock } = options;
  const name = checkName(options.name);
  if (!["allow", "deny", "throw"].includes(whenUnavailable as string) && !isThrottle(whenUnavailable)) {
    throw new TypeError(`Cannot ${TASK} as 'whenUnavailable' must be "allow", "deny", "throw" or a throttle`);
  }
  checkFunction(TASK, "onFault", onFault);
  const policies = resolvePolicies(name, given);
  return {
    name,
    policies,
    lines: policies.map(policyLine),
    whenUnavailable,
    onFault: safely(onFault),
    timeout: toMilliseconds(timeout, "timeout"),
    denyCache: denyCache === undefined ? undefined : toMilliseconds(denyCache, "denyCache"),
    clock,
  };
}

function isThrottle(value: unknown): value is Throttle {
  const { check, peek } = Object(value) as Partial<Throttle>;
  return typeof check === "function" && typeof peek === "function";
}

/**
 * The throttle on this store.
 *
 * @throws {TypeError} when it is no `AtomicStore`
 */
export function bindThrottle(plan: ThrottlePlan, given: AtomicStore): BoundThrottle {
  checkStore(TASK, given);
  const { name, lines, denyCache, clock } = plan;
  // Two levels, so that no throttle's name meets the namespace of another contract.
  const store = given.namespace("throttle").namespace(name);
  const denials = denyCache === undefined
    ? undefined
    : new DenyCache(store, lines.join("\n") + "\n", clock, denyCache);
  return { plan, store, denials };
}
