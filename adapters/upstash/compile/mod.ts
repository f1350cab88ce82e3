/**
 * The compiler of your own transitions, as a command: with its output a transition of yours runs on Upstash
 * in one request.
 *
 * ```sh
 * deno run -A jsr:@holdfast/edge/upstash/compile stock_transitions.ts --out stock_scripts.ts
 * ```
 *
 * ```ts ignore
 * import { upstashStore } from "@holdfast/edge/upstash";
 * import { scripts } from "./stock_scripts.ts";
 * const store = upstashStore(redis, { scripts: [scripts] });
 * ```
 *
 * A transition must be a constant with that very type,
 * `const take: Transition = { name: "stock.take", apply }`, and stay in the subset that compiles: records and
 * arrays, loops, strings and whole numbers; no `Map`, regular expression, `try` or `new`, and of arrays no
 * method that takes a function but `sort`. What is outside is an error that names it.
 *
 * @module
 */
import { compileTransitions, minified } from "./compile_transitions.ts";
import { loadCompilers } from "./compilers.ts";
import { scriptsSource } from "./scripts_source.ts";

/** The part of Deno that the command uses. */
interface Runtime {
  readonly args: readonly string[];
  cwd(): string;
  writeTextFile(path: string, text: string): Promise<void>;
  exit(code: number): never;
}

const USAGE = "Usage: deno run -A jsr:@holdfast/edge/upstash/compile FILES… --out FILE [--types MODULE]\n";

async function main({ args, cwd, writeTextFile }: Runtime): Promise<void> {
  const files: string[] = [];
  let [out, types] = ["", "@holdfast/edge/upstash"];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--out") out = args[++i] ?? "";
    else if (args[i] === "--types") types = args[++i] ?? types;
    else files.push(args[i]!);
  }
  if (files.length === 0 || out === "") throw new TypeError(USAGE);
  const paths = files.map((file) => file.startsWith("/") ? file : `${cwd()}/${file}`);
  const transitions = compileTransitions(paths, await loadCompilers());
  if (transitions.length === 0) {
    throw new TypeError("Cannot compile as no file has a constant of the type 'Transition'");
  }
  const text = scriptsSource(minified({ contracts: [transitions], engine: {} }).contracts[0]!, {
    origin: `deno run -A jsr:@holdfast/edge/upstash/compile\` from \`${files.join("`, `")}`,
    name: "scripts",
    about: "The transitions in Lua, by their names.",
    types,
  });
  await writeTextFile(out, text);
}

// Not every runtime that types this knows `main`.
if ((import.meta as { readonly main?: boolean }).main) {
  await main((globalThis as unknown as { readonly Deno: Runtime }).Deno);
}
