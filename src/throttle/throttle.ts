/**
 * Throttles: how often something may happen, decided next to the data in one round trip for any number of
 * policies. A denied call consumes nothing; waiting exactly `retryAfter` admits.
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { CallOptions } from "../store/key_value_store.ts";

/**
 * How a policy counts.
 *
 * - `gcra`: a steady rate with a burst, exact to the unit. `burst` units at once and `limit` per window
 *   after that, so a first window may see up to `burst + limit`; `burst: 1` spaces calls evenly. A token
 *   bucket of `burst` tokens that refills with `limit` tokens per window admits the same calls at the same
 *   times.
 * - `fixed-window`: a calendar quota that comes back at multiples of the window since the epoch (`"1d"`:
 *   midnight UTC).
 * - `sliding-window`: two calendar windows, the older one weighted by the part of it that is less than a
 *   window ago. A denial lasts up to two windows.
 */
export type ThrottleAlgorithm = "gcra" | "fixed-window" | "sliding-window";

/** How much in how long, without a name: what a throttle of one policy is made of. */
export interface ThrottleRule {
  /** The units per window, an integer from 1 to 10^9. */
  readonly limit: number;
  /** The window, at most 730 days. */
  readonly window: Duration;
  /**
   * How it counts.
   * @default {"gcra"}
   */
  readonly algorithm?: ThrottleAlgorithm | undefined;
  /**
   * The units that may come at once, an integer from 1 to 10^9; only for `gcra`. They come back within 730
   * days.
   * @default {limit}
   */
  readonly burst?: number | undefined;
}

/** One rule of several that are decided together. */
export interface ThrottlePolicy extends ThrottleRule {
  /**
   * The policy's name, up to 64 characters of printable ASCII: the header fields and `decision.policies`
   * carry it. Policies of one throttle need different names; the only policy of a throttle may go without.
   * @default {the throttle's name}
   */
  readonly name?: string | undefined;
}

/** Options of {@linkcode createThrottle} besides the policies. */
export interface ThrottleBaseOptions {
  /**
   * The throttle's name, up to 64 characters of printable ASCII. It is the namespace of the counters: two
   * throttles on one store share a count only if they share this name and a policy. There is no default, as
   * a shared one would let a throttle for logins and one for an API count each other's calls.
   */
  readonly name: string;
  /**
   * The decision during an outage of the store (an error that passes by itself, or no reply within
   * `timeout`): allowed, denied, the error itself, or the decision of another throttle, one in memory for
   * example. Such a decision is marked `degraded`. A full store (`store-full`) is denied under `"allow"` too, as
   * strangers may have filled it. A misconfigured store (a wrong token, a missing database) always throws.
   * @default {"allow"}
   */
  readonly whenUnavailable?: "allow" | "deny" | "throw" | Throttle | undefined;
  /**
   * The time for the whole call, in which the store has to answer. Another throttle in `whenUnavailable`
   * has its own.
   * @default {"1s"}
   */
  readonly timeout?: Duration | undefined;
  /** Called with every fault of the store, whether it is thrown or decided by `whenUnavailable`. */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The longest time for which a denied key is denied from this isolate's memory, without a request. A
   * `refund` or `reset` in another isolate is seen that much later. At most 10,000 denials are kept per
   * store and name; the oldest goes first.
   * @default {no cache: every check asks the store}
   */
  readonly denyCache?: Duration | undefined;
  /**
   * The clock of the deny cache; the policies use the store's.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * Options of {@linkcode createThrottle}: one rule (`limit`, `window` …), or `policies` that are decided
 * together, never both.
 *
 * `name` at the top is always the throttle's. Each of `policies` has a `name` of its own; one rule alone
 * bears the throttle's.
 */
export type ThrottleOptions =
  & ThrottleBaseOptions
  & (
    | (ThrottleRule & { readonly policies?: undefined })
    | ({ readonly [Name in keyof ThrottleRule]?: undefined } & {
      readonly policies: readonly ThrottlePolicy[];
    })
  );

/** A policy with every default filled in; the window in milliseconds. */
export interface ResolvedPolicy {
  /** The policy's name. */
  readonly name: string;
  /** The units per window. */
  readonly limit: number;
  /** The window in milliseconds. */
  readonly window: number;
  /** How it counts. */
  readonly algorithm: ThrottleAlgorithm;
  /** The units that may come at once; the limit for windows. */
  readonly burst: number;
}

/** Options of {@linkcode Throttle.check}. */
export interface CheckOptions extends CallOptions {
  /**
   * The units that this call takes, an integer of at least 0. A cost of 0 takes nothing and is allowed
   * unless the key is blocked.
   * @default {1}
   */
  readonly cost?: number | undefined;
}

/** The state of a policy after a call. */
export interface PolicyState {
  /** The policy's name. */
  readonly name: string;
  /** The units per window. */
  readonly limit: number;
  /** The window in milliseconds. */
  readonly window: number;
  /** The units left now. */
  readonly remaining: number;
  /** Milliseconds until all units are back. */
  readonly resetAfter: number;
  /** Milliseconds until one more unit is there; 0 when none is missing. */
  readonly nextAfter: number;
  /** Milliseconds to wait for this cost: 0 when it fits, `Infinity` when it never will. */
  readonly retryAfter: number;
}

/** The decision of a throttle. The numbers at the top are those of the tightest policy. */
export interface ThrottleDecision extends Omit<PolicyState, "name" | "window"> {
  /** Whether every policy had the units; if not, none was charged. */
  readonly allowed: boolean;
  /** Milliseconds for which the key is still blocked; 0 when it is not. */
  readonly blockedFor: number;
  /** Whether the store did not answer and `whenUnavailable` decided; the numbers say nothing then. */
  readonly degraded: boolean;
  /** Each policy, in the order given. */
  readonly policies: readonly PolicyState[];
}

/**
 * A throttle on one store.
 *
 * A counter belongs to a window and an algorithm, with GCRA also to the limit and burst: another one starts
 * at zero. A calendar quota keeps its count when its limit changes. A key is never denied for longer than a
 * window of the policy that denies it (two with `sliding-window`, the time of a full burst with a `burst`
 * above the limit), whatever was configured before; where the clocks of an engine disagree or step back, at
 * most a second longer.
 */
export interface Throttle {
  /** The policies with every default filled in. */
  readonly policies: readonly ResolvedPolicy[];
  /**
   * Takes `cost` units from every policy, or from none. One round trip, not repeated here: a check whose
   * reply was lost may have counted, and `whenUnavailable` decides. A copy that a network sends again
   * within ten seconds counts once, unless six other calls of the key came in between.
   *
   * @throws {RangeError} when the cost is no integer of at least 0
   * @throws {HoldfastError} when the store is misconfigured, or the record is none of a throttle's
   * (`corrupt-record`)
   */
  check(key: string, options?: CheckOptions): Promise<ThrottleDecision>;
  /** Reads the state without taking anything; `allowed` tells whether one unit would be there. */
  peek(key: string, options?: CallOptions): Promise<ThrottleDecision>;
  /** Gives units back, never beyond full. */
  refund(key: string, cost: number, options?: CallOptions): Promise<ThrottleDecision>;
  /**
   * Denies everything for that long from now, at most 36,500 days, whatever the policies say. Another call
   * replaces it, `reset` ends it.
   */
  block(key: string, duration: Duration, options?: CallOptions): Promise<void>;
  /** Deletes the key's counters and its block; returns whether there were any. */
  reset(key: string, options?: CallOptions): Promise<boolean>;
}
