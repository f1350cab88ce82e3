/**
 * The transitions of a throttle. One record holds the counters of all policies of one key, so that several
 * policies are one decision: all take the cost, or none does. A denied call changes nothing.
 *
 * The record:
 *
 * | field                          | type    | meaning                                                    |
 * | ------------------------------ | ------- | ---------------------------------------------------------- |
 * | `recordEnds`                   | time    | when counters, blocks and remembered calls are over        |
 * | `blockedUntil`                 | time    | the end of a block; absent without one                     |
 * | `recentCalls`                  | texts   | ids of the last calls that were counted, newest first      |
 * | `gcra:window:limit:burst:name` | counter | `since:used`: units taken since then                       |
 * | `fixed:window:name`            | counter | `since:used`: units of the calendar window that began then |
 * | `sliding:window:name`          | counter | `since:used:earlier`: also those of the window before      |
 *
 * Times are milliseconds since the epoch by the engine's clock; `since` is one, too. A GCRA counter also
 * counts units that have come back since. The ids are joined by commas, at most 64 characters.
 *
 * A counter's field says what it counts, so a policy never reads the counter of another unit, window or
 * algorithm. What calendar windows count does not depend on the limit: they keep their count when the limit
 * changes. A GCRA counter is read through its limit and burst, so both belong to its field.
 *
 * Input: `cost` (negative gives back), `call` (the call's id) and a policy each under `policy0`, `policy1`,
 * …: `gcra:window:limit:burst:name`, `fixed:window:limit:name` or `sliding:window:limit:name`. Output:
 * `allowed` (`1` or `0`), `blockedFor` (if the key is blocked), per policy under its input's name
 * `remaining:reset:next:retry` (`retry` is -1 if the cost never fits), or `error`. All times are
 * milliseconds.
 *
 * Every number is an integer below 2^53, in Lua as in JavaScript: limits and bursts are at most 10^9,
 * windows and the time in which a full burst comes back at most 730 days (`policies.ts` refuses the rest).
 */
import type { Fields, Step, Transition } from "../store/transition.ts";
import { isWhole } from "../store/whole_number.ts";
import { CLOCK_SKEW, DEADLINE_STEP, EXACT, LONGEST_RECORD, RECENT_LENGTH } from "./throttle_limits.ts";

/** One policy as the input names it. */
interface Policy {
  readonly kind: string;
  readonly window: number;
  readonly limit: number;
  /** The number of units that a key may take at once. */
  readonly capacity: number;
  /** The record's field that has its counter. */
  readonly field: string;
}

/** A counter, brought to `now`: see the table above. */
interface Counter {
  readonly since: number;
  readonly used: number;
  readonly earlier: number;
  /** Whether it was further ahead than the policy could have put it. Only then does a denied call write. */
  readonly cut: boolean;
}

const NO_COUNTER: Counter = { since: 0, used: 0, earlier: 0, cut: false };

/** The quotient of a product and a divisor, exact although the product may pass 2^53. */
function scale(factor: number, by: number, divisor: number, roundUp: boolean): number {
  const product = factor * by;
  if (product < EXACT) return roundUp ? Math.ceil(product / divisor) : Math.floor(product / divisor);
  // Long division in two steps of 16 bits. Each intermediate value stays below 2^53 as long as `factor` and
  // `divisor` are windows or units (2^36 and 2^30) and `by` is at most a window.
  const high = Math.floor(factor / 65536);
  const whole = Math.floor(high * by / divisor);
  const rest = (high * by - whole * divisor) * 65536 + (factor - high * 65536) * by;
  return whole * 65536 + (roundUp ? Math.ceil(rest / divisor) : Math.floor(rest / divisor));
}

/** The number of a text of 1 to 15 digits; -1 for any other text. */
function wholeNumber(text: string | undefined): number {
  return isWhole(text, 15) ? Number(text) : -1;
}

function parsePolicy(line: string): Policy {
  const parts = line.split(":");
  const kind = parts[0]!;
  const window = Number(parts[1]);
  const limit = Number(parts[2]);
  if (kind === "gcra") return { kind, window, limit, capacity: Number(parts[3]), field: line };
  const name = line.slice(kind.length + parts[1]!.length + parts[2]!.length + 3);
  return { kind, window, limit, capacity: limit, field: kind + ":" + parts[1]! + ":" + name };
}

/**
 * The longest time for which a unit counts: no counter ends later than this from now, beside differing
 * clocks.
 */
function horizon(policy: Policy): number {
  if (policy.kind === "gcra") return scale(policy.capacity, policy.window, policy.limit, true);
  return policy.kind === "sliding" ? 2 * policy.window : policy.window;
}

/** The counter as it is stored, or `undefined` if the text is none. */
function parseCounter(policy: Policy, text: string): Counter | undefined {
  const parts = text.split(":");
  const since = wholeNumber(parts[0]);
  const used = wholeNumber(parts[1]);
  const earlier = policy.kind === "sliding" ? wholeNumber(parts[2]) : 0;
  const length = policy.kind === "sliding" ? 3 : 2;
  if (since < 0 || used < 0 || earlier < 0 || parts.length !== length) return undefined;
  return { since, used, earlier, cut: false };
}

function counterText(policy: Policy, counter: Counter): string {
  const text = String(counter.since) + ":" + String(counter.used);
  return policy.kind === "sliding" ? text + ":" + String(counter.earlier) : text;
}

/**
 * The counter with what came back until `now`, and cut back if it is further ahead than the policy could
 * have put it.
 */
function atTime(policy: Policy, counter: Counter, now: number): Counter {
  return policy.kind === "gcra" ? gcraAt(policy, counter, now) : windowAt(policy, counter, now);
}

/**
 * The generic cell rate algorithm in exact integers: `used` units were taken since `since`, and `limit`
 * come back per `window`. Whole windows are taken off both, so `since` lies within a window of `now` and
 * nothing is ever rounded.
 */
function gcraAt(policy: Policy, counter: Counter, now: number): Counter {
  const { window, limit, capacity } = policy;
  const windows = Math.floor((now - counter.since) / window);
  const since = counter.since + windows * window;
  const used = counter.used - windows * limit;
  const back = scale(now - since, limit, window, false);
  if (used <= back) return { since: now, used: 0, earlier: 0, cut: false };
  // More than a full burst is in use: another clock is ahead by the time that the excess takes to come
  // back, or time stepped back, or the counter is damaged.
  const ahead = used - back > capacity &&
    scale(used - capacity, window, limit, true) - (now - since) > CLOCK_SKEW;
  if (ahead) return { since: now, used: capacity, earlier: 0, cut: true };
  return { since, used, earlier: 0, cut: false };
}

/**
 * Calendar windows: they begin at multiples of the window since the epoch, whatever the first call's time
 * was.
 */
function windowAt(policy: Policy, counter: Counter, now: number): Counter {
  const { window } = policy;
  const start = Math.floor(now / window) * window;
  const { since, used, earlier } = counter;
  if (since > now + CLOCK_SKEW) return { since: start, used, earlier, cut: true };
  // A clock that is a little behind opens no window again.
  if (since >= start) return counter;
  return { since: start, used: 0, earlier: since === start - window ? used : 0, cut: false };
}

/** Units left. */
function available(policy: Policy, counter: Counter, now: number): number {
  const { window, limit, capacity, kind } = policy;
  let left = limit - counter.used;
  if (kind === "gcra") left = capacity - counter.used + scale(now - counter.since, limit, window, false);
  if (kind === "sliding") {
    const rest = window - Math.max(0, now - counter.since);
    left -= scale(Math.min(counter.earlier, limit), rest, window, true);
  }
  return Math.max(0, left);
}

/** Milliseconds until so many units are left; -1 if they never are. */
function timeUntil(policy: Policy, counter: Counter, now: number, units: number): number {
  const { window, limit, capacity, kind } = policy;
  if (units > capacity) return -1;
  if (kind === "gcra") {
    const missing = counter.used + units - capacity;
    if (missing <= 0) return 0;
    return Math.max(0, scale(missing, window, limit, true) - (now - counter.since));
  }
  if (kind === "sliding") return slidingUntil(policy, counter, now, limit - units);
  return units <= limit - counter.used ? 0 : counter.since + window - now;
}

/** Milliseconds until `room` units or fewer are in use, of two calendar windows. */
function slidingUntil(policy: Policy, counter: Counter, now: number, room: number): number {
  const { window, limit } = policy;
  // A count from before the limit was lowered weighs no more than the limit: it would deny for longer than
  // two windows.
  const used = Math.min(counter.used, limit);
  const earlier = Math.min(counter.earlier, limit);
  const elapsed = now - counter.since; // negative if another clock is ahead
  if (room >= used) {
    const at = earlier === 0 ? 0 : window - scale(room - used, window, earlier, false);
    return at <= Math.max(0, elapsed) ? 0 : at - elapsed;
  }
  return window - elapsed + Math.max(0, window - scale(room, window, used, false));
}

/** The counter after the cost was taken; a negative cost gives back, never beyond full. */
function taken(policy: Policy, counter: Counter, now: number, cost: number): Counter {
  const { since, earlier } = counter;
  const used = counter.used + cost;
  if (policy.kind === "gcra" && used <= scale(now - since, policy.limit, policy.window, false)) {
    return { since: now, used: 0, earlier, cut: false };
  }
  return { since, used: Math.max(0, used), earlier, cut: false };
}

/**
 * The time at which the last unit of another policy's counter is back; 0 if all are, or if it is no
 * counter.
 */
function foreignEnd(field: string, text: string, now: number): number {
  const parts = field.split(":");
  const kind = parts[0]!;
  const window = wholeNumber(parts[1]);
  const calendar = kind === "fixed" || kind === "sliding";
  const limit = calendar ? 1 : wholeNumber(parts[2]);
  const capacity = calendar ? 1 : wholeNumber(parts[3]);
  if (!calendar && kind !== "gcra" || window <= 0 || limit <= 0 || capacity < 0) return 0;
  const policy: Policy = { kind, window, limit, capacity, field };
  const counter = parseCounter(policy, text);
  if (counter === undefined || horizon(policy) > LONGEST_RECORD) return 0;
  let end = counter.since + horizon(policy);
  if (kind === "gcra") {
    const current = gcraAt(policy, counter, now);
    end = current.used === 0 ? 0 : current.since + scale(current.used, window, limit, true);
  }
  return end <= now ? 0 : Math.min(end, now + horizon(policy) + CLOCK_SKEW);
}

/** Whether the record is a throttle's. One that is not is left alone. */
function isOurs(record: Fields): boolean {
  return wholeNumber(record["recordEnds"]) >= 0 && wholeNumber(record["blockedUntil"] ?? "0") >= 0;
}

/** Whether the call was counted already: it arrived twice, as one whose reply was lost may. */
function isRepeated(record: Fields | undefined, call: string | undefined): boolean {
  if (record === undefined || call === undefined) return false;
  return ("," + (record["recentCalls"] ?? "")).includes("," + call + ",");
}

function withCall(record: Fields | undefined, call: string): string {
  // The oldest id may be cut off in its middle: it has no comma behind it then, and never matches.
  return (call + "," + (record?.["recentCalls"] ?? "")).slice(0, RECENT_LENGTH);
}

/** Whether a policy of the call has its counter in that field. */
function isOwn(own: readonly Weighed[], field: string): boolean {
  for (const { policy } of own) if (policy.field === field) return true;
  return false;
}

/** The record with its new end. Moves the end only if it has to, and then drops counters that are over. */
function withEnd(
  next: Record<string, string>,
  own: readonly Weighed[],
  end: number,
  now: number,
): { readonly record: Fields; readonly expiresAt: number } {
  const before = wholeNumber(next["recordEnds"]);
  let longest = DEADLINE_STEP;
  for (const { policy } of own) longest = Math.max(longest, horizon(policy));
  if (before >= end && before <= now + longest + DEADLINE_STEP) return { record: next, expiresAt: before };
  const kept: Record<string, string> = {};
  let last = end;
  for (const field in next) {
    const text = next[field]!;
    if (field === "recentCalls" || isOwn(own, field)) kept[field] = text;
    else if (field !== "recordEnds") {
      const ends = field === "blockedUntil" ? Number(text) : foreignEnd(field, text, now);
      if (ends > 0) kept[field] = text;
      last = Math.max(last, ends);
    }
  }
  const recordEnds = Math.ceil(last / DEADLINE_STEP) * DEADLINE_STEP;
  kept["recordEnds"] = String(recordEnds);
  return { record: kept, expiresAt: recordEnds };
}

/**
 * A policy, where its counter stands, and how long to wait for the cost: 0 if it fits, -1 if it never will.
 */
interface Weighed {
  readonly policy: Policy;
  readonly counter: Counter;
  readonly retry: number;
}

/** Every policy of the input; `undefined` if a counter of one is unreadable. */
function weigh(record: Fields | undefined, input: Fields, cost: number, now: number): Weighed[] | undefined {
  const all: Weighed[] = [];
  for (let i = 0; input["policy" + i] !== undefined; i++) {
    const policy = parsePolicy(input["policy" + i]!);
    const text = record === undefined ? undefined : record[policy.field];
    const stored = text === undefined ? NO_COUNTER : parseCounter(policy, text);
    if (stored === undefined) return undefined;
    const counter = atTime(policy, stored, now);
    all.push({ policy, counter, retry: cost <= 0 ? 0 : timeUntil(policy, counter, now, cost) });
  }
  return all;
}

/** Decides about all policies, and takes the cost from all of them or from none. */
function decide(record: Fields | undefined, input: Fields, cost: number, now: number): Step {
  if (record !== undefined && !isOurs(record)) return { output: { error: "corrupt" } };
  const all = weigh(record, input, cost, now);
  if (all === undefined) return { output: { error: "corrupt" } };
  const blockedFor = record === undefined ? 0 : Math.max(0, Number(record["blockedUntil"] ?? "0") - now);
  const repeated = isRepeated(record, input["call"]);
  let fits = cost < 0 || blockedFor === 0;
  let cut = false;
  for (const weighed of all) {
    if (weighed.retry !== 0) fits = false;
    if (weighed.counter.cut) cut = true;
  }
  const takes = fits && cost !== 0 && !repeated;
  // A denied call changes nothing, unless a counter had to be cut back: what is cut is written, or it would
  // be cut at every call and never end.
  const writes = takes || (cost > 0 && !repeated && cut);
  const output: Record<string, string> = { allowed: fits || repeated ? "1" : "0" };
  if (blockedFor > 0) output["blockedFor"] = String(blockedFor);
  const next: Record<string, string> = writes ? { ...record } : {};
  let lasts = DEADLINE_STEP;
  let exhausted = false;
  for (let i = 0; i < all.length; i++) {
    const { policy, retry } = all[i]!;
    const counter = takes ? taken(policy, all[i]!.counter, now, cost) : all[i]!.counter;
    const remaining = available(policy, counter, now);
    const reset = timeUntil(policy, counter, now, policy.capacity);
    const more = remaining >= policy.capacity ? 0 : timeUntil(policy, counter, now, remaining + 1);
    output["policy" + i] = `${remaining}:${reset}:${more}:${repeated ? 0 : retry}`;
    lasts = Math.max(lasts, reset);
    if (remaining === 0) exhausted = true;
    if (takes || counter.cut) next[policy.field] = counterText(policy, counter);
  }
  if (!writes) return { output };
  if (blockedFor === 0) delete next["blockedUntil"];
  if (takes && input["call"] !== undefined) next["recentCalls"] = withCall(record, input["call"]!);
  // In a bounded engine a counter at its limit outlives the others, and a block every other record.
  const { record: stored, expiresAt } = withEnd(next, all, now + lasts, now);
  return {
    output,
    write: {
      record: stored,
      expiresAt,
      retention: blockedFor > 0 ? "protected" : exhausted ? "kept" : "evictable",
    },
  };
}

/** Takes a cost from every policy, or from none; a negative cost gives back, whatever blocks the key. */
export const checkThrottle: Transition = {
  name: "throttle.check",
  apply: (record, input, now): Step => decide(record, input, Number(input["cost"]), now),
};

/** Reads the state of every policy without changing anything. */
export const peekThrottle: Transition = {
  name: "throttle.peek",
  readOnly: true,
  apply: (record, input, now): Step => decide(record, input, 0, now),
};

/**
 * `{ duration, call? }` → `{}`: nothing is allowed for so long from now. A call that arrives twice blocks
 * once.
 */
export const blockThrottle: Transition = {
  name: "throttle.block",
  apply: (record, input, now): Step => {
    if (record !== undefined && !isOurs(record)) return { output: { error: "corrupt" } };
    const call = input["call"];
    if (isRepeated(record, call)) return { output: {} };
    const blockedUntil = now + Number(input["duration"]);
    const before = record === undefined ? 0 : Math.min(Number(record["recordEnds"]), now + LONGEST_RECORD);
    const recordEnds = Math.max(blockedUntil, before, now + DEADLINE_STEP);
    const next: Record<string, string> = { ...record };
    next["blockedUntil"] = String(blockedUntil);
    next["recordEnds"] = String(recordEnds);
    if (call !== undefined) next["recentCalls"] = withCall(record, call);
    return { output: {}, write: { record: next, expiresAt: recordEnds, retention: "protected" } };
  },
};

/**
 * Every transition of a throttle.
 *
 * @category Transitions
 */
export const throttleTransitions: readonly Transition[] = [checkThrottle, peekThrottle, blockThrottle];
