import { assertEquals } from "../support/assert.ts";
import { inEveryRuntime, RUNTIMES } from "../support/runtimes.ts";
import { workerdTest } from "../support/workerd.ts";

workerdTest(
  'lock({ until: "body" }): a reader that cancels gives its own reason to the source, in every runtime',
  async () => {
    const answers = await inEveryRuntime("tests/runtimes/cancelled_scenario.ts", {});
    for (const runtime of RUNTIMES) {
      assertEquals([runtime, answers[runtime]], [runtime, { first: "text", heard: ["enough"] }]);
    }
  },
);
