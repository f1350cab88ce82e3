import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { HoldfastError } from "../../src/errors.ts";
import type { Fields } from "../../src/store/transition.ts";
import { checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { Vault } from "./_vault.ts";
import {
  endToken,
  getToken,
  mergeIndex,
  readIndex,
  removeFromIndex,
  setToken,
} from "./better_auth_transitions.ts";

/**
 * The `secondaryStorage` that better-auth expects. The five are plain functions: better-auth calls some of
 * them unbound.
 *
 * @category better-auth
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

/**
 * Options of {@linkcode betterAuthStorage}.
 *
 * @category better-auth
 */
export interface BetterAuthStorageOptions {
  /**
   * The secret that hides what is stored, at least 32 characters; better-auth's own (`BETTER_AUTH_SECRET`)
   * will do. With another one, whatever was stored is lost: sessions end, and links that were mailed stop
   * working.
   */
  readonly secret: string;
  /**
   * The namespace that everything lives in.
   * @default {"better-auth"}
   */
  readonly name?: string | undefined;
}

const OPTIONS = { secret: true, name: true } satisfies OptionNames<BetterAuthStorageOptions>;

/**
 * The minimum time for which a deletion is remembered, in milliseconds: longer than any request is under way.
 */
const KEEP = 86_400_000;
/** A session's token, as better-auth makes them; nothing else that it stores looks like this. */
const TOKEN = /^[A-Za-z0-9]{32}$/;
const INDEX = "active-sessions-";

/**
 * better-auth's `secondaryStorage` over any atomic store, with two rules that its own read-modify-write
 * lacks: a session that was deleted is never stored again (a refresh, or a login under way, cannot undo a
 * revocation), and what is written to a user's list of sessions is merged into it (of concurrent sign-ins
 * none is lost, and what was removed stays removed).
 *
 * Nothing of it is readable in the store. better-auth hands over session tokens and reset tokens as keys, in
 * values and in lists: names become HMACs under `secret`, and values are sealed with it. Counters of the rate
 * limiter stay numbers.
 *
 * @throws {TypeError} when the store is none, the secret is too short, or an option is unknown
 * @category better-auth
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { betterAuthStorage } from "@holdfast/edge/better-auth";
 * const secret = "at-least-32-characters-from-your-environment";
 * // betterAuth({ secret, secondaryStorage, … })
 * const secondaryStorage = betterAuthStorage(memoryStore(), { secret });
 * await secondaryStorage.set("verification:ada", "{}", 60);
 * if (await secondaryStorage.getAndDelete("verification:ada") !== "{}") throw new Error("unexpected");
 * ```
 */
export function betterAuthStorage(store: AtomicStore, options: BetterAuthStorageOptions): BetterAuthStorage {
  if (typeof store?.transact !== "function") {
    throw new TypeError("Cannot make a storage for better-auth as it needs an AtomicStore");
  }
  checkOptionNames("make a storage for better-auth", options, OPTIONS);
  const vault = new Vault(options?.secret);
  const all = store.namespace(options.name ?? "better-auth");
  const tokens = all.namespace("token");
  const indexes = all.namespace("index");
  const values = all.namespace("value");

  async function opened(name: string, sealed: string | undefined): Promise<string | null> {
    if (sealed === undefined) return null;
    const text = await vault.open(name, sealed);
    if (text !== undefined) return text;
    throw new HoldfastError(
      "corrupt-record",
      "Cannot read the value as it was not sealed under this key with this secret",
    );
  }

  /** A counter is a number to us and a text to better-auth. */
  async function valueOf(name: string, value: unknown): Promise<string | null> {
    return typeof value === "number" ? String(value) : await opened(name, value as string | undefined);
  }

  async function end(name: string): Promise<string | null> {
    const { value: sealed } = await tokens.transact(endToken, name, { keep: String(KEEP) });
    const value = await opened(name, sealed);
    const user = value === null ? undefined : userOf(value);
    if (user !== undefined) {
      const index = await vault.name(INDEX + user);
      await indexes.transact(removeFromIndex, index, { token: name, keep: String(KEEP) });
    }
    return value;
  }

  /**
   * A list of sessions as better-auth writes it, as fields: `in:<name>` is when a session ends, and its
   * token.
   */
  async function entries(index: string, value: string): Promise<Fields> {
    const list: unknown = JSON.parse(value);
    if (!Array.isArray(list)) throw new TypeError("Cannot store the list of sessions as it must be an array");
    return Object.fromEntries(
      await Promise.all(list.map(async ({ token, expiresAt }) => [
        `in:${await vault.name(token)}`,
        `${Math.floor(expiresAt)}:${await vault.seal(index, token)}`,
      ])),
    );
  }

  async function listed(index: string, fields: Fields): Promise<string | null> {
    const list = await Promise.all(
      Object.values(fields).map(async (entry) => {
        const colon = entry.indexOf(":");
        return {
          token: await opened(index, entry.slice(colon + 1)),
          expiresAt: Number(entry.slice(0, colon)),
        };
      }),
    );
    return list.length === 0 ? null : JSON.stringify(list.sort((a, b) => a.expiresAt - b.expiresAt));
  }

  return {
    async get(key) {
      const name = await vault.name(key);
      if (TOKEN.test(key)) return await opened(name, (await tokens.transact(getToken, name, {})).value);
      if (key.startsWith(INDEX)) return await listed(name, await indexes.transact(readIndex, name, {}));
      return await valueOf(name, await values.get(name));
    },
    async set(key, value, ttl) {
      const milliseconds = ttl === undefined ? undefined : Math.floor(ttl * 1000);
      if (Number.isNaN(milliseconds)) {
        throw new RangeError(
          "Cannot store the value as 'ttl' must be a number of seconds: current value is NaN",
        );
      }
      const name = await vault.name(key);
      if (key.startsWith(INDEX)) {
        return void await indexes.transact(mergeIndex, name, await entries(name, value));
      }
      // What has no time left is not stored; what is there dies by itself at the same time.
      if (milliseconds !== undefined && milliseconds <= 0) return;
      const sealed = await vault.seal(name, value);
      if (!TOKEN.test(key)) return await values.set(name, sealed, { ttl: milliseconds });
      await tokens.transact(
        setToken,
        name,
        milliseconds === undefined ? { value: sealed } : { value: sealed, ttl: String(milliseconds) },
      );
    },
    async delete(key) {
      const name = await vault.name(key);
      if (TOKEN.test(key)) await end(name);
      // A list goes with the sessions on it: emptied by one that read it a moment ago, it may have got a new
      // one since.
      else if (!key.startsWith(INDEX)) await values.delete(name);
    },
    async getAndDelete(key) {
      const name = await vault.name(key);
      if (TOKEN.test(key)) return await end(name);
      return await valueOf(name, await values.getAndDelete(name));
    },
    async increment(key, ttl) {
      return (await values.increment(await vault.name(key), { ttl: Math.floor(ttl * 1000) })).value;
    },
  };
}

/** The user whose session it is, by what better-auth stores under its token. */
function userOf(value: string): string | undefined {
  try {
    const user = JSON.parse(value)?.session?.userId;
    return typeof user === "string" && user !== "" ? user : undefined;
  } catch {
    return undefined;
  }
}
