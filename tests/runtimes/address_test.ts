/** The client's address is the connection's in every runtime that has sockets of its own. */
import { assertEquals } from "../support/assert.ts";
import { runIn } from "../support/runtimes.ts";
import { workerdTest } from "../support/workerd.ts";

workerdTest(
  "throttles count by the connection under Deno, Node and Bun, inside idempotency too; a client that left is no fault",
  async () => {
    for (const runtime of ["deno", "node", "bun"] as const) {
      const found = await runIn(runtime, "tests/runtimes/address_scenario.ts", {});
      const counted = { statuses: [200, 429], keys: ["ip:127.0.0.1"] };
      assertEquals(found, { hono: counted, plain: counted, left: { faults: [], errors: [] } }, runtime);
    }
  },
);
