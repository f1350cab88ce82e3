/**
 * The transitions under better-auth. A token's record is `{ v, e? }`, its value and when that dies, or `{ g
 * }` once it was deleted. A user's index is `{ t:<token>, x:<token> }`: until when a listed session lives,
 * with what belongs to it after a colon, and until when a removed one may not be listed again. Tokens and
 * values come in hidden.
 */
import type { Fields, Step, Transition, Write } from "../../src/store/transition.ts";

function int(text: string | undefined): number {
  if (text === undefined) return 0;
  const figure = Number(text);
  return figure > 0 || figure < 0 ? figure : 0; // not a number is neither
}

/** The time that an entry of an index begins with. */
function until(entry: string | undefined): number {
  return entry === undefined ? 0 : int(entry.split(":")[0]);
}

/** `{}` → `{ v? }`. */
export const getToken: Transition = {
  name: "better-auth.token.get",
  apply(record): Step {
    const output: Record<string, string> = {};
    if (record !== undefined && record.v !== undefined) output.v = record.v;
    return { output };
  },
};

/** `{ v, ttl? }` → `{ done }`: a deleted one stays deleted. */
export const setToken: Transition = {
  name: "better-auth.token.set",
  apply(record, { v, ttl }, now): Step {
    if (record?.g !== undefined) return { output: { done: "0" } };
    if (ttl === undefined) {
      return { output: { done: "1" }, write: { record: { v: v! }, retention: "kept" } };
    }
    const expiresAt = now + int(ttl);
    return {
      output: { done: "1" },
      write: { record: { v: v!, e: String(expiresAt) }, expiresAt, retention: "kept" },
    };
  },
};

/**
 * `{ keep }` → `{ v? }`: what was there. It is gone for as long as it would have lived, and for `keep` at
 * least.
 */
export const endToken: Transition = {
  name: "better-auth.token.end",
  apply(record, { keep }, now): Step {
    if (record?.g !== undefined) return { output: {} };
    const expiresAt = Math.max(now + int(keep), int(record?.e));
    const output: Record<string, string> = {};
    if (record !== undefined && record.v !== undefined) output.v = record.v;
    return { output, write: { record: { g: "1" }, expiresAt, retention: "protected" } };
  },
};

/** What of an index still means something. */
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
    if (field.startsWith("x:")) removal = true;
  }
  if (last === 0) return { record: undefined };
  return { record, expiresAt: last, retention: removal ? "protected" : "kept" };
}

/** `{}` → `{ t:* }`: the sessions that are listed. */
export const readIndex: Transition = {
  name: "better-auth.index.read",
  apply(record, _input, now): Step {
    const listed = alive(record, now);
    const output: Record<string, string> = {};
    for (const field in listed) if (field.startsWith("t:")) output[field] = listed[field]!;
    return { output };
  },
};

/** `{ t:* }` → `{}`: lists these, too, but for those that were removed. */
export const mergeIndex: Transition = {
  name: "better-auth.index.merge",
  apply(record, input, now): Step {
    const next = alive(record, now);
    const added = alive(input, now);
    for (const field in added) {
      if (field.startsWith("t:") && next["x:" + field.slice(2)] === undefined) next[field] = added[field]!;
    }
    return { output: {}, write: kept(next) };
  },
};

/** `{ token, keep }` → `{}`: not listed, now and as long as it would have been, and for `keep` at least. */
export const removeFromIndex: Transition = {
  name: "better-auth.index.remove",
  apply(record, { token, keep }, now): Step {
    const next = alive(record, now);
    const listed = "t:" + token!;
    const removed = "x:" + token!;
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
