import type { Clock } from "../clock.ts";
import { PerBinding } from "../store/binding.ts";
import type { ThrottleDecision } from "./throttle.ts";

/** A bound, as keys may be made of what clients send. */
const MAX_DENIALS = 10_000;

/** The time that denials need: the whole clock of the runtime would bring its timers into the bundle. */
type Monotonic = Pick<Clock, "monotonic">;
const RUNTIME: Monotonic = { monotonic: () => performance.now() };

/** A denial that the store answered. Plain data: nothing of the request that it was for. */
interface Denial {
  readonly decision: ThrottleDecision;
  readonly cost: number;
  readonly clock: Monotonic;
  readonly since: number;
  readonly until: number;
}

/**
 * Denials that the store answered lately, kept per binding and name: on Workers a store and a throttle are
 * made anew for each request, and all of them find the same denials.
 */
const denialsOfBinding = /* @__PURE__ */ new PerBinding<Map<string, Denial>>();

/** Answers repeated checks of a denied key without a request. */
export class DenyCache {
  readonly #denials: Map<string, Denial>;
  readonly #policies: string;
  readonly #clock: Monotonic;
  readonly #longest: number;

  /** `policies` tells throttles of one name apart that ask with other policies. */
  constructor(store: object, policies: string, clock: Monotonic | undefined, longest: number) {
    this.#denials = denialsOfBinding.get(store, () => new Map());
    this.#policies = policies;
    this.#clock = clock ?? RUNTIME;
    this.#longest = longest;
  }

  /** The denial as it stands now, or `undefined` when the store must be asked. */
  find(key: string, cost: number): ThrottleDecision | undefined {
    const denial = this.#denials.get(this.#policies + key);
    // Monotonic times of two clocks cannot be compared.
    if (denial === undefined || denial.clock !== this.#clock) return undefined;
    const now = this.#clock.monotonic();
    if (now >= denial.until) this.#denials.delete(this.#policies + key);
    else if (cost >= denial.cost) return later(denial.decision, now - denial.since);
    return undefined;
  }

  /** Remembers a denial that the store just answered. */
  note(key: string, cost: number, decision: ThrottleDecision): void {
    this.forget(key);
    if (decision.allowed || decision.degraded) return;
    const clock = this.#clock;
    const since = clock.monotonic();
    const until = since + Math.min(decision.retryAfter, this.#longest);
    this.#denials.set(this.#policies + key, { decision, cost, clock, since, until });
    if (this.#denials.size > MAX_DENIALS) this.#denials.delete(this.#denials.keys().next().value!);
  }

  /** Forgets the denial of a key. */
  forget(key: string): void {
    this.#denials.delete(this.#policies + key);
  }
}

function later(decision: ThrottleDecision, passed: number): ThrottleDecision {
  const less = (milliseconds: number) => Math.max(0, Math.ceil(milliseconds - passed));
  const moved = <T extends { resetAfter: number; nextAfter: number; retryAfter: number }>(state: T): T => ({
    ...state,
    resetAfter: less(state.resetAfter),
    nextAfter: less(state.nextAfter),
    retryAfter: less(state.retryAfter),
  });
  const blockedFor = less(decision.blockedFor);
  return { ...moved(decision), blockedFor, policies: decision.policies.map(moved) };
}
