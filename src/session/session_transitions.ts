/**
 * The transitions of sessions. A session's record is `{ h, c, t, u?, a?, d:*, f:* }`: public handle, created, last
 * touched, user, authenticated (milliseconds), data and flash values by name. It lives until it was idle for too
 * long or is too old, whatever comes first; every transition checks both.
 *
 * A user's index is `{ h:<handle>: "<key>:<expires>" }`.
 */
import type { Fields, Step, Transition, Write } from "../store/transition.ts";

function alive(record: Fields | undefined, { idle, absolute }: Fields, now: number): record is Fields {
  return record?.h !== undefined && now < Number(record.t) + Number(idle) &&
    now < Number(record.c) + Number(absolute);
}

function kept(record: Fields, { idle, absolute }: Fields, now: number): Write {
  return { record, expiresAt: Math.min(now + Number(idle), Number(record.c) + Number(absolute)) };
}

function values(input: Fields): Fields {
  return Object.fromEntries(Object.entries(input).filter(([field]) => /^[df]:/.test(field)));
}

/** `{ idle, absolute }` → the record, or `{}`. */
export const loadSession: Transition = {
  name: "session.load",
  apply: (record, input, now) => ({ output: alive(record, input, now) ? record : {} }),
};

/** `{ idle, absolute, h, c?, u?, a?, d:*, f:* }` → `{ done, c }`. Repeating it with the same handle is fine. */
export const createSession: Transition = {
  name: "session.create",
  apply(record, input, now): Step {
    if (record !== undefined) {
      return { output: { done: record.h === input.h ? "1" : "0", c: record.c ?? "0" } };
    }
    const next: Record<string, string> = {
      ...values(input),
      h: input.h!,
      c: input.c ?? String(now),
      t: String(now),
    };
    if (input.u !== undefined) next.u = input.u;
    if (input.a !== undefined) next.a = input.a === "now" ? String(now) : input.a;
    return { output: { done: "1", c: next.c! }, write: kept(next, input, now) };
  },
};

/**
 * `{ idle, absolute, d:*, f:*, x:* }` → `{ done }`: sets and unsets just these values and touches. A session that is
 * gone stays gone.
 */
export const commitSession: Transition = {
  name: "session.commit",
  apply(record, input, now): Step {
    if (!alive(record, input, now)) return { output: { done: "0" } };
    const next: Record<string, string> = {
      ...record,
      ...values(input),
      t: String(Math.max(now, Number(record.t))),
    };
    for (const field of Object.keys(input)) if (field.startsWith("x:")) delete next[field.slice(2)];
    return { output: { done: "1" }, write: kept(next, input, now) };
  },
};

/** `{ idle, absolute }` → the record, which is gone afterwards; `{}` when somebody else was first. */
export const claimSession: Transition = {
  name: "session.claim",
  apply(record, input, now): Step {
    if (record === undefined) return { output: {} };
    return { output: alive(record, input, now) ? record : {}, write: { record: undefined } };
  },
};

/** `{ add?, entry?, expires?, remove? }` → the index as it is afterwards; expired entries leave. */
export const indexSession: Transition = {
  name: "session.index",
  apply(record, { add, entry, expires, remove }, now): Step {
    const next: Record<string, string> = {};
    let last = 0;
    const keep = (field: string, value: string, until: number) => {
      next[field] = value;
      last = Math.max(last, until);
    };
    for (const [field, value] of Object.entries(record ?? {})) {
      const until = Number(value.slice(value.lastIndexOf(":") + 1));
      if (field !== `h:${remove}` && now < until) keep(field, value, until);
    }
    if (add !== undefined) keep(`h:${add}`, `${entry}:${expires}`, Number(expires));
    if (add === undefined && remove === undefined) return { output: next };
    return { output: next, write: last === 0 ? { record: undefined } : { record: next, expiresAt: last } };
  },
};

/** Every transition of sessions. */
export const sessionTransitions: readonly Transition[] = [
  loadSession,
  createSession,
  commitSession,
  claimSession,
  indexSession,
];
