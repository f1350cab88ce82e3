/**
 * Follows each Start page literally: `deno task test:start`. Its files are written, its commands run in order in a shell, with a
 * registry that has the package as it was built. What the page says about the answers is what is checked. Prints the time and the
 * bytes of what was installed. Nothing is deployed: `wrangler deploy` runs dry, and `deno deploy` is left out.
 */
// deno-lint-ignore-file no-console
import { assert, assertEquals } from "../support/assert.ts";
import { bunPath } from "../support/runtimes.ts";
import { buildNpm, type NpmPackage, run } from "./build_npm.ts";
import { startRegistry } from "./npm_registry.ts";

const pages = new URL("../../docs/start/", import.meta.url);

/** A step of a page, in the order of the page. */
type Step =
  | { readonly kind: "file"; readonly name: string; readonly content: string }
  | { readonly kind: "commands"; readonly text: string };

/** The files (after "Write `name`:") and the commands of a page; other blocks are shown, not followed. */
function stepsOf(page: string): Step[] {
  const steps: Step[] = [];
  for (
    const [, name, language, content] of page.matchAll(
      /(?:Write `([^`]+)`:\n\n)?^```(\w+)[^\n]*\n([\s\S]*?)^```$/gm,
    )
  ) {
    if (name !== undefined) steps.push({ kind: "file", name, content: content! });
    else if (language === "sh") steps.push({ kind: "commands", text: content! });
  }
  return steps;
}

const isServer = (text: string) => /wrangler dev|^node server|^bun run|^deno serve/m.test(text);

for (const name of ["workers", "deno-deploy", "node", "bun"]) {
  Deno.test(`docs/start/${name}.md, followed literally, runs what it says`, async () => {
    await using registry = await startRegistry(await built());
    const home = await Deno.makeTempDir({ prefix: "start-" });
    await Deno.writeTextFile(`${home}/.npmrc`, registry.npmrc);
    await Deno.mkdir(`${home}/bin`);
    await Deno.symlink(Deno.execPath(), `${home}/bin/deno`);
    await Deno.symlink(bunPath(), `${home}/bin/bun`);
    const page = await Deno.readTextFile(new URL(`${name}.md`, pages));
    let folder = home, server: Deno.ChildProcess | undefined, output = "";
    const since = performance.now();
    try {
      for (const step of stepsOf(page)) {
        if (step.kind === "file") {
          await Deno.writeTextFile(`${folder}/${step.name}`, step.content);
        } else if (isServer(step.text)) {
          server = spawn(home, folder, step.text);
          await listening(step.text, page);
        } else {
          output = await shell(
            home,
            folder,
            step.text.replace("wrangler deploy", "wrangler deploy --dry-run"),
          );
          folder = /^cd|&& cd (\S+)/m.test(step.text) ? `${home}/${/cd (\S+)/.exec(step.text)![1]}` : folder;
          // Deno, npm and Bun look for an .npmrc beside the project first.
          if (folder !== home) await Deno.copyFile(`${home}/.npmrc`, `${folder}/.npmrc`);
          if (step.text.startsWith("curl")) checkAnswers(output);
        }
      }
      const [, kilobytes = "?"] = /^(\d+)/.exec(await run("du", ["-sk", folder], home)) ?? [];
      const seconds = (performance.now() - since) / 1000;
      console.log(`${name}: ${seconds.toFixed(0)} s, ${Number(kilobytes) / 1000} MB installed`);
      assert(seconds < 300, "the page promises less than five minutes");
    } finally {
      if (server) await new Deno.Command("kill", { args: ["-TERM", "--", `-${server.pid}`] }).output();
      await server?.status;
      await Deno.remove(home, { recursive: true });
    }
  });
}

let packed: NpmPackage | undefined;
async function built(): Promise<NpmPackage> {
  return packed ??= await buildNpm(await Deno.makeTempDir({ prefix: "build-npm-" }));
}

/** What every page says of its answers. */
function checkAnswers(output: string): void {
  const charges = [...output.matchAll(/\{"charge":(\d+)\}/g)].map(([, charge]) => charge);
  assertEquals(charges, ["1", "1"], output);
  assertEquals(output.match(/^idempotency-replayed: true/gim)?.length, 1, output);
  assert(output.trimEnd().endsWith("200 200 200 429"), output);
}

function environment(home: string): Record<string, string> {
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
  };
}

async function shell(home: string, cwd: string, text: string): Promise<string> {
  const followed = text.replace(/^deno deploy$/m, "");
  // The first block makes the folder; what it installs must find the registry there.
  const script = followed.replace(/(&& cd \S+)/, `$1 && cp "$HOME/.npmrc" .`);
  const { success, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-ec", script],
    cwd,
    stdin: "null",
    env: environment(home),
  }).output();
  const decoder = new TextDecoder();
  const output = decoder.decode(stdout);
  if (!success) throw new Error(`failed:\n${text}\n${output}${decoder.decode(stderr)}`);
  return output;
}

function spawn(home: string, cwd: string, text: string): Deno.ChildProcess {
  // In a session of its own, so that all that it starts ends with it.
  return new Deno.Command("setsid", {
    args: ["sh", "-c", text],
    cwd,
    stdin: "null",
    stdout: "null",
    stderr: "null",
    env: environment(home),
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
