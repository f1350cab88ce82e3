import type { Clock } from "../clock.ts";
import type { ThrottleDecision } from "./throttle.ts";

const MOST_KEYS = 10_000;

interface Denial {
  readonly decision: ThrottleDecision;
  readonly cost: number;
  readonly since: number;
  readonly until: number;
}

/** Denials this isolate has just heard of: what would be denied again is, without a request. */
export class DenyCache {
  readonly #denials = new Map<string, Denial>();
  readonly #clock: Clock;
  readonly #longest: number;

  constructor(clock: Clock, longest: number) {
    this.#clock = clock;
    this.#longest = longest;
  }

  /** The denial as it stands now, or `undefined` when the store must be asked. */
  find(key: string, cost: number): ThrottleDecision | undefined {
    const denial = this.#denials.get(key);
    if (denial === undefined) return undefined;
    const now = this.#clock.monotonic();
    if (now >= denial.until) this.#denials.delete(key);
    else if (cost >= denial.cost) return later(denial.decision, now - denial.since);
    return undefined;
  }

  /** Remembers a denial that the store just answered. */
  note(key: string, cost: number, decision: ThrottleDecision): void {
    this.forget(key);
    if (decision.allowed || decision.degraded) return;
    const since = this.#clock.monotonic();
    const until = since + Math.min(decision.retryAfter, this.#longest);
    this.#denials.set(key, { decision, cost, since, until });
    if (this.#denials.size > MOST_KEYS) this.#denials.delete(this.#denials.keys().next().value!);
  }

  forget(key: string): void {
    this.#denials.delete(key);
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
