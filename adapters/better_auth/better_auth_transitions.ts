/**
 * The transitions under better-auth. Tokens come in as HMACs and values sealed: nothing in a record is
 * readable. Times are milliseconds since the epoch by the engine's clock.
 *
 * A token's record:
 *
 * | field   | type | meaning                                                     |
 * | ------- | ---- | ----------------------------------------------------------- |
 * | `value` | text | the value; absent once the token was deleted                |
 * | `ends`  | time | when the value expires; absent if it never does             |
 * | `ended` | `1`  | a tombstone: the token was deleted, and is not stored again |
 *
 * A user's index of sessions:
 *
 * | field         | type        | meaning                                                  |
 * | ------------- | ----------- | -------------------------------------------------------- |
 * | `in:<token>`  | `time:text` | a listed session: when it ends, and its sealed token     |
 * | `out:<token>` | time        | a removed session: until when it may not be listed again |
 *
 * Invariant: a removed session is not listed again, whichever call comes first. better-auth reads a list,
 * changes it and writes it back, so a list that was read before a removal may be written after it.
 */
import type { Fields, Step, Transition, Write } from "../../src/store/transition.ts";

function int(text: string | undefined): number {
  if (text === undefined) return 0;
  const figure = Number(text);
  return figure > 0 || figure < 0 ? figure : 0; // NaN compares false with everything
}

/** The deadline at the front of an index's entry. */
function until(entry: string | undefined): number {
  return entry === undefined ? 0 : int(entry.split(":")[0]);
}

/** `{}` → `{ value? }`. */
export const getToken: Transition = {
  name: "better-auth.token.get",
  apply(record): Step {
    const output: Record<string, string> = {};
    if (record !== undefined && record.value !== undefined) output.value = record.value;
    return { output };
  },
};

/** `{ value, ttl? }` → `{ done }`: a deleted token stays deleted. */
export const setToken: Transition = {
  name: "better-auth.token.set",
  apply(record, { value, ttl }, now): Step {
    if (record?.ended !== undefined) return { output: { done: "0" } };
    if (ttl === undefined) {
      return { output: { done: "1" }, write: { record: { value: value! }, retention: "kept" } };
    }
    const expiresAt = now + int(ttl);
    return {
      output: { done: "1" },
      write: { record: { value: value!, ends: String(expiresAt) }, expiresAt, retention: "kept" },
    };
  },
};

/**
 * `{ keep }` → `{ value? }`: the value, deleted. The tombstone stays for as long as the value would have
 * lived, and for `keep` milliseconds at least.
 */
export const endToken: Transition = {
  name: "better-auth.token.end",
  apply(record, { keep }, now): Step {
    if (record?.ended !== undefined) return { output: {} };
    const expiresAt = Math.max(now + int(keep), int(record?.ends));
    const output: Record<string, string> = {};
    if (record !== undefined && record.value !== undefined) output.value = record.value;
    return { output, write: { record: { ended: "1" }, expiresAt, retention: "protected" } };
  },
};

/** The entries of an index that have not expired. */
function alive(record: Fields | undefined, now: number): Record<string, string> {
  const next: Record<string, string> = {};
  if (record === undefined) return next;
  for (const field in record) if (now < until(record[field])) next[field] = record[field]!;
  return next;
}

function kept(record: Fields): Write {
  let last = 0;
  let removal = false;
  for (const field in record) {
    last = Math.max(last, until(record[field]));
    // A removal must outlive what would list the session again.
    if (field.startsWith("out:")) removal = true;
  }
  if (last === 0) return { record: undefined };
  return { record, expiresAt: last, retention: removal ? "protected" : "kept" };
}

/** `{}` → `{ in:* }`: the sessions that are listed. */
export const readIndex: Transition = {
  name: "better-auth.index.read",
  apply(record, _input, now): Step {
    const listed = alive(record, now);
    const output: Record<string, string> = {};
    for (const field in listed) if (field.startsWith("in:")) output[field] = listed[field]!;
    return { output };
  },
};

/** `{ in:* }` → `{}`: adds these sessions to the list, except those that were removed. */
export const mergeIndex: Transition = {
  name: "better-auth.index.merge",
  apply(record, input, now): Step {
    const next = alive(record, now);
    const added = alive(input, now);
    for (const field in added) {
      if (field.startsWith("in:") && next["out:" + field.slice(3)] === undefined) next[field] = added[field]!;
    }
    return { output: {}, write: kept(next) };
  },
};

/**
 * `{ token, keep }` → `{}`: takes the session off the list, and refuses to list it again until its own
 * deadline, for `keep` milliseconds at least.
 */
export const removeFromIndex: Transition = {
  name: "better-auth.index.remove",
  apply(record, { token, keep }, now): Step {
    const next = alive(record, now);
    const listed = "in:" + token!;
    const removed = "out:" + token!;
    next[removed] = String(Math.max(now + int(keep), until(next[listed]), until(next[removed])));
    delete next[listed];
    return { output: {}, write: kept(next) };
  },
};

/**
 * Every transition under better-auth.
 *
 * @category better-auth
 */
export const betterAuthTransitions: readonly Transition[] = [
  getToken,
  setToken,
  endToken,
  readIndex,
  mergeIndex,
  removeFromIndex,
];
