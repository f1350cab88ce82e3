/**
 * The sizes of the engines over other databases: their code, and what they add to a bundle that has the
 * contracts.
 */
import { sizes } from "../../bench/bundles.ts";
import { assert } from "../support/assert.ts";
import { report } from "../support/report.ts";

const ENGINES = ["postgres", "sqlite", "mongodb", "redis"];
/** Redis with a script for every transition, to run it next to the data, and without. */
const REDIS = { most: 22_560, withoutScripts: 8_050 };
/** An app that has the contracts, and a store over an engine of its own. */
const APP =
  `export { createIdempotency, createLocks, createSessions, createThrottle } from "@holdfast/edge"; export { storeFromEngine } from "@holdfast/edge/engine";`;

/** Three engines share one folder: an app takes one of them. */
const DRIVERS = /^(?:d1|libsql|node_sqlite)_store/;

/** Lines that are neither blank nor a comment, of what the folder's engines share and the longest of them. */
async function linesOfCode(folder: URL): Promise<number> {
  let [shared, longest] = [0, 0];
  for await (const { name } of Deno.readDir(folder)) {
    const source = await Deno.readTextFile(new URL(name, folder));
    const lines = source.split("\n").filter((line) => !/^\s*($|\/\/|\/\*|\*)/.test(line)).length;
    if (DRIVERS.test(name)) longest = Math.max(longest, lines);
    else shared += lines;
  }
  return shared + longest;
}

Deno.test("an engine over another database has at most 300 lines of code", async () => {
  for (const engine of ENGINES) {
    const lines = await linesOfCode(new URL(`../../adapters/${engine}/`, import.meta.url));
    report(`${engine}: ${lines} lines of code\n`);
    assert(lines <= 300, `${engine}: ${lines} lines`);
  }
});

Deno.test({
  name:
    "an engine over another database adds at most 5.4 kB to a bundle with the contracts and a store, without its client",
  sanitizeOps: false, // esbuild is a process of its own
  sanitizeResources: false,
  async fn() {
    const app = (await sizes(APP)).gzipped;
    for (const engine of ENGINES) {
      const added = (await sizes(`${APP} export * from "@holdfast/edge/${engine}";`)).gzipped - app;
      report(`${engine}: ${(added / 1000).toFixed(1)} kB more than ${(app / 1000).toFixed(1)} kB\n`);
      assert(added <= (engine === "redis" ? REDIS.most : 5_400), `${engine}: ${added} bytes`);
    }
    const lean = `${APP} export { createRedisStore } from "@holdfast/edge/redis";`;
    const added = (await sizes(lean)).gzipped - app;
    report(`redis without scripts: ${(added / 1000).toFixed(1)} kB more\n`);
    assert(added <= REDIS.withoutScripts, `redis without scripts: ${added} bytes`);
  },
});
