import type { Clock } from "../clock.ts";
import { microseconds } from "./_policies.ts";
import type { ThrottleDecision } from "./throttle.ts";

const MOST_KEYS = 10_000;

/** Units taken at the store and not spent yet. */
interface Pool {
  units: number;
  readonly since: number;
  readonly decision: ThrottleDecision;
}

type Ask = (cost: number) => Promise<ThrottleDecision>;

/**
 * Takes many units at once and spends them here.
 *
 * What is not spent leaks away at the rate at which the store gives units back: a unit that the store lets somebody else
 * have is no longer ours. So all isolates together never admit more than the policies would; they admit less when a
 * reserve is left to leak.
 */
export class Reserve {
  readonly #pools = new Map<string, Pool>();
  readonly #asking = new Map<string, Promise<ThrottleDecision>>();
  readonly #clock: Clock;
  readonly #size: number;
  readonly #leak: number;

  /** `leak` is the milliseconds in which the store gives back a unit, by its fastest policy. */
  constructor(clock: Clock, size: number, leak: number) {
    this.#clock = clock;
    this.#size = size;
    this.#leak = leak;
  }

  async take(key: string, cost: number, ask: Ask): Promise<ThrottleDecision> {
    if (cost > this.#size) return await ask(cost);
    for (;;) {
      const spent = this.#spend(key, cost);
      if (spent !== undefined) return spent;
      const asking = this.#asking.get(key);
      if (asking === undefined) return await this.#fill(key, cost, ask);
      const denied = denial(await asking, cost); // one request for all who wait
      if (denied !== undefined) return denied;
    }
  }

  forget(key: string): void {
    this.#pools.delete(key);
  }

  /** The asker's own cost, and as much more as is there. */
  async #fill(key: string, cost: number, ask: Ask): Promise<ThrottleDecision> {
    for (let units = this.#size;;) {
      const sent = this.#clock.monotonic();
      const asking = ask(units);
      this.#asking.set(key, asking);
      let decision: ThrottleDecision;
      try {
        decision = await asking;
      } finally {
        this.#asking.delete(key);
      }
      if (decision.allowed) {
        const now = this.#clock.monotonic();
        const more = this.#left(key) + Math.max(0, units - cost - (now - sent) / this.#leak);
        this.#put(key, { units: more, since: now, decision });
        return withMore(decision, Math.floor(more));
      }
      const denied = denial(decision, cost);
      if (denied !== undefined) return denied;
      units = Math.max(cost, Math.min(units - 1, leastRemaining(decision)));
    }
  }

  #left(key: string): number {
    const pool = this.#pools.get(key);
    if (pool === undefined) return 0;
    return Math.max(0, pool.units - (this.#clock.monotonic() - pool.since) / this.#leak);
  }

  #spend(key: string, cost: number): ThrottleDecision | undefined {
    const left = Math.floor(this.#left(key));
    if (left < cost) return undefined;
    const pool = this.#pools.get(key)!;
    pool.units -= cost;
    return withMore(pool.decision, left - cost);
  }

  #put(key: string, pool: Pool): void {
    this.#pools.delete(key);
    this.#pools.set(key, pool);
    if (this.#pools.size > MOST_KEYS) this.#pools.delete(this.#pools.keys().next().value!);
  }
}

function leastRemaining({ policies }: ThrottleDecision): number {
  return Math.min(...policies.map(({ remaining }) => remaining));
}

function withMore(decision: ThrottleDecision, more: number): ThrottleDecision {
  const policies = decision.policies.map((state) => ({ ...state, remaining: state.remaining + more }));
  return { ...decision, remaining: decision.remaining + more, policies };
}

/** What a denial of more says of `cost`: also denied, and for how long; `undefined` when that may fit. */
function denial(decision: ThrottleDecision, cost: number): ThrottleDecision | undefined {
  if (decision.allowed || (decision.blockedFor === 0 && leastRemaining(decision) >= cost)) return undefined;
  const policies = decision.policies.map((state) => {
    const missing = cost - state.remaining;
    const retryAfter = missing <= 0
      ? 0
      : Math.ceil(state.nextAfter + (missing - 1) * microseconds(state) / 1000);
    return { ...state, retryAfter };
  });
  const retryAfter = Math.max(decision.blockedFor, ...policies.map(({ retryAfter }) => retryAfter));
  return { ...decision, retryAfter, policies };
}
