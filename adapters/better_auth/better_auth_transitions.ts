/**
 * The transitions under better-auth. A token's record is `{ v, e? }`, its value and when that dies, or `{ g
 * }` once it was deleted. A user's index is `{ t:<token>, x:<token> }`: until when a listed session lives,
 * with what belongs to it after a colon, and until when a removed one may not be listed again. Tokens and
 * values come in hidden.
 */
import type { Fields, Step, Transition, Write } from "../../src/store/transition.ts";

function int(text: string | undefined): number {
  return Number(text ?? 0) || 0;
}

/** The time that an entry of an index begins with. */
function until(entry: string | undefined): number {
  return int(entry?.split(":", 1)[0]);
}

/** `{}` → `{ v? }`. */
export const getToken: Transition = {
  name: "better-auth.token.get",
  apply: (record) => ({ output: record?.v === undefined ? {} : { v: record.v } }),
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
    return {
      output: record?.v === undefined ? {} : { v: record.v },
      write: { record: { g: "1" }, expiresAt, retention: "protected" },
    };
  },
};

/** What of an index still means something. */
function alive(record: Fields | undefined, now: number): Record<string, string> {
  return Object.fromEntries(Object.entries(record ?? {}).filter(([, entry]) => now < until(entry)));
}

function kept(record: Fields): Write {
  const last = Math.max(0, ...Object.values(record).map(until));
  if (last === 0) return { record: undefined };
  // A removal must outlive what would list the session again.
  const removal = Object.keys(record).some((field) => field.startsWith("x:"));
  return { record, expiresAt: last, retention: removal ? "protected" : "kept" };
}

/** `{}` → `{ t:* }`: the sessions that are listed. */
export const readIndex: Transition = {
  name: "better-auth.index.read",
  apply: (record, _input, now) => ({
    output: Object.fromEntries(
      Object.entries(alive(record, now)).filter(([field]) => field.startsWith("t:")),
    ),
  }),
};

/** `{ t:* }` → `{}`: lists these, too, but for those that were removed. */
export const mergeIndex: Transition = {
  name: "better-auth.index.merge",
  apply(record, input, now): Step {
    const next = alive(record, now);
    for (const [field, entry] of Object.entries(alive(input, now))) {
      if (field.startsWith("t:") && next[`x:${field.slice(2)}`] === undefined) next[field] = entry;
    }
    return { output: {}, write: kept(next) };
  },
};

/** `{ token, keep }` → `{}`: not listed, now and as long as it would have been, and for `keep` at least. */
export const removeFromIndex: Transition = {
  name: "better-auth.index.remove",
  apply(record, { token, keep }, now): Step {
    const next = alive(record, now);
    next[`x:${token}`] = String(
      Math.max(now + int(keep), until(next[`t:${token}`]), until(next[`x:${token}`])),
    );
    delete next[`t:${token}`];
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
