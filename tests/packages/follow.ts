/**
 * Follows a page literally: writes its files, runs its commands in order in a shell, and holds what they print to what the page says.
 *
 * - "Write `name`:" and a block: the file.
 * - A block of `sh`: commands. One that starts a server runs on beside the next ones, until the end.
 * - A block of `text` after them: lines that the output must have, in that order.
 */
import { assert } from "../support/assert.ts";
import { bunPath } from "../support/runtimes.ts";
import { run } from "./build_npm.ts";
import type { Registry } from "./npm_registry.ts";

/** A step of a page, in the order of the page. */
type Step =
  | { readonly kind: "file"; readonly name: string; readonly content: string }
  | { readonly kind: "commands" | "output"; readonly text: string };

/** The cost of following a page. */
export interface Followed {
  readonly seconds: number;
  readonly megabytes: number;
}

const BLOCK = /(?:Write `([^`]+)`:\n\n)?^```(\w+)[^\n]*\n([\s\S]*?)^```$/gm;

function stepsOf(page: string): Step[] {
  const steps: Step[] = [];
  for (const [, name, language, content] of page.matchAll(BLOCK)) {
    if (name !== undefined) steps.push({ kind: "file", name, content: content! });
    else if (language === "sh") steps.push({ kind: "commands", text: content! });
    else if (language === "text") steps.push({ kind: "output", text: content! });
  }
  return steps;
}

const isServer = (text: string) =>
  /wrangler dev|next start|^node server|^npm start|^bun run|^deno serve/m.test(text);

/** A home for a reader who has Deno, Bun and Node, and whose `.npmrc` knows the registry of the test. */
export async function makeHome(registry: Registry): Promise<string> {
  const home = await Deno.makeTempDir({ prefix: "follow-" });
  await Deno.writeTextFile(`${home}/.npmrc`, registry.npmrc);
  await Deno.mkdir(`${home}/bin`);
  await Deno.symlink(Deno.execPath(), `${home}/bin/deno`);
  await Deno.symlink(bunPath(), `${home}/bin/bun`);
  return home;
}

/** Follows the page in `folder`, which is the home or below it. */
export async function follow(
  page: string,
  home: string,
  folder: string,
  env: Record<string, string> = {},
): Promise<Followed> {
  let server: Deno.ChildProcess | undefined, output = "";
  const since = performance.now();
  try {
    for (const step of stepsOf(page)) {
      if (step.kind === "file") await Deno.writeTextFile(`${folder}/${step.name}`, step.content);
      else if (step.kind === "output") checkOutput(output, step.text);
      else if (isServer(step.text)) {
        server = spawn(home, folder, step.text, env);
        await listening(step.text, page);
      } else {
        output = await shell(home, folder, step.text, env);
        const entered = /&& cd (\S+)/.exec(step.text)?.[1];
        if (entered !== undefined) folder = `${folder}/${entered}`;
      }
    }
    const seconds = (performance.now() - since) / 1000;
    const [, kilobytes = "0"] = /^(\d+)/.exec(await run("du", ["-sk", folder], home)) ?? [];
    return { seconds, megabytes: Number(kilobytes) / 1000 };
  } finally {
    if (server) await new Deno.Command("kill", { args: ["-TERM", "--", `-${server.pid}`] }).output();
    await server?.status;
  }
}

function checkOutput(output: string, expected: string): void {
  // Names of header fields have no case: each server writes them in its own.
  const found = output.toLowerCase();
  let from = 0;
  for (const line of expected.trimEnd().split("\n")) {
    const at = found.indexOf(line.toLowerCase(), from);
    assert(at >= 0, `the page promises "${line}", the output is:\n${output}`);
    from = at + line.length;
  }
}

function environment(home: string, env: Record<string, string>): Record<string, string> {
  const path = (Deno.env.get("PATH") ?? "").split(":").filter((path) => !path.includes("node_modules"));
  // A home of its own: only what the page installs is there. The caches of downloads stay.
  return {
    HOME: home,
    PATH: [`${home}/bin`, ...path].join(":"),
    NO_COLOR: "1",
    CI: "1",
    WRANGLER_SEND_METRICS: "false",
    npm_config_cache: Deno.env.get("npm_config_cache") ?? `${Deno.env.get("HOME")}/.npm`,
    DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
    ...env,
  };
}

async function shell(home: string, cwd: string, text: string, env: Record<string, string>): Promise<string> {
  // Deno, npm and Bun look for an .npmrc beside the project first. Nothing is deployed.
  const script = text.replace(/(&& cd \S+)/, `$1 && cp "$HOME/.npmrc" .`)
    .replace("wrangler deploy", "wrangler deploy --dry-run")
    .replace(/^deno deploy$/m, "");
  const { success, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-ec", script],
    cwd,
    stdin: "null",
    env: environment(home, env),
  }).output();
  const decoder = new TextDecoder();
  const output = decoder.decode(stdout);
  if (!success) throw new Error(`failed:\n${text}\n${output}${decoder.decode(stderr)}`);
  return output;
}

function spawn(home: string, cwd: string, text: string, env: Record<string, string>): Deno.ChildProcess {
  // In a session of its own, so that all that it starts ends with it.
  return new Deno.Command("setsid", {
    args: ["sh", "-c", text],
    cwd,
    stdin: "null",
    stdout: "null",
    stderr: "null",
    env: environment(home, env),
  }).spawn();
}

/** Waits until the server of a page answers at the address that the page names. */
async function listening(command: string, page: string): Promise<void> {
  const url = /http:\/\/localhost:\d+/.exec(page)![0];
  for (let attempt = 0; attempt < 240; attempt++) {
    try {
      // An address without a route: it counts in no throttle.
      await (await fetch(`${url}/listening`)).body?.cancel();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
  throw new Error(`nothing answers at ${url} after ${command}`);
}
