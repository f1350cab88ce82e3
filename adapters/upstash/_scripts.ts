/** Every script an engine sends, with the hash that a server may know it by. */
import {
  engineScripts,
  loadScript,
  luaScript,
  unpacked,
  type UpstashScript,
  type UpstashScripts,
  type Wrap,
} from "./_lua.ts";
import type { Cluster } from "./_cluster.ts";

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

/** What a book holds beside the scripts of transitions, and in which form. */
export interface BookOptions {
  /** What puts the scripts under a virtual time, for tests. */
  readonly wrap?: Wrap | undefined;
  /** What lists a cluster, where the server may be one. */
  readonly cluster?: Cluster | undefined;
  /** Whether there is a script that loads a record: where two commands may change places. */
  readonly loads?: boolean;
}

/**
 * Hashed scripts, each by the record that has it and its form: a store may be made anew for each request.
 * `OWN` stands for the engine's scripts.
 */
const hashedScripts = new WeakMap<object, Map<string, Promise<readonly Script[]>>>();
const OWN = {};

function hashed(
  scripts: UpstashScripts | undefined,
  keyLocking: boolean,
  options: BookOptions,
): Promise<readonly Script[]> {
  const owner = scripts ?? OWN;
  const forms = hashedScripts.get(owner) ?? new Map<string, Promise<readonly Script[]>>();
  hashedScripts.set(owner, forms);
  const { wrap, cluster, loads } = options;
  const form = [keyLocking, !wrap, !scripts && [!cluster, loads]].join();
  let all = forms.get(form);
  if (all === undefined) {
    const texts = scripts === undefined
      ? Object.entries({
        ...engineScripts(wrap, cluster?.slots),
        ...(loads && { load: loadScript(wrap) }),
      })
      : Array.from(unpacked(scripts), ([name, script]) => [name, luaScript(script, wrap)] as const);
    all = Promise.all(texts.map(([name, text]) => hashedScript(name, text, keyLocking)));
    forms.set(form, all);
  }
  return all;
}

async function hashedScript(name: string, lua: string, keyLocking: boolean): Promise<Script> {
  // `list` reads keys that it does not declare: it may not promise to touch only its own.
  const locking = keyLocking && name !== "list";
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

  /** Takes what is known of the database, the scripts of transitions, and what else there is. */
  constructor(
    readonly state: DatabaseState,
    readonly scripts: readonly UpstashScripts[],
    readonly options: BookOptions = {},
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

  /**
   * Hashes the scripts. One promise, so that calls of one tick wait for the same one and keep their order.
   */
  load(): Promise<ReadonlyMap<string, Script>> {
    const { keyLocking } = this.state;
    const form = Number(keyLocking);
    return this.#loading[form] ??= (async () => {
      const parts = await Promise.all(
        [...this.scripts, undefined].map((some) => hashed(some, keyLocking, this.options)),
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
