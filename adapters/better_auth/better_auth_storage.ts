import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { HoldfastError } from "../../src/errors.ts";
import type { Fields } from "../../src/store/transition.ts";
import { checkOptionNames, type OptionNames } from "../../src/validate.ts";
import {
  formatEntry,
  formatList,
  kindOf,
  listKey,
  parseEntry,
  parseList,
  planSet,
  userOf,
} from "./_storage_plan.ts";
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
  /** Stores a value for `ttl` seconds, or without an end. */
  readonly set: (key: string, value: string, ttl?: number) => Promise<void>;
  /** Deletes the value; a session's token cannot be stored again. */
  readonly delete: (key: string) => Promise<void>;
  /** Deletes the value and returns it; one of several concurrent callers gets it, the others `null`. */
  readonly getAndDelete: (key: string) => Promise<string | null>;
  /** Adds one and returns the sum; the first call fixes the time to live, in seconds. */
  readonly increment: (key: string, ttl: number) => Promise<number>;
}

/**
 * Options of {@linkcode betterAuthStorage}.
 *
 * @category better-auth
 */
export interface BetterAuthStorageOptions {
  /**
   * The secret that encrypts what is stored, at least 32 characters; better-auth's own
   * (`BETTER_AUTH_SECRET`) will do. A changed secret loses everything that was stored under the former one:
   * sessions end, and links that were mailed stop working.
   */
  readonly secret: string;
  /**
   * The namespace of all keys on the store.
   * @default {"better-auth"}
   */
  readonly name?: string | undefined;
}

const OPTIONS = { secret: true, name: true } satisfies OptionNames<BetterAuthStorageOptions>;

/** The minimum time for which a deletion is remembered, in milliseconds: longer than any request lasts. */
const KEEP = 86_400_000;

/**
 * better-auth's `secondaryStorage` over any atomic store, with two rules that its own read-modify-write
 * lacks: a session that was deleted is never stored again (a refresh, or a login under way, cannot undo a
 * revocation), and a write to a user's list of sessions is merged into it (no concurrent sign-in is lost, and
 * a removed session stays removed).
 *
 * Nothing in the store can be read without the secret. better-auth passes session tokens and reset tokens as
 * keys, in values and in lists: keys become HMACs under `secret`, and values are encrypted with it. Counters
 * of the rate limiter stay plain numbers.
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
  const places: Places = {
    vault,
    tokens: all.namespace("token"),
    lists: all.namespace("index"),
    values: all.namespace("value"),
  };
  return {
    get: (key) => get(places, key),
    set: (key, value, ttl) => set(places, key, value, ttl),
    delete: (key) => remove(places, key),
    getAndDelete: (key) => take(places, key),
    increment: (key, ttl) => increment(places, key, ttl),
  };
}

/** The three kinds of key, each in a namespace of its own, and the vault that hides them. */
interface Places {
  readonly vault: Vault;
  readonly tokens: AtomicStore;
  readonly lists: AtomicStore;
  readonly values: AtomicStore;
}

async function get(places: Places, key: string): Promise<string | null> {
  const { vault, tokens, lists, values } = places;
  const name = await vault.name(key);
  switch (kindOf(key)) {
    case "token":
      return await opened(vault, name, (await tokens.transact(getToken, name, {})).value);
    case "list":
      return await openList(vault, name, await lists.transact(readIndex, name, {}));
    case "value":
      return await openValue(vault, name, await values.get(name));
  }
}

async function set(places: Places, key: string, value: string, seconds: number | undefined): Promise<void> {
  const plan = planSet(key, seconds);
  if (plan.write === "nothing") return;
  const { vault, tokens, lists, values } = places;
  const name = await vault.name(key);
  switch (plan.write) {
    case "list":
      await lists.transact(mergeIndex, name, await sealList(vault, name, value));
      break;
    case "token": {
      const sealed = await vault.seal(name, value);
      const input = plan.ttl === undefined ? { value: sealed } : { value: sealed, ttl: String(plan.ttl) };
      await tokens.transact(setToken, name, input);
      break;
    }
    case "value":
      await values.set(name, await vault.seal(name, value), { ttl: plan.ttl });
  }
}

/**
 * Deletes a session or a value. A list is left alone: each of its entries goes with the session that it
 * names. A caller that read the list a moment ago would otherwise delete a session that was added since.
 */
async function remove(places: Places, key: string): Promise<void> {
  const kind = kindOf(key);
  if (kind === "list") return;
  const name = await places.vault.name(key);
  if (kind === "token") await endSession(places, name);
  else await places.values.delete(name);
}

async function take(places: Places, key: string): Promise<string | null> {
  const name = await places.vault.name(key);
  if (kindOf(key) === "token") return await endSession(places, name);
  return await openValue(places.vault, name, await places.values.getAndDelete(name));
}

async function increment({ vault, values }: Places, key: string, seconds: number): Promise<number> {
  const { value } = await values.increment(await vault.name(key), { ttl: Math.floor(seconds * 1000) });
  return value;
}

/**
 * Ends a session and takes it off its user's list. The token first: a failure between the two leaves an entry
 * that leads nowhere, never a session that lives on unlisted.
 */
async function endSession({ vault, tokens, lists }: Places, name: string): Promise<string | null> {
  const { value: sealed } = await tokens.transact(endToken, name, { keep: String(KEEP) });
  const value = await opened(vault, name, sealed);
  const user = value === null ? undefined : userOf(value);
  if (user !== undefined) {
    const list = await vault.name(listKey(user));
    await lists.transact(removeFromIndex, list, { token: name, keep: String(KEEP) });
  }
  return value;
}

/**
 * The text that was sealed under that name; `null` for none.
 *
 * @throws {HoldfastError} `corrupt-record` when it was sealed under another name or with another secret
 */
async function opened(vault: Vault, name: string, sealed: string | undefined): Promise<string | null> {
  if (sealed === undefined) return null;
  const text = await vault.open(name, sealed);
  if (text !== undefined) return text;
  throw new HoldfastError(
    "corrupt-record",
    "Cannot read the value as it was not sealed under this key with this secret",
  );
}

/** A counter is stored as a plain number, and better-auth expects its digits; anything else is sealed. */
async function openValue(vault: Vault, name: string, value: unknown): Promise<string | null> {
  return typeof value === "number" ? String(value) : await opened(vault, name, value as string | undefined);
}

/** The entries of a list as fields of its record: `in:<name of the token>` is the deadline and the token. */
async function sealList(vault: Vault, name: string, value: string): Promise<Fields> {
  const fields = parseList(value).map(async ({ token, expiresAt }) => [
    `in:${await vault.name(token)}`,
    formatEntry(expiresAt, await vault.seal(name, token)),
  ]);
  return Object.fromEntries(await Promise.all(fields));
}

async function openList(vault: Vault, name: string, fields: Fields): Promise<string | null> {
  const list = Object.values(fields).map(async (entry) => {
    const { expiresAt, sealed } = parseEntry(entry);
    // A sealed text was given, so `opened` answers a text or throws.
    return { token: (await opened(vault, name, sealed))!, expiresAt };
  });
  return formatList(await Promise.all(list));
}
