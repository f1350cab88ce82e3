/**
 * The throttle over an atomic store; the contract is in `throttle.ts`, the calls in `bound_throttle.ts`, the
 * semantics in `throttle_transitions.ts`.
 */
import { type Duration, toMilliseconds } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { checkInteger, checkNeededOptions, checkOptionNames, type OptionNames } from "../validate.ts";
import {
  askStore,
  askUnits,
  bounded,
  decisionOf,
  giveBack,
  reporting,
  takeUnits,
  withoutStore,
} from "./bound_throttle.ts";
import { givenPolicies, TASK } from "./policies.ts";
import type {
  CheckOptions,
  ResolvedPolicy,
  Throttle,
  ThrottleDecision,
  ThrottleOptions,
} from "./throttle.ts";
import { bindThrottle, type BoundThrottle, planThrottle } from "./throttle_plan.ts";
import { blockThrottle, peekThrottle } from "./throttle_transitions.ts";

/** A hundred years: a record's times stay integers of 15 digits. */
const LONGEST_BLOCK = 3_153_600_000_000;

const OPTIONS = {
  name: true,
  whenUnavailable: true,
  timeout: true,
  onFault: true,
  denyCache: true,
  clock: true,
  policies: true,
  limit: true,
  window: true,
  algorithm: true,
  burst: true,
} satisfies OptionNames<ThrottleOptions>;

const CALL_OPTIONS = { signal: true } satisfies OptionNames<CallOptions>;
const CHECK_OPTIONS = { signal: true, cost: true } satisfies OptionNames<CheckOptions>;

/**
 * Makes a throttle over any atomic store.
 *
 * @throws {RangeError} when a limit, window or burst is out of range, or two policies share a name
 * @throws {TypeError} when the name is missing, or an option is unknown or of another type
 * @category Throttle
 * @example
 * ```ts
 * import { createThrottle, memoryStore } from "@holdfast/edge";
 * const throttle = createThrottle(memoryStore(), { name: "mails", limit: 2, window: "1m" });
 * const allowed: boolean[] = [];
 * for (let i = 0; i < 3; i++) allowed.push((await throttle.check("ada")).allowed);
 * if (allowed.join() !== "true,true,false") throw new Error("unexpected");
 * ```
 */
export function createThrottle(store: AtomicStore, options: ThrottleOptions): Throttle {
  checkNeededOptions(TASK, options, OPTIONS, "'name', 'limit' and 'window'");
  const plan = planThrottle(options, givenPolicies(options, options.policies));
  return new StoreThrottle(bindThrottle(plan, store));
}

class StoreThrottle implements Throttle {
  readonly policies: readonly ResolvedPolicy[];
  readonly #bound: BoundThrottle;

  constructor(bound: BoundThrottle) {
    this.policies = bound.plan.policies;
    this.#bound = bound;
  }

  check(key: string, options?: CheckOptions): Promise<ThrottleDecision> {
    return options === undefined
      ? Promise.resolve(takeUnits(this.#bound, key, 1))
      : this.#checkWith(key, options);
  }

  async #checkWith(key: string, options: CheckOptions): Promise<ThrottleDecision> {
    checkOptionNames("throttle", options, CHECK_OPTIONS);
    const { signal, cost = 1 } = options;
    checkInteger("throttle", "cost", cost, 0);
    signal?.throwIfAborted();
    return await takeUnits(this.#bound, key, cost, { signal });
  }

  async peek(key: string, options?: CallOptions): Promise<ThrottleDecision> {
    checkOptionNames("peek", options, CALL_OPTIONS);
    const bound = this.#bound;
    try {
      return decisionOf(bound.plan, await askUnits(bound, peekThrottle, key, 1, options));
    } catch (error) {
      return await withoutStore(bound, error, options, (other) => other.peek(key, options));
    }
  }

  async refund(key: string, cost: number, options?: CallOptions): Promise<ThrottleDecision> {
    checkOptionNames("refund", options, CALL_OPTIONS);
    return await giveBack(this.#bound, key, checkInteger("refund", "cost", cost), options);
  }

  async block(key: string, duration: Duration, options?: CallOptions): Promise<void> {
    checkOptionNames("block", options, CALL_OPTIONS);
    const milliseconds = toMilliseconds(duration, "duration");
    checkInteger("block", "duration", milliseconds, 1, LONGEST_BLOCK);
    const bound = this.#bound;
    const input = { duration: String(milliseconds) };
    bound.denials?.forget(key);
    await reporting(bound, options, () => askStore(bound, blockThrottle, key, input, options));
  }

  async reset(key: string, options?: CallOptions): Promise<boolean> {
    checkOptionNames("reset", options, CALL_OPTIONS);
    const { denials, store, plan } = this.#bound;
    denials?.forget(key);
    const deleted = () => bounded(plan, store.delete(key, options), options, true);
    return await reporting(this.#bound, options, deleted);
  }
}
