/** session(), its guards, sealed sessions and every session law behave the same in every runtime. */
import { assert, assertEquals } from "../support/assert.ts";
import { inEveryRuntime, RUNTIMES } from "../support/runtimes.ts";
import { workerdTest } from "../support/workerd.ts";

workerdTest("session() answers the same under Deno, Node, Bun and workerd, and keeps every law", async () => {
  const answers = await inEveryRuntime<unknown[]>("tests/hono/session_scenario.ts", {});
  assert(answers.deno.length > 40, "it observed something");
  const forks = answers.deno.find((seen) =>
    Array.isArray(seen) && seen.length === 2 && seen.every(Number.isInteger)
  );
  assertEquals(forks, [1, 0], "of 20 parallel rotations one lives, and none beside a logout");
  for (const runtime of RUNTIMES) {
    answers[runtime].forEach((seen, i) => assertEquals(seen, answers.deno[i], runtime));
    assertEquals(answers[runtime].length, answers.deno.length, runtime);
  }
  assert(/^laws: \d+$/.test(String(answers.deno.at(-1))), `a law is broken: ${answers.deno.at(-1)}`);
});
