/** Sends the report of the day, once over all processes that share the database. */
// deno-lint-ignore-file no-console
import { createIdempotency } from "@holdfast/edge";
import { denoKvStore } from "@holdfast/edge/deno-kv";

async function report(day: string): Promise<void> {
  using kv = await Deno.openKv("./reports.sqlite3");
  const idempotency = createIdempotency(denoKvStore(kv), { name: "reports", lease: "10s", retention: "7d" });
  let mine = false;
  const { recipients } = await idempotency.run(day, async () => {
    mine = true;
    return { recipients: await send(day) };
  }, { wait: "5m" }); // while another process is at it
  console.log(`${day} to ${recipients} people, ${mine ? "sent by this process" : "sent by another process"}`);
}

/** The work itself: a query, a file, a message. */
async function send(_day: string): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 500));
  return 3;
}

await report(new Date().toISOString().slice(0, 10));
