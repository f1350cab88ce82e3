/**
 * The templates, copied to a fresh folder: installed from the tarball, type-checked and run. `start_pages.ts` follows each README
 * with all that it installs.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { bunPath } from "../support/runtimes.ts";
import { startWorkerd } from "../support/workerd.ts";
import type { NpmPackage } from "./build_npm.ts";
import { FreshProject, freshProject } from "./fresh_project.ts";
import { type Registry, startRegistry } from "./npm_registry.ts";

const templates = new URL("../../examples/templates/", import.meta.url);
const compiler = new URL("../../node_modules/typescript/bin/tsc", import.meta.url).pathname;

/** Registers the tests; `built` answers the package, which is built once for all tests of a file. */
export function testTemplates(built: () => NpmPackage): void {
  Deno.test("each template has a README of a screen, and asks for the version that is built", async () => {
    const names = [];
    for await (const { name } of Deno.readDir(templates)) names.push(name);
    assertEquals(names.sort(), ["bun", "deno-deploy", "node", "workers"]);
    for (const name of names) {
      const readme = await Deno.readTextFile(new URL(`${name}/README.md`, templates));
      assert(readme.split("\n").length <= 24, name);
      const manifest = name === "deno-deploy" ? "deno.json" : "package.json";
      const text = await Deno.readTextFile(new URL(`${name}/${manifest}`, templates));
      assert(text.includes(`^${built().manifest.version}"`), `${name} asks for another version`);
    }
  });

  Deno.test("the template of Node: installed, compiled with its own settings, and answering", async () => {
    await using registry = await startRegistry(built());
    await using project = await templateProject("node", registry);
    await project.run("npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--prefer-offline");
    await project.write(
      "src/node.d.ts",
      "declare const process: { readonly env: Record<string, string | undefined> };",
    );
    await project.run("node", compiler, "--types", "*", "--skipLibCheck");
    await whileServing(project, ["node", "dist/index.js"], orderTwice);
  });

  Deno.test("the template of Bun: installed and answering", async () => {
    await using registry = await startRegistry(built());
    await using project = await templateProject("bun", registry);
    await project.run(bunPath(), "install", "--production");
    await whileServing(project, [bunPath(), "run", "src/index.ts"], orderTwice);
  });

  Deno.test("the template of Deno Deploy: installed, type-checked and answering", async () => {
    await using registry = await startRegistry(built());
    await using project = await templateProject("deno-deploy", registry);
    await project.run(Deno.execPath(), "install");
    await project.run(Deno.execPath(), "task", "check");
    const flags = ["serve", "--allow-net", "--port", "0", "--host", "127.0.0.1"];
    await whileServing(project, [Deno.execPath(), ...flags, "src/index.ts"], orderTwice);
  });

  Deno.test({
    name:
      "the template of Workers: type-checked, and answering in workerd with the bindings of its wrangler.jsonc",
    sanitizeOps: false, // workerd is a process of its own
    sanitizeResources: false,
    async fn() {
      await using registry = await startRegistry(built());
      await using project = await freshProject(
        registry,
        { type: "module", private: true },
        "@holdfast/edge",
        "hono",
      );
      const read = (file: string) => Deno.readTextFile(new URL(`workers/${file}`, templates));
      await project.write("src/index.ts", await read("src/index.ts"));
      // Its own `check` needs wrangler, which is large. The types that wrangler makes are those of the platform.
      const { compilerOptions } = JSON.parse(await read("tsconfig.json"));
      const lib = [...compilerOptions.lib, "dom"];
      await project.write("tsconfig.json", {
        compilerOptions: { ...compilerOptions, types: [], lib },
        include: ["src"],
      });
      await project.write(
        "src/cloudflare.d.ts",
        `declare module "cloudflare:workers" {
          export abstract class DurableObject { constructor(state: never, env: never); }
        }`,
      );
      await project.run("node", compiler);

      const config = JSON.parse(await read("wrangler.jsonc"));
      const { name, class_name } = config.durable_objects.bindings[0];
      assertEquals(config.migrations[0].new_sqlite_classes, [class_name]);
      await using worker = await startWorkerd({
        entry: new URL(`workers/${config.main}`, templates),
        compatibilityDate: config.compatibility_date,
        durableObjects: { [name]: class_name },
      });
      await orderTwice(worker.url);
    },
  });
}

/** A copy of the template in a fresh folder, as a tool that copies templates makes it. */
async function templateProject(name: string, registry: Registry): Promise<FreshProject> {
  const project = new FreshProject(await Deno.makeTempDir({ prefix: `template-${name}-` }));
  const { success } = await new Deno.Command("cp", {
    args: ["-r", `${new URL(name, templates).pathname}/.`, project.folder],
  }).output();
  assert(success);
  await project.write(".npmrc", registry.npmrc);
  return project;
}

/** Every template answers an order, and its repetition by the first answer. */
async function orderTwice(url: string): Promise<void> {
  assertEquals(await (await fetch(url)).text(), "Hello\n");
  const order = () =>
    fetch(`${url.replace(/\/$/, "")}/customers/ada/orders`, {
      method: "POST",
      headers: { "idempotency-key": '"1"' },
    });
  const [first, second] = [await order(), await order()];
  const body = await first.text();
  assertEquals([first.status, second.status], [201, 201]);
  assertEquals(await second.text(), body);
  assert(/^\{"order":\d+\}$/.test(body), body);
  assertEquals(second.headers.get("idempotency-replayed"), "true");
}

/** Starts a server on a free port, reads its address from what it prints, and ends it with all its children afterwards. */
async function whileServing<T>(
  project: FreshProject,
  [command, ...args]: string[],
  ask: (url: string) => Promise<T>,
): Promise<T> {
  // In a session of its own, so that the servers which npx starts end with it.
  const child = new Deno.Command("setsid", {
    args: ["sh", "-c", 'exec "$@" 2>&1', "sh", command!, ...args],
    cwd: project.folder,
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    env: { NO_COLOR: "1", CI: "1", PORT: "0", WRANGLER_SEND_METRICS: "false" },
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let text = "", url: string | undefined;
    while (url === undefined) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`${args.join(" ")} ended before it listened: ${text}`);
      text += value;
      url = /(http:\/\/(?:localhost|127\.0\.0\.1|0\.0\.0\.0):[1-9]\d*)/.exec(text)?.[1]
        ?.replace(/localhost|0\.0\.0\.0/, "127.0.0.1");
    }
    return await ask(url);
  } finally {
    await new Deno.Command("kill", { args: ["-TERM", "--", `-${child.pid}`] }).output();
    await child.status;
    await reader.cancel();
  }
}
