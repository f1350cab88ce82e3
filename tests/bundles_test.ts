/**
 * The published code bundles for any runtime: nothing from `node:`, no package, Cloudflare's modules where
 * they belong.
 */
import { bundles, sizes } from "../bench/bundles.ts";
import { bundle } from "./support/bundle.ts";
import { report } from "./support/report.ts";
import { assert, assertEquals, assertRejects } from "./support/assert.ts";

const options = { sanitizeOps: false, sanitizeResources: false }; // esbuild is a process of its own

const { exports } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
const entries: Record<string, string> = {
  ...bundles,
  ...Object.fromEntries(
    Object.keys(exports).map((path) => [
      `all of ${path}`,
      `export * from "@holdfast/edge${path.slice(1)}";`,
    ]),
  ),
};

for (const [name, script] of Object.entries(entries)) {
  Deno.test({
    name: `bundle: ${name} imports nothing of node's and no package`,
    ...options,
    async fn() {
      const { metafile } = await bundle({ script });
      const [output] = Object.values(metafile.outputs);
      const cloudflare = name.includes("./durable-objects/object") ? ["cloudflare:workers"] : [];
      assertEquals(output!.imports.map(({ path }) => path), cloudflare);
      const foreign = Object.keys(metafile.inputs).filter((path) =>
        !/^(src|adapters)\/|^mod\.ts$|stdin/.test(path)
      );
      assertEquals(foreign, []);
    },
  });
}

Deno.test({
  name: "bundle: an import from node: is refused",
  ...options,
  async fn() {
    const error = await assertRejects(() => bundle({ script: `export { readFile } from "node:fs";` }));
    assert(error.message.includes("node:fs"));
  },
});

Deno.test({
  name: "bundle: an app with locks alone carries no sessions",
  ...options,
  async fn() {
    const alone = (await bundle({ script: bundles["locks alone"]! })).code;
    assert(alone.includes("lock.acquire") && !alone.includes("session.") && !alone.includes("throttle."));
  },
});

Deno.test({
  name: "bundle: ./upstash does not grow, with the scripts of one contract and with all",
  ...options,
  async fn() {
    // A store, its faults and its transport are 15 kB of each: `bench/bundles.md` takes them apart. 70 bytes refuse a
    // URL and a fetch that would fail at each call, as an outage.
    const bounds = {
      "./upstash with throttles' scripts alone": 19_030,
      "./upstash with locks' scripts alone": 19_140,
      "./upstash": 29_960,
    };
    for (const [name, most] of Object.entries(bounds)) {
      const { gzipped } = await sizes(bundles[name]!);
      report(`${name}: ${gzipped} bytes, minified and gzipped\n`);
      assert(gzipped <= most, `${name}: ${gzipped} bytes`);
    }
  },
});

Deno.test({
  name: "bundle: ./cache adds at most 6 kB, minified and gzipped, to an app with a store and locks",
  ...options,
  async fn() {
    const app = `${bundles["./durable-objects (client)"]!} ${bundles["locks alone"]!}`;
    const [without, beside] = [await sizes(app), await sizes(`${app} ${bundles["./cache"]!}`)];
    const added = beside.gzipped - without.gzipped;
    report(
      `./cache: ${
        (await sizes(bundles["./cache"]!)).gzipped
      } bytes alone, ${added} beside a store and locks\n`,
    );
    assert(added <= 6_000, `${added} bytes`);
  },
});

Deno.test({
  name: "bundle: a throttle alone, for a plain Worker and for Hono, carries nothing of the other helpers",
  ...options,
  async fn() {
    for (const name of ["withThrottle alone", "throttle of ./hono alone"]) {
      const script = bundles[name]!;
      const { code } = await bundle({ script });
      for (const other of ["session.", "idempotency.begin", "lock.acquire", "cache.", "ed25519"]) {
        assert(!code.includes(`"${other}`), `${name}: ${other}`);
      }
      const { gzipped } = await sizes(script);
      report(`${name}: ${gzipped} bytes, minified and gzipped\n`);
      // The throttle itself is 6.6 kB of it: transitions, policies, checks of arguments. 220 bytes spare Node the
      // making of a real response and a second copy of its headers under @hono/node-server; 70 tell a client that
      // left from an address that no setting tells.
      assert(gzipped <= 10_250, `${name}: ${gzipped} bytes`);
    }
  },
});
