/**
 * The transitions of sessions: of a session's record, of what is known about a user, and of the families of
 * sealed sessions. Times are milliseconds since the epoch by the engine's clock, durations are milliseconds,
 * both as decimal integers.
 *
 * A session's record. One that was ended leaves a tombstone, which has `handle`, `version`, `touched`, `why`
 * and perhaps `next`:
 *
 * | field      | type     | meaning                                                                     |
 * | ---------- | -------- | --------------------------------------------------------------------------- |
 * | `handle`   | text     | the public name of the session                                              |
 * | `version`  | count    | the number of the write, from 1: the newer of two copies has the larger one |
 * | `created`  | time     | the creation or the login; a rotation keeps it                              |
 * | `touched`  | time     | the last write; of a tombstone, the end of the session                      |
 * | `checked`  | time     | the last comparison with the epochs                                         |
 * | `born`     | time     | what is compared with the epochs: never before the epoch at the login       |
 * | `idle`     | duration | the idle timeout                                                            |
 * | `ends`     | time     | the end by the absolute timeout                                             |
 * | `schema`   | count    | the schema version of the data; it never decreases                          |
 * | `user`     | text     | the user who is logged in; absent in an anonymous session                   |
 * | `login`    | time     | when that user logged in; absent in an anonymous session                    |
 * | `d:<name>` | text     | a value, encoded. One letter, as each value repeats it                      |
 * | `f:<name>` | text     | a flash value, encoded                                                      |
 * | `why`      | text     | of a tombstone: `revoked`, `rotated` …                                      |
 * | `next`     | text     | of a tombstone: the key of the session that continues this one              |
 *
 * A user's record:
 *
 * | field        | type  | meaning                                                                 |
 * | ------------ | ----- | ----------------------------------------------------------------------- |
 * | `version`    | count | the number of the write                                                 |
 * | `epoch`      | time  | sessions born before it are revoked; absent before the first revocation |
 * | `spared`     | text  | the handle of the one session that the epoch does not revoke            |
 * | `epochEnds`  | time  | until when the epoch must be remembered                                 |
 * | `h:<handle>` | text  | a listed session: `<key>:<listed at>:<ends at>`                         |
 *
 * A family of sealed sessions (explained where its transitions begin):
 *
 * | field     | type | meaning                                                             |
 * | --------- | ---- | ------------------------------------------------------------------- |
 * | `current` | text | the handle of the cookie that counts; absent: that of the first one |
 * | `touched` | time | when the family was last seen, or ended                             |
 * | `ended`   | text | why the family ended; absent while it lives                         |
 *
 * A session lives until it was idle for too long or is too old, whichever comes first; every transition
 * checks both. Its record stays a little longer (`keep`), so that late requests learn why it is gone.
 */
import type { Fields, Step, Transition, Write } from "../store/transition.ts";

/** A field as a number. Text that is not a number was not written by us and counts as 0: long ago. */
function int(text: string | undefined): number {
  if (text === undefined) return 0;
  const figure = Number(text);
  return figure > 0 || figure < 0 ? figure : 0; // not a number is neither
}

function expiry(record: Fields): number {
  return Math.min(int(record.touched) + int(record.idle), int(record.ends));
}

/**
 * The reason why there is no session, or `undefined` when there is one: `{}`, or `{ why, ago?, next? }`.
 * `ago` is how many milliseconds ago it was ended: a duration by the engine's clock alone, which a request
 * compares with the time that it has been under way.
 */
function gone(record: Fields | undefined, now: number): Fields | undefined {
  if (record === undefined || record.handle === undefined) return {};
  if (record.why === undefined) return now < expiry(record) ? undefined : { why: "expired" };
  const ended: Record<string, string> = { why: record.why };
  if (record.touched !== undefined) ended.ago = String(Math.max(0, now - int(record.touched)));
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

/** `{}` → the record, `{ why, ago?, next? }` when it ended, or `{}`. */
export const loadSession: Transition = {
  name: "session.load",
  apply: (record, _input, now): Step => ({ output: gone(record, now) ?? record! }),
};

/**
 * `{ keep, handle, idle, ends | life, schema, created?, born?, user?, login?, d:*, f:* }` → `{ done: "1" }`
 * and the record, or `{ done: "0", why? }` when the key is taken. `life` is the absolute timeout; `ends` and
 * `created` are those of the session that this one continues. Repeated with the same handle it answers the
 * same.
 */
export const createSession: Transition = {
  name: "session.create",
  apply(record, input, now): Step {
    if (record !== undefined) {
      const ended = gone(record, now);
      if (ended === undefined && record.handle === input.handle) return { output: { done: "1", ...record } };
      return { output: { done: "0", why: ended?.why ?? "revoked" } };
    }
    const at = String(now);
    const next: Record<string, string> = {
      handle: input.handle!,
      version: "1",
      created: input.created ?? at,
      touched: at,
      checked: at,
      born: input.born ?? at,
      idle: input.idle!,
      ends: input.ends ?? String(now + int(input.life)),
      schema: input.schema!,
    };
    setValues(next, input);
    if (input.user !== undefined) next.user = input.user;
    if (input.login !== undefined) next.login = input.login === "now" ? at : input.login;
    if (now >= expiry(next)) return { output: { done: "0", why: "expired" } };
    return { output: { done: "1", ...next }, write: kept(next, input.keep) };
  },
};

/**
 * `{ keep, d:*, f:*, unset:*, schema?, writer?, checked?, expected? }` → `{ done: "1" }` and the record; `{
 * done: "2" }` and the record when it is not at version `expected`, or was written under a later schema
 * version than the writer's; or `{ done: "0", why?, ago?, next? }` when the session is gone. Sets and unsets
 * just these values and touches the session: what parallel requests wrote to other values stays.
 *
 * Invariants: a session that is gone stays gone, its schema version and `touched` never decrease, and
 * `version` grows with each write.
 */
function commit(record: Fields | undefined, input: Fields, now: number): Step {
  const ended = gone(record, now);
  if (ended !== undefined) return { output: { done: "0", ...ended } };
  const known = record!;
  const later = input.writer !== undefined && int(known.schema) > int(input.writer);
  if (later || (input.expected !== undefined && input.expected !== known.version)) {
    return { output: { done: "2", ...known } };
  }
  const touched = String(Math.max(now, int(known.touched)));
  const next: Record<string, string> = { ...known };
  setValues(next, input);
  next.version = String(int(known.version) + 1);
  next.touched = touched;
  for (const field in input) {
    if (field.startsWith("unset:")) delete next[field.slice(6)];
  }
  if (input.schema !== undefined && int(input.schema) > int(known.schema)) next.schema = input.schema;
  if (input.checked !== undefined) next.checked = touched;
  return { output: { done: "1", ...next }, write: kept(next, input.keep) };
}

/** Merges; repeated, it writes the same values again. */
export const commitSession: Transition = { name: "session.commit", apply: commit };

/** Merges if the version is the expected one. Not repeatable: a repetition finds the version that it made. */
export const replaceSession: Transition = { name: "session.replace", apply: commit };

/**
 * `{ keep, why, next?, bury?, lasting?, forget? }` → the record, of which only a tombstone is left; `{}` when
 * another call was first. `bury` leaves a tombstone where nothing was, too. `next` is the key of the session
 * that continues this one: a logout that comes late finds it there. A `lasting` tombstone stays until the
 * session would have ended by itself. With `forget` no tombstone is left: on a full store, a record may be
 * deleted that may not grow or be pinned.
 */
export const endSession: Transition = {
  name: "session.end",
  apply(record, input, now): Step {
    const ended = gone(record, now);
    if (ended !== undefined && (ended.why !== undefined || input.bury === undefined)) return { output: {} };
    const output = ended === undefined ? record! : {};
    if (input.forget !== undefined) {
      return ended === undefined ? { output, write: { record: undefined } } : { output };
    }
    const tombstone: Record<string, string> = {
      handle: record?.handle ?? "",
      version: String(int(record?.version) + 1),
      why: input.why!,
      touched: String(now),
    };
    if (input.next !== undefined) tombstone.next = input.next;
    const least = input.lasting === undefined ? 0 : int(record?.ends);
    return {
      output,
      write: {
        record: tombstone,
        expiresAt: Math.max(now + int(input.keep), least),
        retention: "protected",
      },
    };
  },
};

/**
 * `{ keep, expected? }` and a record, which is stored as it is → one of
 *
 * - `{ done: "1" }`: stored.
 * - `{ done: "2" }` and the record that is there: it is newer; or as new and no version was expected; or not
 *   at the expected version.
 * - `{ done: "0", why? }`: the session ended here or has expired by now, or nothing is at the expected
 *   version.
 */
export const putSession: Transition = {
  name: "session.put",
  apply(record, { keep, expected, ...copy }, now): Step {
    if (record?.why !== undefined) return { output: { done: "0", why: record.why } };
    if (record?.handle === undefined && expected !== undefined) return { output: { done: "0" } };
    // Bound to a version, a copy may also replace another record of that very version.
    const outdated = expected === undefined
      ? int(record?.version) >= int(copy.version)
      : int(record?.version) > int(copy.version);
    if (record?.handle !== undefined && (outdated || (expected ?? record.version) !== record.version)) {
      return { output: { done: "2", ...record } };
    }
    if (now >= expiry(copy)) return { output: { done: "0", why: "expired" } };
    return { output: { done: "1" }, write: kept(copy, keep) };
  },
};

/** The end that an entry of a user's record closes with. */
function until(entry: string): number {
  const parts = entry.split(":");
  return int(parts[parts.length - 1]);
}

/** The record without expired entries, and without the entry of that handle. */
function pruned(record: Fields | undefined, handle: string | undefined, now: number): Record<string, string> {
  const next: Record<string, string> = {};
  next.version = "1";
  if (record === undefined) return next;
  for (const field in record) {
    const value = record[field]!;
    const other = handle === undefined || field !== "h:" + handle;
    if (!field.startsWith("h:") || (other && now < until(value))) next[field] = value;
  }
  next.version = String(int(record.version) + 1);
  return next;
}

/** Keeps the record until its last entry and its epoch have expired, or deletes it when they have. */
function listed(record: Fields, now: number): Write {
  let last = int(record.epochEnds);
  for (const field in record) {
    if (field.startsWith("h:")) last = Math.max(last, until(record[field]!));
  }
  if (last <= now) return { record: undefined };
  // An epoch is protected: if a full engine evicted it, revoked sessions would live again.
  return { record, expiresAt: last, retention: record.epoch === undefined ? "kept" : "protected" };
}

/** `{}` → what is known. */
export const readUser: Transition = {
  name: "session.user.read",
  apply: (record): Step => ({ output: record ?? {} }),
};

/**
 * `{ handle, key, ends, limit?, born?, from? }` → `{ done: "1", born }`; `{ done: "0" }` when the session
 * `from`, born at `born`, was revoked; or `{ done: "2", h:* }` when `limit` sessions are listed already.
 */
export const addToUser: Transition = {
  name: "session.user.add",
  apply(record, { handle, key, ends, limit, born, from }, now): Step {
    const epoch = int(record?.epoch);
    if (born !== undefined && int(born) < epoch && (from === undefined || from !== record?.spared)) {
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
      output: { done: "1", born: String(Math.max(born === undefined ? now : int(born), epoch)) },
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
 * `{ remember, except?, epoch? }` → the record, with an epoch that is later than `born` of every session so
 * far. Entries stay until they are removed. An input `epoch` was decided elsewhere: it is taken over
 * unchanged if it is later than the one here.
 */
export const revokeUser: Transition = {
  name: "session.user.revoke",
  apply(record, { remember, except, epoch }, now): Step {
    if (epoch !== undefined && int(epoch) <= int(record?.epoch)) return { output: record ?? {} };
    const next = pruned(record, undefined, now);
    next.epoch = epoch ?? String(Math.max(now, int(next.epoch)) + 1);
    next.epochEnds = String(Math.max(now + int(remember), int(next.epochEnds)));
    if (except === undefined) delete next.spared;
    else next.spared = except;
    return { output: next, write: listed(next, now) };
  },
};

/*
 * Sealed sessions live in their cookies. What a store knows of them, where there is one, is which cookie of a
 * family counts. A family is a login (or an anonymous beginning) and what its rotations made of it; its key
 * is the handle of its first session. Its record is `{ current?, touched?, ended? }`: the handle that counts
 * (absent: the first one), when it was last seen or ended, and why the family ended. As there is one record
 * for all of them, rotations and logouts have one order: of parallel rotations one wins, and a logout ends
 * whatever they made. The records are protected: one that was evicted would let a cookie live again.
 */

/** The handle that counts; what the store forgot counts only for a family that was never rotated. */
function currentOf(record: Fields | undefined, input: Fields): string | undefined {
  return record?.current ?? (input.first === undefined ? undefined : input.from);
}

function remembered(record: Fields, now: number, input: Fields): Write {
  return { record, expiresAt: now + int(input.keep), retention: "protected" };
}

/**
 * `{}` → `{ current?, ended?, idle? }`, where `idle` is how long ago it was last seen or ended, in
 * milliseconds.
 */
export const readSealed: Transition = {
  name: "session.sealed.read",
  apply(record, _input, now): Step {
    if (record === undefined) return { output: {} };
    const { touched, ...known } = record;
    if (touched === undefined) return { output: known };
    return { output: { ...known, idle: String(Math.max(0, now - int(touched))) } };
  },
};

/** The reason why the handle `from` does not count, or `undefined` if it does. */
function refusal(record: Fields | undefined, input: Fields): string | undefined {
  return record?.ended ?? (currentOf(record, input) === input.from ? undefined : "rotated");
}

/**
 * `{ from, to, first?, keep }` → `{ done: "1" }`, or `{ done: "0", ended }` when `from` is not what counts.
 * `first` says that `from` is the first of its family. Repeating it with the same `to` is fine.
 */
export const rotateSealed: Transition = {
  name: "session.sealed.rotate",
  apply(record, input, now): Step {
    const ended = refusal(record, input);
    const repeated = record?.ended === undefined && currentOf(record, input) === input.to;
    if (repeated) return { output: { done: "1" } };
    if (ended !== undefined) return { output: { done: "0", ended } };
    const next = { current: input.to!, touched: String(now) };
    return { output: { done: "1" }, write: remembered(next, now, input) };
  },
};

/** `{ from, first?, keep }` → `{ done: "1" }`, or `{ done: "0", ended }` when `from` is not what counts. */
export const touchSealed: Transition = {
  name: "session.sealed.touch",
  apply(record, input, now): Step {
    const ended = refusal(record, input);
    if (ended !== undefined) return { output: { done: "0", ended } };
    const next = { current: input.from!, touched: String(Math.max(now, int(record?.touched))) };
    // Of a family that was never rotated, eviction loses only when it was last seen. So its record is not
    // protected: requests of strangers must not fill a bounded store with records that cannot be evicted.
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
    const ended = record?.ended === undefined ? { ended: input.why!, touched: String(now) } : record;
    return { output: {}, write: remembered(ended, now, input) };
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
