/**
 * The npm package in projects that take long to install: `deno task test:packages`. Each is made from nothing, gets the package
 * from a registry, and does what its users do with it. `deno task test` has the short one (`package_test.ts`).
 */
import { assert, assertEquals, assertStringIncludes } from "../support/assert.ts";
import { bunPath } from "../support/runtimes.ts";
import { buildNpm, type NpmPackage, run } from "./build_npm.ts";
import { FreshProject, freshProject, strictConfig } from "./fresh_project.ts";
import { startRegistry } from "./npm_registry.ts";

/** The newest wrangler that runs on Node 20, which is the oldest Node that we promise. */
const WRANGLER = "wrangler@4.86.0";

const WRANGLER_TOML = `name = "fresh"
main = "worker.ts"
compatibility_date = "2026-04-01"
[[durable_objects.bindings]]
name = "HOLDFAST"
class_name = "HoldfastObject"
[[migrations]]
tag = "v1"
new_sqlite_classes = ["HoldfastObject"]
[[kv_namespaces]]
binding = "CACHE"
id = "00000000000000000000000000000000"
`;

const APP_PRINTS = "[true,4200,true,12,true,1]";
let built: NpmPackage;

Deno.test.beforeAll(async () => {
  built = await buildNpm(await Deno.makeTempDir({ prefix: "build-npm-" }));
});
Deno.test.afterAll(() => Deno.remove(built.folder.replace(/\/package$/, ""), { recursive: true }));

Deno.test("publint has nothing to say", async () => {
  assertStringIncludes(await run("npx", ["-y", "publint@0.3", "--strict"], built.folder), "All good!");
});

Deno.test("are the types wrong? They are not, for ES modules", async () => {
  const args = ["-y", "@arethetypeswrong/cli@0.18", built.tarball, "--profile", "esm-only"];
  const text = await run("npx", args, built.folder);
  assert(!/[❌🚫👺❗]/u.test(text), text);
});

Deno.test("Bun installs, runs and type-checks", async () => {
  await using registry = await startRegistry(built);
  await using project = await freshProject(registry, { type: "module", private: true });
  await project.copy("app.ts");
  await project.run(bunPath(), "add", "@holdfast/edge");
  assertEquals((await project.run(bunPath(), "run", "app.ts")).trim(), APP_PRINTS);
});

Deno.test("Deno installs, checks and runs, with the package under another name in an import map", async () => {
  await using registry = await startRegistry(built);
  await using project = new FreshProject(await Deno.makeTempDir({ prefix: "fresh-" }));
  await project.write(".npmrc", registry.npmrc);
  await project.write("deno.json", { nodeModulesDir: "auto" });
  await project.run(Deno.execPath(), "add", "npm:@holdfast/edge");
  await project.copy("app.ts");
  await project.run(Deno.execPath(), "check", "app.ts");
  assertEquals((await project.run(Deno.execPath(), "run", "app.ts")).trim(), APP_PRINTS);
  const range = `npm:@holdfast/edge@^${built.manifest.version}`;
  const imports = { "holdfast": range, "holdfast/": `${range.replace("npm:", "npm:/")}/` };
  await project.write("deno.json", { nodeModulesDir: "auto", imports });
  const app = await Deno.readTextFile(`${project.folder}/app.ts`);
  await project.write("app.ts", app.replaceAll('"@holdfast/edge', '"holdfast'));
  await project.run(Deno.execPath(), "check", "app.ts");
  assertEquals((await project.run(Deno.execPath(), "run", "app.ts")).trim(), APP_PRINTS);
});

Deno.test("wrangler makes the types, deploys dry and serves: Durable Objects and Workers KV", async () => {
  await using registry = await startRegistry(built);
  const packages = ["@holdfast/edge", WRANGLER, "typescript@5.9"];
  await using project = await freshProject(registry, { type: "module", private: true }, ...packages);
  await project.copy("worker.ts");
  await project.write("wrangler.toml", WRANGLER_TOML);
  await project.run("npx", "wrangler", "types");
  const options = { module: "esnext", moduleResolution: "bundler", lib: ["es2022", "esnext.disposable"] };
  await project.write("tsconfig.json", strictConfig({ ...options, types: ["./worker-configuration.d.ts"] }));
  await project.run("npx", "tsc");
  const deployed = await project.run("npx", "wrangler", "deploy", "--dry-run", "--outdir", "dist");
  assertStringIncludes(deployed, "HoldfastObject");
  assertEquals(await answerOfDev(project), [true, "released", 3]);
});

Deno.test("Cloudflare's plugin for vitest runs a user's test inside workerd", async () => {
  await using registry = await startRegistry(built);
  // The plugin needs Node 22, and this machine may have another one.
  const packages = ["@cloudflare/vitest-plugin@1", "vitest@4", `node-${Deno.build.os}-x64@22`];
  const install = ["@holdfast/edge", ...packages];
  await using project = await freshProject(registry, { type: "module", private: true }, ...install);
  for (const file of ["worker.ts", "worker.test.ts"]) await project.copy(file);
  await project.write("wrangler.toml", WRANGLER_TOML);
  await project.write(
    "vitest.config.ts",
    `import { cloudflareTest } from "@cloudflare/vitest-plugin";
export default { plugins: [cloudflareTest({ wrangler: { configPath: "./wrangler.toml" } })] };`,
  );
  const node = `${project.folder}/node_modules/node-${Deno.build.os}-x64/bin/node`;
  const text = await project.run(node, "node_modules/vitest/vitest.mjs", "run", "worker.test.ts");
  assertStringIncludes(text, "1 passed");
});

Deno.test("Next builds a route for its edge runtime, and serves it", async () => {
  await using registry = await startRegistry(built);
  const packages = [
    "@holdfast/edge",
    "next@16",
    "react@19",
    "react-dom@19",
    "typescript@5.9",
    "@types/react@19",
  ];
  await using project = await freshProject(registry, { private: true }, ...packages, "@types/node@20");
  await project.copy("next_route.ts", "app/api/route.ts");
  await project.write(
    "app/layout.tsx",
    'export default ({ children }: { children: React.ReactNode }) => <html lang="en"><body>{children}</body></html>;',
  );
  await project.write("app/page.tsx", "export default () => <p>Hello</p>;");
  await project.run("npx", "next", "build");
  const statuses = await whileServing(project, ["npx", "next", "start", "--port", "0"], async (url) => {
    const found: number[] = [];
    for (let i = 0; i < 3; i++) {
      const response = await fetch(`${url}/api`);
      await response.body?.cancel();
      found.push(response.status);
    }
    return found;
  });
  assertEquals(statuses, [200, 200, 429]);
});

function answerOfDev(project: FreshProject): Promise<unknown> {
  return whileServing(project, ["npx", "wrangler", "dev", "--port", "0"], async (url) => {
    return await (await fetch(url)).json();
  });
}

/** Starts a server, reads its address from what it prints, and ends it with all its children afterwards. */
async function whileServing<T>(
  project: FreshProject,
  [command, ...args]: string[],
  ask: (url: string) => Promise<T>,
): Promise<T> {
  // In a session of its own, so that the servers which npx starts end with it.
  const child = new Deno.Command("setsid", {
    args: [command!, ...args],
    cwd: project.folder,
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    env: { NO_COLOR: "1", CI: "1", WRANGLER_SEND_METRICS: "false" },
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let text = "", url: string | undefined;
    while (url === undefined) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`${args.join(" ")} ended before it listened: ${text}`);
      text += value;
      url = /(?:Ready on|Local:)\s+(http:\/\/\S+)/.exec(text)?.[1]?.replace("localhost", "127.0.0.1");
    }
    return await ask(url);
  } finally {
    await new Deno.Command("kill", { args: ["-TERM", "--", `-${child.pid}`] }).output();
    await child.status;
    await reader.cancel();
  }
}
