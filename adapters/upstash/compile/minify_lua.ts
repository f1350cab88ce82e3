/**
 * Makes a Lua chunk short: no comments, no needless white space, short names for locals. Works on tokens, so it needs
 * no grammar; it relies on the chunk using no global besides those in `GLOBALS` and no `goto`.
 */

/** What a script may use without declaring it. */
const GLOBALS = new Set(
  ("redis cjson string table math tostring tonumber pairs ipairs type unpack next select error KEYS ARGV micro " +
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

/**
 * The same chunks, shorter. A name is shortened alike in all of them, so that what they share stays the same text, which
 * compresses well.
 *
 * @param keep names that the surroundings of the chunks use
 */
export function minifyLua(chunks: readonly string[], keep: readonly string[] = []): string[] {
  const kept = new Set([...GLOBALS, ...keep]);
  const counts = new Map<string, number>();
  const read = chunks.map((chunk) => {
    const list = tokens(chunk);
    const fields = fieldPositions(list);
    list.forEach(({ kind, text }, i) => {
      if (kind === "name" && !kept.has(text) && !fields.has(i)) counts.set(text, (counts.get(text) ?? 0) + 1);
    });
    return { list, fields };
  });
  const short = new Map<string, string>();
  const names = shortNames(kept);
  for (const [name] of [...counts].sort(([, a], [, b]) => b - a)) short.set(name, names.next().value!);
  return read.map(({ list, fields }) => written(list, fields, short));
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

function* shortNames(taken: ReadonlySet<string>): Generator<string, never> {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (let size = 1;; size++) {
    for (let n = 0; n < letters.length ** size; n++) {
      let name = "";
      for (let left = n, i = 0; i < size; i++) {
        name += letters[left % letters.length];
        left = Math.floor(left / letters.length);
      }
      if (!taken.has(name)) yield name;
    }
  }
}
