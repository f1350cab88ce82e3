/**
 * The transitions of sessions (`session_record.ts` has the fields) and of what is known about a user:
 * `{ n, e?, y?, p?, h:* }`: number of the write, epoch, spared handle, until when the epoch must be remembered, and
 * `<key>:<listed>:<ends>` by handle.
 *
 * A session lives until it was idle for too long or is too old, whatever comes first; every transition checks both.
 * Its record stays a little longer (`keep`), so that those who come late learn why it is gone.
 */
import type { Fields, Step, Transition, Write } from "../store/transition.ts";

/** A field as a number; what is none was not written by us and counts as long ago. */
function int(text: string | undefined): number {
  return Number(text ?? 0) || 0;
}

function expiry(record: Fields): number {
  return Math.min(int(record.t) + int(record.i), int(record.x));
}

/** Why there is no session, or `undefined` when there is one. */
function gone(record: Fields | undefined, now: number): Fields | undefined {
  if (record?.h === undefined) return {};
  if (record.g !== undefined) return { g: record.g };
  return now < expiry(record) ? undefined : { g: "expired" };
}

function kept(record: Fields, { keep }: Fields): Write {
  return { record, expiresAt: expiry(record) + int(keep), retention: "kept" };
}

function values(input: Fields): Fields {
  return Object.fromEntries(Object.entries(input).filter(([field]) => /^[df]:/.test(field)));
}

/** `{}` → the record, `{ g }` when it ended, or `{}`. */
export const loadSession: Transition = {
  name: "session.load",
  apply: (record, _input, now) => ({ output: gone(record, now) ?? record! }),
};

/**
 * `{ keep, h, i, x | life, s, c?, b?, u?, a?, d:*, f:* }` → `{ done: "1" }` and the record, or `{ done: "0", g? }` when the
 * key is taken. `life` is the absolute timeout, `x` the end of the session this one continues. Repeating it with the same
 * handle is fine.
 */
export const createSession: Transition = {
  name: "session.create",
  apply(record, input, now): Step {
    if (record !== undefined) {
      const ended = gone(record, now);
      if (ended === undefined && record.h === input.h) return { output: { done: "1", ...record } };
      return { output: { done: "0", g: ended?.g ?? "revoked" } };
    }
    const at = String(now);
    const next: Record<string, string> = {
      ...values(input),
      h: input.h!,
      n: "1",
      c: input.c ?? at,
      t: at,
      k: at,
      b: input.b ?? at,
      i: input.i!,
      x: input.x ?? String(now + int(input.life)),
      s: input.s!,
    };
    if (input.u !== undefined) next.u = input.u;
    if (input.a !== undefined) next.a = input.a === "now" ? at : input.a;
    if (now >= expiry(next)) return { output: { done: "0", g: "expired" } };
    return { output: { done: "1", ...next }, write: kept(next, input) };
  },
};

/**
 * `{ keep, d:*, f:*, x:*, s?, k?, if? }` → `{ done: "1" }` and the record, `{ done: "2" }` and the record when it is not at
 * version `if`, or `{ done: "0", g? }`: sets and unsets just these values and touches. A session that is gone stays gone.
 */
function commit(record: Fields | undefined, input: Fields, now: number): Step {
  const ended = gone(record, now);
  if (ended !== undefined) return { output: { done: "0", ...ended } };
  const known = record!;
  if (input.if !== undefined && input.if !== known.n) return { output: { done: "2", ...known } };
  const touched = String(Math.max(now, int(known.t)));
  const next: Record<string, string> = {
    ...known,
    ...values(input),
    n: String(int(known.n) + 1),
    t: touched,
  };
  for (const field of Object.keys(input)) if (/^x:[df]:/.test(field)) delete next[field.slice(2)];
  if (input.s !== undefined) next.s = input.s;
  if (input.k !== undefined) next.k = touched;
  return { output: { done: "1", ...next }, write: kept(next, input) };
}

/** Merges; repeating it is fine. */
export const commitSession: Transition = { name: "session.commit", apply: commit };

/** Merges if the version is the expected one; a repetition would find its own version. */
export const replaceSession: Transition = { name: "session.replace", apply: commit };

/**
 * `{ keep, why, bury?, lasting? }` → the record, of which only a grave is left; `{}` when somebody else was first. `bury`
 * leaves a grave where nothing was, too; a `lasting` one stays until the session would have ended by itself.
 */
export const endSession: Transition = {
  name: "session.end",
  apply(record, input, now): Step {
    const ended = gone(record, now);
    if (ended?.g !== undefined || (ended !== undefined && input.bury === undefined)) return { output: {} };
    const grave = { h: record?.h ?? "", n: String(int(record?.n) + 1), g: input.why! };
    const least = input.lasting === undefined ? 0 : int(record?.x);
    return {
      output: ended === undefined ? record! : {},
      write: {
        record: grave,
        expiresAt: Math.max(now + int(input.keep), least),
        retention: "protected",
      },
    };
  },
};

/**
 * `{ keep, if? }` and a record → `{ done: "1" }`, `{ done: "2" }` and the record that is there when it is newer, or as new and
 * no version is given, or not at version `if`, or `{ done: "0", g? }` when it ended here, is dead by now, or nothing is at version `if`.
 */
export const putSession: Transition = {
  name: "session.put",
  apply(record, { keep, if: expected, ...copy }, now): Step {
    if (record?.g !== undefined) return { output: { done: "0", g: record.g } };
    if (record?.h === undefined && expected !== undefined) return { output: { done: "0" } };
    // Bound to a version, a copy may also replace another record of that very version.
    const outdated = expected === undefined ? int(record?.n) >= int(copy.n) : int(record?.n) > int(copy.n);
    if (record?.h !== undefined && (outdated || (expected ?? record.n) !== record.n)) {
      return { output: { done: "2", ...record } };
    }
    if (now >= expiry(copy)) return { output: { done: "0", g: "expired" } };
    return { output: { done: "1" }, write: kept(copy, { keep: keep! }) };
  },
};

const until = (entry: string) => int(entry.slice(entry.lastIndexOf(":") + 1));

/** The record with the entries that still mean something, but for one. */
function pruned(record: Fields | undefined, handle: string | undefined, now: number): Record<string, string> {
  const next: Record<string, string> = {};
  for (const [field, value] of Object.entries(record ?? {})) {
    if (!field.startsWith("h:") || (field !== `h:${handle}` && now < until(value))) next[field] = value;
  }
  next.n = String(int(record?.n) + 1);
  return next;
}

/** Kept as long as an entry or the epoch means something. */
function listed(record: Fields, now: number): Write {
  let last = int(record.p);
  for (const [field, value] of Object.entries(record)) {
    if (field.startsWith("h:")) last = Math.max(last, until(value));
  }
  if (last <= now) return { record: undefined };
  // The epoch refuses revoked sessions: it must not be evicted.
  return { record, expiresAt: last, retention: record.e === undefined ? "kept" : "protected" };
}

/** `{}` → what is known. */
export const readUser: Transition = {
  name: "session.user.read",
  apply: (record) => ({ output: record ?? {} }),
};

/**
 * `{ handle, key, ends, limit?, b?, from? }` → `{ done: "1", b }`, `{ done: "0" }` when the session `from`, born at `b`, was
 * revoked, or `{ done: "2", h:* }` when there are as many as `limit`.
 */
export const addToUser: Transition = {
  name: "session.user.add",
  apply(record, { handle, key, ends, limit, b, from }, now): Step {
    const epoch = int(record?.e);
    if (b !== undefined && int(b) < epoch && (from === undefined || from !== record?.y)) {
      return { output: { done: "0" } };
    }
    const next = pruned(record, handle, now);
    const others = Object.entries(next).filter(([field]) => field.startsWith("h:") && field !== `h:${from}`);
    if (limit !== undefined && others.length >= int(limit)) {
      return { output: { done: "2", ...Object.fromEntries(others) } };
    }
    next[`h:${handle}`] = `${key}:${now}:${ends}`;
    return {
      output: { done: "1", b: String(Math.max(b === undefined ? now : int(b), epoch)) },
      write: listed(next, now),
    };
  },
};

/** `{ handle }` → `{}`. */
export const removeFromUser: Transition = {
  name: "session.user.remove",
  apply(record, { handle }, now): Step {
    if (record?.[`h:${handle}`] === undefined) return { output: {} };
    return { output: {}, write: listed(pruned(record, handle, now), now) };
  },
};

/**
 * `{ remember, except?, epoch? }` → what is known, with an epoch that is later than every birth before. Entries stay until
 * removed. `epoch` is one that was decided elsewhere: it is taken over as it is, where it is later.
 */
export const revokeUser: Transition = {
  name: "session.user.revoke",
  apply(record, { remember, except, epoch }, now): Step {
    if (epoch !== undefined && int(epoch) <= int(record?.e)) return { output: record ?? {} };
    const next = pruned(record, undefined, now);
    next.e = epoch ?? String(Math.max(now, int(next.e)) + 1);
    next.p = String(Math.max(now + int(remember), int(next.p)));
    if (except === undefined) delete next.y;
    else next.y = except;
    return { output: next, write: listed(next, now) };
  },
};

/** Every transition of sessions. */
export const sessionTransitions: readonly Transition[] = [
  loadSession,
  createSession,
  commitSession,
  replaceSession,
  endSession,
  putSession,
  readUser,
  addToUser,
  removeFromUser,
  revokeUser,
];
