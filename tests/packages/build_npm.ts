/**
 * Makes the npm package: `deno task build:npm`. The folder is `.cache/npm/package`, the tarball is beside it.
 *
 * The compiler is TypeScript's own, from npm: one `.js` and one `.d.ts` a module, as the source has them, so that a
 * bundler leaves out every module that is not used. `esbuild` writes no declarations, and `deno pack` no peer
 * dependencies and no fields that npm's provenance needs.
 *
 *     deno task build:npm
 *     npm publish .cache/npm/package --provenance --access public    # in .github/workflows/publish.yml
 */
import { type Manifest, npmManifest } from "./npm_manifest.ts";

const root = new URL("../../", import.meta.url);

/** The package as it was built. */
export interface NpmPackage {
  /** The folder to publish. */
  readonly folder: string;
  /** The tarball that npm makes of it. */
  readonly tarball: string;
  /** The size of the tarball in bytes. */
  readonly bytes: number;
  /** The number of files in it. */
  readonly files: number;
  readonly manifest: Manifest;
}

/** The types of a module that exists in workerd alone. The user's own `wrangler types` take its place. */
const WORKERS_MODULE = `declare module "cloudflare:workers" {
  export abstract class DurableObject { constructor(state: never, env: never); }
}`;

/** The compiler of transitions is a command of Deno's: it is on JSR alone. */
const COMPILER = "adapters/upstash/compile";

/** Relative specifiers, which tsc rewrites in `.js` files and leaves in `.d.ts` files. */
const SPECIFIER = /((?:from|import)\s*\(?\s*"\.{1,2}\/[^"]*)\.ts"/g;

/** Builds the package in `out`, which is emptied first. */
export async function buildNpm(out: string): Promise<NpmPackage> {
  const folder = `${out}/package`;
  await Deno.remove(out, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  await compile(out, folder);
  const imports = await rewriteDeclarations(folder);
  const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  for (const [name, file] of Object.entries<string>(config.exports)) {
    if (file.includes(COMPILER)) delete config.exports[name];
  }
  const manifest = npmManifest(config, imports, Deno.env.get("GITHUB_REPOSITORY"));
  await Deno.writeTextFile(`${folder}/package.json`, JSON.stringify(manifest, null, 2) + "\n");
  for (const file of ["README.md", "LICENSE", "CHANGELOG.md"]) {
    await Deno.copyFile(new URL(file, root), `${folder}/${file}`);
  }
  const [packed] = JSON.parse(
    await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", out], folder),
  );
  const tarball = `${out}/${packed.filename}`;
  return { folder, tarball, bytes: packed.size, files: packed.entryCount, manifest };
}

async function compile(out: string, folder: string): Promise<void> {
  await Deno.writeTextFile(`${out}/cloudflare_workers.d.ts`, WORKERS_MODULE);
  const path = (name: string) => new URL(name, root).pathname;
  const tsconfig = {
    compilerOptions: {
      target: "es2022",
      lib: ["es2024", "esnext.disposable", "dom", "dom.iterable", "dom.asynciterable"],
      module: "esnext",
      moduleResolution: "bundler",
      rewriteRelativeImportExtensions: true,
      declaration: true,
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      types: [],
      rootDir: path("."),
      outDir: folder,
    },
    files: [`${out}/cloudflare_workers.d.ts`, path("mod.ts")],
    include: [path("src"), path("adapters")],
    exclude: [path(COMPILER)],
  };
  await Deno.writeTextFile(`${out}/tsconfig.json`, JSON.stringify(tsconfig, null, 2));
  await run(Deno.execPath(), ["run", "-A", "npm:typescript/tsc", "--project", `${out}/tsconfig.json`], root);
}

/** Points the declarations at each other, and returns the packages that the modules import. */
async function rewriteDeclarations(folder: string): Promise<string[]> {
  const packages = new Set<string>();
  for await (const file of filesOf(folder)) {
    const text = await Deno.readTextFile(file);
    if (file.endsWith(".d.ts")) await Deno.writeTextFile(file, text.replace(SPECIFIER, '$1.js"'));
    for (const [, name] of text.matchAll(/^(?:import|export)\b(?:.*\bfrom)? "([^".][^"]*)";$/gm)) {
      packages.add(name!);
    }
  }
  return [...packages].sort();
}

async function* filesOf(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) yield* filesOf(`${folder}/${name}`);
    else yield `${folder}/${name}`;
  }
}

/** Runs a command and returns its output; its failure is an error with all that it printed. */
export async function run(command: string, args: string[], cwd: string | URL): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    stdin: "null",
    env: { NO_COLOR: "1", npm_config_update_notifier: "false", PATH: ownPath() },
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (success) return text;
  throw new Error(
    `${command} ${args.join(" ")} failed in ${cwd}:\n${text}${new TextDecoder().decode(stderr)}`,
  );
}

/** The PATH without this repository's `node_modules`, which a task has in front: an old npm of a dependency lies there. */
export function ownPath(): string {
  const paths = (Deno.env.get("PATH") ?? "").split(":");
  return paths.filter((path) => !path.includes("node_modules")).join(":");
}

if (import.meta.main) {
  const { tarball, bytes, files } = await buildNpm(new URL(".cache/npm", root).pathname);
  // deno-lint-ignore no-console
  console.log(`${tarball}: ${files} files, ${(bytes / 1000).toFixed(1)} kB`);
}
