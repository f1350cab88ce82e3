/**
 * Runs the shop as a Worker on this machine, in workerd: `deno task start:worker`. `PORT` is honoured, `--data=folder` says where
 * state is kept; no account is needed.
 */
import { startWorkerd, wranglerOptions } from "../../tests/support/workerd.ts";

const data = Deno.args.find((arg) => arg.startsWith("--data="))?.slice("--data=".length);
const persist = data ?? new URL("../../.cache/worker", import.meta.url).pathname;
// miniflare ends workerd with this process, whatever signal ends it.
const worker = await startWorkerd({
  ...await wranglerOptions(),
  vars: { PLAIN_HTTP: "1" },
  persist,
  port: Number(Deno.env.get("PORT") || 8787),
});
// deno-lint-ignore no-console
console.log(`The shop is open at ${worker.url}, as a Worker; its state is kept in ${persist}`);
