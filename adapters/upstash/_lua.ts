/**
 * The Lua that surrounds a transition. What decides is compiled from the TypeScript in `src/` (`generated/`);
 * here is how Redis reads the input and the record, calls it, writes the difference and answers.
 *
 * `apply(record, input, now)` answers a step as in TypeScript: `output` and perhaps `write`. A script may
 * have a fast path by hand: the usual case done at once, with its reply, or a `break` that leaves the
 * decision to `apply`. Both must leave the very same record; the differential test holds both to the
 * TypeScript.
 *
 * Redis runs one script at a time, and every function that a script defines costs time at each call: fast
 * paths are straight code.
 */
import type { Fields } from "../../src/store/transition.ts";
import {
  change,
  commit,
  decide,
  deleteMany,
  getMany,
  known,
  listKeys,
  listPage,
  load,
  read,
  remember,
  reply,
  setMany,
  time,
  write,
} from "./generated/_engine.ts";

/**
 * A transition in Lua.
 *
 * @category Stores
 */
export interface UpstashScript {
  /**
   * Whether the script may write. Clients send a request again after a broken connection, and so does a
   * runtime's own fetch; such a copy arrives at once, late, or after other calls, and must answer the same
   * and change nothing more. No writing transition does that at all three times by itself, so the engine
   * keeps the reply of each for a minute, under a key of its own, and answers copies with it.
   */
  readonly kind: "read" | "write";
  /** The fields of the input that travel without their names, in this order. */
  readonly fields: readonly string[];
  /** A chunk that defines `apply`. */
  readonly lua: string;
  /**
   * The usual case, written by hand: straight code inside a `repeat`. It returns its reply, or breaks before
   * it has written anything. It finds its input in `ARGV`, as `inputArgs` makes it; `format` is defined, and
   * where it says `READ_TIME`, `now` and `micro` from there on. Where the transition may write, it keeps its
   * reply by `unlessDone` before its first write.
   */
  readonly fast?: string;
}

/**
 * Compiled transitions, as the compiler writes them: what several have in common stands there once.
 *
 * @category Stores
 */
export interface UpstashScripts {
  /** Functions and constants in Lua, each after those that it uses. A script has those that it names. */
  readonly parts: readonly string[];
  /** By the name of the transition. */
  readonly scripts: Readonly<
    Record<string, {
      /**
       * What it does at most.
       * @default {"write"}
       */
      readonly kind?: "read" | undefined;
      /** The fields of the input that travel without their names, with spaces between. */
      readonly fields: string;
      /** What defines `apply`. */
      readonly lua: string;
      /** The usual case by hand. */
      readonly fast?: string;
    }>
  >;
}

const unpackedScripts = new WeakMap<UpstashScripts, ReadonlyMap<string, UpstashScript>>();

/** The scripts one by one, by the names of their transitions. */
export function unpacked(scripts: UpstashScripts): ReadonlyMap<string, UpstashScript> {
  let all = unpackedScripts.get(scripts);
  if (all === undefined) {
    const words = (text: string): string[] => text.match(/\w+/g) ?? [];
    const parts = scripts.parts.map((lua) => ({
      lua,
      name: /^local\s+(?:function )?(\w+)[=(]/.exec(lua)?.[1], // what defines several names is always taken
      words: words(lua),
    })).reverse();
    unpackedScripts.set(
      scripts,
      all = new Map(
        Object.entries(scripts.scripts).map(
          ([name, { kind, fields, lua, ...others }]): [string, UpstashScript] => {
            const used = new Set(words(lua));
            const needed = [lua];
            for (const part of parts) {
              if (part.name !== undefined && !used.has(part.name)) continue;
              needed.unshift(part.lua);
              for (const word of part.words) used.add(word);
            }
            return [name, {
              ...others,
              kind: kind ?? "write",
              fields: words(fields),
              lua: needed.join("\n"),
            }];
          },
        ),
      ),
    );
  }
  return all;
}

/** Makes a script another one, for tests: see `inVirtualTime`. */
export type Wrap = (lua: string) => string;

const asIs: Wrap = (lua) => lua;

/**
 * An input as arguments: the values of the script's own fields, then the other fields as pairs. A missing
 * field is an empty text; what is empty, or begins with a zero character, has one more of those in front.
 */
export function inputArgs(input: Fields, fields: readonly string[]): string[] {
  const args = fields.map((name) => {
    const value = input[name];
    return value === undefined ? "" : value === "" || value.charCodeAt(0) === 0 ? "\0" + value : value;
  });
  let own = args.length;
  while (own > 0 && args[own - 1] === "") own--;
  for (const name in input) if (!fields.includes(name)) args.push(name, input[name]!);
  if (args.length === fields.length) args.length = own;
  return args;
}

/**
 * The text of a script. `ARGV`: the result of `inputArgs`, behind the virtual time where `wrap` is
 * `inVirtualTime`.
 */
export function luaScript({ kind, fields, lua, fast }: UpstashScript, wrap = asIs): string {
  const reads = kind === "read";
  const usual = fast === undefined
    ? []
    : ["local format=string.format repeat", fast.replaceAll("READ_TIME", time + " "), "until true"];
  return wrap(
    [
      ...usual,
      time,
      reads ? "" : known,
      read,
      lua,
      `local fields='${fields.join(" ")}'`,
      decide,
      ...reads ? [reply] : [change, write, remember],
    ].join("\n"),
  );
}

/** Answers the record's pairs as they are, and the clock. */
export const loadScript = (wrap = asIs): string => wrap([load, reply].join("\n"));

/** The scripts of the engine itself, by name; `slots` is `listSlots` where the server may be a cluster. */
export const engineScripts = (wrap = asIs, slots = ""): Readonly<Record<string, string>> => ({
  commit: wrap([time, known, read, commit, write, remember].join("\n")),
  "get-many": [getMany, reply].join("\n"),
  "set-many": wrap([time, setMany].join("\n")),
  "delete-many": [deleteMany, remember].join("\n"),
  list: [listPage, slots, listKeys, reply].join("\n"),
});
