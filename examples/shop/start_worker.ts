/** Runs the shop as a Worker on this machine, in workerd: `deno task start:worker`. `PORT` is honoured; no account is needed. */
import { startWorkerd, wranglerOptions } from "../../tests/support/workerd.ts";

const persist = new URL("../../.cache/worker", import.meta.url).pathname;
const worker = await startWorkerd({
  ...await wranglerOptions(),
  vars: { PLAIN_HTTP: "1" },
  persist,
  port: Number(Deno.env.get("PORT") || 8787),
});
// deno-lint-ignore no-console
console.log(`The shop is open at ${worker.url}, as a Worker; what it keeps is in .cache/worker`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    await worker[Symbol.asyncDispose]();
    Deno.exit(0);
  });
}
