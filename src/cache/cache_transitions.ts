/**
 * The transitions of a cache: one record a key.
 *
 * | field        | meaning                                                                             |
 * | ------------ | ----------------------------------------------------------------------------------- |
 * | `value`      | the encoded value; a record without one is a lease alone                            |
 * | `absent`     | `"1"`: the origin has nothing, and that is what is cached; there is no `value`      |
 * | `filledAt`   | when it was filled                                                                  |
 * | `freshUntil` | until when it is fresh                                                              |
 * | `staleUntil` | until when it may be answered while it is refilled                                  |
 * | `until`      | until when it may be answered where the origin fails: its hard deadline             |
 * | `took`       | how long the fill took, in milliseconds: early refresh depends on it                |
 * | `tags`       | the versions of its tags when its fill began; another text is another state         |
 * | `schema`     | what the caller says the value's form is; another text is another form              |
 * | `filledBy`   | the filler whose value it is: its repeated call is answered the same                |
 * | `filler`     | the caller that may fill now                                                        |
 * | `leaseEnds`  | when that right ends                                                                |
 *
 * The invariant: a value is stored only by the filler that the record names. `invalidate` deletes the record, so a fill
 * that began before it finds another filler, or none, and is refused: it can never come back after an invalidation that
 * was acknowledged. Times are milliseconds since the epoch by the engine's clock.
 */
import type { Fields, Step, Transition, Write } from "../store/transition.ts";

/** A number of a record; what is missing is long ago. */
function figure(text: string | undefined): number {
  return text === undefined ? 0 : Number(text);
}

/** Whether the record has a value, or a known absence, that may be answered at all. */
function isFilled(record: Fields, now: number): boolean {
  return (record.value !== undefined || record.absent !== undefined) && now < figure(record.until);
}

/** The record stays until its value and its lease are over. */
function kept(record: Fields): Write {
  return { record, expiresAt: Math.max(figure(record.until), figure(record.leaseEnds)) };
}

/** The value's fields without the lease. */
function withoutLease(record: Fields): Record<string, string> {
  const next: Record<string, string> = {};
  for (const name in record) {
    if (name !== "filler" && name !== "leaseEnds") next[name] = record[name]!;
  }
  return next;
}

/**
 * `{ schema, filler?, lease?, early?, outdated? }` → what may be answered: `{ value | absent, tags, age, fresh, stale,
 * grace }` (milliseconds left as each), and where it must be refilled `granted`, or `busy` with the milliseconds left of
 * another filler's lease.
 *
 * `early` is a number of thousandths: a value is refilled before its time when the fill's duration, so many times over,
 * is longer than it stays fresh. `outdated` is the `tags` text that the caller found to be out of date.
 */
export const readCache: Transition = {
  name: "cache.read",
  apply(record, input, now): Step {
    const output: Record<string, string> = {};
    let refill = true;
    if (
      record !== undefined && isFilled(record, now) && record.schema === input.schema &&
      record.tags !== input.outdated
    ) {
      const fresh = figure(record.freshUntil) - now;
      if (record.value !== undefined) output.value = record.value;
      else output.absent = "1";
      output.tags = record.tags!;
      output.age = String(Math.max(0, now - figure(record.filledAt)));
      output.fresh = String(Math.max(0, fresh));
      output.stale = String(Math.max(0, figure(record.staleUntil) - now));
      output.grace = String(figure(record.until) - now);
      const early = input.early === undefined
        ? 0
        : Math.floor(figure(record.took) * figure(input.early) / 1000);
      refill = fresh <= early;
    }
    if (!refill || input.filler === undefined) return { output };
    if (
      record !== undefined && record.filler !== undefined && record.filler !== input.filler &&
      now < figure(record.leaseEnds)
    ) {
      output.busy = String(figure(record.leaseEnds) - now);
      return { output };
    }
    const next = record === undefined ? {} : withoutLease(record);
    next.filler = input.filler;
    next.leaseEnds = String(now + figure(input.lease));
    output.granted = "1";
    return { output, write: kept(next) };
  },
};

/** The record of a value that is filled now. */
function filled(input: Fields, filledBy: string, now: number): Fields {
  const freshUntil = now + figure(input.ttl);
  const next: Record<string, string> = {
    filledAt: String(now),
    freshUntil: String(freshUntil),
    staleUntil: String(freshUntil + figure(input.stale)),
    until: String(freshUntil + Math.max(figure(input.stale), figure(input.grace))),
    took: input.took!,
    tags: input.tags!,
    schema: input.schema!,
    filledBy,
  };
  if (input.value !== undefined) next.value = input.value;
  else next.absent = "1";
  return next;
}

/**
 * `{ filler, value?, ttl, stale, grace, took, tags, schema }` → `{ done }`: stores the value, or the absence, if the
 * caller is the filler. Whether its lease has run out does not matter as long as nobody else was granted one.
 */
export const fillCache: Transition = {
  name: "cache.fill",
  apply(record, input, now): Step {
    if (record === undefined) return { output: { done: "0" } };
    if (record.filler !== input.filler) {
      // The very fill that is there now, repeated after a lost reply.
      return { output: { done: record.filledBy === input.filler ? "1" : "0" } };
    }
    return { output: { done: "1" }, write: kept(filled(input, input.filler!, now)) };
  },
};

/** `{ filler, lease }` → `{ done }`: the right to fill lasts `lease` from now. */
export const extendFill: Transition = {
  name: "cache.extend",
  apply(record, input, now): Step {
    if (record === undefined || record.filler !== input.filler) return { output: { done: "0" } };
    const next = withoutLease(record);
    next.filler = input.filler!;
    next.leaseEnds = String(now + figure(input.lease));
    return { output: { done: "1" }, write: kept(next) };
  },
};

/** `{ filler }` → `{}`: gives the right to fill back; what was cached stays as it is. */
export const abandonFill: Transition = {
  name: "cache.abandon",
  apply(record, input, now): Step {
    if (record === undefined || record.filler !== input.filler) return { output: {} };
    const next = withoutLease(record);
    return { output: {}, write: isFilled(next, now) ? kept(next) : { record: undefined } };
  },
};

/** `{ id, value?, ttl, stale, grace, took, tags, schema }` → `{}`: stores a value whatever is there; a fill under way is refused. */
export const putCache: Transition = {
  name: "cache.put",
  apply(record, input, now): Step {
    // Repeated after a lost reply it changes nothing more.
    if (record !== undefined && record.filledBy === input.id) return { output: {} };
    return { output: {}, write: kept(filled(input, input.id!, now)) };
  },
};

/** `{}` → `{ done }`: what is cached is stale from now; a fill under way is refused. */
export const expireCache: Transition = {
  name: "cache.expire",
  apply(record, _input, now): Step {
    if (record === undefined) return { output: { done: "0" } };
    const next = withoutLease(record);
    if (!isFilled(next, now)) return { output: { done: "0" }, write: { record: undefined } };
    next.freshUntil = String(Math.min(now, figure(record.freshUntil)));
    return { output: { done: "1" }, write: kept(next) };
  },
};

/** Every transition of a cache. */
export const cacheTransitions: readonly Transition[] = [
  readCache,
  fillCache,
  extendFill,
  abandonFill,
  putCache,
  expireCache,
];
