/** Every script an engine sends, with the hash a server may know it by. */
import { commit, DELETE_MANY, GET_MANY, LIST, load, luaScript, setMany } from "./_lua.ts";
import { LUA_TWINS } from "./_twins.ts";

/** A script as it travels. */
export interface Script {
  /** Its text. */
  readonly text: string;
  /** The SHA-1 of its text, in hex. */
  readonly sha: string;
}

/**
 * Lets Upstash lock a script's keys instead of the whole database; other servers refuse the line.
 *
 * @see https://upstash.com/docs/redis/features/restapi
 */
const KEY_LOCKING = "#!lua flags=allow-key-locking\n";

/** Scripts under a virtual time are for tests; the others have no trace of it. */
const texts = (virtual: boolean): readonly (readonly [name: string, text: string])[] => [
  ...Object.entries(LUA_TWINS).map(([name, twin]) => [name, luaScript(twin, virtual)] as const),
  ["load", load(virtual)],
  ["commit", commit(virtual)],
  ["get-many", GET_MANY],
  ["set-many", setMany(virtual)],
  ["delete-many", DELETE_MANY],
];

const known: Promise<ReadonlyMap<string, Script>>[] = [];

/** All at once, so that calls of one tick wait for the same thing and keep their order. */
export function scripts(keyLocking: boolean, virtual: boolean): Promise<ReadonlyMap<string, Script>> {
  return known[2 * Number(keyLocking) + Number(virtual)] ??= hashed(keyLocking ? KEY_LOCKING : "", virtual);
}

async function hashed(head: string, virtual: boolean): Promise<ReadonlyMap<string, Script>> {
  // `LIST` declares no keys: it may not promise to touch only those.
  const all = [
    ...texts(virtual).map(([name, text]) => [name, head + text] as const),
    ["list", LIST] as const,
  ];
  return new Map(
    await Promise.all(all.map(async ([name, text]) => {
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode(text)));
      const sha = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
      return [name, { text, sha }] as const;
    })),
  );
}
