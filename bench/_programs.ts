/** Runs a module as a program of its own under Deno or Node, as a user's bundler would make it. */
import type { Plugin } from "esbuild";

const root = new URL("../", import.meta.url);

/** The runtimes of the benches in the process. */
export const RUNTIMES = ["deno", "node"] as const;
export type Runtime = typeof RUNTIMES[number];

const ourPackage: Plugin = {
  name: "our package",
  setup(build) {
    const { name, exports } = JSON.parse(Deno.readTextFileSync(new URL("deno.json", root)));
    build.onResolve({ filter: new RegExp(`^${name}(/|$)`) }, ({ path }) => {
      return { path: new URL(exports["." + path.slice(name.length)], root).pathname };
    });
  },
};

/** The module and what it imports of ours as one file beside node_modules; packages stay imports. */
export async function program(module: string): Promise<string> {
  const esbuild = await import("esbuild");
  const outfile = new URL(`node_modules/.bench/${module.replace(/\W/g, "_")}.mjs`, root).pathname;
  await esbuild.build({
    entryPoints: [new URL(module, import.meta.url).pathname],
    outfile,
    bundle: true,
    format: "esm",
    target: "es2022",
    platform: "node",
    packages: "external",
    plugins: [ourPackage],
    logLevel: "silent",
  });
  await esbuild.stop();
  return outfile;
}

/** The command that runs a program; the collector can be called from inside. */
export function command(runtime: Runtime, file: string, args: readonly string[] = []): Deno.Command {
  const options = { stdin: "null", stdout: "piped", stderr: "inherit" } as const;
  return runtime === "deno"
    ? new Deno.Command(Deno.execPath(), {
      ...options,
      args: ["run", "-A", "--quiet", "--no-lock", "--v8-flags=--expose-gc", file, ...args],
    })
    : new Deno.Command("node", { ...options, args: ["--expose-gc", file, ...args] });
}

/** The program's last line, parsed as JSON. */
export async function answerOf<T>(runtime: Runtime, module: string): Promise<T> {
  const { success, stdout } = await command(runtime, await program(module)).output();
  if (!success) throw new Error(`${module} failed under ${runtime}`);
  return JSON.parse(new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1)!);
}
