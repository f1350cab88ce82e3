/**
 * The transitions of a throttle. One record holds the state of all policies, a field `s:name` each, so that several
 * policies are one decision: all take the cost, or none does. A denied call changes nothing.
 *
 * Input: `cost`, `n` and per policy `0.name 0.algorithm 0.limit 0.window 0.burst` (window in milliseconds).
 * Output: `allowed` and per policy `0.remaining 0.reset 0.next 0.retry` (milliseconds; `retry` -1 means never).
 */
import type { Fields, Step, Transition } from "../store/transition.ts";

/** One policy as the arithmetic sees it. */
interface Policy {
  readonly limit: number;
  readonly window: number;
  readonly burst: number;
}

/** What one policy says of a cost: its state if it is taken, and how long to wait if it is not. */
interface Verdict {
  /** 0 when the cost fits, -1 when it never will, else milliseconds. */
  readonly retry: number;
  /** The state after the cost was taken. */
  readonly taken: string;
  /** Reads a state: what is left, when all is back, when one more unit is. */
  view(state: string | undefined): { remaining: number; reset: number; next: number };
}

type Algorithm = (policy: Policy, state: string | undefined, cost: number, now: number) => Verdict;

/**
 * The generic cell rate algorithm. State: the theoretical arrival time in microseconds. A token bucket of `burst`
 * tokens refilled at `limit / window` admits the same calls at the same times.
 */
const gcra: Algorithm = ({ limit, window, burst }, state, cost, now) => {
  const us = now * 1000;
  const unit = Math.ceil(window * 1000 / limit);
  const arrival = Math.max(Number(state ?? 0), us);
  const next = Math.max(arrival + cost * unit, us);
  const over = cost > 0 ? next - burst * unit - us : 0;
  return {
    retry: over <= 0 ? 0 : cost > burst ? -1 : Math.ceil(over / 1000),
    taken: String(next),
    view(state) {
      const ahead = Math.max(Number(state ?? 0), us) - us;
      const remaining = Math.max(0, Math.floor((burst * unit - ahead) / unit));
      const wait = ahead === 0 ? 0 : ahead - (burst - remaining - 1) * unit;
      return { remaining, reset: Math.ceil(ahead / 1000), next: Math.ceil(Math.max(0, wait) / 1000) };
    },
  };
};

/** Calendar windows: the quota comes back at multiples of the window since the epoch. State: `index:count`. */
const fixedWindow: Algorithm = ({ limit, window }, state, cost, now) => {
  const index = Math.floor(now / window);
  const left = (index + 1) * window - now;
  const read = (state: string | undefined) => {
    const [at, count] = (state ?? "").split(":").map(Number);
    return at === index ? count! : 0;
  };
  const next = Math.max(0, read(state) + cost);
  return {
    retry: cost <= 0 || next <= limit ? 0 : cost > limit ? -1 : left,
    taken: `${index}:${next}`,
    view(state) {
      const count = read(state);
      const reset = count === 0 ? 0 : left;
      return { remaining: Math.max(0, limit - count), reset, next: reset };
    },
  };
};

/** Two calendar windows, the older one weighted by how much of it still slides under. State: `index:current:previous`. */
const slidingWindow: Algorithm = ({ limit, window }, state, cost, now) => {
  const index = Math.floor(now / window);
  const elapsed = now - index * window;
  const read = (state: string | undefined) => {
    const [at, current, previous] = (state ?? "").split(":").map(Number);
    if (at === index) return { current: current!, previous: previous! };
    return { current: 0, previous: at === index - 1 ? current! : 0 };
  };
  /** Milliseconds until `room` units or fewer are in use. */
  const until = (room: number, { current, previous }: { current: number; previous: number }) => {
    if (room < 0) return -1;
    if (room >= current) {
      const at = previous === 0 ? 0 : window - Math.floor((room - current) * window / previous);
      if (at < window || room === current) return Math.max(0, at - elapsed);
    }
    return window - elapsed + Math.max(0, window - Math.floor(room * window / current));
  };
  const now_ = read(state);
  const taken = Math.max(0, now_.current + cost);
  return {
    retry: cost <= 0 ? 0 : until(limit - cost, now_),
    taken: `${index}:${taken}:${now_.previous}`,
    view(state) {
      const counts = read(state);
      const used = counts.current + Math.ceil(counts.previous * (window - elapsed) / window);
      const remaining = Math.max(0, limit - used);
      return {
        remaining,
        reset: until(0, counts),
        next: used === 0 ? 0 : until(limit - remaining - 1, counts),
      };
    },
  };
};

const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  gcra,
  "token-bucket": gcra,
  "fixed-window": fixedWindow,
  "sliding-window": slidingWindow,
};

/** Takes a cost from every policy, or from none. Cost 0 looks, a negative cost gives back. */
export const checkThrottle: Transition = {
  name: "throttle.check",
  apply(record, input, now): Step {
    const cost = Number(input.cost);
    const policies = Array.from({ length: Number(input.n) }, (_, i) => {
      const policy = {
        limit: Number(input[`${i}.limit`]),
        window: Number(input[`${i}.window`]),
        burst: Number(input[`${i}.burst`]),
      };
      const field = `s:${input[`${i}.name`]}`;
      const verdict = ALGORITHMS[input[`${i}.algorithm`]!]!(policy, record?.[field], cost, now);
      return { field, verdict };
    });
    const allowed = policies.every(({ verdict }) => verdict.retry === 0);
    const output: Record<string, string> = { allowed: allowed ? "1" : "0" };
    const next: Record<string, string> = { ...record };
    let lasts = 0;
    policies.forEach(({ field, verdict }, i) => {
      if (allowed && cost !== 0) next[field] = verdict.taken;
      const view = verdict.view(next[field]);
      lasts = Math.max(lasts, view.reset);
      output[`${i}.remaining`] = String(view.remaining);
      output[`${i}.reset`] = String(view.reset);
      output[`${i}.next`] = String(view.next);
      output[`${i}.retry`] = String(verdict.retry);
    });
    if (!allowed || cost === 0) return { output };
    return {
      output,
      write: lasts === 0 ? { record: undefined } : { record: next as Fields, expiresAt: now + lasts },
    };
  },
};

/** Every transition of a throttle. */
export const throttleTransitions: readonly Transition[] = [checkThrottle];
