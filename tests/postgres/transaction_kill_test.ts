/**
 * An idempotency record, an outbox entry and a row of the application in one transaction, while the process
 * is killed (-9) at every step between them: nothing is lost and nothing happens twice. TRANSACTION_KILLS
 * sets the number of kills (1,000 in the long run).
 */
import { createIdempotency, memoryMailer, outbox } from "@holdfast/edge";
import { postgresStore } from "@holdfast/edge/postgres";
import pg from "pg";
import { assert, assertEquals } from "../support/assert.ts";
import { startPostgres } from "../support/postgres_server.ts";
import { report } from "../support/report.ts";
import { STEPS } from "./_orders.ts";

const KILLS = Number(Deno.env.get("TRANSACTION_KILLS") ?? 18);
const LANES = 3;

Deno.test(`killed ${KILLS} times between record, outbox entry and row: 0 lost, 0 doubled`, async () => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 2 });
  try {
    const store = postgresStore((text, values) => pool.query(text, values), { prefix: "orders" });
    await store.migrate();
    await pool.query("create table orders (number bigint not null)"); // no unique key: a double shows
    const script = new URL("_orders.ts", import.meta.url).pathname;
    const seen: number[] = [];
    let [kills, lives] = [0, 0];
    /**
     * One life: ends by itself, or at a step of its last order. Answers the first number that is not known to
     * be done.
     */
    const life = async (first: number, dieAfter: number, step: string): Promise<number> => {
      const { stdout, stderr, signal, success } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", script, server.url, String(first), String(dieAfter), step],
      }).output();
      assert(success || signal === "SIGKILL", new TextDecoder().decode(stderr));
      if (signal === "SIGKILL") kills++;
      const done = new TextDecoder().decode(stdout).split("\n").filter(Boolean).map(Number);
      seen.push(...done);
      return first + done.length;
    };
    const lane = async (index: number) => {
      let next = (index + 1) * 1_000_000;
      while (kills < KILLS) { // a life whose last order was done already meets no step inside it
        const step = STEPS[lives++ % STEPS.length]!;
        next = await life(next, Math.floor(Math.random() * 3), step);
      }
      return await life(next, 0, "never"); // what the last kill left open
    };
    const began = performance.now();
    const ends = await Promise.all(Array.from({ length: LANES }, (_, i) => lane(i)));
    const expected = ends.flatMap((end, i) => {
      const first = (i + 1) * 1_000_000;
      return Array.from({ length: end - first }, (_, n) => first + n);
    });
    const { rows } = await pool.query("select number from orders order by number");
    const numbers = rows.map(({ number }: { number: string }) => Number(number));
    const subjects: string[] = [];
    const box = outbox(memoryMailer(), store, { buckets: 64 });
    for await (const { id } of box.list()) subjects.push((await box.read(id))!.subject);
    const records = await Promise.all(
      expected.map((number) => createIdempotency(store).get(`order ${number}`)),
    );
    report(
      `${kills} kills, ${expected.length} orders in ${((performance.now() - began) / 1000).toFixed(0)} s: ` +
        `${numbers.length} rows, ${subjects.length} messages, ${records.filter(Boolean).length} records\n`,
    );
    assert(kills >= KILLS);
    assertEquals(seen.sort((a, b) => a - b), expected, "every order was acknowledged in the end");
    assertEquals(numbers, expected, "each order has one row");
    assertEquals(subjects.sort(), expected.map((number) => `Order ${number}`), "each order has one message");
    assert(records.every(Boolean), "each order has its record");
  } finally {
    await pool.end();
  }
});
