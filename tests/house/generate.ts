/**
 * `deno task generate`: compiles the transitions of every contract into `adapters/upstash/generated/`. With `--check` it
 * writes nothing, and fails when a file is not what the source gives.
 */
import {
  type CompiledTransition,
  compileTransitions,
  minified,
} from "../../adapters/upstash/compile/compile_transitions.ts";
import { loadCompilers } from "../../adapters/upstash/compile/compilers.ts";
import { CONTRACTS } from "./contracts.ts";
import type { FastPath } from "../../adapters/upstash/compile/fast_path.ts";
import { fastPaths } from "../../adapters/upstash/compile/fast_paths.ts";
import { engineLua } from "../../adapters/upstash/compile/engine_lua.ts";
import {
  constantsSource,
  scriptsSource,
  sharedSource,
} from "../../adapters/upstash/compile/scripts_source.ts";

const root = new URL("../../", import.meta.url);

/** The files that `generated/` should have: texts by their paths in the repository. */
export async function generated(directory: URL = root): Promise<Map<string, string>> {
  const compilers = await loadCompilers();
  const all = Object.entries(CONTRACTS).map(([contract, path]) => ({
    contract,
    path,
    transitions: compileTransitions([decodeURIComponent(new URL(path, directory).pathname)], compilers)
      .map((transition) => withFast(transition, fastPaths[transition.name]))
      // A transition that only reads loads the record and decides here, in one request too.
      .filter(({ kind, fast }) => kind === "write" || fast !== undefined),
  }));
  // Together, so that what is alike in several contracts gets the same names, which compresses well.
  const { contracts: short, engine } = minified({
    contracts: all.map(({ transitions }) => transitions),
    engine: engineLua,
  });
  const shared = sharedParts(short);
  const files = new Map([
    ["adapters/upstash/generated/_shared.ts", sharedSource(shared, "deno task generate")],
    ["adapters/upstash/generated/_engine.ts", constantsSource(engine, "deno task generate")],
  ]);
  for (const [i, { contract, path }] of all.entries()) {
    const name = contract.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()) + "Scripts";
    files.set(
      `adapters/upstash/generated/${contract}.ts`,
      scriptsSource(short[i]!, {
        origin: `deno task generate\` from \`${path}`,
        name,
        about: `The transitions of \`${path}\` in Lua, by their names.\n\n@category Stores`,
        types: "../_lua.ts",
        shared,
      }),
    );
  }
  return files;
}

/** The functions that at least two contracts need. */
function sharedParts(contracts: readonly (readonly CompiledTransition[])[]): string[] {
  const seen = new Set<string>();
  const shared = new Set<string>();
  for (const transitions of contracts) {
    const own = new Set(transitions.flatMap(({ parts }) => parts.slice(0, -1)));
    for (const part of own) (seen.has(part) ? shared : seen).add(part);
  }
  return [...shared];
}

function withFast(transition: CompiledTransition, path: FastPath | undefined): CompiledTransition {
  if (path === undefined) return transition;
  return { ...transition, fields: path.fields ?? transition.fields, fast: path.lua };
}

/** The paths whose files are not what they should be. */
async function outdated(files: ReadonlyMap<string, string>): Promise<string[]> {
  const found: string[] = [];
  for (const [path, text] of files) {
    const there = await Deno.readTextFile(new URL(path, root)).catch(() => undefined);
    if (there !== text) found.push(path);
  }
  for await (const { name } of Deno.readDir(new URL("adapters/upstash/generated/", root))) {
    const path = `adapters/upstash/generated/${name}`;
    if (!files.has(path)) found.push(path);
  }
  return found;
}

if (import.meta.main) {
  const files = await generated();
  if (Deno.args.includes("--check")) {
    const wrong = await outdated(files);
    const told = wrong.map((path) => `${path} is not what its source gives: run \`deno task generate\`\n`);
    await Deno.stderr.write(new TextEncoder().encode(told.join("")));
    Deno.exit(wrong.length > 0 ? 1 : 0);
  }
  await Deno.mkdir(new URL("adapters/upstash/generated/", root), { recursive: true });
  for (const [path, text] of files) await Deno.writeTextFile(new URL(path, root), text);
}
