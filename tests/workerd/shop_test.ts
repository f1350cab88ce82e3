/** The shop as the Worker that wrangler.toml deploys, in workerd. */
import { shopTests, visit } from "../shop/_shop_tests.ts";
import { startWorkerd, workerdTest, wranglerOptions } from "../support/workerd.ts";

workerdTest("shop on a Worker", async (t) => {
  await using worker = await startWorkerd(await wranglerOptions());
  for (const [name, run] of shopTests) {
    await t.step(name, () => visit(worker.url, run));
    await worker.restart(); // nothing is kept: every test finds the shop empty
  }
});
