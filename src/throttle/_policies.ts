import { toMilliseconds } from "../duration.ts";
import type { Fields } from "../store/transition.ts";
import type { ResolvedPolicy, ThrottleAlgorithm, ThrottlePolicy } from "./throttle.ts";

const KINDS: Readonly<Record<ThrottleAlgorithm, string>> = {
  "gcra": "g",
  "token-bucket": "g",
  "fixed-window": "f",
  "sliding-window": "s",
};

/** Decides everything about the policies, or throws. */
export function resolvePolicies(given: readonly ThrottlePolicy[]): readonly ResolvedPolicy[] {
  const policies = given.map(resolvePolicy);
  if (policies.length === 0 || new Set(policies.map(({ name }) => name)).size < policies.length) {
    throw new RangeError(
      "Cannot make a throttle as it needs at least one policy, each with a name of its own",
    );
  }
  return policies;
}

function resolvePolicy(policy: ThrottlePolicy): ResolvedPolicy {
  const { name = "default", limit, algorithm = "gcra", burst = limit } = policy;
  const window = toMilliseconds(policy.window, "window");
  if (!(Number.isSafeInteger(limit) && limit > 0 && limit <= window * 1000)) {
    throw new RangeError(
      `Cannot throttle as 'limit' must be a positive integer of at most one per microsecond: current value is ${limit}`,
    );
  }
  // Microseconds of a full burst stay exact as a double, beside the clock's.
  if (!(Number.isSafeInteger(burst) && burst > 0 && burst * microseconds({ window, limit }) < 2 ** 52)) {
    throw new RangeError(
      `Cannot throttle as 'burst' must be a positive integer in range: current value is ${burst}`,
    );
  }
  if (!/^[\x20-\x7e]+$/.test(name)) {
    throw new TypeError(
      "Cannot throttle as the name of a policy must be printable ASCII: it travels in headers",
    );
  }
  if (KINDS[algorithm] === undefined) {
    throw new TypeError(`Cannot throttle as 'algorithm' is not one of ours: current value is ${algorithm}`);
  }
  return { name, limit, window, algorithm, burst };
}

/** Microseconds per unit, rounded up so that the limit is never passed. */
export function microseconds({ window, limit }: { window: number; limit: number }): number {
  return Math.ceil(window * 1000 / limit);
}

/** The policies as the transitions take them. */
export function policyFields(policies: readonly ResolvedPolicy[]): Fields {
  return Object.fromEntries(policies.map((policy, i) => {
    const kind = KINDS[policy.algorithm];
    const numbers = kind === "g" ? [microseconds(policy), policy.burst] : [policy.limit, policy.window];
    return [`p${i}`, [kind, ...numbers, policy.name].join(":")];
  }));
}
