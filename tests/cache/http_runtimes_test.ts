/** The HTTP cache in every runtime. */
import { assertEquals } from "../support/assert.ts";
import { runIn, RUNTIMES } from "../support/runtimes.ts";

for (const runtime of RUNTIMES) {
  Deno.test({
    name: `withCache() on ${runtime}`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      assertEquals(await runIn(runtime, "tests/cache/http_scenario.ts", {}), {
        together: ["answer 1, end"],
        conditional: 304,
        reloaded: "answer 1, end", // the handler said that nothing has changed
        part: "answer",
        after: "answer 4, end",
        asked: 4,
      });
    },
  });
}
