import { toMilliseconds } from "../duration.ts";
import { checkInteger, checkOneOf, checkOptionNames, type OptionNames } from "../validate.ts";
import type { ResolvedPolicy, ThrottleAlgorithm, ThrottlePolicy } from "./throttle.ts";

/** The beginning of an error of these options: "Cannot make a throttle as …". */
export const TASK = "make a throttle";
/** Two limbs of a division in the transitions stay exact up to here; see `scale` there. */
const MAX_UNITS = 1_000_000_000;
const MAX_WINDOW = 63_072_000_000; // 730 days
/** Redis keeps a hash in its compact form while no field is longer than 64 bytes. */
const MAX_NAME = 64;

const ALGORITHMS: readonly ThrottleAlgorithm[] = ["gcra", "fixed-window", "sliding-window"];

const POLICY_OPTIONS = {
  name: true,
  limit: true,
  window: true,
  algorithm: true,
  burst: true,
} satisfies OptionNames<ThrottlePolicy>;

const RULE_OPTIONS = ["limit", "window", "algorithm", "burst"] as const;

/** A rule beside `policies`, of options that may have either. */
type RuleOptions = { readonly [Name in typeof RULE_OPTIONS[number]]?: unknown };

/**
 * The policies of the options: those of `policies`, or the one rule at the top.
 *
 * @throws {TypeError} when there are both
 */
export function givenPolicies<Policies>(
  options: RuleOptions,
  policies: Policies | undefined,
): Policies | readonly ThrottlePolicy[] {
  const { limit, window, algorithm, burst } = options;
  if (policies === undefined) return [{ limit, window, algorithm, burst } as ThrottlePolicy];
  const beside = RULE_OPTIONS.find((name) => options[name] !== undefined);
  if (beside === undefined) return policies;
  throw new TypeError(`Cannot ${TASK} as '${beside}' and 'policies' exclude each other: give it per policy`);
}

/**
 * Checks the throttle's name.
 *
 * @throws {TypeError} when it is missing or not printable ASCII
 */
export function checkName(name: unknown): string {
  return checkedName(name, "'name' of the throttle");
}

/** A name travels in header fields and in the names of a record's fields. */
function checkedName(name: unknown, which: string): string {
  if (typeof name === "string" && /^[\x20-\x7e]+$/.test(name) && name.length <= MAX_NAME) return name;
  throw new TypeError(
    `Cannot ${TASK} as ${which} must be 1 to ${MAX_NAME} characters of printable ASCII: current value is ${
      typeof name === "string" ? `of ${name.length} characters` : typeof name
    }`,
  );
}

/**
 * Fills in the defaults of every policy.
 *
 * @throws {RangeError} when a number is out of range, or two policies share a name
 * @throws {TypeError} when an option is unknown or of another type
 */
export function resolvePolicies(
  throttle: string,
  given: readonly ThrottlePolicy[],
): readonly ResolvedPolicy[] {
  if (!Array.isArray(given)) throw new TypeError(`Cannot ${TASK} as 'policies' must be an array`);
  const policies = given.map((policy) => resolvePolicy(throttle, policy));
  if (policies.length === 0 || new Set(policies.map(({ name }) => name)).size < policies.length) {
    throw new RangeError(`Cannot ${TASK} as it needs policies, each with its own name`);
  }
  return policies;
}

function resolvePolicy(throttle: string, policy: ThrottlePolicy): ResolvedPolicy {
  checkOptionNames(`${TASK} with a policy`, policy, POLICY_OPTIONS);
  const { limit, algorithm = "gcra", burst = limit } = policy;
  const name = policy.name === undefined ? throttle : checkedName(policy.name, "'name' of a policy");
  checkOneOf(TASK, "algorithm", algorithm, ALGORITHMS);
  checkInteger(TASK, "limit", limit, 1, MAX_UNITS);
  checkInteger(TASK, "burst", burst, 1, MAX_UNITS);
  if (policy.burst !== undefined && algorithm !== "gcra") {
    throw new TypeError(`Cannot ${TASK} as 'burst' is for "gcra" alone: current algorithm is "${algorithm}"`);
  }
  const window = toMilliseconds(policy.window, "window");
  if (Math.max(window, window / limit * burst) > MAX_WINDOW) {
    throw new RangeError(
      `Cannot ${TASK} as 'window' and the time for a full burst must be at most 730 days: ` +
        `current value is ${policy.window}`,
    );
  }
  return { name, limit, window, algorithm, burst };
}

/** The policy as the transitions take it. */
export function policyLine({ name, limit, window, algorithm, burst }: ResolvedPolicy): string {
  const numbers = algorithm === "gcra" ? `${window}:${limit}:${burst}` : `${window}:${limit}`;
  return `${algorithm.replace("-window", "")}:${numbers}:${name}`;
}
