// deno-lint-ignore-file no-console
/**
 * The exported names of every subpath, read by `deno doc --json`.
 *
 * `deno task exports` prints them; `--pin` writes them to `exports.txt`, `--categories` puts a `@category`
 * into the doc comments that have none. A change of the pinned list is a change of what the package promises.
 */

/** An exported symbol, with where its doc comment stands. */
export interface ExportedSymbol {
  readonly name: string;
  readonly documented: boolean;
  readonly category: string | undefined;
  readonly examples: number;
  readonly isFunction: boolean;
  /** The optional properties of an interface whose type leaves `undefined` out. */
  readonly strict: readonly string[];
  /** Relative to the root. */
  readonly file: string;
  /** The line of the declaration, from 1. */
  readonly line: number;
}

/** The symbols of each subpath, `.` first. */
export type Surface = ReadonlyMap<string, readonly ExportedSymbol[]>;

const ROOT = new URL("../../", import.meta.url);
const PINNED = new URL("./exports.txt", import.meta.url);

/** The category of a file's symbols, by the first prefix of its path. */
const CATEGORIES: readonly (readonly [prefix: string, category: string])[] = [
  ["src/store/engine.ts", "Engines"],
  ["src/store/versioned_engine.ts", "Engines"],
  ["src/store/sql_engine.ts", "Engines"],
  ["src/store/compare_and_set.ts", "Engines"],
  ["src/store/limits.ts", "Engines"],
  ["src/store/transition.ts", "Transitions"],
  ["src/store/value_transitions.ts", "Transitions"],
  ["src/lock/lock_transitions.ts", "Transitions"],
  ["src/idempotency/idempotency_transitions.ts", "Transitions"],
  ["src/throttle/throttle_transitions.ts", "Transitions"],
  ["src/session/session_transitions.ts", "Transitions"],
  ["src/outbox/outbox_transitions.ts", "Transitions"],
  ["src/store/", "Stores"],
  ["src/lock/", "Locks"],
  ["src/idempotency/", "Idempotency"],
  ["src/throttle/", "Throttle"],
  ["src/session/session_store.ts", "Session stores"],
  ["src/session/session_record.ts", "Session stores"],
  ["src/session/atomic_session_store.ts", "Session stores"],
  ["src/session/key_value_session_store.ts", "Session stores"],
  ["src/session/", "Sessions"],
  ["src/replication/", "Session replication"],
  ["src/cache/", "Cache"],
  ["src/outbox/", "Outbox"],
  ["src/mail/outbox.ts", "Outbox"],
  ["src/mail/create_outbox.ts", "Outbox"],
  ["src/mail/", "Mail"],
  ["src/http/", "HTTP"],
  ["src/webhook/", "Webhooks"],
  ["src/testing/", "Laws"],
  ["src/errors.ts", "Errors"],
  ["src/", "Shared"],
  ["adapters/hono/", "Hono"],
  ["adapters/better_auth/", "better-auth"],
  ["adapters/otel/", "OpenTelemetry"],
  ["adapters/mailgun/", "Mailers"],
  ["adapters/resend/", "Mailers"],
  ["adapters/sendgrid/", "Mailers"],
  ["adapters/ses/", "Mailers"],
  ["adapters/smtp/", "Mailers"],
  ["adapters/postmark/", "Mailers"],
  ["adapters/cloudflare_email/", "Mailers"],
  ["adapters/", "Stores"],
];

interface Doc {
  readonly doc?: string;
  readonly tags?: readonly { readonly kind: string; readonly doc?: string }[];
}

interface Declaration {
  readonly kind: string;
  readonly location: { readonly filename: string; readonly line: number };
  readonly jsDoc?: Doc;
  readonly def?: { readonly properties?: readonly Property[] };
}

interface Property {
  readonly name: string;
  readonly optional?: boolean;
  readonly tsType?: unknown;
}

/** Reads all subpaths of `deno.json`. */
export async function readSurface(): Promise<Surface> {
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const surface = new Map<string, readonly ExportedSymbol[]>();
  for (const [subpath, entry] of Object.entries<string>(exports)) {
    const { stdout, success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["doc", "--json", entry],
      cwd: ROOT,
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
    const [module] = Object.values<{ symbols: { name: string; declarations: Declaration[] }[] }>(nodes);
    const read = module!.symbols.map(({ name, declarations }) => symbolOf(name, declarations));
    surface.set(subpath, read.sort((one, other) => one.name < other.name ? -1 : 1));
  }
  return surface;
}

/** Overloads share the doc comment of the first one. */
function symbolOf(name: string, declarations: readonly Declaration[]): ExportedSymbol {
  const docs = declarations.map(({ jsDoc }) => jsDoc);
  const tags = docs.flatMap((doc) => doc?.tags ?? []);
  const { filename, line } = declarations[0]!.location;
  return {
    name,
    documented: Boolean(docs[0]?.doc?.trim()),
    category: tags.find(({ kind }) => kind === "category")?.doc?.trim(),
    examples: tags.filter(({ kind }) => kind === "example").length,
    isFunction: declarations.some(({ kind }) => kind === "function"),
    strict: declarations.filter(({ kind }) => kind === "interface")
      .flatMap(({ def }) => def?.properties ?? [])
      .filter(({ optional, tsType }) =>
        optional && !/"(undefined|unknown)"/.test(JSON.stringify(tsType ?? ""))
      )
      .map(({ name }) => name),
    file: filename.slice(ROOT.href.length),
    line: line + 1,
  };
}

/** The names of each subpath as text: one paragraph a subpath, with its count. */
export function surfaceText(surface: Surface): string {
  return [...surface].map(([subpath, symbols]) =>
    `${subpath} (${symbols.length})\n${symbols.map(({ name }) => `  ${name}\n`).join("")}`
  ).join("\n");
}

/** The pinned text. */
export async function pinnedSurface(): Promise<string> {
  return await Deno.readTextFile(PINNED);
}

/** The doc comment that ends above `line`, with the category as its last line. */
function withCategory(lines: readonly string[], line: number, category: string): string[] {
  const end = line - 2;
  const before = lines.slice(0, end);
  const last = lines[end]!;
  const after = lines.slice(line - 1);
  const single = /^\/\*\* (.*) \*\/$/.exec(last);
  if (single) return [...before, "/**", ` * ${single[1]}`, " *", ` * @category ${category}`, " */", ...after];
  if (last !== " */") throw new Error(`Cannot find the end of a doc comment above line ${line}`);
  let start = end;
  while (!lines[start]!.startsWith("/**")) start--;
  // Tags of a symbol stand before its examples, and a paragraph before the first tag.
  const example = lines.findIndex((text, i) => i > start && i < end && text.startsWith(" * @example"));
  const at = example < 0 ? end : example;
  const tagged = lines.slice(start, at).some((text) => /^ \* @(?!example)/.test(text));
  const tag = ` * @category ${category}`;
  return [...lines.slice(0, at), ...(tagged ? [tag] : [...gap(lines[at - 1]!), tag]), ...lines.slice(at)];
}

function gap(previous: string): string[] {
  return previous === " *" ? [] : [" *"];
}

/**
 * Writes the missing categories, from the end of each file to its beginning, so that lines stay where they
 * are.
 */
async function writeCategories(surface: Surface): Promise<void> {
  const missing = new Map<string, ExportedSymbol>();
  for (const symbol of [...surface.values()].flat()) {
    if (symbol.category === undefined) missing.set(`${symbol.file}:${symbol.line}`, symbol);
  }
  for (const symbol of [...missing.values()].sort((one, other) => other.line - one.line)) {
    const category = CATEGORIES.find(([prefix]) => symbol.file.startsWith(prefix))?.[1];
    if (category === undefined) {
      throw new Error(`Cannot choose a category for ${symbol.file}: add it to CATEGORIES`);
    }
    const url = new URL(symbol.file, ROOT);
    const lines = (await Deno.readTextFile(url)).split("\n");
    await Deno.writeTextFile(url, withCategory(lines, symbol.line, category).join("\n"));
  }
}

if (import.meta.main) {
  const surface = await readSurface();
  if (Deno.args.includes("--categories")) await writeCategories(surface);
  if (Deno.args.includes("--pin")) await Deno.writeTextFile(PINNED, surfaceText(surface));
  console.log(surfaceText(surface));
}
