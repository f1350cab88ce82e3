/** Every script an engine sends, with the hash that a server may know it by. */
import {
  commit,
  DELETE_MANY,
  GET_MANY,
  LIST,
  load,
  luaScript,
  setMany,
  unpacked,
  type UpstashScript,
  type UpstashScripts,
} from "./_lua.ts";

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

/** The scripts of the engine itself. */
const ownTexts = (virtual: boolean): readonly (readonly [name: string, text: string])[] => [
  ["load", load(virtual)],
  ["commit", commit(virtual)],
  ["get-many", GET_MANY],
  ["set-many", setMany(virtual)],
  ["delete-many", DELETE_MANY],
  ["list", LIST],
];
const OWN: UpstashScripts = { parts: [], scripts: {} };

/** Hashed scripts by the record that has them, one promise for each form; `OWN` stands for the engine's. */
const hashedScripts = new WeakMap<object, Promise<readonly Script[]>[]>();

/** Scripts under a virtual time are for tests. */
function hashed(scripts: UpstashScripts, keyLocking: boolean, virtual: boolean): Promise<readonly Script[]> {
  let forms = hashedScripts.get(scripts);
  if (forms === undefined) hashedScripts.set(scripts, forms = []);
  return forms[2 * Number(keyLocking) + Number(virtual)] ??= (async () => {
    const texts = scripts === OWN
      ? ownTexts(virtual)
      : Array.from(unpacked(scripts), ([name, script]) => [name, luaScript(script, virtual)] as const);
    return await Promise.all(texts.map(([name, text]) => hashedScript(name, text, keyLocking)));
  })();
}

async function hashedScript(name: string, lua: string, keyLocking: boolean): Promise<Script> {
  // `LIST` reads keys that it does not declare: it may not promise to touch only its own.
  const locking = keyLocking && lua !== LIST;
  const text = (locking ? KEY_LOCKING : "") + lua;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode(text)));
  const sha = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { name, text, sha, keyLocking: locking };
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
  /** By whether the server takes Upstash's first line. */
  readonly #loading: Promise<ReadonlyMap<string, Script>>[] = [];
  readonly #loaded: ReadonlyMap<string, Script>[] = [];

  /** Takes what is known of the database, the scripts, and whether they run under a virtual time. */
  constructor(
    readonly state: DatabaseState,
    readonly scripts: readonly UpstashScripts[],
    readonly virtual: boolean,
  ) {}

  /** The script of a transition; `undefined` when it has none. */
  find(name: string): UpstashScript | undefined {
    for (const some of this.scripts) {
      const script = unpacked(some).get(name);
      if (script !== undefined) return script;
    }
    return undefined;
  }

  /** The scripts, when they are hashed already. */
  get ready(): ReadonlyMap<string, Script> | undefined {
    return this.#loaded[Number(this.state.keyLocking)];
  }

  /** Hashes the scripts. One promise, so that calls of one tick wait for the same one and keep their order. */
  load(): Promise<ReadonlyMap<string, Script>> {
    const { keyLocking } = this.state;
    const form = Number(keyLocking);
    return this.#loading[form] ??= (async () => {
      const parts = await Promise.all(
        [...this.scripts, OWN].map((some) => hashed(some, keyLocking, this.virtual)),
      );
      return this.#loaded[form] = new Map(parts.flat().map((script) => [script.name, script]));
    })();
  }

  /**
   * The same script without Upstash's first line, from now on for every script: the server refused the line.
   */
  async withoutKeyLocking({ name }: Script): Promise<Script> {
    this.state.keyLocking = false;
    return (this.ready ?? await this.load()).get(name)!;
  }
}
