/** Charges an order once, and confirms it: `node pay.js order-17 4200`. */
// deno-lint-ignore-file no-console
import { createIdempotency } from "@holdfast/edge";
import { memoryMailer, outbox } from "@holdfast/edge/mail";
import { close, migrate, transaction } from "./database.js";

const [id, cents] = process.argv.slice(2);
await migrate();

let charged = false;
await transaction(async (query, store) => {
  await createIdempotency(store, { name: "payments" }).run(id, async () => {
    charged = true;
    await query("insert into orders (id, cents) values ($1, $2)", [id, Number(cents)]);
    // Queued inside the transaction; sent by the worker, after it has committed.
    await outbox(memoryMailer(), store).send({
      from: "shop@example.com",
      to: "ada@example.com",
      subject: `Your order ${id}`,
      text: `We have charged ${cents} cents.`,
    }, { idempotencyKey: id });
    return { cents: Number(cents) };
  }, { fingerprint: cents });
});
console.log(`${id}: ${charged ? `charged ${cents}` : "was charged before"}`);
await close();
