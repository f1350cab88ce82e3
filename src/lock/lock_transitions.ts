/**
 * The transitions of a lock: one record for every kind (exclusive, shared, fair). Its fields:
 *
 * | field | content |
 * |---|---|
 * | `lock` | ten integers: `fence lapsed due head ends holders alone waiting first last` |
 * | `done` | the last eight ids that may never act again, newest first, joined by commas |
 * | `by:<owner>` | a holder: `h <until> <fence> <limit> <delay>`; a waiter: `q <number> <until> <limit> <front>` |
 * | `at:<number>` | the owner of the waiter with that number |
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
 * however long the queue is; see `adapters/upstash/_lua_lock.ts`. Invariant: after each write, the first
 * waiter cannot be let in. Only time changes that, at `due` or `head`: what happens then is a sweep, which
 * reads the whole record. A queue that moves on without dead waiters and lapsed leases needs none.
 *
 * What becomes free goes to the first waiter at once, for as long as a reply may take: the waiter asks again
 * and gets its whole lease, or is passed over. The fence outlives the holders. A fence that was lost starts
 * again above every earlier one, because it is seeded with the engine's clock in microseconds.
 */
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

interface Holder {
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
  readonly holders: Map<string, Holder>;
  readonly queue: Ticket[];
  /** Whether time ended something: then the next write is worth its while. */
  swept: boolean;
}

/** The record without what has ended. */
function parse(record: Fields | undefined, now: number): LockRecord {
  const [fence, lapsed, due, , ends] = record?.lock?.split(" ") ?? ["0", "0", "0", "0", "0"];
  const state: LockRecord = {
    fence: Number(fence),
    lapsed: Number(lapsed),
    due: due === "0" ? Infinity : Number(due),
    ends: Number(ends),
    done: record?.done ?? "",
    holders: new Map(),
    queue: [],
    swept: false,
  };
  for (const name in record) {
    if (!name.startsWith("by:")) continue;
    const owner = name.slice(3);
    const [kind, a, b, limit, d] = record[name]!.split(" ");
    if (kind === "h") {
      state.holders.set(owner, {
        until: Number(a),
        fence: Number(b),
        limit: Number(limit),
        delay: Number(d),
      });
    } else {
      state.queue.push({
        owner,
        number: Number(a),
        until: Number(b),
        limit: Number(limit),
        front: Number(d),
      });
    }
  }
  if (state.queue.length > 1) state.queue.sort((a, b) => a.number - b.number);
  if (now >= nextEnd(state)) expire(state, now);
  return state;
}

/** Before this time nothing happens by itself. */
function nextEnd({ due, queue }: LockRecord): number {
  return Math.min(due, queue[0]?.until ?? Infinity);
}

/** The record as a change finds it: what became free by time is handed on. */
function current(record: Fields | undefined, now: number): LockRecord {
  const state = parse(record, now);
  if (state.swept) grantNext(state, now);
  return state;
}

/** Removes what has ended, and finds the next time at which something ends. */
function expire(state: LockRecord, now: number): void {
  state.swept = true;
  state.due = Infinity;
  for (const [owner, holder] of state.holders) {
    if (now >= holder.until + holder.delay) lapse(state, owner, holder);
    else state.due = Math.min(state.due, holder.until + holder.delay);
  }
  dropEnded(state, now);
}

function dropEnded({ queue }: LockRecord, now: number): void {
  queue.push(...queue.splice(0).filter(({ until }) => now < until));
}

function serialize(state: LockRecord, now: number): Write {
  const { fence, lapsed, holders, queue, done } = state;
  const idle = holders.size === 0 && queue.length === 0;
  const ends = idle ? now : Math.max(state.ends, now);
  const due = holders.size === 0 ? 0 : state.due;
  const head = queue[0]?.until ?? 0;
  const [first, last] = [queue[0]?.number ?? 0, queue.at(-1)?.number ?? 0];
  if (queue[0]) queue[0].front = 1;
  let alone = 0;
  const record: Record<string, string> = { lock: "", done };
  for (const [owner, { until, fence, limit, delay }] of holders) {
    record["by:" + owner] = `h ${until} ${fence} ${limit} ${delay}`;
    if (limit <= 1) alone = 1;
  }
  for (const { owner, number, until, limit, front } of queue) {
    record["by:" + owner] = `q ${number} ${until} ${limit} ${front}`;
    record["at:" + number] = owner;
  }
  record.lock = [fence, lapsed, due, head, ends, holders.size, alone, queue.length, first, last].join(" ");
  // Whole hours: most changes of a lock then leave the record's deadline alone, and cost an engine that keeps
  // it apart nothing.
  const expiresAt = Math.ceil((ends + FENCE_RETENTION) / HOUR) * HOUR;
  return { record, expiresAt, retention: ends > now ? "protected" : "evictable" };
}

/** Notes when a holder ends by itself. The ends of others are not known to the twin that reads few fields. */
function noteHolder(state: LockRecord, end: number): void {
  state.due = state.holders.size === 1 ? end : Math.min(state.due, end);
  state.ends = Math.max(state.ends, end);
}

/** Remembers an id that may never act again; answers whether that was new. */
function finish(state: LockRecord, id: string): boolean {
  if (isDone(state, id)) return false;
  state.done = state.done === "" ? id : `${id},${state.done}`;
  let end = -1;
  for (let count = 0; count < DONE_REMEMBERED; count++) {
    end = state.done.indexOf(",", end + 1);
    if (end < 0) return true;
  }
  state.done = state.done.slice(0, end);
  return true;
}

function isDone({ done }: LockRecord, id: string): boolean {
  return done.includes(id) && `,${done},`.includes(`,${id},`);
}

function fits({ holders }: LockRecord, limit: number): boolean {
  if (holders.size === 0) return true;
  return holders.size < limit && [...holders.values()].every((holder) => holder.limit > 1);
}

function grant(
  state: LockRecord,
  owner: string,
  until: number,
  limit: number,
  delay: number,
  now: number,
): Holder {
  const fence = Math.max(state.fence + 1, Math.floor(now * 1000));
  // Whether a holder from before the record was lost has released cannot be known.
  if (state.fence === 0) state.lapsed = fence - 1;
  state.fence = fence;
  const holder = { until, fence, limit, delay };
  state.holders.set(owner, holder);
  noteHolder(state, until + delay);
  return holder;
}

/** Takes the lock from a holder that did not release it itself. */
function lapse(state: LockRecord, owner: string, holder: Holder): void {
  state.holders.delete(owner);
  state.lapsed = Math.max(state.lapsed, holder.fence);
}

/** Lets in the first waiters while they fit, and passes over those whose tickets have ended. */
function grantNext(state: LockRecord, now: number): void {
  while (state.queue[0] && (now >= state.queue[0].until || fits(state, state.queue[0].limit))) {
    const { owner, limit, until } = state.queue.shift()!;
    if (now < until) grant(state, owner, now + HAND_OVER, limit, 0, now);
  }
}

/**
 * How many wait before this number, at most: those between may have left. `joins`: whether the number itself
 * is not in the queue yet.
 */
function mostAhead({ queue }: LockRecord, number: number, joins: boolean): number {
  return Math.min(number - (queue[0]?.number ?? number), queue.length - (joins ? 0 : 1));
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
  const mine = state.queue.find((ticket) => ticket.owner === owner);
  const number = mine?.number ?? (state.queue.at(-1)?.number ?? 0) + 1;
  const ahead = mostAhead(state, number, mine === undefined);
  const until = now + Math.min(Number(wait), TICKET + ahead * TICKET_STEP);
  if (mine && until - mine.until < TICKET_GAIN) return false;
  if (!mine && state.queue.length >= MOST_SHARING) return false;
  if (mine) {
    mine.until = until;
    // Dead waiters may fill the queue behind a first one that lives.
    if (ahead === 0 && state.queue.length >= MOST_SHARING) dropEnded(state, now);
  } else state.queue.push({ owner, number, until, limit, front: 0 });
  state.ends = Math.max(state.ends, until);
  return true;
}

/**
 * `{ owner, ttl, limit?, delay?, wait?, from? }` → one of
 *
 * - `{ fence, until }`: granted. Repeated, the same owner has the same grant; its lease may get longer, never
 *   shorter.
 * - `{ remaining, ahead? }`: others have it, for about `remaining` milliseconds. With `wait` the owner is in
 *   the queue for so many milliseconds, behind at most `ahead` others; a full queue takes no one.
 * - `{ done }`: this owner has released it, or it was taken away. A copy of the call that arrives late is
 *   not granted.
 * - `{}`: with `from`, the lock was to be passed on from that owner, which does not have it.
 */
export const acquireLock: Transition = {
  name: "lock.acquire",
  apply(record, { owner, ttl, limit: most = "1", delay = "0", wait, from }, now): Step {
    const state = current(record, now);
    if (isDone(state, owner!)) return { output: { done: "1" } };
    const limit = Number(most);
    let mine = state.holders.get(owner!);
    if (mine && now >= mine.until) {
      // It lapsed, and holds only its own `delay`.
      lapse(state, owner!, mine);
      grantNext(state, now);
      state.swept = true;
      mine = undefined;
    }
    if (from !== undefined && !mine) {
      const giver = state.holders.get(from);
      if (!giver || now >= giver.until) return { output: {} };
      lapse(state, from, giver);
      finish(state, from);
      // Not before the giver's own end: the giver counts on that until it is told.
      mine = grant(state, owner!, giver.until, giver.limit, giver.delay, now);
    } else if (!mine && state.queue.length === 0 && fits(state, limit)) {
      mine = grant(state, owner!, now + Number(ttl), limit, Number(delay), now);
    }
    if (mine) {
      mine.until = Math.max(mine.until, now + Number(ttl));
      if (from === undefined) mine.delay = Number(delay);
      noteHolder(state, mine.until + mine.delay);
      return {
        output: { fence: String(mine.fence), until: String(mine.until) },
        write: serialize(state, now),
      };
    }
    const joined = enqueue(state, owner!, wait, limit, now);
    const output: Record<string, string> = { remaining: String(nextEnd(state) - now) };
    const ticket = state.queue.find((ticket) => ticket.owner === owner);
    if (ticket) output.ahead = String(mostAhead(state, ticket.number, false));
    return joined || state.swept ? { output, write: serialize(state, now) } : { output };
  },
};

/**
 * `{ owner, ttl }` → `{ until }`: extended to at least `now + ttl`, or `{}`: lost. An expired lease is not
 * revived.
 */
export const extendLock: Transition = {
  name: "lock.extend",
  apply(record, { owner, ttl }, now): Step {
    const state = current(record, now);
    const mine = state.holders.get(owner!);
    if (!mine || now >= mine.until) return { output: {} };
    // Never shorter: a copy of an earlier call may arrive after a later one.
    mine.until = Math.max(mine.until, now + Number(ttl));
    noteHolder(state, mine.until + mine.delay);
    return { output: { until: String(mine.until) }, write: serialize(state, now) };
  },
};

/**
 * `{ owner, fence? }` → `{ result }`: `released`, `expired` (no holder came after) or `overtaken`. Repeated,
 * it answers as the first time; among sharers, where `lapsed` is one figure for all, perhaps `overtaken`. A
 * waiter, which has no token, leaves the queue. Without a token the owner is remembered even if it is
 * unknown: its acquisition may still be on its way.
 */
export const releaseLock: Transition = {
  name: "lock.release",
  apply(record, { owner, fence }, now): Step {
    const state = current(record, now);
    const mine = state.holders.get(owner!);
    const place = state.queue.findIndex((ticket) => ticket.owner === owner);
    const live = mine !== undefined && now < mine.until;
    const known = mine !== undefined || place >= 0;
    if (live) state.holders.delete(owner!);
    else if (mine) lapse(state, owner!, mine);
    else if (known) state.queue.splice(place, 1);
    const noted = (known || fence === undefined) && finish(state, owner!);
    if (known) grantNext(state, now);
    let result = "expired";
    // An owner that is gone and did not lapse has released it: this is a repetition.
    if (live || (!known && state.fence > 0 && Number(fence) > state.lapsed)) result = "released";
    // What was granted just now came after.
    else if (fence !== undefined && state.fence > 0 && Number(fence) !== state.fence) result = "overtaken";
    return known || noted ? { output: { result }, write: serialize(state, now) } : { output: { result } };
  },
};

/**
 * `{ fence, id }` → `{ count }`: takes the lock from every holder up to that fencing token, and says from how
 * many. Later holders keep it. Repeated with the same id it answers the same while the id is remembered, and
 * in any case takes nothing more.
 */
export const forceLock: Transition = {
  name: "lock.force",
  apply(record, { fence, id = "" }, now): Step {
    const state = current(record, now);
    const before = state.done.split(",").find((entry) => entry.startsWith(id + "="));
    if (before !== undefined) return { output: { count: before.slice(id.length + 1) } };
    const forced = [...state.holders].filter(([, holder]) => holder.fence <= Number(fence))
      .sort(([, a], [, b]) => a.fence - b.fence);
    if (forced.length === 0) return { output: { count: "0" } };
    // One whose lease has ended holds only its `delay`: that ends too, and does not count.
    const count = forced.filter(([, { until }]) => now < until).length;
    for (const [owner, holder] of forced) {
      lapse(state, owner, holder);
      finish(state, owner);
    }
    finish(state, `${id}=${count}`);
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
  apply(record, { owner }, now): Step {
    const state = parse(record, now);
    const ticket = state.queue.find((ticket) => ticket.owner === owner);
    if (state.swept || !ticket) return { output: {} };
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
    let [held, last] = [0, now];
    for (const { until, delay } of holders.values()) {
      if (now < until) held++;
      last = Math.max(last, until + delay);
    }
    return {
      output: {
        fence: String(fence),
        held: String(held),
        waiting: String(queue.filter(({ until }) => now < until).length),
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
