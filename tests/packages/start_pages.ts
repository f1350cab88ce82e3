/**
 * Follows each Start page and the README of each example literally: `deno task test:start`. The package comes from a registry of
 * the test. Prints the time and what was installed. Nothing is deployed: `wrangler deploy` runs dry, `deno deploy` is left out.
 */
// deno-lint-ignore-file no-console
import { assert } from "../support/assert.ts";
import { startPostgres } from "../support/postgres_server.ts";
import { buildNpm, type NpmPackage, run } from "./build_npm.ts";
import { follow, type Followed, makeHome } from "./follow.ts";
import { startRegistry } from "./npm_registry.ts";

const root = new URL("../../", import.meta.url);

let packed: NpmPackage | undefined;

/** Runs the work in a reader's home, which is removed afterwards. */
async function inHome(name: string, work: (home: string) => Promise<Followed>): Promise<void> {
  packed ??= await buildNpm(await Deno.makeTempDir({ prefix: "build-npm-" }));
  await using registry = await startRegistry(packed);
  const home = await makeHome(registry);
  try {
    const { seconds, megabytes } = await work(home);
    console.log(`${name}: ${seconds.toFixed(0)} s, ${megabytes.toFixed(1)} MB installed`);
    assert(seconds < 300, "a Start page promises less than five minutes");
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

for (const name of ["workers", "deno-deploy", "node", "bun"]) {
  Deno.test(`docs/start/${name}.md, followed literally, does what it says`, async () => {
    const page = await Deno.readTextFile(new URL(`docs/start/${name}.md`, root));
    await inHome(name, (home) => follow(page, home, home));
  });
}

const EXAMPLES = [
  "cron-once",
  "deno-deploy",
  "durable-object-chat-sessions",
  "next-edge",
  "node-express",
  "payments-with-outbox",
  "workers-hono-d1",
  "templates/bun",
  "templates/deno-deploy",
  "templates/node",
  "templates/workers",
];

for (const name of EXAMPLES) {
  Deno.test(`examples/${name}/README.md, followed literally, does what it says`, async () => {
    const page = await Deno.readTextFile(new URL(`examples/${name}/README.md`, root));
    await using postgres = name.startsWith("payments") ? await startPostgres() : undefined;
    await inHome(name, async (home) => {
      await run("cp", ["-r", `examples/${name}`, `${home}/copy`], root);
      await Deno.copyFile(`${home}/.npmrc`, `${home}/copy/.npmrc`);
      return await follow(page, home, `${home}/copy`, { DATABASE_URL: postgres?.url ?? "" });
    });
  });
}
