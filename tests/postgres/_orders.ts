/**
 * Places orders, each in one transaction, and ends itself with SIGKILL at a step of one of them:
 * `deno run … URL FIRST DIE_AFTER STEP`. Prints the number of each order whose commit it has seen.
 */
import { createIdempotency } from "@holdfast/edge";
import { memoryMailer, outbox } from "@holdfast/edge/mail";
import { postgresStore } from "@holdfast/edge/postgres";
import pg from "pg";

/** The points at which the process may end. */
export const STEPS = ["begun", "claimed", "row", "mail", "completed", "committed"] as const;

if (import.meta.main) {
  const [url, first, dieAfter, step] = Deno.args;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const store = postgresStore((text, values) => client.query(text, values), { prefix: "orders" });
  const inside = store.within((text, values) => client.query(text, values));
  for (let number = Number(first);; number++) {
    const last = number === Number(first) + Number(dieAfter);
    const reach = (name: typeof STEPS[number]) => {
      if (last && step === name) Deno.kill(Deno.pid, "SIGKILL");
    };
    await client.query("begin");
    reach("begun");
    await createIdempotency(inside).run(`order ${number}`, async () => {
      reach("claimed");
      await client.query("insert into orders (number) values ($1)", [number]);
      reach("row");
      // Without a key of its own: only the transaction keeps it single.
      await outbox(memoryMailer(), inside, { buckets: 64 }).send({
        from: "shop@example.com",
        to: "ada@example.com",
        subject: `Order ${number}`,
        text: "Thank you",
      });
      reach("mail");
      return { number };
    });
    reach("completed");
    await client.query("commit");
    reach("committed");
    await Deno.stdout.write(new TextEncoder().encode(`${number}\n`));
    if (last) break;
  }
  await client.end();
}
