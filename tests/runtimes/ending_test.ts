/** A program that ends without releasing what it holds is not kept alive by the timers of its leases. */
import { assertEquals } from "../support/assert.ts";
import { runIn } from "../support/runtimes.ts";
import { workerdTest } from "../support/workerd.ts";
import type { Ended } from "./ending_scenario.ts";

// A Worker does not end by itself, so it is not among them.
for (const runtime of ["deno", "node", "bun"] as const) {
  workerdTest(`${runtime}: a program that holds a renewed lock and a claim ends by itself`, async () => {
    const ended = await runIn<Ended>(runtime, "tests/runtimes/ending_scenario.ts", {});
    assertEquals(ended, { held: true, aborted: false, claimed: "new" });
  });
}
