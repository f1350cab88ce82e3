import type { AtomicStore } from "../../src/store/atomic_store.ts";
import type { Fields } from "../../src/store/transition.ts";
import {
  endToken,
  getToken,
  mergeIndex,
  readIndex,
  removeFromIndex,
  setToken,
} from "./better_auth_transitions.ts";

/**
 * What better-auth asks of its `secondaryStorage`. The five are plain functions: better-auth calls some of them unbound.
 */
export interface BetterAuthStorage {
  /** The value, or `null`. */
  readonly get: (key: string) => Promise<string | null>;
  /** Stores a value for so many seconds, or for good. */
  readonly set: (key: string, value: string, ttl?: number) => Promise<void>;
  /** Deletes it; a session's token for good. */
  readonly delete: (key: string) => Promise<void>;
  /** Takes the value away; of many callers one gets it. */
  readonly getAndDelete: (key: string) => Promise<string | null>;
  /** Adds one and answers the sum; the time to live, in seconds, is fixed by the first. */
  readonly increment: (key: string, ttl: number) => Promise<number>;
}

/** Options of {@linkcode betterAuthStorage}. */
export interface BetterAuthStorageOptions {
  /**
   * The namespace everything lives in.
   * @default {"better-auth"}
   */
  readonly name?: string;
}

/** What was deleted is remembered for this long at least, in milliseconds: longer than any request is under way. */
const KEEP = 86_400_000;
/** A session's token, as better-auth makes them; nothing else that it stores looks like this. */
const TOKEN = /^[A-Za-z0-9]{32}$/;
const INDEX = "active-sessions-";

/**
 * better-auth's `secondaryStorage` over any atomic store, with two rules that its own read-modify-write lacks: a session
 * that was deleted is never stored again (a refresh, or a login under way, cannot undo a revocation), and what is written
 * to a user's list of sessions is merged into it (of concurrent sign-ins none is lost, and what was removed stays removed).
 *
 * @throws {TypeError} when the store is none
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { betterAuthStorage } from "@holdfast/edge/better-auth";
 * const secondaryStorage = betterAuthStorage(memoryStore()); // betterAuth({ secondaryStorage, … })
 * await secondaryStorage.set("verification:ada", "{}", 60);
 * if (await secondaryStorage.getAndDelete("verification:ada") !== "{}") throw new Error("unexpected");
 * ```
 */
export function betterAuthStorage(
  store: AtomicStore,
  options: BetterAuthStorageOptions = {},
): BetterAuthStorage {
  if (typeof store?.transact !== "function") {
    throw new TypeError("Cannot make a storage for better-auth as it needs an AtomicStore");
  }
  const room = store.namespace(options.name ?? "better-auth");
  const tokens = room.namespace("token");
  const indexes = room.namespace("index");
  const values = room.namespace("value");

  async function end(token: string): Promise<string | null> {
    const { v } = await tokens.transact(endToken, token, { keep: String(KEEP) });
    if (v === undefined) return null;
    const user = userOf(v);
    if (user !== undefined) {
      await indexes.transact(removeFromIndex, INDEX + user, { token, keep: String(KEEP) });
    }
    return v;
  }

  return {
    async get(key) {
      if (TOKEN.test(key)) return (await tokens.transact(getToken, key, {})).v ?? null;
      if (key.startsWith(INDEX)) return listed(await indexes.transact(readIndex, key, {}));
      return text(await values.get(key));
    },
    async set(key, value, ttl) {
      const milliseconds = ttl === undefined ? undefined : Math.floor(ttl * 1000);
      if (Number.isNaN(milliseconds)) {
        throw new RangeError(
          "Cannot store the value as 'ttl' must be a number of seconds: current value is NaN",
        );
      }
      if (key.startsWith(INDEX)) return void await indexes.transact(mergeIndex, key, entries(value));
      // What has no time left is not stored; what is there dies by itself at the same time.
      if (milliseconds !== undefined && milliseconds <= 0) return;
      if (!TOKEN.test(key)) return await values.set(key, value, { ttl: milliseconds });
      const input = milliseconds === undefined ? { v: value } : { v: value, ttl: String(milliseconds) };
      await tokens.transact(setToken, key, input);
    },
    async delete(key) {
      if (TOKEN.test(key)) await end(key);
      // A list goes with the sessions on it: emptied by who read it a moment ago, it may have got a new one since.
      else if (!key.startsWith(INDEX)) await values.delete(key);
    },
    async getAndDelete(key) {
      if (TOKEN.test(key)) return await end(key);
      return text(await values.getAndDelete(key));
    },
    async increment(key, ttl) {
      return (await values.increment(key, { ttl: Math.floor(ttl * 1000) })).value;
    },
  };
}

/** A counter is a number to us and a text to better-auth. */
function text(value: unknown): string | null {
  return value === undefined ? null : String(value);
}

/** Whose session it is, by what better-auth stores under its token. */
function userOf(value: string): string | undefined {
  try {
    const user = JSON.parse(value)?.session?.userId;
    return typeof user === "string" && user !== "" ? user : undefined;
  } catch {
    return undefined;
  }
}

/** A list of sessions as better-auth writes it, as fields. */
function entries(value: string): Fields {
  const list: unknown = JSON.parse(value);
  if (!Array.isArray(list)) throw new TypeError("Cannot store the list of sessions as it must be an array");
  return Object.fromEntries(
    list.map(({ token, expiresAt }) => [`t:${token}`, String(Math.floor(expiresAt))]),
  );
}

function listed(fields: Fields): string | null {
  const list = Object.entries(fields).map(([field, until]) => ({
    token: field.slice(2),
    expiresAt: Number(until),
  }));
  return list.length === 0 ? null : JSON.stringify(list.sort((a, b) => a.expiresAt - b.expiresAt));
}
