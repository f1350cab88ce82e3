/**
 * The decisions of the storage, as pure functions: where a key lives, what a `set` writes, and how an entry
 * of a user's list of sessions is written and read. No I/O, no clock, no keys.
 */

/**
 * The kinds of key: a session by its token, a user's list of sessions, and any other value (a verification, a
 * counter of the rate limiter).
 */
export type KeyKind = "token" | "list" | "value";

/** A session's token, as better-auth makes them; nothing else that it stores looks like this. */
const TOKEN = /^[A-Za-z0-9]{32}$/;
const LIST = "active-sessions-";

/** The kind of a key, by its form: better-auth hands over nothing else to tell them apart. */
export function kindOf(key: string): KeyKind {
  if (TOKEN.test(key)) return "token";
  return key.startsWith(LIST) ? "list" : "value";
}

/** The key of a user's list of sessions. */
export function listKey(user: string): string {
  return LIST + user;
}

/** The write that a `set` asks for; `"nothing"` for a value whose time is over already. */
export type SetPlan =
  | { readonly write: "nothing" | "list" }
  | { readonly write: "token" | "value"; readonly ttl: number | undefined };

/**
 * The write of `set(key, value, ttl)`, its `ttl` in milliseconds.
 *
 * A list is merged whatever its `ttl`: each of its entries has a deadline of its own.
 *
 * @throws {RangeError} when `ttl` is NaN
 */
export function planSet(key: string, seconds: number | undefined): SetPlan {
  const ttl = seconds === undefined ? undefined : Math.floor(seconds * 1000);
  if (Number.isNaN(ttl)) {
    throw new RangeError("Cannot store the value as 'ttl' must be a number of seconds: current value is NaN");
  }
  const write = kindOf(key);
  if (write === "list") return { write };
  // A value stored before it keeps its own deadline, which is no later.
  if (ttl !== undefined && ttl <= 0) return { write: "nothing" };
  return { write, ttl };
}

/** A session on a user's list, as better-auth writes it. */
export interface ListedSession {
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/**
 * The sessions of a list as better-auth writes it.
 *
 * @throws {TypeError} when it is no array
 */
export function parseList(value: string): readonly ListedSession[] {
  const list: unknown = JSON.parse(value);
  if (!Array.isArray(list)) throw new TypeError("Cannot store the list of sessions as it must be an array");
  return list;
}

/** The list as better-auth reads it, the session that ends first in front; `null` for an empty one. */
export function formatList(list: readonly ListedSession[]): string | null {
  return list.length === 0 ? null : JSON.stringify([...list].sort((a, b) => a.expiresAt - b.expiresAt));
}

/** An entry of a list as its record holds it: `<deadline>:<sealed token>`. */
export function formatEntry(expiresAt: number, sealed: string): string {
  return `${Math.floor(expiresAt)}:${sealed}`;
}

/** The two parts of {@linkcode formatEntry}. */
export function parseEntry(entry: string): { readonly expiresAt: number; readonly sealed: string } {
  const colon = entry.indexOf(":");
  return { expiresAt: Number(entry.slice(0, colon)), sealed: entry.slice(colon + 1) };
}

/** The user of a session, by what better-auth stores under its token; `undefined` where it names none. */
export function userOf(value: string): string | undefined {
  try {
    const user = JSON.parse(value)?.session?.userId;
    return typeof user === "string" && user !== "" ? user : undefined;
  } catch {
    return undefined;
  }
}
