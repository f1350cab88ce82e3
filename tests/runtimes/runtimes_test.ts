/** The runner itself: it runs where it says, and brings the answer back. */
import { assertEquals } from "../support/assert.ts";
import { inEveryRuntime, RUNTIMES } from "../support/runtimes.ts";
import { workerdTest } from "../support/workerd.ts";

workerdTest("a scenario runs in every runtime, and its answer comes back", async () => {
  const answers = await inEveryRuntime("tests/runtimes/_probe_scenario.ts", { word: "hello\n\u00e9" });
  for (const runtime of RUNTIMES) assertEquals(answers[runtime], { runtime, answer: "hello\n\u00e9" });
});
