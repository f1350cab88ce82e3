/**
 * The transitions of a throttle. One record holds the state of all policies, so that several policies are one
 * decision: all take the cost, or none does. A denied call changes nothing.
 *
 * Input: `c` (the cost), `i` (the call's id, if it may arrive twice) and a policy each under `p0`, `p1`, …: `g:unit:burst:name` (GCRA, microseconds per unit),
 * `f:limit:window:name` (fixed windows, milliseconds) or `s:limit:window:name` (sliding windows).
 * Output: `a` (allowed), `b` (milliseconds the key is still blocked, if it is), and per policy under its name
 * `remaining:reset:next:retry` (milliseconds; `retry` -1 means never).
 * Record: a state per policy under `g:name` and so on, `b` (blocked until) and `x` (when all of it is over), milliseconds, and
 * `i`, the ids of the last calls that were counted: one that arrives again is not counted again.
 */
import type { Fields, Step, Transition } from "../store/transition.ts";

/** What one policy says of a cost: its state if it is taken, and how long to wait if it is not. */
interface Verdict {
  /** 0 when the cost fits, -1 when it never will, else milliseconds. */
  readonly retry: number;
  /** The state after the cost was taken. */
  readonly taken: string;
  /** Reads a state: what is left, when all is back, when one more unit is. */
  view(state: string | undefined): { remaining: number; reset: number; next: number };
}

/** The numbers are those of the policy, in its order. */
type Algorithm = (a: number, b: number, state: string | undefined, cost: number, now: number) => Verdict;

/**
 * The generic cell rate algorithm. State: the theoretical arrival time in microseconds. A token bucket of `burst`
 * tokens, one more every `unit` microseconds, admits the same calls at the same times.
 */
const gcra: Algorithm = (unit, burst, state, cost, now) => {
  const us = now * 1000;
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
const fixedWindow: Algorithm = (limit, window, state, cost, now) => {
  // A clock that stepped back opens no window again.
  const index = Math.max(Math.floor(now / window), Number((state ?? "0").split(":")[0]));
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
const slidingWindow: Algorithm = (limit, window, state, cost, now) => {
  const index = Math.max(Math.floor(now / window), Number((state ?? "0").split(":")[0]));
  const elapsed = Math.max(0, now - index * window);
  const lag = Math.max(0, index * window - now);
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
      if (at <= elapsed) return 0;
      if (at < window || room === current) return at - elapsed + lag;
    }
    return window - elapsed + Math.max(0, window - Math.floor(room * window / current)) + lag;
  };
  const before = read(state);
  const taken = Math.max(0, before.current + cost);
  return {
    retry: cost <= 0 ? 0 : until(limit - cost, before),
    taken: `${index}:${taken}:${before.previous}`,
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

const KINDS: Readonly<Record<string, { decide: Algorithm; state: RegExp }>> = {
  g: { decide: gcra, state: /^\d{1,16}$/ },
  f: { decide: fixedWindow, state: /^\d{1,16}:\d{1,16}$/ },
  s: { decide: slidingWindow, state: /^\d{1,16}:\d{1,16}:\d{1,16}$/ },
};
const WHOLE = /^\d{1,16}$/;
/** How long the list of counted calls may be: six or so of them, what Redis still keeps in a record's small form. */
const KNOWN_LENGTH = 64;
/** A record outlives what it counts by ten seconds at most. */
const DEADLINE_STEP = 10_000;
const CORRUPT: Step = { output: { e: "corrupt" } };

/** What somebody else put under the key, or another version, is left alone. */
function sound(record: Fields): boolean {
  return WHOLE.test(record.x ?? "") && WHOLE.test(record.b ?? "0");
}

function decide(record: Fields | undefined, input: Fields, now: number): Step {
  if (record !== undefined && !sound(record)) return CORRUPT;
  const cost = Number(input.c);
  const blocked = Math.max(0, Number(record?.b ?? 0) - now);
  const again = input.i !== undefined && `,${record?.i ?? ""}`.includes(`,${input.i},`);
  const verdicts: { field: string; verdict: Verdict }[] = [];
  for (let i = 0; input[`p${i}`] !== undefined; i++) {
    const [, kind, a, b, name] = /^(\w):(\d+):(\d+):(.*)$/.exec(input[`p${i}`]!)!;
    const field = `${kind}:${name}`;
    const { decide, state } = KINDS[kind!]!;
    if (record?.[field] !== undefined && !state.test(record[field]!)) return CORRUPT;
    verdicts.push({ field, verdict: decide(Number(a), Number(b), record?.[field], cost, now) });
  }
  const fits = (cost < 0 || blocked === 0) && verdicts.every(({ verdict }) => verdict.retry === 0);
  const allowed = again || fits;
  const take = fits && cost !== 0 && !again;
  const { b: _, ...others } = record ?? {};
  const next: Record<string, string> = blocked > 0 ? { ...record } : others;
  const output: Record<string, string> = {
    a: allowed ? "1" : "0",
    ...(blocked > 0 && { b: String(blocked) }),
  };
  let lasts = 0;
  let exhausted = false;
  verdicts.forEach(({ field, verdict }, i) => {
    if (take) next[field] = verdict.taken;
    const { remaining, reset, next: more } = verdict.view(next[field]);
    lasts = Math.max(lasts, reset);
    exhausted ||= remaining <= 0;
    output[`p${i}`] = [remaining, reset, more, again ? 0 : verdict.retry].join(":");
  });
  if (!take) return { output };
  const ours = new Set(["x", "i", ...verdicts.map(({ field }) => field)]);
  if (lasts === 0 && Object.keys(next).every((field) => ours.has(field))) {
    return { output, write: { record: undefined } };
  }
  if (input.i !== undefined) {
    next.i = `${input.i},${record?.i ?? ""}`.slice(0, KNOWN_LENGTH); // the oldest may be cut: it has no comma then
  }
  // Policies of other throttles in this record may last longer than ours. In steps, as most checks then leave it as it is.
  const x = Math.ceil(Math.max(now + lasts, Number(next.x ?? 0)) / DEADLINE_STEP) * DEADLINE_STEP;
  // A counter at its limit outlives the others in a bounded engine, a block every other record.
  const retention = blocked > 0 ? "protected" : exhausted ? "kept" : "evictable";
  return { output, write: { record: { ...next, x: String(x) }, expiresAt: x, retention } };
}

/** Takes a cost from every policy, or from none; a negative cost gives back, whatever blocks the key. */
export const checkThrottle: Transition = { name: "throttle.check", apply: decide };

/** Looks, as a check of cost 0 would. */
export const peekThrottle: Transition = {
  name: "throttle.peek",
  apply: (record, input, now) => decide(record, { ...input, c: "0" }, now),
};

/** `{ ms }` → `{}`: nothing is allowed for so long from now. */
export const blockThrottle: Transition = {
  name: "throttle.block",
  apply(record, { ms }, now): Step {
    if (record !== undefined && !sound(record)) return CORRUPT;
    const b = now + Number(ms);
    const x = Math.max(b, Number(record?.x ?? 0));
    const next = { ...record, b: String(b), x: String(x) };
    return { output: {}, write: { record: next, expiresAt: x, retention: "protected" } };
  },
};

/** Every transition of a throttle. */
export const throttleTransitions: readonly Transition[] = [checkThrottle, peekThrottle, blockThrottle];
