/**
 * Throttles: how often something may happen, decided next to the data in one round trip for any number of
 * policies. A denied call consumes nothing; waiting exactly `retryAfter` admits.
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { resolvePolicies } from "./_policies.ts";
import { StoreThrottle } from "./_store_throttle.ts";

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

/** Options of {@linkcode createThrottle} beside the policies. */
export interface ThrottleBaseOptions {
  /**
   * The namespace the counters live in; two throttles never share one unless they share this.
   * @default {"throttle"}
   */
  readonly namespace?: string;
  /**
   * What a check answers when the store does not, be it an error or silence: allowed, denied, the error itself, or what
   * another throttle says (one in memory, say). Such a decision is marked `degraded`.
   * @default {"allow"}
   */
  readonly onError?: "allow" | "deny" | "throw" | Throttle;
  /**
   * How long the store may take.
   * @default {"1s"}
   */
  readonly timeout?: Duration;
  /** Hears of a store that does not answer; must not throw. */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * For how long at most a denied key is denied from this isolate's memory, without a request. A `refund` or `reset`
   * elsewhere may be seen that much later. Without it, every check asks the store.
   */
  readonly denyCache?: Duration | undefined;
  /**
   * How many units to take at once for a hot key, to be spent in this isolate; only for `gcra` and `token-bucket`. Never
   * more is admitted than without it: units that nobody spends are lost, at the rate at which new ones come. A `block`
   * elsewhere is seen when the units are spent.
   * @default {1}
   */
  readonly reserve?: number | undefined;
  /**
   * Whose time the deny cache and the reserve go by; the policies go by the store's.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/** Options of {@linkcode createThrottle}: one policy, or several that are decided together. */
export type ThrottleOptions =
  & ThrottleBaseOptions
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
  /** Milliseconds for which the key is still blocked; 0 when it is not. */
  readonly blockedFor: number;
  /** Whether the store did not answer and `onError` decided; the numbers say nothing then. */
  readonly degraded: boolean;
  /** Each policy, in the order given. */
  readonly policies: readonly PolicyState[];
}

/** A throttle on one store. */
export interface Throttle {
  /** The policies with everything decided. */
  readonly policies: readonly ResolvedPolicy[];
  /**
   * Takes `cost` units from every policy, or from none. One round trip, never repeated: a check whose reply was lost may
   * have counted, and `onError` decides.
   */
  check(key: string, options?: CheckOptions): Promise<ThrottleDecision>;
  /** Looks without taking: whether one unit would be there. */
  peek(key: string, options?: CallOptions): Promise<ThrottleDecision>;
  /** Gives units back, never beyond full. */
  refund(key: string, cost: number, options?: CallOptions): Promise<ThrottleDecision>;
  /** Denies everything for that long from now, whatever the policies say; again replaces, `reset` ends it. */
  block(key: string, duration: Duration, options?: CallOptions): Promise<void>;
  /** Forgets the key, a block included; answers whether there was anything to forget. */
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
  const policies = resolvePolicies("policies" in options ? options.policies : [options]);
  return new StoreThrottle(store.namespace(options.namespace ?? "throttle"), policies, options);
}
