/** Every script an engine sends, with the hash that a server may know it by. */
import { commit, DELETE_MANY, GET_MANY, LIST, load, luaScript, setMany } from "./_lua.ts";
import { LUA_TWINS } from "./_twins.ts";

/** A script as it travels. */
export interface Script {
  /** What the engine calls it. */
  readonly name: string;
  /** Its text. */
  readonly text: string;
  /** The SHA-1 of its text, in hex. */
  readonly sha: string;
  /** Whether its first line is Upstash's own. */
  readonly keyLocking: boolean;
}

/**
 * The first line that lets Upstash lock a script's keys instead of the whole database. Other servers refuse
 * to compile it.
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

const hashedScripts: Promise<ReadonlyMap<string, Script>>[] = [];

/**
 * Hashes all scripts of a kind at once, so that calls of one tick wait for the same promise and keep their
 * order.
 */
function scripts(keyLocking: boolean, virtual: boolean): Promise<ReadonlyMap<string, Script>> {
  return hashedScripts[2 * Number(keyLocking) + Number(virtual)] ??= hashed(keyLocking, virtual);
}

async function hashed(keyLocking: boolean, virtual: boolean): Promise<ReadonlyMap<string, Script>> {
  // `LIST` reads keys that it does not declare: it may not promise to touch only its own.
  const all = [
    ...texts(virtual).map(([name, text]) => [name, (keyLocking ? KEY_LOCKING : "") + text] as const),
    ["list", LIST] as const,
  ];
  return new Map(
    await Promise.all(all.map(async ([name, text]) => {
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode(text)));
      const sha = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
      return [name, { name, text, sha, keyLocking: keyLocking && name !== "list" }] as const;
    })),
  );
}

/**
 * What is known of a database. It is kept per client or connection, since a store may be made anew for each
 * request.
 */
export interface DatabaseState {
  /** Whether the server takes Upstash's first line, as far as is known. */
  keyLocking: boolean;
  /** The last sync token of Upstash: replicas that are behind it wait. */
  syncToken: string | undefined;
}

/** The scripts in the form that the database takes. */
export class ScriptBook {
  #ready: { readonly keyLocking: boolean; readonly all: ReadonlyMap<string, Script> } | undefined;

  /** Takes what is known of the database, and whether the scripts run under a virtual time. */
  constructor(readonly state: DatabaseState, readonly virtual: boolean) {}

  /** The scripts, when they are hashed already. */
  get ready(): ReadonlyMap<string, Script> | undefined {
    return this.#ready?.keyLocking === this.state.keyLocking ? this.#ready.all : undefined;
  }

  /** Hashes the scripts. */
  async load(): Promise<ReadonlyMap<string, Script>> {
    const { keyLocking } = this.state;
    const all = await scripts(keyLocking, this.virtual);
    this.#ready = { keyLocking, all };
    return all;
  }

  /**
   * The same script without Upstash's first line, from now on for every script: the server refused the line.
   */
  async withoutKeyLocking({ name }: Script): Promise<Script> {
    this.state.keyLocking = false;
    return (this.ready ?? await this.load()).get(name)!;
  }
}
