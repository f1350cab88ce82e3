/**
 * Makes a Lua chunk short: no comments, no needless white space, short names for locals. Works on tokens, so
 * it needs no grammar; it relies on the chunk using no global besides those in `RESERVED` and no `goto`.
 */

/** What a chunk may use without declaring it, and what must keep its name. */
const RESERVED = new Set(
  ("redis cjson string table math tonumber pairs ipairs type unpack next select error KEYS ARGV " +
    // What surrounds a chunk in a script.
    "apply now micro format fields READ_TIME " +
    "and break do else elseif end false for function if in local nil not or repeat return then true until while")
    .split(" "),
);

interface Token {
  readonly kind: "name" | "text" | "number" | "symbol";
  readonly text: string;
}

const TOKEN =
  /\s+|--[^\n]*|(?<name>[A-Za-z_]\w*)|(?<text>"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*')|(?<number>0x[\da-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?<symbol>\.\.\.|\.\.|[=~<>]=|[^\s\w])/y;

function tokens(chunk: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < chunk.length) {
    const at = TOKEN.lastIndex;
    const groups = TOKEN.exec(chunk)?.groups;
    if (groups === undefined) throw new Error(`Cannot read the Lua chunk at character ${at}`);
    for (const kind of ["name", "text", "number", "symbol"] as const) {
      if (groups[kind] !== undefined) found.push({ kind, text: groups[kind] });
    }
  }
  return found;
}

/** The names that are table fields where they stand: after a dot or colon, or as a key of a constructor. */
function fieldPositions(list: readonly Token[]): Set<number> {
  const fields = new Set<number>();
  const open: string[] = []; // "{", "(" or "[", and "block" for what ends with `end` or `until`
  list.forEach(({ kind, text }, i) => {
    if (kind === "name") {
      if (text === "function" || text === "do" || text === "if" || text === "repeat") open.push("block");
      else if (text === "end" || text === "until") open.pop();
      else if (list[i - 1]?.text === "." || list[i - 1]?.text === ":") fields.add(i);
      else if (
        open.at(-1) === "{" && list[i + 1]?.text === "=" && /^[{,;]$/.test(list[i - 1]!.text)
      ) fields.add(i);
    } else if (kind === "symbol") {
      if (text === "{" || text === "(" || text === "[") open.push(text);
      else if (text === "}" || text === ")" || text === "]") open.pop();
    }
  });
  return fields;
}

/** What may stand in front of a text that is put together, without being an operator that binds closer. */
const OPENERS = new Set(["..", "=", "==", "~=", "(", "[", "{", ",", "return", "and", "or"]);
/** What binds less closely than `..` does: parentheses around it must stay. */
const LOOSE = new Set(["and", "or", "not", "==", "~=", "<", ">", "<=", ">=", ",", "function", "..."]);

/**
 * `(a .. b) .. c` without its parentheses: the same text, but one operation instead of two, since Lua puts
 * the parts of a whole chain together at once.
 */
function withoutParentheses(list: readonly Token[]): readonly Token[] {
  const gone = new Set<number>();
  list.forEach(({ text }, start) => {
    if (text !== "(" || !OPENERS.has(list[start - 1]?.text ?? "")) return;
    let [depth, loose, chain] = [0, false, false];
    let end = start;
    for (; end < list.length; end++) {
      const { text: inner } = list[end]!;
      if (/^[({[]$/.test(inner)) depth++;
      else if (/^[)}\]]$/.test(inner) && --depth === 0) break;
      else if (depth === 1 && LOOSE.has(inner)) loose = true;
      else if (depth === 1 && inner === "..") chain = true;
    }
    if (!chain || loose || list[end + 1]?.text !== "..") return;
    gone.add(start).add(end);
  });
  return list.filter((_, i) => !gone.has(i));
}

/** The names that a chunk defines for the chunks after it: those of its first statement. */
function defined(list: readonly Token[]): string[] {
  if (list[0]?.text !== "local") return [];
  if (list[1]?.text === "function") return [list[2]!.text];
  const names: string[] = [];
  for (let i = 1; list[i]?.kind === "name"; i += 2) {
    names.push(list[i]!.text);
    if (list[i + 1]?.text !== ",") break;
  }
  return names;
}

interface Chunk {
  readonly list: readonly Token[];
  readonly fields: ReadonlySet<number>;
}

/** The chunks of one contract. */
export interface LuaChunks {
  /** Functions and constants, each a chunk that those after it may name. */
  readonly parts: readonly string[];
  /** Chunks that stand alone. */
  readonly alone: readonly string[];
  /** Chunks that stand around parts. */
  readonly around?: readonly string[];
}

/**
 * The same chunks, shorter; one entry for each contract. What a part defines gets a name that begins with a
 * capital, alike in all parts of the contract, and in those of others where they define it too. Other names
 * are shortened for each part by itself, in the order in which they appear. So equal parts stay equal, and
 * parts alike stay alike, which compresses well. Chunks that stand alone are put together from common
 * passages: a name is short for the same name in all of them, so that those passages stay equal. So it is in
 * chunks that stand around parts, where it begins with a small letter, so that no part hides it.
 */
export function minifyLua(contracts: readonly LuaChunks[]): Required<LuaChunks>[] {
  const read = contracts.map(({ parts }) => parts.map(chunk));
  const alone = contracts.map((chunks) => chunks.alone.map(chunk));
  const tops = read.map((chunks) => definedNames(chunks));
  const common = [...tops[0] ?? []];
  for (const names of tops.slice(1)) common.push(...names);
  const shared = new Set(common.filter((name, i) => common.indexOf(name) !== i));
  const capitals = [...shortNames("ABCDEFGHIJKLMNOPQRSTUVWXYZ")];
  const forAll = [...shared].map((name, i) => [name, capitals[i]!] as const);
  const around = contracts.map((chunks) => (chunks.around ?? []).map(chunk));
  const inAlone = namesByCount(alone.flat(), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
  const inAround = namesByCount(around.flat(), "abcdefghijklmnopqrstuvwxyz");
  return read.map((chunks, at) => {
    const own = [...tops[at]!].filter((name) => !shared.has(name));
    const top = new Map([...forAll, ...own.map((name, i) => [name, capitals[shared.size + i]!] as const)]);
    const parts = chunks.map(({ list, fields }) => {
      const left = shortNames("abcdefghijklmnopqrstuvwxyz");
      const short = new Map(top);
      list.forEach(({ kind, text }, i) => {
        if (kind !== "name" || fields.has(i) || RESERVED.has(text) || short.has(text)) return;
        short.set(text, left.next().value!);
      });
      return written(list, fields, short);
    });
    return {
      parts,
      alone: alone[at]!.map(({ list, fields }) => written(list, fields, inAlone)),
      around: around[at]!.map(({ list, fields }) => written(list, fields, inAround)),
    };
  });
}

function chunk(text: string): Chunk {
  const list = withoutParentheses(tokens(text));
  return { list, fields: fieldPositions(list) };
}

/** Short names for all names that the chunks use, the most frequent first. */
function namesByCount(chunks: readonly Chunk[], first: string): Map<string, string> {
  const counts = new Map<string, number>();
  for (const { list, fields } of chunks) {
    list.forEach(({ kind, text }, i) => {
      if (kind === "name" && !fields.has(i) && !RESERVED.has(text)) {
        counts.set(text, (counts.get(text) ?? 0) + 1);
      }
    });
  }
  const left = shortNames(first);
  return new Map([...counts].sort(([, a], [, b]) => b - a).map(([name]) => [name, left.next().value!]));
}

/** The names that the chunks of a contract define, the most frequent first. */
function definedNames(chunks: readonly Chunk[]): Set<string> {
  const counts = new Map<string, number>();
  for (const { list } of chunks) {
    for (const name of defined(list)) if (!RESERVED.has(name)) counts.set(name, 0);
  }
  for (const { list, fields } of chunks) {
    list.forEach(({ kind, text }, i) => {
      const count = counts.get(text);
      if (kind === "name" && count !== undefined && !fields.has(i)) counts.set(text, count + 1);
    });
  }
  return new Set([...counts].sort(([, a], [, b]) => b - a).map(([name]) => name));
}

function written(
  list: readonly Token[],
  fields: ReadonlySet<number>,
  short: ReadonlyMap<string, string>,
): string {
  let out = "";
  list.forEach(({ kind, text }, i) => {
    const next = kind === "name" && !fields.has(i) ? short.get(text) ?? text : text;
    // `1 ..` would be read as a number.
    if (/\w$/.test(out) && /^\w/.test(next) || /\d$/.test(out) && next.startsWith(".")) {
      // A function begins a line: what scripts share begins alike then.
      out += next === "function" || next === "local" ? "\n" : " ";
    }
    out += next;
  });
  return out;
}

/** Names whose first letter is one of `first`. */
function* shortNames(first: string): Generator<string, undefined> {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  yield* first;
  for (const a of first) {
    for (const b of letters) if (!RESERVED.has(a + b)) yield a + b;
  }
}
