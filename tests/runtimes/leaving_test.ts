/**
 * Clients that close their sockets under Deno, Node and Bun; inside workerd:
 * tests/workerd/idempotency_test.ts.
 */
import { assertEquals } from "../support/assert.ts";
import { runIn } from "../support/runtimes.ts";
import { workerdTest } from "../support/workerd.ts";
import type { LeavingInput, Left } from "./leaving_scenario.ts";

const input: LeavingInput = { nodeServer: import.meta.resolve("@hono/node-server"), clients: 15 };

for (const runtime of ["deno", "node", "bun"] as const) {
  workerdTest(
    `idempotency() under ${runtime}: a client that leaves gets one run and the first answer`,
    async () => {
      const { left, read } = await runIn<{ left: Record<string, Left>; read: unknown }>(
        runtime,
        "tests/runtimes/leaving_scenario.ts",
        input,
      );
      const { clients } = input;
      for (const [moment, seen] of Object.entries(left)) {
        assertEquals([moment, seen], [moment, {
          clients,
          oneRun: clients,
          overlapped: 0,
          rightAnswers: clients,
        }]);
      }
      assertEquals(Object.keys(left).length, 7);
      assertEquals(read, {
        json: 1,
        text: "text",
        arrayBuffer: 2,
        large: 300_000,
        formData: "b",
        parseBody: "b",
        raw: "raw",
        clone: ["both", "both"],
        // Bun knows the address by the request object itself: idempotency() must not replace it.
        address: runtime === "bun" ? "127.0.0.1" : "unknown",
      });
    },
  );
}
