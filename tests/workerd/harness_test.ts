/** The harness itself: what it starts is workerd, with bindings that work and last. */
import { assertEquals, assertRejects } from "../support/assert.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

workerdTest("workerd: a Worker finds its bindings, and what is kept outlives a restart", async () => {
  const persist = await Deno.makeTempDir();
  await using worker = await startWorkerd({
    script: `
      import { DurableObject } from "cloudflare:workers";
      import { memoryStore } from "@holdfast/edge";
      export class Counter extends DurableObject {
        count() {
          this.inMemory = (this.inMemory ?? 0) + 1;
          this.ctx.storage.kv.put("n", (this.ctx.storage.kv.get("n") ?? 0) + 1);
          return [this.inMemory, this.ctx.storage.kv.get("n")];
        }
      }
      export default {
        async fetch(request, env) {
          await env.CACHE.put("key", ((await env.CACHE.get("key")) ?? "") + env.LETTER);
          const counted = await env.COUNTER.getByName("one").count();
          const runtime = navigator.userAgent;
          return Response.json({ counted, kv: await env.CACHE.get("key"), runtime, engine: memoryStore().engine });
        },
      };`,
    kv: ["CACHE"],
    durableObjects: { COUNTER: "Counter" },
    vars: { LETTER: "x" },
    persist,
  });
  const ask = async () => await (await fetch(worker.url)).json();
  const always = { runtime: "Cloudflare-Workers", engine: "memory" };
  assertEquals(await ask(), { counted: [1, 1], kv: "x", ...always });
  assertEquals(await ask(), { counted: [2, 2], kv: "xx", ...always });
  await worker.restart();
  assertEquals(await ask(), { counted: [1, 3], kv: "xxx", ...always });
});

workerdTest("workerd: a Worker that imports from node: is refused", async () => {
  const script = `import fs from "node:fs"; export default { fetch: () => new Response(typeof fs) };`;
  await assertRejects(() => startWorkerd({ script }));
});
