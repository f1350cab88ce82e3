/**
 * Runs one scenario in each runtime, so that their answers can be compared:
 *
 *     const answers = await inEveryRuntime("tests/runtimes/calls_scenario.ts", { url, token });
 *     for (const runtime of RUNTIMES) assertEquals(answers[runtime], answers.deno, runtime);
 *
 * A scenario is a module that exports `scenario(input)`: JSON in, JSON out, Web APIs alone. It is bundled as
 * a user's bundler would, then runs as a program of its own under Deno, Node and Bun, and as a Worker in
 * workerd. A program that does not end by itself (a timer left behind) fails. The child processes have
 * sockets and timers the sanitizers would take for leaks: use `workerdTest`.
 */
import { bundle } from "./bundle.ts";
import { startWorkerd } from "./workerd.ts";

/** The runtimes of a scenario; Deno first, as the others are compared with it. */
export const RUNTIMES = ["deno", "node", "bun", "workerd"] as const;

/** One of them. */
export type RuntimeName = typeof RUNTIMES[number];

const root = new URL("../../", import.meta.url);
const DEADLINE = 300_000;

/** The scenario's answer in each runtime, one after the other. */
export async function inEveryRuntime<T = unknown>(
  module: string,
  input: unknown,
): Promise<Record<RuntimeName, T>> {
  const answers: Partial<Record<RuntimeName, T>> = {};
  for (const runtime of RUNTIMES) answers[runtime] = await runIn<T>(runtime, module, input);
  return answers as Record<RuntimeName, T>;
}

/**
 * The answer of the scenario in `module` (a path from the repository's root) to `input` under that runtime.
 */
export async function runIn<T = unknown>(runtime: RuntimeName, module: string, input: unknown): Promise<T> {
  return (runtime === "workerd"
    ? await asWorker(module, input)
    : await asProgram(runtime, module, input)) as T;
}

async function asWorker(module: string, input: unknown): Promise<unknown> {
  await using worker = await startWorkerd({
    script: `
      import { scenario } from "./${module}";
      export default {
        async fetch(request) {
          try {
            return Response.json(await scenario(await request.json()));
          } catch (error) {
            return new Response(String(error?.stack ?? error), { status: 500 });
          }
        },
      };`,
  });
  const response = await fetch(worker.url, { method: "POST", body: JSON.stringify(input) });
  const text = await response.text();
  if (!response.ok) throw new Error(`the scenario failed under workerd: ${text}`);
  return JSON.parse(text);
}

async function asProgram(
  runtime: "deno" | "node" | "bun",
  module: string,
  input: unknown,
): Promise<unknown> {
  const { code } = await bundle({
    script: `
      import { scenario } from "./${module}";
      const [input] = globalThis.Deno?.args ?? globalThis.process.argv.slice(2);
      console.log("\\n" + JSON.stringify(await scenario(JSON.parse(input))));`,
  });
  const file = await Deno.makeTempFile({ suffix: ".mjs" });
  try {
    await Deno.writeTextFile(file, code);
    const [command, ...before] = program(runtime);
    const child = new Deno.Command(command!, {
      args: [...before, file, JSON.stringify(input)],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const timer = setTimeout(() => child.kill("SIGKILL"), DEADLINE);
    const { success, stdout, stderr } = await child.output();
    clearTimeout(timer);
    const decoder = new TextDecoder();
    if (!success) throw new Error(`the scenario failed under ${runtime}: ${decoder.decode(stderr)}`);
    return JSON.parse(decoder.decode(stdout).trimEnd().split("\n").at(-1)!);
  } finally {
    await Deno.remove(file);
  }
}

function program(runtime: "deno" | "node" | "bun"): string[] {
  if (runtime === "deno") {
    return [Deno.execPath(), "run", "--quiet", "--no-config", "--no-lock", "--allow-net"];
  }
  return [runtime === "node" ? "node" : bunPath()];
}

/** Bun's program inside the npm package: its install script, which Deno does not run, would only move it. */
export function bunPath(): string {
  const cpu = Deno.build.arch === "aarch64" ? "aarch64" : "x64";
  const folder = new URL("node_modules/.deno/", root);
  const wanted = new RegExp(`^@oven\\+bun-${Deno.build.os}-${cpu}@`);
  for (const { name } of Deno.readDirSync(folder)) {
    if (!wanted.test(name)) continue;
    return new URL(`${name}/node_modules/@oven/bun-${Deno.build.os}-${cpu}/bin/bun`, folder).pathname;
  }
  throw new Error("No Bun: deno install brings it");
}
