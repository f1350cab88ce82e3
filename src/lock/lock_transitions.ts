/**
 * The transitions of a lock: one record for every kind. `f` is the last fencing token handed out, `x` the highest one whose
 * holder did not give it back itself (it ran out, was forced or passed on). Whoever has the lock or waits for it is a field `p` + owner:
 *
 * - `h <until> <fence> <limit> <delay>` holds. Limit 1 is exclusive, more is shared by so many; `delay` milliseconds
 *   after `until` without a release the lock stays taken.
 * - `q <number> <until> <limit> <next>` waits in the queue. `next` is set on the first, so that its field changes when it becomes that.
 *
 * Whatever becomes free goes to the first in the queue at once, for as long as a reply may take: it asks again and has
 * its whole lease, or is passed over. The fence outlives the holders, and a fence that was lost starts again above
 * every earlier one, because it is seeded with the engine's clock in microseconds.
 */
import type { Fields, Step, Transition, Write } from "../store/transition.ts";
import { FENCE_RETENTION, HAND_OVER, HOUR, MOST_SHARING, TICKET, TICKET_GAIN } from "./_limits.ts";

interface Holder {
  until: number;
  readonly fence: number;
  readonly limit: number;
  delay: number;
}

interface Ticket {
  readonly owner: string;
  readonly number: number;
  until: number;
  readonly limit: number;
  next: number;
}

/** A record taken apart, without what is dead. */
interface Book {
  fence: number;
  lapsed: number;
  readonly holders: Map<string, Holder>;
  readonly queue: Ticket[];
}

function open(record: Fields | undefined, now: number): Book {
  const book: Book = {
    fence: Number(record?.f ?? 0),
    lapsed: Number(record?.x ?? 0),
    holders: new Map(),
    queue: [],
  };
  for (const [name, value] of Object.entries(record ?? {})) {
    const [kind, ...figures] = value.split(" ");
    if (!name.startsWith("p") || figures.length !== 4) continue;
    const owner = name.slice(1);
    const [a, b, limit, d] = figures.map(Number) as [number, number, number, number];
    if (kind === "h") {
      if (now < a + d) book.holders.set(owner, { until: a, fence: b, limit, delay: d });
      else book.lapsed = Math.max(book.lapsed, b);
    } else if (now < b) book.queue.push({ owner, number: a, until: b, limit, next: d });
  }
  book.queue.sort((a, b) => a.number - b.number);
  return book;
}

function close({ fence, lapsed, holders, queue }: Book, now: number): Write {
  if (queue[0]) queue[0].next = 1;
  const record: Record<string, string> = { f: String(fence), x: String(lapsed) };
  let last = now;
  for (const [owner, { until, fence, limit, delay }] of holders) {
    record["p" + owner] = `h ${until} ${fence} ${limit} ${delay}`;
    last = Math.max(last, until + delay);
  }
  for (const { owner, number, until, limit, next } of queue) {
    record["p" + owner] = `q ${number} ${until} ${limit} ${next}`;
    last = Math.max(last, until);
  }
  // Whole hours: most changes of a lock then leave its deadline alone, and cost an engine that keeps it apart nothing.
  const expiresAt = Math.ceil((last + FENCE_RETENTION) / HOUR) * HOUR;
  return { record, expiresAt, retention: last > now ? "protected" : "evictable" };
}

function fits({ holders }: Book, limit: number): boolean {
  if (holders.size === 0) return true;
  return holders.size < limit && [...holders.values()].every((holder) => holder.limit > 1);
}

function grant(book: Book, owner: string, until: number, limit: number, now: number): Holder {
  const fence = Math.max(book.fence + 1, Math.floor(now * 1000));
  if (book.fence === 0) book.lapsed = fence - 1; // whoever held before the record was lost cannot be told that it released
  book.fence = fence;
  const holder = { until, fence, limit, delay: 0 };
  book.holders.set(owner, holder);
  return holder;
}

function drop(book: Book, owner: string, holder: Holder): void {
  book.holders.delete(owner);
  book.lapsed = Math.max(book.lapsed, holder.fence);
}

/** Hands what is free to whoever is first; answers whether it did. */
function serve(book: Book, now: number): boolean {
  let served = false;
  while (book.queue[0] && fits(book, book.queue[0].limit)) {
    const { owner, limit } = book.queue.shift()!;
    grant(book, owner, now + HAND_OVER, limit, now);
    served = true;
  }
  return served;
}

/** The ticket of somebody who must wait; answers whether the queue changed. */
function enqueue(
  { queue }: Book,
  owner: string,
  wait: string | undefined,
  limit: number,
  now: number,
): boolean {
  if (wait === undefined) return false;
  const until = now + Math.min(Number(wait), TICKET);
  const mine = queue.find((ticket) => ticket.owner === owner);
  if (mine) {
    if (until - mine.until < TICKET_GAIN) return false;
    mine.until = until;
    return true;
  }
  if (queue.length >= MOST_SHARING) return false;
  queue.push({ owner, number: (queue.at(-1)?.number ?? 0) + 1, until, limit, next: 0 });
  return true;
}

/**
 * `{ owner, ttl, limit?, delay?, wait?, from? }` → `{ fence, e }` granted, or `{ remaining, ahead? }` others have it: `ahead` of
 * them wait in the queue before this one, which has joined it for `wait` milliseconds. The same owner gets the same grant. With
 * `from`, the lock is passed on from that owner, or `{}`: it has it no more.
 */
export const acquireLock: Transition = {
  name: "lock.acquire",
  apply(record, { owner, ttl, limit: most = "1", delay = "0", wait, from }, now): Step {
    const book = open(record, now);
    const limit = Number(most);
    let mine = book.holders.get(owner!);
    if (mine && now >= mine.until) {
      drop(book, owner!, mine);
      mine = undefined;
    }
    if (from !== undefined && !mine) {
      const giver = book.holders.get(from);
      if (!giver || now >= giver.until) return { output: {} };
      drop(book, from, giver);
      mine = grant(book, owner!, now, giver.limit, now);
      mine.delay = giver.delay;
    }
    const served = serve(book, now);
    mine ??= book.holders.get(owner!);
    if (!mine && book.queue.length === 0 && fits(book, limit)) mine = grant(book, owner!, now, limit, now);
    if (mine) {
      mine.until = now + Number(ttl);
      if (from === undefined) mine.delay = Number(delay);
      return { output: { fence: String(mine.fence), e: String(mine.until) }, write: close(book, now) };
    }
    const joined = enqueue(book, owner!, wait, limit, now);
    const free = Math.min(...Array.from(book.holders.values(), ({ until, delay }) => until + delay));
    const output: Record<string, string> = { remaining: String(free - now) };
    const ahead = book.queue.findIndex((ticket) => ticket.owner === owner);
    if (ahead >= 0) output.ahead = String(ahead);
    return served || joined ? { output, write: close(book, now) } : { output };
  },
};

/** `{ owner, ttl }` → `{ e }` extended to `now + ttl`, or `{}` lost. An expired lease is not revived. */
export const extendLock: Transition = {
  name: "lock.extend",
  apply(record, { owner, ttl }, now): Step {
    const book = open(record, now);
    const mine = book.holders.get(owner!);
    if (!mine || now >= mine.until) return { output: {} };
    mine.until = now + Number(ttl);
    return { output: { e: String(mine.until) }, write: close(book, now) };
  },
};

/**
 * `{ owner, fence? }` → `{ result }`: `released`, `expired` (nobody came after) or `overtaken`. Repeated, it answers as the first
 * time, or among sharers, where `x` is one figure for all, perhaps `overtaken`. A ticket, which has no token, is given back too.
 */
export const releaseLock: Transition = {
  name: "lock.release",
  apply(record, { owner, fence }, now): Step {
    if (record === undefined) return { output: { result: "expired" } };
    const book = open(record, now);
    const mine = book.holders.get(owner!);
    const ticket = book.queue.findIndex((ticket) => ticket.owner === owner);
    const live = mine !== undefined && now < mine.until;
    const known = mine !== undefined || ticket >= 0;
    if (live) book.holders.delete(owner!);
    else if (mine) drop(book, owner!, mine);
    else if (known) book.queue.splice(ticket, 1);
    if (known) serve(book, now);
    // Whoever is gone and did not lapse has released it: this is a repetition. What is served now came after.
    let result = "expired";
    if (live || (!known && Number(fence) > book.lapsed)) result = "released";
    else if (fence !== undefined && Number(fence) !== book.fence) result = "overtaken";
    return known ? { output: { result }, write: close(book, now) } : { output: { result } };
  },
};

/** `{ fence }` → `{ count }`: takes the lock from every holder up to that fencing token; later ones keep it. */
export const forceLock: Transition = {
  name: "lock.force",
  apply(record, { fence }, now): Step {
    const book = open(record, now);
    const gone = [...book.holders].filter(([, holder]) => holder.fence <= Number(fence));
    if (gone.length === 0) return { output: { count: "0" } };
    for (const [owner, holder] of gone) drop(book, owner, holder);
    serve(book, now);
    return { output: { count: String(gone.length) }, write: close(book, now) };
  },
};

/** `{}` → `{ f, held, waiting, remaining }`, or `{}` when nothing is known. */
export const inspectLock: Transition = {
  name: "lock.inspect",
  apply(record, _input, now): Step {
    if (record === undefined) return { output: {} };
    const { fence, holders, queue } = open(record, now);
    let [held, last] = [0, now];
    for (const { until, delay } of holders.values()) {
      if (now < until) held++;
      last = Math.max(last, until + delay);
    }
    return {
      output: {
        f: String(fence),
        held: String(held),
        waiting: String(queue.length),
        remaining: String(last - now),
      },
    };
  },
};

/** Every transition of a lock. */
export const lockTransitions: readonly Transition[] = [
  acquireLock,
  extendLock,
  releaseLock,
  forceLock,
  inspectLock,
];
