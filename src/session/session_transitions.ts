/**
 * The transitions of sessions (`session_record.ts` has the fields) and of what is known about a user: `{ n,
 * e?, y?, p?, h:* }`: number of the write, epoch, spared handle, until when the epoch must be remembered, and
 * `<key>:<listed>:<ends>` by handle.
 *
 * A session lives until it was idle for too long or is too old, whatever comes first; every transition checks
 * both. Its record stays a little longer (`keep`), so that late requests learn why it is gone.
 */
import type { Fields, Step, Transition, Write } from "../store/transition.ts";

/** A field as a number; what is none was not written by us and counts as long ago. */
function int(text: string | undefined): number {
  if (text === undefined) return 0;
  const figure = Number(text);
  return figure > 0 || figure < 0 ? figure : 0; // not a number is neither
}

function expiry(record: Fields): number {
  return Math.min(int(record.t) + int(record.i), int(record.x));
}

/**
 * Why there is no session, or `undefined` when there is one: `{}`, or `{ g, ago?, next? }`. `ago` is how many
 * milliseconds ago it was ended: a duration by the engine's clock alone, which a request compares with the time that
 * it has been under way.
 */
function gone(record: Fields | undefined, now: number): Fields | undefined {
  if (record === undefined || record.h === undefined) return {};
  if (record.g === undefined) return now < expiry(record) ? undefined : { g: "expired" };
  const ended: Record<string, string> = { g: record.g };
  if (record.t !== undefined) ended.ago = String(Math.max(0, now - int(record.t)));
  if (record.next !== undefined) ended.next = record.next;
  return ended;
}

function kept(record: Fields, keep: string | undefined): Write {
  return { record, expiresAt: expiry(record) + int(keep), retention: "kept" };
}

/** Copies the values and flash values of an input. */
function setValues(next: Record<string, string>, input: Fields): void {
  for (const field in input) {
    if (field.startsWith("d:") || field.startsWith("f:")) next[field] = input[field]!;
  }
}

/** `{}` → the record, `{ g, ago?, next? }` when it ended, or `{}`. */
export const loadSession: Transition = {
  name: "session.load",
  apply(record, _input, now): Step {
    const ended = gone(record, now);
    return { output: ended === undefined ? record! : ended };
  },
};

/**
 * `{ keep, h, i, x | life, s, c?, b?, u?, a?, d:*, f:* }` → `{ done: "1" }` and the record, or `{ done: "0",
 * g? }` when the key is taken. `life` is the absolute timeout, `x` the end of the session this one continues.
 * Repeating it with the same handle is fine.
 */
export const createSession: Transition = {
  name: "session.create",
  apply(record, input, now): Step {
    if (record !== undefined) {
      const ended = gone(record, now);
      if (ended === undefined && record.h === input.h) return { output: { done: "1", ...record } };
      return { output: { done: "0", g: ended === undefined ? "revoked" : ended.g ?? "revoked" } };
    }
    const at = String(now);
    const next: Record<string, string> = {
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
    setValues(next, input);
    if (input.u !== undefined) next.u = input.u;
    if (input.a !== undefined) next.a = input.a === "now" ? at : input.a;
    if (now >= expiry(next)) return { output: { done: "0", g: "expired" } };
    return { output: { done: "1", ...next }, write: kept(next, input.keep) };
  },
};

/**
 * `{ keep, d:*, f:*, x:*, s?, v?, k?, if? }` → `{ done: "1" }` and the record, `{ done: "2" }` and the record
 * when it is not at version `if` or was written by a later version of the application than `v`, or `{ done:
 * "0", g?, ago?, next? }`: sets and unsets just these values and touches. A session that is gone stays gone, and the
 * schema version `s` only ever grows.
 */
function commit(record: Fields | undefined, input: Fields, now: number): Step {
  const ended = gone(record, now);
  if (ended !== undefined) return { output: { done: "0", ...ended } };
  const known = record!;
  const later = input.v !== undefined && int(known.s) > int(input.v);
  if (later || (input.if !== undefined && input.if !== known.n)) return { output: { done: "2", ...known } };
  const touched = String(Math.max(now, int(known.t)));
  const next: Record<string, string> = { ...known };
  setValues(next, input);
  next.n = String(int(known.n) + 1);
  next.t = touched;
  for (const field in input) {
    if (field.startsWith("x:d:") || field.startsWith("x:f:")) delete next[field.slice(2)];
  }
  if (input.s !== undefined && int(input.s) > int(known.s)) next.s = input.s;
  if (input.k !== undefined) next.k = touched;
  return { output: { done: "1", ...next }, write: kept(next, input.keep) };
}

/** Merges; repeating it is fine. */
export const commitSession: Transition = { name: "session.commit", apply: commit };

/** Merges if the version is the expected one; a repetition would find its own version. */
export const replaceSession: Transition = { name: "session.replace", apply: commit };

/**
 * `{ keep, why, next?, bury?, lasting?, forget? }` → the record, of which only a tombstone is left; `{}` when
 * another call was first. `bury` leaves a tombstone where nothing was, too. `next` is the key of the session that continues this one: a
 * logout that comes late finds it there. A `lasting` tombstone stays until the session would have ended by itself.
 * With `forget` no tombstone is left: on a full store, a record may be deleted that may not grow or be pinned.
 */
export const endSession: Transition = {
  name: "session.end",
  apply(record, input, now): Step {
    const ended = gone(record, now);
    if (ended !== undefined && (ended.g !== undefined || input.bury === undefined)) return { output: {} };
    if (input.forget !== undefined) {
      return ended === undefined ? { output: record!, write: { record: undefined } } : { output: {} };
    }
    const tombstone: Record<string, string> = {
      h: record?.h ?? "",
      n: String(int(record?.n) + 1),
      g: input.why!,
      t: String(now),
    };
    if (input.next !== undefined) tombstone.next = input.next;
    const least = input.lasting === undefined ? 0 : int(record?.x);
    return {
      output: ended === undefined ? record! : {},
      write: {
        record: tombstone,
        expiresAt: Math.max(now + int(input.keep), least),
        retention: "protected",
      },
    };
  },
};

/**
 * `{ keep, if? }` and a record → `{ done: "1" }`, `{ done: "2" }` and the record that is there when it is newer, or as
 * new and no version is given, or not at version `if`, or `{ done: "0", g? }` when it ended here, is dead by now, or
 * nothing is at version `if`.
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
    return { output: { done: "1" }, write: kept(copy, keep) };
  },
};

/** The end that an entry of a user's record closes with. */
function until(entry: string): number {
  const parts = entry.split(":");
  return int(parts[parts.length - 1]);
}

/** The record with the entries that still mean something, but for one. */
function pruned(record: Fields | undefined, handle: string | undefined, now: number): Record<string, string> {
  const next: Record<string, string> = {};
  next.n = "1";
  if (record === undefined) return next;
  for (const field in record) {
    const value = record[field]!;
    const other = handle === undefined || field !== "h:" + handle;
    if (!field.startsWith("h:") || (other && now < until(value))) next[field] = value;
  }
  next.n = String(int(record.n) + 1);
  return next;
}

/**
 * Kept as long as an entry or the epoch means something. Pinned while an epoch does: were it evicted by what
 * strangers write, sessions that were revoked would live again.
 */
function listed(record: Fields, now: number): Write {
  let last = int(record.p);
  for (const field in record) {
    if (field.startsWith("h:")) last = Math.max(last, until(record[field]!));
  }
  if (last <= now) return { record: undefined };
  // The epoch refuses revoked sessions: it must not be evicted.
  return { record, expiresAt: last, retention: record.e === undefined ? "kept" : "protected" };
}

/** `{}` → what is known. */
export const readUser: Transition = {
  name: "session.user.read",
  apply: (record): Step => ({ output: record ?? {} }),
};

/**
 * `{ handle, key, ends, limit?, b?, from? }` → `{ done: "1", b }`, `{ done: "0" }` when the session `from`,
 * born at `b`, was revoked, or `{ done: "2", h:* }` when there are as many as `limit`.
 */
export const addToUser: Transition = {
  name: "session.user.add",
  apply(record, { handle, key, ends, limit, b, from }, now): Step {
    const epoch = int(record?.e);
    if (b !== undefined && int(b) < epoch && (from === undefined || from !== record?.y)) {
      return { output: { done: "0" } };
    }
    const next = pruned(record, handle, now);
    const others: Record<string, string> = { done: "2" };
    let count = 0;
    for (const field in next) {
      if (!field.startsWith("h:") || (from !== undefined && field === "h:" + from)) continue;
      others[field] = next[field]!;
      count++;
    }
    if (limit !== undefined && count >= int(limit)) return { output: others };
    next["h:" + handle!] = `${key!}:${now}:${ends!}`;
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
    if (record === undefined || record["h:" + handle!] === undefined) return { output: {} };
    return { output: {}, write: listed(pruned(record, handle, now), now) };
  },
};

/**
 * `{ remember, except?, epoch? }` → what is known, with an epoch that is later than every birth before.
 * Entries stay until removed. `epoch` is one that was decided elsewhere: it is taken over as it is, where it
 * is later.
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

/*
 * Sealed sessions live in their cookies. What a store knows of them, where there is one, is which cookie of a
 * family counts. A family is a login (or an anonymous beginning) and what its rotations made of it; its key
 * is the handle of its first session. Its record is `{ current?, touched?, ended? }`: the handle that counts
 * (absent: the first one), when it was last seen or ended, and why the family ended. As there is one record for all of
 * them, rotations and logouts have one order: of parallel rotations one wins, and a logout ends whatever they
 * made. The records are protected: one that was evicted would let a cookie live again.
 */

/** The handle that counts; what the store forgot counts only for a family that was never rotated. */
function currentOf(record: Fields | undefined, input: Fields): string | undefined {
  if (record !== undefined && record.current !== undefined) return record.current;
  return input.first === undefined ? undefined : input.from;
}

function remembered(record: Fields, now: number, input: Fields): Write {
  return { record, expiresAt: now + int(input.keep), retention: "protected" };
}

/** `{}` → `{ current?, ended?, idle? }`, where `idle` is how long ago it was last seen or ended, in milliseconds. */
export const readSealed: Transition = {
  name: "session.sealed.read",
  apply(record, _input, now): Step {
    if (record === undefined) return { output: {} };
    const { touched, ...known } = record;
    if (touched === undefined) return { output: known };
    return { output: { ...known, idle: String(Math.max(0, now - int(touched))) } };
  },
};

/**
 * `{ from, to, first?, keep }` → `{ done: "1" }`, or `{ done: "0", ended }` when `from` is not what counts.
 * `first` says that `from` is the first of its family. Repeating it with the same `to` is fine.
 */
export const rotateSealed: Transition = {
  name: "session.sealed.rotate",
  apply(record, input, now): Step {
    if (record !== undefined && record.ended !== undefined) {
      return { output: { done: "0", ended: record.ended } };
    }
    const current = currentOf(record, input);
    if (current === input.to) return { output: { done: "1" } };
    if (current !== input.from) return { output: { done: "0", ended: "rotated" } };
    const next = { current: input.to!, touched: String(now) };
    return { output: { done: "1" }, write: remembered(next, now, input) };
  },
};

/** `{ from, first?, keep }` → `{ done: "1" }`, or `{ done: "0", ended }` when `from` is not what counts. */
export const touchSealed: Transition = {
  name: "session.sealed.touch",
  apply(record, input, now): Step {
    if (record !== undefined && record.ended !== undefined) {
      return { output: { done: "0", ended: record.ended } };
    }
    if (currentOf(record, input) !== input.from) return { output: { done: "0", ended: "rotated" } };
    const next = { current: input.from!, touched: String(Math.max(now, int(record?.touched))) };
    // Of a family that was never rotated no more is lost than when it was last seen: strangers may not fill a
    // bounded store with such records.
    return {
      output: { done: "1" },
      write: {
        record: next,
        expiresAt: now + int(input.keep),
        retention: input.first === undefined ? "protected" : "kept",
      },
    };
  },
};

/** `{ why, keep }` → `{}`: the family ends, whatever counted. */
export const endSealed: Transition = {
  name: "session.sealed.end",
  apply(record, input, now): Step {
    if (record !== undefined && record.ended !== undefined) {
      return { output: {}, write: remembered(record, now, input) };
    }
    return { output: {}, write: remembered({ ended: input.why!, touched: String(now) }, now, input) };
  },
};

/**
 * Every transition of sessions.
 *
 * @category Transitions
 */
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
  readSealed,
  rotateSealed,
  touchSealed,
  endSealed,
];
