/**
 * The transitions of a lock: one record for every kind (exclusive, shared, fair). Its fields:
 *
 * | field         | type     | meaning                                                                     |
 * | ------------- | -------- | --------------------------------------------------------------------------- |
 * | `lock`        | integers | the summary: `fence lapsed due head ends holders alone waiting first last`  |
 * | `done`        | texts    | the last eight ids that may never act again, newest first, joined by commas |
 * | `by:<owner>`  | text     | a holder: `h <until> <fence> <limit> <delay>`                               |
 * |               |          | a waiter (queued): `q <number> <until> <limit> <front>`                     |
 * | `at:<number>` | text     | the owner of the waiter with that number                                    |
 *
 * `due`, `head`, `ends` and `until` are milliseconds since the epoch by the engine's clock, `delay` is
 * milliseconds, `alone` and `front` are `0` or `1`.
 *
 * - `fence` is the last fencing token handed out. `lapsed` is the highest one whose holder did not release it
 *   itself (its lease ended, or it was forced or passed on), so that a repeated release can be told from a
 *   late one.
 * - `due`: before that time no holder ends by itself; 0 without holders. It is exact for a single holder; with
 *   several it may be earlier than the true time, never later.
 * - `head`: when the ticket of the first waiter ends; 0 without waiters. Those behind it may have ended
 *   earlier: they are removed when they become the first, or with the next sweep.
 * - `ends`: the latest time at which anything in the record was to end by itself.
 * - `holders`, `alone` (whether one of them is exclusive), `waiting`, `first` and `last` (numbers in the
 *   queue) summarize the rest.
 *
 * With the summary an engine that keeps fields apart (a Redis hash) decides the usual calls by a few fields,
 * however long the queue is; see `adapters/upstash/compile/fast_lock.ts`. Invariant: after each write, the
 * first waiter cannot be let in. Only time changes that, at `due` or `head`: what happens then is a sweep,
 * which reads the whole record. A queue that moves on without dead waiters and lapsed leases needs none.
 *
 * A lock that becomes free goes to the first waiter at once, for as long as a reply may take: the waiter asks
 * again and gets its whole lease, or is passed over. The fence outlives the holders. A fence that was lost
 * starts again above every earlier one, because it is seeded with the engine's clock in microseconds.
 */
import { microseconds } from "../store/microseconds.ts";
import type { Fields, Step, Transition, Write } from "../store/transition.ts";
import {
  DONE_REMEMBERED,
  FENCE_RETENTION,
  HAND_OVER,
  HOUR,
  MOST_SHARING,
  TICKET,
  TICKET_GAIN,
  TICKET_STEP,
} from "./_limits.ts";
import { isAmong, newRecord, numbersIn, ownersIn, summaryText } from "./lock_texts.ts";

interface Holder {
  readonly owner: string;
  until: number;
  readonly fence: number;
  readonly limit: number;
  /** Milliseconds after `until` without a release for which the lock stays taken. */
  delay: number;
}

interface Ticket {
  readonly owner: string;
  readonly number: number;
  until: number;
  readonly limit: number;
  /** Set on the first in the queue: its field changes when it becomes the first, which notifies its owner. */
  front: number;
}

/** A record taken apart, without what has ended. */
interface LockRecord {
  fence: number;
  lapsed: number;
  /** Infinity without holders. */
  due: number;
  ends: number;
  /** Ids, newest first, joined by commas. */
  done: string;
  /** In no order. */
  holders: Holder[];
  /** In the order of their numbers. */
  queue: Ticket[];
  /** Whether time ended something: then the next write is worth its while. */
  swept: boolean;
}

/** The record without what has ended. `owner` is that of the call. */
function parse(record: Fields | undefined, now: number, owner?: string): LockRecord {
  const state: LockRecord = {
    fence: 0,
    lapsed: 0,
    due: Infinity,
    ends: 0,
    done: "",
    holders: [],
    queue: [],
    swept: false,
  };
  if (record === undefined || record.lock === undefined) return state;
  state.done = record.done ?? "";
  const summary = numbersIn(record.lock);
  state.fence = summary[0]!;
  state.lapsed = summary[1]!;
  if (summary[2] !== 0) state.due = summary[2]!;
  // `head`, the fourth, is what the first ticket says.
  state.ends = summary[4]!;
  for (const name of ownersIn(record, summary[5]! + summary[7]!, owner)) {
    const text = record["by:" + name]!;
    const [one, two, limit, last] = numbersIn(text) as [number, number, number, number];
    if (text.startsWith("h")) state.holders.push({ owner: name, until: one, fence: two, limit, delay: last });
    else state.queue.push({ owner: name, number: one, until: two, limit, front: last });
  }
  if (state.queue.length > 1) state.queue.sort((a, b) => a.number - b.number);
  if (now >= nextEnd(state)) expire(state, now);
  return state;
}

/** Before this time nothing happens by itself. */
function nextEnd(state: LockRecord): number {
  return state.queue.length === 0 ? state.due : Math.min(state.due, state.queue[0]!.until);
}

/** The record as a change finds it: what became free by time is handed on. */
function current(record: Fields | undefined, now: number, owner?: string): LockRecord {
  const state = parse(record, now, owner);
  if (state.swept) grantNext(state, now);
  return state;
}

/** Removes what has ended, and finds the next time at which a holder ends. */
function expire(state: LockRecord, now: number): void {
  const holders: Holder[] = [];
  let due = Infinity;
  for (const holder of state.holders) {
    const end = holder.until + holder.delay;
    if (now >= end) {
      state.lapsed = Math.max(state.lapsed, holder.fence);
    } else {
      holders.push(holder);
      due = Math.min(due, end);
    }
  }
  state.swept = true;
  state.due = due;
  state.holders = holders;
  dropEnded(state, now);
}

/** Removes the waiters whose tickets have ended, wherever they stand. */
function dropEnded(state: LockRecord, now: number): void {
  const left: Ticket[] = [];
  for (const ticket of state.queue) if (now < ticket.until) left.push(ticket);
  state.queue = left;
}

function serialize(state: LockRecord, now: number): Write {
  const { holders, queue } = state;
  const idle = holders.length === 0 && queue.length === 0;
  const ends = idle ? now : Math.max(state.ends, now);
  const due = holders.length === 0 ? 0 : state.due;
  const record = newRecord(state.done, !idle);
  let alone = 0;
  for (const { owner, until, fence, limit, delay } of holders) {
    record["by:" + owner] = `h ${until} ${fence} ${limit} ${delay}`;
    if (limit <= 1) alone = 1;
  }
  let first = 0;
  let last = 0;
  let head = 0;
  for (const ticket of queue) {
    if (first === 0) {
      ticket.front = 1;
      first = ticket.number;
      head = ticket.until;
    }
    last = ticket.number;
    record["by:" + ticket.owner] = `q ${ticket.number} ${ticket.until} ${ticket.limit} ${ticket.front}`;
    record["at:" + ticket.number] = ticket.owner;
  }
  const { fence, lapsed } = state;
  record.lock = summaryText(fence, lapsed, due, head, ends, holders.length, alone, queue.length, first, last);
  // Whole hours: most changes of a lock then leave the record's deadline alone, and cost an engine that keeps
  // it apart nothing.
  const expiresAt = Math.ceil((ends + FENCE_RETENTION) / HOUR) * HOUR;
  return { record, expiresAt, retention: ends > now ? "protected" : "evictable" };
}

/**
 * Notes when a holder ends by itself. The ends of others are not known to the fast path, which reads few
 * fields.
 */
function noteHolder(state: LockRecord, end: number): void {
  state.due = state.holders.length === 1 ? end : Math.min(state.due, end);
  state.ends = Math.max(state.ends, end);
}

/** Remembers an id that may never act again; answers whether that was new. */
function finish(state: LockRecord, id: string): boolean {
  if (isAmong(state.done, id)) return false;
  state.done = state.done === "" ? id : id + "," + state.done;
  let end = -1;
  for (let count = 0; count < DONE_REMEMBERED; count++) {
    end = state.done.indexOf(",", end + 1);
    if (end < 0) return true;
  }
  state.done = state.done.slice(0, end);
  return true;
}

function fits(state: LockRecord, limit: number): boolean {
  if (state.holders.length === 0) return true;
  if (state.holders.length >= limit) return false;
  for (const holder of state.holders) if (holder.limit <= 1) return false;
  return true;
}

/** The holder or waiter with that owner. */
function find<T extends { readonly owner: string }>(list: readonly T[], owner: string): T | undefined {
  for (const one of list) if (one.owner === owner) return one;
}

function without<T>(list: readonly T[], gone: T): T[] {
  const left: T[] = [];
  for (const one of list) if (one !== gone) left.push(one);
  return left;
}

function grant(
  state: LockRecord,
  owner: string,
  until: number,
  limit: number,
  delay: number,
  now: number,
): Holder {
  const fence = Math.max(state.fence + 1, microseconds(now));
  // Whether a holder from before the record was lost has released cannot be known.
  if (state.fence === 0) state.lapsed = fence - 1;
  state.fence = fence;
  const holder: Holder = { owner, until, fence, limit, delay };
  state.holders.push(holder);
  noteHolder(state, until + delay);
  return holder;
}

/** Takes the lock from a holder that did not release it itself. */
function lapse(state: LockRecord, holder: Holder): void {
  state.holders = without(state.holders, holder);
  state.lapsed = Math.max(state.lapsed, holder.fence);
}

/** Lets in the first waiters while they fit, and passes over those whose tickets have ended. */
function grantNext(state: LockRecord, now: number): void {
  while (state.queue.length > 0 && (now >= state.queue[0]!.until || fits(state, state.queue[0]!.limit))) {
    const { owner, limit, until } = state.queue.shift()!;
    if (now < until) grant(state, owner, now + HAND_OVER, limit, 0, now);
  }
}

/**
 * The maximum number of waiters before this number: those between may have left. `joins`: whether the number
 * itself is not in the queue yet.
 */
function mostAhead(state: LockRecord, number: number, joins: boolean): number {
  const { queue } = state;
  if (queue.length === 0) return 0;
  return Math.min(number - queue[0]!.number, joins ? queue.length : queue.length - 1);
}

/** Puts an owner into the queue, or keeps its place there; answers whether the queue changed. */
function enqueue(
  state: LockRecord,
  owner: string,
  wait: string | undefined,
  limit: number,
  now: number,
): boolean {
  if (wait === undefined) return false;
  const { queue } = state;
  const mine = find(queue, owner);
  let number = 1;
  if (mine !== undefined) number = mine.number;
  else if (queue.length > 0) number = queue[queue.length - 1]!.number + 1;
  const ahead = mostAhead(state, number, mine === undefined);
  const until = now + Math.min(Number(wait), TICKET + ahead * TICKET_STEP);
  if (mine !== undefined) {
    if (until - mine.until < TICKET_GAIN) return false;
    mine.until = until;
    // Dead waiters may fill the queue behind a first one that lives.
    if (ahead === 0 && queue.length >= MOST_SHARING) dropEnded(state, now);
  } else {
    if (queue.length >= MOST_SHARING) return false;
    queue.push({ owner, number, until, limit, front: 0 });
  }
  state.ends = Math.max(state.ends, until);
  return true;
}

/**
 * The holder that this call has or gets; `undefined` when others have the lock, or it cannot be passed on.
 */
function admit(
  state: LockRecord,
  input: Fields,
  limit: number,
  delay: number,
  now: number,
): Holder | undefined {
  const owner = input.owner!;
  const mine = find(state.holders, owner);
  if (mine !== undefined && now < mine.until) return mine;
  if (mine !== undefined) {
    // It lapsed, and holds only its own `delay`.
    lapse(state, mine);
    grantNext(state, now);
    state.swept = true;
  }
  if (input.from !== undefined) {
    const giver = find(state.holders, input.from);
    if (giver === undefined || now >= giver.until) return undefined;
    lapse(state, giver);
    finish(state, input.from);
    // It may wait itself: one owner has one field, which its ticket would take from its lease.
    const ticket = find(state.queue, owner);
    if (ticket !== undefined) state.queue = without(state.queue, ticket);
    // Not before the giver's own end: the giver counts on that until it is told.
    return grant(state, owner, giver.until, giver.limit, giver.delay, now);
  }
  if (state.queue.length > 0 || !fits(state, limit)) return undefined;
  return grant(state, owner, now + Number(input.ttl), limit, delay, now);
}

/**
 * `{ owner, ttl, limit?, delay?, wait?, from? }` → one of
 *
 * - `{ fence, until }`: granted. Repeated, the same owner has the same grant; its lease may get longer, never
 *   shorter.
 * - `{ remaining, ahead? }`: others have it, for about `remaining` milliseconds. With `wait` the owner is in
 *   the queue for so many milliseconds, behind at most `ahead` others; a full queue takes no more.
 * - `{ done }`: this owner has released it, or it was taken away. A copy of the call that arrives late is
 *   not granted.
 * - `{}`: with `from`, the lock was to be passed on from that owner, which does not have it.
 */
export const acquireLock: Transition = {
  name: "lock.acquire",
  apply(record, input, now): Step {
    const owner = input.owner!;
    const limit = input.limit === undefined ? 1 : Number(input.limit);
    const delay = input.delay === undefined ? 0 : Number(input.delay);
    const state = current(record, now, owner);
    if (isAmong(state.done, owner)) return { output: { done: "1" } };
    const mine = admit(state, input, limit, delay, now);
    if (mine !== undefined) {
      mine.until = Math.max(mine.until, now + Number(input.ttl));
      if (input.from === undefined) mine.delay = delay;
      noteHolder(state, mine.until + mine.delay);
      return {
        output: { fence: String(mine.fence), until: String(mine.until) },
        write: serialize(state, now),
      };
    }
    if (input.from !== undefined) return { output: {} };
    const joined = enqueue(state, owner, input.wait, limit, now);
    const output: Record<string, string> = { remaining: String(nextEnd(state) - now) };
    const ticket = find(state.queue, owner);
    if (ticket !== undefined) output.ahead = String(mostAhead(state, ticket.number, false));
    return joined || state.swept ? { output, write: serialize(state, now) } : { output };
  },
};

/**
 * `{ owner, ttl }` → `{ until }`: extended to at least `now + ttl`, or `{}`: lost. An expired lease is not
 * revived.
 */
export const extendLock: Transition = {
  name: "lock.extend",
  apply(record, input, now): Step {
    const state = current(record, now);
    const mine = find(state.holders, input.owner!);
    if (mine === undefined || now >= mine.until) return { output: {} };
    // Never shorter: a copy of an earlier call may arrive after a later one.
    mine.until = Math.max(mine.until, now + Number(input.ttl));
    noteHolder(state, mine.until + mine.delay);
    return { output: { until: String(mine.until) }, write: serialize(state, now) };
  },
};

/** The result of a release, for a caller with that token. */
function releaseResult(state: LockRecord, fence: string | undefined, known: boolean, live: boolean): string {
  if (live) return "released";
  if (fence === undefined || state.fence === 0) return "expired";
  // An owner that is gone and did not lapse has released it: this is a repetition.
  if (!known && Number(fence) > state.lapsed) return "released";
  // What was granted just now came after.
  return Number(fence) !== state.fence ? "overtaken" : "expired";
}

/**
 * `{ owner, fence? }` → `{ result }`: `released`, `expired` (no holder came after) or `overtaken`. Repeated,
 * it answers as the first time; among sharers, where `lapsed` is one figure for all, perhaps `overtaken`. A
 * waiter, which has no token, leaves the queue. Without a token the owner is remembered even if it is
 * unknown: its acquisition may still be on its way.
 */
export const releaseLock: Transition = {
  name: "lock.release",
  apply(record, input, now): Step {
    const owner = input.owner!;
    const state = current(record, now, owner);
    const mine = find(state.holders, owner);
    const ticket = find(state.queue, owner);
    const live = mine !== undefined && now < mine.until;
    const known = mine !== undefined || ticket !== undefined;
    if (mine !== undefined) {
      if (live) state.holders = without(state.holders, mine);
      else lapse(state, mine);
    } else if (ticket !== undefined) state.queue = without(state.queue, ticket);
    const noted = (known || input.fence === undefined) && finish(state, owner);
    if (known) grantNext(state, now);
    const output = { result: releaseResult(state, input.fence, known, live) };
    return known || noted ? { output, write: serialize(state, now) } : { output };
  },
};

/** The count that an earlier call with the same id answered, while it is remembered. */
function countOf(state: LockRecord, id: string): string | undefined {
  for (const entry of state.done.split(",")) {
    if (entry.startsWith(id + "=")) return entry.slice(id.length + 1);
  }
}

/**
 * `{ fence, id }` → `{ count }`: takes the lock from every holder up to that fencing token, and says from how
 * many. Later holders keep it. Repeated with the same id it answers the same while the id is remembered, and
 * in any case takes nothing more.
 */
export const forceLock: Transition = {
  name: "lock.force",
  apply(record, input, now): Step {
    const id = input.id ?? "";
    const state = current(record, now);
    const before = countOf(state, id);
    if (before !== undefined) return { output: { count: before } };
    const forced: Holder[] = [];
    for (const holder of state.holders) if (holder.fence <= Number(input.fence)) forced.push(holder);
    if (forced.length === 0) return { output: { count: "0" } };
    forced.sort((a, b) => a.fence - b.fence);
    let count = 0;
    for (const holder of forced) {
      // One whose lease has ended holds only its `delay`: that ends too, and does not count.
      if (now < holder.until) count++;
      lapse(state, holder);
      finish(state, holder.owner);
    }
    finish(state, id + "=" + String(count));
    grantNext(state, now);
    return { output: { count: String(count) }, write: serialize(state, now) };
  },
};

/**
 * `{ owner }` → `{ remaining, ahead }` while the owner waits in the queue and nothing is due, else `{}`: then
 * only `acquireLock` tells. It changes nothing, so that the looks of waiters far back cost next to nothing.
 */
export const lookLock: Transition = {
  name: "lock.look",
  apply(record, input, now): Step {
    const state = parse(record, now);
    const ticket = find(state.queue, input.owner!);
    if (state.swept || ticket === undefined) return { output: {} };
    const ahead = mostAhead(state, ticket.number, false);
    return { output: { remaining: String(nextEnd(state) - now), ahead: String(ahead) } };
  },
};

/** `{}` → `{ fence, held, waiting, remaining }`, or `{}` when nothing is known. */
export const inspectLock: Transition = {
  name: "lock.inspect",
  apply(record, _input, now): Step {
    if (record === undefined) return { output: {} };
    const { fence, holders, queue } = parse(record, now);
    let held = 0;
    let last = now;
    for (const { until, delay } of holders) {
      if (now < until) held++;
      last = Math.max(last, until + delay);
    }
    let waiting = 0;
    for (const { until } of queue) if (now < until) waiting++;
    return {
      output: {
        fence: String(fence),
        held: String(held),
        waiting: String(waiting),
        remaining: String(last - now),
      },
    };
  },
};

/**
 * Every transition of a lock.
 *
 * @category Transitions
 */
export const lockTransitions: readonly Transition[] = [
  acquireLock,
  extendLock,
  releaseLock,
  forceLock,
  lookLock,
  inspectLock,
];
