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
 * | `grant`      | the engine's time when that right was granted: with `filler` it names this one grant |
 * | `leaseEnds`  | when that right ends                                                                |
 *
 * The invariant: a value is stored only under the grant that the record names. `invalidate` deletes the
 * record, so a fill that began before it finds another grant, or none, and is refused: it can never come back
 * after an invalidation that was acknowledged. The filler's name alone would not do: a late copy of its read
 * could grant it the key once more, and a late copy of its fill bring the old value back; the two carry
 * different grants. Times are milliseconds since the epoch by the engine's clock.
 *
 * A tag is a plain value, its version: a count and the id of the call that raised it. A late copy of an old
 * invalidation raises it once more, so no version ever comes back, and an engine that lost the count does not
 * repeat a version.
 */
import type { Fields, Step, Transition, Write } from "../store/transition.ts";
import { figure } from "../store/whole_number.ts";

/**
 * Whether the record has a value, or a known absence, that may be answered at all. One that is `fresh` for
 * more than 0 milliseconds may: its later deadline need not be read.
 */
function isFilled(record: Fields, now: number, fresh = 0): boolean {
  return (record.value !== undefined || record.absent !== undefined) &&
    (fresh > 0 || now < figure(record.until));
}

/** The record stays until its value and its lease are over. */
function kept(record: Fields): Write {
  return { record, expiresAt: Math.max(figure(record.until), figure(record.leaseEnds)) };
}

/** The value's fields without the lease. */
function withoutLease(record: Fields): Record<string, string> {
  const next: Record<string, string> = {};
  for (const name in record) {
    if (name !== "filler" && name !== "grant" && name !== "leaseEnds") next[name] = record[name]!;
  }
  return next;
}

/** Whether the record names this one grant. */
function holds(record: Fields | undefined, input: Fields): boolean {
  return record !== undefined && record.filler === input.filler && record.grant === input.grant;
}

/** The record with the right to fill until a lease from now. */
function leased(next: Record<string, string>, input: Fields, grant: string, now: number): Write {
  next.filler = input.filler!;
  next.grant = grant;
  next.leaseEnds = String(now + figure(input.lease));
  return kept(next);
}

/**
 * `{ schema, filler?, lease?, early?, refresh?, outdated? }` → what may be answered, with the record's own
 * times: `{ value | absent, tags, filledAt, freshUntil, staleUntil, until, now }`; and where it must be
 * refilled the `grant`, or `busy` with the milliseconds left of another filler's lease, and the `holder`:
 * that filler and its grant. The same filler gets the same grant.
 *
 * `early` is a number of thousandths: a value is refilled before its time when the fill's duration, so many
 * times over, is longer than it stays fresh. `refresh` asks for a refill of a value that is so many
 * milliseconds old. `outdated` is the `tags` text that the caller found to be out of date. The times are
 * copied, not subtracted: a hit needs none of them as a number.
 */
export const readCache: Transition = {
  name: "cache.read",
  apply(record, input, now): Step {
    let output: Record<string, string> = {};
    let refill = true;
    const fresh = record === undefined ? 0 : figure(record.freshUntil) - now;
    if (
      record !== undefined && record.schema === input.schema && record.tags !== input.outdated &&
      isFilled(record, now, fresh)
    ) {
      output = {
        tags: record.tags!,
        filledAt: record.filledAt!,
        freshUntil: record.freshUntil!,
        staleUntil: record.staleUntil!,
        until: record.until!,
        now: String(now),
      };
      if (record.value !== undefined) output.value = record.value;
      else output.absent = "1";
      const early = input.early === undefined
        ? 0
        : Math.floor(figure(record.took) * figure(input.early) / 1000);
      refill = fresh <= early ||
        (input.refresh !== undefined && now - figure(record.filledAt) >= figure(input.refresh));
    }
    if (!refill || input.filler === undefined) return { output };
    if (
      record !== undefined && record.filler !== undefined && record.filler !== input.filler &&
      now < figure(record.leaseEnds)
    ) {
      output.busy = String(figure(record.leaseEnds) - now);
      output.holder = `${record.filler} ${record.grant!}`;
      return { output };
    }
    const repeated = record !== undefined && record.filler === input.filler;
    const grant = repeated ? record.grant! : String(now);
    const next = record === undefined ? {} : withoutLease(record);
    output.grant = grant;
    return { output, write: leased(next, input, grant, now) };
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
 * `{ filler, grant, value?, ttl, stale, grace, took, tags, schema }` → `{ done }`: stores the value, or the
 * absence, under the grant. Whether its lease has run out does not matter as long as no other grant was made.
 */
export const fillCache: Transition = {
  name: "cache.fill",
  apply(record, input, now): Step {
    if (!holds(record, input)) {
      // The very fill that is there now, repeated after a lost reply, is done.
      return { output: { done: record !== undefined && record.filledBy === input.filler ? "1" : "0" } };
    }
    return { output: { done: "1" }, write: kept(filled(input, input.filler!, now)) };
  },
};

/** `{ filler, grant, lease }` → `{ done }`: the right to fill lasts `lease` from now. */
export const extendFill: Transition = {
  name: "cache.extend",
  apply(record, input, now): Step {
    if (!holds(record, input)) return { output: { done: "0" } };
    return { output: { done: "1" }, write: leased(withoutLease(record!), input, input.grant!, now) };
  },
};

/** `{ filler, grant }` → `{}`: gives the right to fill back; what was cached stays as it is. */
export const abandonFill: Transition = {
  name: "cache.abandon",
  apply(record, input, now): Step {
    if (!holds(record, input)) return { output: {} };
    const next = withoutLease(record!);
    return { output: {}, write: isFilled(next, now) ? kept(next) : { record: undefined } };
  },
};

/**
 * `{ id, value?, ttl, stale, grace, took, tags, schema }` → `{}`: stores a value whatever is there; a fill
 * under way is refused.
 */
export const putCache: Transition = {
  name: "cache.put",
  apply(record, input, now): Step {
    // Repeated after a lost reply it changes nothing more.
    if (record !== undefined && record.filledBy === input.id) return { output: {} };
    return { output: {}, write: kept(filled(input, input.id!, now)) };
  },
};

/**
 * `{}` → `{}`: deletes the record. It writes also where the engine shows none: on an engine that goes by the
 * callers' clocks this caller may see a lease as expired that its holder still counts on.
 */
export const invalidateCache: Transition = {
  name: "cache.invalidate",
  apply: (): Step => ({ output: {}, write: { record: undefined } }),
};

/**
 * `{}` → `{ done }`: the value's `ttl` ends now, and a fill under way is refused. What was left of the `ttl`
 * is taken off the deadlines of `stale` and `grace`, or the old value would be answered for as long as it
 * would have been fresh. On an engine that goes by the callers' clocks another caller's may be behind: so
 * `freshUntil` is long ago, not now. It writes where the engine shows no record, too: this caller may see a
 * lease as expired that its holder still counts on.
 */
export const expireCache: Transition = {
  name: "cache.expire",
  apply(record, _input, now): Step {
    const next = record === undefined ? {} : withoutLease(record);
    const done = isFilled(next, now) ? "1" : "0";
    const left = Math.max(0, figure(next.freshUntil) - now);
    next.freshUntil = "0";
    next.staleUntil = String(figure(next.staleUntil) - left);
    next.until = String(figure(next.until) - left);
    return { output: { done }, write: isFilled(next, now) ? kept(next) : { record: undefined } };
  },
};

/** `{ id, ttl }` → `{}`: raises a tag's version, a plain value of the form `count:id`. */
export const raiseTag: Transition = {
  name: "cache.tag",
  apply(record, input, now): Step {
    const count = record === undefined || record.v === undefined ? 0 : figure(record.v.split(":")[0]);
    const expiresAt = now + figure(input.ttl);
    const next = { v: `${count + 1}:${input.id!}`, e: String(expiresAt) };
    return { output: {}, write: { record: next, expiresAt } };
  },
};

/**
 * Every transition of a cache.
 *
 * @category Cache
 */
export const cacheTransitions: readonly Transition[] = [
  readCache,
  fillCache,
  extendFill,
  abandonFill,
  putCache,
  invalidateCache,
  expireCache,
  raiseTag,
];
