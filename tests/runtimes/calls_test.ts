/** The idempotency and throttle helpers behave the same in every runtime, on memory and on Upstash. */
import { assert, assertEquals } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { inEveryRuntime, RUNTIMES } from "../support/runtimes.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { workerdTest } from "../support/workerd.ts";
import type { CallsInput } from "./calls_scenario.ts";

workerdTest(
  "idempotency() and throttle() answer the same under Deno, Node, Bun and workerd, on memory and Upstash",
  async () => {
    await using redis = await startRedis();
    await using server = await startUpstash(redis.port);
    const inputs: CallsInput[] = [{}, { upstash: { url: server.url, token: server.token } }];
    let reference: unknown[] | undefined;
    for (const input of inputs) {
      const answers = await inEveryRuntime<unknown[]>("tests/runtimes/calls_scenario.ts", input);
      reference ??= answers.deno;
      assert(reference.length > 50, "it observed something");
      for (const runtime of RUNTIMES) {
        const where = `${runtime} on ${input.upstash ? "Upstash" : "memory"}`;
        answers[runtime].forEach((seen, i) => assertEquals(seen, reference![i], where));
        assertEquals(answers[runtime].length, reference.length, where);
      }
    }
  },
);
