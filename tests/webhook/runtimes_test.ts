/** The presets verify under the Web Crypto of every runtime: HMAC, Ed25519 and ECDSA. */
import { assertEquals } from "../support/assert.ts";
import { inEveryRuntime, RUNTIMES } from "../support/runtimes.ts";
import { workerdTest } from "../support/workerd.ts";
import type { Signed } from "./_presets_scenario.ts";
import { senders } from "./_senders.ts";

workerdTest(
  "webhooks: every preset accepts and refuses the same under Deno, Node, Bun and workerd",
  async () => {
    const seconds = 1_760_000_000;
    const deliveries: Signed[] = [];
    for (const { name, options, sign } of senders) {
      const { headers, body } = await sign("evt_1", { kind: "paid", of: "evt_1" }, seconds);
      if (options) deliveries.push({ preset: name.split(/[ ,]/)[0]!, options, headers, body });
    }
    const answers = await inEveryRuntime<string[]>("tests/webhook/_presets_scenario.ts", {
      deliveries,
      now: seconds * 1000,
    });
    const expected = deliveries.map(({ preset }) => `${preset}: evt_1, refused`);
    assertEquals(expected.length, 9);
    for (const runtime of RUNTIMES) assertEquals(answers[runtime], expected, runtime);
  },
);
