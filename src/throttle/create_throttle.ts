/**
 * The throttle over an atomic store; the contract is in `throttle.ts`, the semantics in
 * `throttle_transitions.ts`.
 */
import type { Clock } from "../clock.ts";
import { withTimeout } from "../deadline.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { isOutage, isStoreFull } from "../fault_class.ts";
import { safely } from "../safely.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { ask } from "../store/direct.ts";
import type { Awaitable } from "../store/engine.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import {
  checkFunction,
  checkInteger,
  checkNeededOptions,
  checkOptionNames,
  checkStore,
  type OptionNames,
} from "../validate.ts";
import { DenyCache } from "./_deny_cache.ts";
import { checkName, givenPolicies, policyFields, resolvePolicies } from "./policies.ts";
import type {
  CheckOptions,
  PolicyState,
  ResolvedPolicy,
  Throttle,
  ThrottleDecision,
  ThrottleOptions,
} from "./throttle.ts";
import { blockThrottle, checkThrottle, peekThrottle } from "./throttle_transitions.ts";

/** The `retryAfter` of a client that was denied during an outage, in milliseconds. */
const OUTAGE_RETRY_AFTER = 1000;

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
  return planThrottle(options).over(store);
}

/** A throttle without its store: the options are checked once, and used with the store of each request. */
export interface ThrottlePlan {
  /** The throttle over this store. Cheap, so that no request has to use the store of another one. */
  over(store: AtomicStore): Throttle;
}

/**
 * Checks the options of a throttle before there is a store.
 *
 * @throws {RangeError | TypeError} like {@linkcode createThrottle}
 */
export function planThrottle(options: ThrottleOptions): ThrottlePlan {
  checkNeededOptions("make a throttle", options, OPTIONS, "'name', 'limit' and 'window'");
  const settings = settingsOf(options);
  return {
    over(store) {
      checkStore("make a throttle", store);
      // Two levels, so that no throttle's name meets the namespace of another contract.
      return new StoreThrottle(store.namespace("throttle").namespace(settings.name), settings);
    },
  };
}

/** The options with every default filled in. */
interface Settings {
  readonly name: string;
  readonly policies: readonly ResolvedPolicy[];
  readonly input: Fields;
  readonly whenUnavailable: "allow" | "deny" | "throw" | Throttle;
  readonly onFault: (error: unknown) => void;
  readonly timeout: number;
  readonly denyCache: number | undefined;
  readonly clock: Clock | undefined;
  readonly callIds: CallIds;
}

function settingsOf(options: ThrottleOptions): Settings {
  const { whenUnavailable = "allow", onFault, timeout = "1s", clock } = options;
  const name = checkName(options.name);
  if (!(["allow", "deny", "throw"].includes(whenUnavailable as string) || isThrottle(whenUnavailable))) {
    throw new TypeError(
      'Cannot make a throttle as \'whenUnavailable\' must be "allow", "deny", "throw" or a throttle',
    );
  }
  checkFunction("make a throttle", "onFault", onFault);
  const policies = resolvePolicies(name, givenPolicies(options, options.policies));
  return {
    name,
    policies,
    input: policyFields(policies),
    whenUnavailable,
    onFault: safely(onFault),
    timeout: toMilliseconds(timeout, "timeout"),
    denyCache: options.denyCache === undefined ? undefined : toMilliseconds(options.denyCache, "denyCache"),
    clock,
    callIds: new CallIds(),
  };
}

/** Names calls, so that a copy of one counts once: a random beginning, then a count. */
class CallIds {
  #start: string | undefined; // drawn at the first call: Workers have no randomness before a request
  #calls = 0;

  next(): string {
    // No secret, and short: a record remembers as many names as 64 characters hold.
    this.#start ??= (crypto.getRandomValues(new Uint32Array(1))[0]! % 36 ** 6).toString(36);
    return this.#start + (this.#calls++).toString(36);
  }
}

function isThrottle(value: unknown): value is Throttle {
  const { check, peek } = Object(value) as Partial<Throttle>;
  return typeof check === "function" && typeof peek === "function";
}

class StoreThrottle implements Throttle {
  readonly policies: readonly ResolvedPolicy[];
  readonly #store: AtomicStore;
  readonly #settings: Settings;
  readonly #denials: DenyCache | undefined;

  constructor(store: AtomicStore, settings: Settings) {
    const { policies, input, clock, denyCache } = settings;
    this.policies = policies;
    this.#store = store;
    this.#settings = settings;
    if (denyCache !== undefined) {
      const ofPolicies = Object.values(input).join("\n") + "\n";
      this.#denials = new DenyCache(store, ofPolicies, clock, denyCache);
    }
  }

  async check(key: string, options: CheckOptions = {}): Promise<ThrottleDecision> {
    checkOptionNames("throttle", options, CHECK_OPTIONS);
    const cost = checkInteger("throttle", "cost", options.cost ?? 1, 0);
    options.signal?.throwIfAborted();
    const denied = this.#denials?.find(key, cost);
    if (denied !== undefined) return denied;
    let decision: ThrottleDecision;
    try {
      const asked = cost === 0 ? this.#look(key, options) : this.#take(key, cost, options);
      const output = asked instanceof Promise ? await asked : asked;
      decision = cost === 0 ? this.#seen(output, 0) : this.#taken(output);
    } catch (error) {
      decision = await this.#withoutStore(error, options, (other) => other.check(key, options));
    }
    this.#denials?.note(key, cost, decision);
    return decision;
  }

  async peek(key: string, options?: CallOptions): Promise<ThrottleDecision> {
    checkOptionNames("peek", options, CALL_OPTIONS);
    try {
      return this.#seen(await this.#look(key, options), 1);
    } catch (error) {
      return await this.#withoutStore(error, options, (other) => other.peek(key, options));
    }
  }

  async refund(key: string, cost: number, options?: CallOptions): Promise<ThrottleDecision> {
    checkOptionNames("refund", options, CALL_OPTIONS);
    const units = checkInteger("refund", "cost", cost);
    this.#denials?.forget(key);
    return this.#taken(await this.#reporting(() => this.#take(key, -units, options), options));
  }

  async block(key: string, duration: Duration, options?: CallOptions): Promise<void> {
    checkOptionNames("block", options, CALL_OPTIONS);
    const milliseconds = checkInteger(
      "block",
      "duration",
      toMilliseconds(duration, "duration"),
      1,
      LONGEST_BLOCK,
    );
    const input = { call: this.#settings.callIds.next(), duration: String(milliseconds) };
    this.#denials?.forget(key);
    await this.#reporting(() => this.#ask(blockThrottle, key, input, options), options);
  }

  async reset(key: string, options?: CallOptions): Promise<boolean> {
    checkOptionNames("reset", options, CALL_OPTIONS);
    this.#denials?.forget(key);
    const deleted = () => this.#withTimeout(this.#store.delete(key, options), options, true);
    return await this.#reporting(deleted, options);
  }

  #take(key: string, cost: number, options: CallOptions | undefined): Awaitable<Fields> {
    const input = { cost: String(cost), call: this.#settings.callIds.next(), ...this.#settings.input };
    return this.#ask(checkThrottle, key, input, options);
  }

  #taken(output: Fields): ThrottleDecision {
    const policies = this.policies.map((policy, i) => policyState(policy, output[`policy${i}`]!));
    return decision(policies, output["allowed"] === "1", Number(output["blockedFor"] ?? 0), false);
  }

  #look(key: string, options: CallOptions | undefined): Awaitable<Fields> {
    return this.#ask(peekThrottle, key, this.#settings.input, options);
  }

  /** Whether `cost` units (0 or 1) would be admitted now. */
  #seen(output: Fields, cost: 0 | 1): ThrottleDecision {
    const blockedFor = Number(output["blockedFor"] ?? 0);
    const policies = this.policies.map((policy, i): PolicyState => {
      const state = policyState(policy, output[`policy${i}`]!);
      return { ...state, retryAfter: state.remaining >= cost ? 0 : state.nextAfter };
    });
    const allowed = blockedFor === 0 && policies.every(({ remaining }) => remaining >= cost);
    return decision(policies, allowed, blockedFor, false);
  }

  /**
   * The answer of the store, bounded in time; an engine in this process answers at once and needs no bound.
   */
  #ask(
    transition: Transition,
    key: string,
    input: Fields,
    options: CallOptions | undefined,
  ): Awaitable<Fields> {
    const output = ask(this.#store, transition, key, input, options);
    if (!(output instanceof Promise) && options?.signal === undefined) return sound(output);
    // With a signal there is a promise in any case: it may abort before the caller hears of the answer.
    const answer = Promise.resolve(output);
    return this.#withTimeout(answer, options, transition !== peekThrottle).then(sound);
  }

  /** The decision after the store failed, or the fault itself. */
  async #withoutStore(
    error: unknown,
    options: CallOptions | undefined,
    ask: (other: Throttle) => Promise<ThrottleDecision>,
  ): Promise<ThrottleDecision> {
    const { whenUnavailable } = this.#settings;
    this.#report(error, options);
    if (whenUnavailable === "throw" || options?.signal?.aborted || !isOutage(error)) {
      throw error;
    }
    if (typeof whenUnavailable === "object") return { ...await ask(whenUnavailable), degraded: true };
    return this.#blind(whenUnavailable === "allow" && !isStoreFull(error));
  }

  async #reporting<T>(work: () => Awaitable<T>, options: CallOptions | undefined): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#report(error, options);
      throw error;
    }
  }

  /** Tells the listener, unless the fault is the caller's own: bad input or an abort. */
  #report(error: unknown, options: CallOptions | undefined): void {
    if (options?.signal?.aborted || error instanceof TypeError || error instanceof RangeError) return;
    this.#settings.onFault(error);
  }

  /** A decision without the store. */
  #blind(allowed: boolean): ThrottleDecision {
    const retryAfter = allowed ? 0 : OUTAGE_RETRY_AFTER;
    const policies = this.policies.map(({ name, limit, window }): PolicyState => {
      return { name, limit, window, remaining: allowed ? limit : 0, resetAfter: 0, nextAfter: 0, retryAfter };
    });
    return decision(policies, allowed, 0, true);
  }

  #withTimeout<T>(work: Promise<T>, options: CallOptions | undefined, writes: boolean): Promise<T> {
    return withTimeout(
      work,
      this.#settings.timeout,
      options?.signal,
      () =>
        new HoldfastError("timeout", "Cannot throttle as the store did not answer in time", {
          retryable: true,
          ambiguous: writes,
        }),
    );
  }
}

/**
 * The output itself.
 *
 * @throws {HoldfastError} `corrupt-record`
 */
function sound(output: Fields): Fields {
  if (output["error"] === undefined) return output;
  throw new HoldfastError(
    "corrupt-record",
    "Cannot read the throttle's record as it is none, or of another version",
  );
}

/** A policy and its figures: `remaining:reset:next:retry`. */
function policyState({ name, limit, window }: ResolvedPolicy, figures: string): PolicyState {
  const [remaining, resetAfter, nextAfter, retry] = numbersOf(figures);
  return { name, limit, window, remaining, resetAfter, nextAfter, retryAfter: retry < 0 ? Infinity : retry };
}

/**
 * Four integers between colons, by hand: each check reads them, and pieces of text cost more than all the
 * rest.
 */
function numbersOf(figures: string): [number, number, number, number] {
  const numbers: [number, number, number, number] = [0, 0, 0, 0];
  for (let i = 0, at = 0; i < figures.length; i++) {
    const code = figures.charCodeAt(i);
    if (code === 58 /* colon */) at++;
    // The one negative figure is -1.
    else if (code === 45 /* minus */) return [numbers[0], numbers[1], numbers[2], -1];
    else numbers[at] = numbers[at]! * 10 + code - 48;
  }
  return numbers;
}

/** A decision; its numbers are those of the tightest policy. */
function decision(
  policies: readonly PolicyState[],
  allowed: boolean,
  blockedFor: number,
  degraded: boolean,
): ThrottleDecision {
  let tightest = policies[0]!;
  for (const next of policies) {
    if (allowed ? next.remaining < tightest.remaining : next.retryAfter > tightest.retryAfter) {
      tightest = next;
    }
  }
  const { limit, remaining, resetAfter, nextAfter } = tightest;
  const retryAfter = allowed ? 0 : Math.max(blockedFor, tightest.retryAfter);
  return { allowed, blockedFor, degraded, limit, remaining, resetAfter, nextAfter, retryAfter, policies };
}
