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
 * Input: `cost` (negative gives back; of a peek, what it asks for), `call` (the call's id) and a policy each
 * under `policy0`, `policy1`, …: `gcra:window:limit:burst:name`, `fixed:window:limit:name` or
 * `sliding:window:limit:name`. Output: `allowed` (`1` or `0`), `blockedFor` (if the key is blocked), per policy
 * under its input's name `remaining:reset:next:retry` (`retry` is -1 if the cost never fits), or `error`. All
 * times are milliseconds.
 *
 * Every number is an integer below 2^53, in Lua as in JavaScript: limits and bursts are at most 10^9,
 * windows and the time in which a full burst comes back at most 730 days (`policies.ts` refuses the rest).
 */
import type { Fields, Step, Transition } from "../store/transition.ts";
import {
  figuresText,
  isRepeated,
  policyName,
  readNumbers,
  remembered,
  wholeNumber,
} from "./throttle_numbers.ts";
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
  /**
   * The longest time for which a unit counts: no counter ends later than this from now, beside differing
   * clocks.
   */
  readonly horizon: number;
}

/** The counter of a policy: as it is at `now`, then with the cost taken. See the table above. */
interface Counter {
  readonly policy: Policy;
  since: number;
  used: number;
  earlier: number;
  /** Whether it was further ahead than the policy could have put it. Only then does a denied call write. */
  cut: boolean;
  /** How long to wait for the cost: 0 if it fits, -1 if it never will. */
  retry: number;
}

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

/** The numbers that were read last. */
const numbers: number[] = [0, 0, 0];

function parsePolicy(line: string): Policy {
  const parts = line.split(":");
  const kind = parts[0]!;
  const window = Number(parts[1]);
  const limit = Number(parts[2]);
  if (kind === "gcra") {
    const capacity = Number(parts[3]);
    return { kind, window, limit, capacity, field: line, horizon: scale(capacity, window, limit, true) };
  }
  const name = line.slice(kind.length + parts[1]!.length + parts[2]!.length + 3);
  const horizon = kind === "sliding" ? 2 * window : window;
  return { kind, window, limit, capacity: limit, field: kind + ":" + parts[1]! + ":" + name, horizon };
}

/**
 * The counter of a policy at `now`: with what came back until then, and cut back if it is further ahead than
 * the policy could have put it. `undefined` if the stored text is no counter.
 */
function counterAt(policy: Policy, text: string | undefined, now: number): Counter | undefined {
  const { kind, window, limit, capacity } = policy;
  const counter: Counter = { policy, since: 0, used: 0, earlier: 0, cut: false, retry: 0 };
  if (text !== undefined) {
    if (readNumbers(text, numbers) !== (kind === "sliding" ? 3 : 2)) return undefined;
    counter.since = numbers[0]!;
    counter.used = numbers[1]!;
    if (kind === "sliding") counter.earlier = numbers[2]!;
  }
  if (kind === "gcra") {
    // The generic cell rate algorithm in exact integers: `used` units were taken since `since`, and `limit`
    // come back per `window`. Whole windows are taken off both, so `since` lies within a window of `now` and
    // nothing is ever rounded.
    const windows = Math.floor((now - counter.since) / window);
    const since = counter.since + windows * window;
    const used = counter.used - windows * limit;
    const back = scale(now - since, limit, window, false);
    // More than a full burst is in use: another clock is ahead by the time that the excess takes to come
    // back, or time stepped back, or the counter is damaged.
    counter.cut = used - back > capacity &&
      scale(used - capacity, window, limit, true) - (now - since) > CLOCK_SKEW;
    counter.since = used <= back || counter.cut ? now : since;
    counter.used = counter.cut ? capacity : used <= back ? 0 : used;
    return counter;
  }
  // Calendar windows begin at multiples of the window since the epoch, whatever the first call's time was.
  const start = Math.floor(now / window) * window;
  if (counter.since > now + CLOCK_SKEW) {
    counter.since = start;
    counter.cut = true;
  } else if (counter.since < start) { // a clock that is a little behind opens no window again
    counter.earlier = kind === "sliding" && counter.since === start - window ? counter.used : 0;
    counter.since = start;
    counter.used = 0;
  }
  return counter;
}

/** Units left. */
function available(counter: Counter, now: number): number {
  const { kind, window, limit, capacity } = counter.policy;
  const elapsed = now - counter.since;
  // With fixed windows none is earlier, and nothing is weighed.
  const change = kind === "gcra"
    ? scale(elapsed, limit, window, false)
    : -scale(Math.min(counter.earlier, limit), window - Math.max(0, elapsed), window, true);
  return Math.max(0, capacity - counter.used + change);
}

/** Milliseconds until so many units are left; -1 if they never are. */
function timeUntil(counter: Counter, now: number, units: number): number {
  const { kind, window, limit, capacity } = counter.policy;
  if (units > capacity) return -1;
  const elapsed = now - counter.since; // negative if another clock is ahead
  if (kind === "gcra") {
    const missing = counter.used + units - capacity;
    return missing <= 0 ? 0 : Math.max(0, scale(missing, window, limit, true) - elapsed);
  }
  // A count from before the limit was lowered weighs no more than the limit: it would deny for longer than
  // two windows.
  const used = Math.min(counter.used, limit);
  const earlier = Math.min(counter.earlier, limit);
  const room = limit - units; // as many or fewer are then in use
  if (room >= used) {
    const at = earlier === 0 ? 0 : window - scale(room - used, window, earlier, false);
    return at <= Math.max(0, elapsed) ? 0 : at - elapsed;
  }
  const weighed = kind === "sliding" ? Math.max(0, window - scale(room, window, used, false)) : 0;
  return window - elapsed + weighed;
}

/** Takes the cost; a negative cost gives back, never beyond full. */
function take(counter: Counter, now: number, cost: number): void {
  const { kind, window, limit } = counter.policy;
  const used = counter.used + cost;
  const all = kind === "gcra" && used <= scale(now - counter.since, limit, window, false);
  if (all) counter.since = now;
  counter.used = all ? 0 : Math.max(0, used);
}

function counterText({ policy, since, used, earlier }: Counter): string {
  const text = String(since) + ":" + String(used);
  return policy.kind === "sliding" ? text + ":" + String(earlier) : text;
}

/**
 * The time at which the last unit of another policy's counter is back; 0 if all are, or if it is no
 * counter.
 */
function foreignEnd(field: string, text: string, now: number): number {
  const parts = field.split(":");
  const kind = parts[0]!;
  const gcra = kind === "gcra";
  const sliding = kind === "sliding";
  const window = wholeNumber(parts[1]);
  // A calendar window counts for as long as one unit does that comes back per window; two when it slides.
  const limit = gcra ? wholeNumber(parts[2]) : 1;
  const capacity = gcra ? wholeNumber(parts[3]) : sliding ? 2 : 1;
  const known = gcra || sliding || kind === "fixed";
  const count = sliding ? 3 : 2;
  if (!known || window <= 0 || limit <= 0 || capacity < 0 || readNumbers(text, numbers) !== count) return 0;
  const horizon = scale(capacity, window, limit, true);
  const end = numbers[0]! + (gcra ? scale(numbers[1]!, window, limit, true) : horizon);
  return end <= now || horizon > LONGEST_RECORD ? 0 : Math.min(end, now + horizon + CLOCK_SKEW);
}

/** Whether the record is a throttle's. One that is not is left alone. */
function isOurs(record: Fields): boolean {
  const { recordEnds, blockedUntil } = record;
  return wholeNumber(recordEnds) >= 0 && (blockedUntil === undefined || wholeNumber(blockedUntil) >= 0);
}

function withCall(record: Fields | undefined, call: string): string {
  // The oldest id may be cut off in its middle: it has no comma behind it then, and never matches.
  return (call + "," + (record?.["recentCalls"] ?? "")).slice(0, RECENT_LENGTH);
}

/** Whether a policy of the call has its counter in that field. */
function isOwn(own: readonly Counter[], field: string): boolean {
  for (const { policy } of own) if (policy.field === field) return true;
  return false;
}

/** The record with its new end. Moves the end only if it has to, and then drops counters that are over. */
function withEnd(
  next: Record<string, string>,
  own: readonly Counter[],
  end: number,
  now: number,
): { readonly record: Fields; readonly expiresAt: number } {
  const before = wholeNumber(next["recordEnds"]);
  let longest = DEADLINE_STEP;
  for (const { policy } of own) longest = Math.max(longest, policy.horizon);
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

const CORRUPT: Step = { output: { error: "corrupt" } };

/**
 * Decides about all policies, and takes the cost from all of them or from none; from none if it only `reads`.
 */
function decide(record: Fields | undefined, input: Fields, now: number, reads: boolean): Step {
  if (record !== undefined && !isOurs(record)) return CORRUPT;
  const cost = Number(input["cost"] ?? "0");
  const blockedUntil = record === undefined ? undefined : record["blockedUntil"];
  const blockedFor = blockedUntil === undefined ? 0 : Math.max(0, Number(blockedUntil) - now);
  const repeated = isRepeated(record, input["call"]);
  let fits = cost < 0 || blockedFor === 0;
  let cut = false;
  const own: Counter[] = [];
  for (let i = 0; input[policyName(i)] !== undefined; i++) {
    const policy = remembered(input[policyName(i)]!, parsePolicy);
    const counter = counterAt(policy, record === undefined ? undefined : record[policy.field], now);
    if (counter === undefined) return CORRUPT;
    if (cost > 0) counter.retry = timeUntil(counter, now, cost);
    if (counter.retry !== 0) fits = false;
    if (counter.cut) cut = true;
    own.push(counter);
  }
  const takes = fits && cost !== 0 && !repeated && !reads;
  // A denied call changes nothing, unless a counter had to be cut back: what is cut is written, or it would
  // be cut at every call and never end.
  const writes = takes || (cost > 0 && !repeated && !reads && cut);
  const output: Record<string, string> = { allowed: fits || repeated ? "1" : "0" };
  if (blockedFor > 0) output["blockedFor"] = String(blockedFor);
  const next: Record<string, string> = writes ? { ...record } : {};
  let lasts = DEADLINE_STEP;
  let exhausted = false;
  for (let i = 0; i < own.length; i++) {
    const counter = own[i]!;
    const { capacity, field } = counter.policy;
    if (takes) take(counter, now, cost);
    const remaining = available(counter, now);
    const reset = timeUntil(counter, now, capacity);
    const more = remaining >= capacity ? 0 : timeUntil(counter, now, remaining + 1);
    output[policyName(i)] = figuresText(remaining, reset, more, repeated ? 0 : counter.retry);
    lasts = Math.max(lasts, reset);
    if (remaining === 0) exhausted = true;
    if (takes || counter.cut) next[field] = counterText(counter);
  }
  if (!writes) return { output };
  if (blockedUntil !== undefined && blockedFor === 0) delete next["blockedUntil"];
  if (takes && input["call"] !== undefined) next["recentCalls"] = withCall(record, input["call"]!);
  // In a bounded engine a counter at its limit outlives the others, and a block every other record.
  const { record: stored, expiresAt } = withEnd(next, own, now + lasts, now);
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
  apply: (record, input, now): Step => decide(record, input, now, false),
};

/** Reads the state of every policy, and whether the cost would fit, without changing anything. */
export const peekThrottle: Transition = {
  name: "throttle.peek",
  readOnly: true,
  apply: (record, input, now): Step => decide(record, input, now, true),
};

/**
 * `{ duration, call? }` → `{}`: nothing is allowed for so long from now. A call that arrives twice blocks
 * once.
 */
export const blockThrottle: Transition = {
  name: "throttle.block",
  apply: (record, input, now): Step => {
    if (record !== undefined && !isOurs(record)) return CORRUPT;
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
