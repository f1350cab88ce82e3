/**
 * The right answer of a throttle, by brute force: policies replayed from their whole history in exact
 * integers, waits found by trying every millisecond. And a judge of concurrent histories, which knows only
 * when calls were sent and answered.
 */

/** A policy as the model takes it; the window in milliseconds. */
export interface ModelPolicy {
  readonly algorithm: "gcra" | "fixed-window" | "sliding-window";
  readonly limit: number;
  readonly window: number;
  readonly burst: number;
}

interface Hit {
  readonly at: number;
  readonly cost: number;
}

/** The model's answer to one call. */
export interface ModelDecision {
  readonly allowed: boolean;
  readonly remaining: readonly number[];
  readonly retryAfter: number;
}

/** All policies of one key. */
export class ThrottleModel {
  readonly #policies: readonly ModelPolicy[];
  readonly #hits: Hit[] = [];
  #blockedUntil = -Infinity;

  constructor(policies: readonly ModelPolicy[]) {
    this.#policies = policies;
  }

  check(cost: number, now: number): ModelDecision {
    const fits = (at: number) =>
      at >= this.#blockedUntil && this.#policies.every((policy) => cost <= this.#left(policy, at));
    const allowed = fits(now);
    let retryAfter = 0;
    if (!allowed) {
      const never = this.#policies.some((policy) => cost > most(policy));
      while (!never && !fits(now + retryAfter)) retryAfter++;
      if (never) retryAfter = Infinity;
    } else this.#hits.push({ at: now, cost });
    return { allowed, remaining: this.#remaining(now), retryAfter };
  }

  refund(cost: number, now: number): readonly number[] {
    this.#hits.push({ at: now, cost: -cost });
    return this.#remaining(now);
  }

  block(milliseconds: number, now: number): void {
    this.#blockedUntil = now + milliseconds;
  }

  #remaining(now: number): readonly number[] {
    return this.#policies.map((policy) => this.#left(policy, now));
  }

  #left(policy: ModelPolicy, now: number): number {
    switch (policy.algorithm) {
      case "gcra":
        return this.#bucket(policy, now);
      default:
        return this.#windows(policy, now);
    }
  }

  /**
   * A bucket that fills with time, in exact integers: a unit is `window` drops, and `limit` drops come per
   * millisecond.
   */
  #bucket({ limit, window, burst }: ModelPolicy, now: number): number {
    const unit = BigInt(window);
    const full = unit * BigInt(burst);
    let level = full;
    let since = now;
    const fill = (at: number) => {
      level += BigInt(at - since) * BigInt(limit);
      if (level > full) level = full;
      since = at;
    };
    for (const { at, cost } of this.#hits) {
      if (level === full) since = at;
      else fill(at);
      level -= BigInt(cost) * unit;
      if (level > full) level = full;
    }
    if (level < full) fill(now);
    return Math.max(0, Number(level / unit));
  }

  #windows({ algorithm, limit, window }: ModelPolicy, now: number): number {
    const index = Math.floor(now / window);
    const count = (of: number) =>
      this.#hits.filter(({ at }) => Math.floor(at / window) === of)
        .reduce((sum, { cost }) => Math.max(0, sum + cost), 0);
    if (algorithm === "fixed-window") return Math.max(0, limit - count(index));
    // The part of the older window that still slides under, rounded up, in exact integers.
    const [older, rest, whole] = [count(index - 1), (index + 1) * window - now, window].map(BigInt) as [
      bigint,
      bigint,
      bigint,
    ];
    return Math.max(0, limit - count(index) - Number((older * rest + whole - 1n) / whole));
  }
}

function most({ algorithm, limit, burst }: ModelPolicy): number {
  return algorithm.endsWith("window") ? limit : burst;
}

/** An admitted call: it took effect somewhere between. Milliseconds. */
export interface Admission {
  readonly from: number;
  readonly to: number;
  readonly cost: number;
}

/**
 * The number of units that were provably admitted beyond the limit in some interval; it should be 0. For
 * calendar windows the times are those of the engine's clock.
 */
export function overAdmission(admissions: readonly Admission[], policy: ModelPolicy, grain = 1): number {
  const { algorithm, limit, window, burst } = policy;
  const starts = admissions.toSorted((a, b) => b.from - a.from);
  let worst = 0;
  for (const { to: until } of admissions) {
    // Calls that lie wholly between `from` and `until`, for every `from`.
    let sum = 0;
    for (const { from, to, cost } of starts) {
      if (to > until) continue;
      sum += cost;
      const passed = until - from + grain;
      const bound = algorithm === "gcra"
        ? burst + passed * limit / window
        : limit * (Math.floor(until / window) - Math.floor(from / window) + 1);
      worst = Math.max(worst, Math.ceil(sum - bound));
    }
  }
  return worst;
}
