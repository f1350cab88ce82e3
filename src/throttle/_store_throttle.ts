/** A throttle over an atomic store; the contract is in `throttle.ts`. */
import { systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { withTimeout } from "../deadline.ts";
import { randomToken } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { DenyCache } from "./_deny_cache.ts";
import { microseconds, policyFields } from "./_policies.ts";
import { Reserve } from "./_reserve.ts";
import type {
  CheckOptions,
  PolicyState,
  ResolvedPolicy,
  Throttle,
  ThrottleBaseOptions,
  ThrottleDecision,
} from "./throttle.ts";
import { blockThrottle, checkThrottle, peekThrottle } from "./throttle_transitions.ts";

/** How long a client that was denied for an outage should stay away. */
const OUTAGE = 1000;

/** See {@linkcode createThrottle}. */
export class StoreThrottle implements Throttle {
  readonly policies: readonly ResolvedPolicy[];
  readonly #store: AtomicStore;
  readonly #input: Fields;
  readonly #onError: "allow" | "deny" | "throw" | Throttle;
  readonly #report: (error: unknown) => void;
  readonly #timeout: number;
  readonly #denials: DenyCache | undefined;
  readonly #reserve: Reserve | undefined;
  #name: string | undefined; // drawn at the first call: Workers have no randomness before a request
  #calls = 0;

  constructor(store: AtomicStore, policies: readonly ResolvedPolicy[], options: ThrottleBaseOptions) {
    const { onError = "allow", onFault = () => {}, timeout = "1s", clock = systemClock } = options;
    const { denyCache, reserve = 1 } = options;
    if (!(["allow", "deny", "throw"].includes(onError as string) || typeof onError === "object")) {
      throw new TypeError('Cannot throttle as \'onError\' must be "allow", "deny", "throw" or a throttle');
    }
    this.policies = policies;
    this.#store = store;
    this.#input = policyFields(policies);
    this.#onError = onError;
    this.#report = onFault;
    this.#timeout = toMilliseconds(timeout, "timeout");
    if (denyCache !== undefined) this.#denials = new DenyCache(clock, toMilliseconds(denyCache, "denyCache"));
    if (reserve !== 1) {
      const bursts = policies.map(({ algorithm, burst }) => algorithm.endsWith("window") ? 0 : burst);
      if (!(Number.isSafeInteger(reserve) && reserve > 0 && reserve <= Math.min(...bursts))) {
        throw new RangeError(
          `Cannot throttle as 'reserve' must be a positive integer within every burst, and no policy a window: current value is ${reserve}`,
        );
      }
      this.#reserve = new Reserve(clock, reserve, Math.min(...policies.map(microseconds)) / 1000);
    }
  }

  async check(key: string, options: CheckOptions = {}): Promise<ThrottleDecision> {
    const cost = positive(options.cost ?? 1);
    options.signal?.throwIfAborted();
    const denied = this.#denials?.find(key, cost);
    if (denied !== undefined) return denied;
    const ask = (cost: number, options?: CallOptions) => this.#ask(checkThrottle, key, cost, options);
    // What a reserve asks for is for all who wait: nobody's signal ends it for the others.
    const work = this.#reserve ? this.#reserve.take(key, cost, ask) : ask(cost, options);
    let decision: ThrottleDecision;
    try {
      decision = await this.#withTimeout(work, options);
    } catch (error) {
      decision = await this.#without(error, options, (other) => other.check(key, options));
    }
    this.#denials?.note(key, cost, decision);
    return decision;
  }

  async peek(key: string, options?: CallOptions): Promise<ThrottleDecision> {
    try {
      return await this.#withTimeout(this.#ask(peekThrottle, key, 0, options), options, false);
    } catch (error) {
      return await this.#without(error, options, (other) => other.peek(key, options));
    }
  }

  async refund(key: string, cost: number, options?: CallOptions): Promise<ThrottleDecision> {
    const units = positive(cost);
    this.#denials?.forget(key);
    return await this.#withTimeout(this.#ask(checkThrottle, key, -units, options), options);
  }

  async block(key: string, duration: Duration, options?: CallOptions): Promise<void> {
    const input = { ms: String(toMilliseconds(duration, "duration")) };
    this.#forget(key);
    sound(await this.#withTimeout(this.#store.transact(blockThrottle, key, input, options), options));
  }

  reset(key: string, options?: CallOptions): Promise<boolean> {
    this.#forget(key);
    return this.#withTimeout(this.#store.delete(key, options), options);
  }

  #forget(key: string): void {
    this.#denials?.forget(key);
    this.#reserve?.forget(key);
  }

  /** What is to be done without the store's decision. */
  async #without(
    error: unknown,
    options: CallOptions | undefined,
    ask: (other: Throttle) => Promise<ThrottleDecision>,
  ): Promise<ThrottleDecision> {
    const misuse = error instanceof TypeError || error instanceof RangeError;
    if (misuse || options?.signal?.aborted || this.#onError === "throw") throw error;
    this.#report(error);
    if (typeof this.#onError === "object") return { ...await ask(this.#onError), degraded: true };
    return this.#blind(this.#onError === "allow");
  }

  /** A decision without the store. */
  #blind(allowed: boolean): ThrottleDecision {
    const retryAfter = allowed ? 0 : OUTAGE;
    const policies = this.policies.map(({ name, limit, window }): PolicyState => {
      return { name, limit, window, remaining: allowed ? limit : 0, resetAfter: 0, nextAfter: 0, retryAfter };
    });
    return decided(policies, allowed, 0, true);
  }

  #withTimeout<T>(work: Promise<T>, options: CallOptions | undefined, writes = true): Promise<T> {
    return withTimeout(
      work,
      this.#timeout,
      options?.signal,
      () =>
        new HoldfastError("timeout", "Cannot throttle as the store did not answer in time", {
          retryable: true,
          ambiguous: writes,
        }),
    );
  }

  async #ask(
    transition: Transition,
    key: string,
    cost: number,
    options: CallOptions | undefined,
  ): Promise<ThrottleDecision> {
    const input = cost === 0 ? this.#input : { c: String(cost), i: this.#id(), ...this.#input };
    const output = sound(await this.#store.transact(transition, key, input, options));
    const blockedFor = Number(output.b ?? 0);
    const policies = this.policies.map((policy, i) => stateOf(policy, output[`p${i}`]!, cost));
    const allowed = cost === 0
      ? blockedFor === 0 && policies.every(({ remaining }) => remaining > 0)
      : output.a === "1";
    return decided(policies, allowed, blockedFor, false);
  }

  /** Names a call, so that one that arrives twice counts once: a random beginning, then a count. */
  #id(): string {
    this.#name ??= randomToken(4);
    return this.#name + (this.#calls++).toString(36);
  }
}

/** The output, if the record was a throttle's. */
function sound(output: Fields): Fields {
  if (output.e === undefined) return output;
  throw new HoldfastError(
    "corrupt-record",
    "Cannot read the throttle's record as it is none of ours, or of another version",
  );
}

/** A policy and its figures: `remaining:reset:next:retry`. */
function stateOf({ name, limit, window }: ResolvedPolicy, figures: string, cost: number): PolicyState {
  const [left, reset, next, retry] = figures.split(":");
  const [remaining, nextAfter] = [Number(left), Number(next)];
  // A look takes nothing: it answers for the one unit that a call would take.
  const wait = cost !== 0 ? Number(retry) : remaining > 0 ? 0 : nextAfter;
  const retryAfter = wait < 0 ? Infinity : wait;
  return { name, limit, window, remaining, resetAfter: Number(reset), nextAfter, retryAfter };
}

/** A decision; its numbers are those of the tightest policy. */
function decided(
  policies: readonly PolicyState[],
  allowed: boolean,
  blockedFor: number,
  degraded: boolean,
): ThrottleDecision {
  const tightest = policies.reduce((a, b) =>
    (allowed ? b.remaining < a.remaining : b.retryAfter > a.retryAfter) ? b : a
  );
  const { limit, remaining, resetAfter, nextAfter } = tightest;
  const retryAfter = allowed ? 0 : Math.max(blockedFor, tightest.retryAfter);
  return { allowed, blockedFor, degraded, limit, remaining, resetAfter, nextAfter, retryAfter, policies };
}

function positive(cost: number): number {
  if (Number.isSafeInteger(cost) && cost > 0) return cost;
  throw new RangeError(`Cannot throttle as 'cost' must be a positive integer: current value is ${cost}`);
}
