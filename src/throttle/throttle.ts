/**
 * Throttles: how often something may happen, decided next to the data in one round trip for any number of
 * policies. A denied call consumes nothing; waiting exactly `retryAfter` admits.
 */
import { type Duration, toMilliseconds } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import { checkThrottle } from "./throttle_transitions.ts";

/**
 * How a policy counts.
 *
 * - `gcra`: a steady rate with a burst; exact and smooth. `limit` at once and `limit` per window after that, so that a
 *   first window may see up to `burst + limit`; `burst: 1` spaces calls evenly.
 * - `token-bucket`: the same arithmetic under its other name; `burst` is the size of the bucket.
 * - `fixed-window`: a calendar quota that comes back at multiples of the window since the epoch (`"1d"`: midnight UTC).
 * - `sliding-window`: two calendar windows, the older one weighted.
 */
export type ThrottleAlgorithm = "gcra" | "token-bucket" | "fixed-window" | "sliding-window";

/** One rule: how much in how long. */
export interface ThrottlePolicy {
  /**
   * Names the policy in headers and keeps its count apart from others of the same throttle.
   * @default {"default"}
   */
  readonly name?: string;
  /** Units per window, a positive integer; at most one per microsecond. */
  readonly limit: number;
  /** The window. */
  readonly window: Duration;
  /**
   * How it counts.
   * @default {"gcra"}
   */
  readonly algorithm?: ThrottleAlgorithm;
  /**
   * How much may come at once; only for `gcra` and `token-bucket`.
   * @default {limit}
   */
  readonly burst?: number;
}

/** Options of {@linkcode createThrottle}: one policy, or several that are decided together. */
export type ThrottleOptions =
  & {
    /**
     * The namespace the counters live in; two throttles never share one unless they share this.
     * @default {"throttle"}
     */
    readonly namespace?: string;
  }
  & (ThrottlePolicy | { readonly policies: readonly ThrottlePolicy[] });

/** A policy with everything decided; the window in milliseconds. */
export interface ResolvedPolicy {
  /** Its name. */
  readonly name: string;
  /** Units per window. */
  readonly limit: number;
  /** The window in milliseconds. */
  readonly window: number;
  /** How it counts. */
  readonly algorithm: ThrottleAlgorithm;
  /** How much may come at once. */
  readonly burst: number;
}

/** Options of {@linkcode Throttle.check}. */
export interface CheckOptions extends CallOptions {
  /**
   * How many units this call takes, a positive integer.
   * @default {1}
   */
  readonly cost?: number;
}

/** Where a policy stands after a call. */
export interface PolicyState {
  /** The policy's name. */
  readonly name: string;
  /** Units per window. */
  readonly limit: number;
  /** The window in milliseconds. */
  readonly window: number;
  /** Units left now. */
  readonly remaining: number;
  /** Milliseconds until all units are back. */
  readonly resetAfter: number;
  /** Milliseconds until one more unit is there; 0 when none is missing. */
  readonly nextAfter: number;
  /** Milliseconds to wait for this cost: 0 when it fits, `Infinity` when it never will. */
  readonly retryAfter: number;
}

/** What a throttle decided. The numbers at the top are those of the tightest policy. */
export interface ThrottleDecision extends Omit<PolicyState, "name" | "window"> {
  /** Whether every policy had room; if not, none was charged. */
  readonly allowed: boolean;
  /** Each policy, in the order given. */
  readonly policies: readonly PolicyState[];
}

/** A throttle on one store. */
export interface Throttle {
  /** The policies with everything decided. */
  readonly policies: readonly ResolvedPolicy[];
  /** Takes `cost` units from every policy, or from none. One round trip. */
  check(key: string, options?: CheckOptions): Promise<ThrottleDecision>;
  /** Looks without taking: whether one unit would be there. */
  peek(key: string, options?: CallOptions): Promise<ThrottleDecision>;
  /** Gives units back, never beyond full. */
  refund(key: string, cost: number, options?: CallOptions): Promise<ThrottleDecision>;
  /** Forgets the key; answers whether there was anything to forget. */
  reset(key: string, options?: CallOptions): Promise<boolean>;
}

/**
 * A throttle over any atomic store.
 *
 * @throws {RangeError} when a limit, window or burst is not positive, or two policies share a name
 * @example
 * ```ts
 * import { createThrottle, memoryStore } from "@holdfast/edge";
 * const throttle = createThrottle(memoryStore(), { limit: 2, window: "1m" });
 * const decisions = [await throttle.check("ada"), await throttle.check("ada"), await throttle.check("ada")];
 * if (decisions.map((decision) => decision.allowed).join() !== "true,true,false") throw new Error("unexpected");
 * ```
 */
export function createThrottle(store: AtomicStore, options: ThrottleOptions): Throttle {
  const given = "policies" in options ? options.policies : [options];
  const policies = given.map(resolvePolicy);
  if (policies.length === 0 || new Set(policies.map(({ name }) => name)).size < policies.length) {
    throw new RangeError(
      "Cannot make a throttle as it needs at least one policy, each with a name of its own",
    );
  }
  return new StoreThrottle(store.namespace(options.namespace ?? "throttle"), policies);
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
  if (!(Number.isSafeInteger(burst) && burst > 0 && burst * Math.ceil(window * 1000 / limit) < 2 ** 52)) {
    throw new RangeError(
      `Cannot throttle as 'burst' must be a positive integer in range: current value is ${burst}`,
    );
  }
  if (!/^[\x20-\x7e]+$/.test(name)) {
    throw new TypeError(
      "Cannot throttle as the name of a policy must be printable ASCII: it travels in headers",
    );
  }
  if (!["gcra", "token-bucket", "fixed-window", "sliding-window"].includes(algorithm)) {
    throw new TypeError(`Cannot throttle as 'algorithm' is not one of ours: current value is ${algorithm}`);
  }
  return { name, limit, window, algorithm, burst };
}

class StoreThrottle implements Throttle {
  readonly policies: readonly ResolvedPolicy[];
  readonly #store: AtomicStore;
  readonly #input: Fields;

  constructor(store: AtomicStore, policies: readonly ResolvedPolicy[]) {
    this.policies = policies;
    this.#store = store;
    const input: Record<string, string> = { n: String(policies.length) };
    policies.forEach((policy, i) => {
      for (const [field, value] of Object.entries(policy)) input[`${i}.${field}`] = String(value);
    });
    this.#input = input;
  }

  check(key: string, options: CheckOptions = {}): Promise<ThrottleDecision> {
    return this.#take(key, positive(options.cost ?? 1), options);
  }

  peek(key: string, options?: CallOptions): Promise<ThrottleDecision> {
    return this.#take(key, 0, options);
  }

  refund(key: string, cost: number, options?: CallOptions): Promise<ThrottleDecision> {
    return this.#take(key, -positive(cost), options);
  }

  reset(key: string, options?: CallOptions): Promise<boolean> {
    return this.#store.delete(key, options);
  }

  async #take(key: string, cost: number, options: CallOptions | undefined): Promise<ThrottleDecision> {
    const output = await this.#store.transact(
      checkThrottle,
      key,
      { ...this.#input, cost: String(cost) },
      options,
    );
    const policies = this.policies.map(({ name, limit, window }, i): PolicyState => {
      const remaining = Number(output[`${i}.remaining`]);
      const nextAfter = Number(output[`${i}.next`]);
      // A look takes nothing: it answers for the one unit that a call would take.
      const retry = cost === 0 ? (remaining > 0 ? 0 : nextAfter) : Number(output[`${i}.retry`]);
      return {
        name,
        limit,
        window,
        remaining,
        resetAfter: Number(output[`${i}.reset`]),
        nextAfter,
        retryAfter: retry < 0 ? Infinity : retry,
      };
    });
    const allowed = cost === 0 ? policies.every(({ remaining }) => remaining > 0) : output.allowed === "1";
    const tightest = policies.reduce((a, b) =>
      (allowed ? b.remaining < a.remaining : b.retryAfter > a.retryAfter) ? b : a
    );
    const { limit, remaining, resetAfter, nextAfter, retryAfter } = tightest;
    return { allowed, limit, remaining, resetAfter, nextAfter, retryAfter, policies };
  }
}

function positive(cost: number): number {
  if (Number.isSafeInteger(cost) && cost > 0) return cost;
  throw new RangeError(`Cannot throttle as 'cost' must be a positive integer: current value is ${cost}`);
}
