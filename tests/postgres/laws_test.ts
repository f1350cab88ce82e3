/** Every law on Postgres, through the clients that people use. */
import { postgresStore } from "@holdfast/edge/postgres";
import pg from "pg";
import postgres from "postgres";
import { contracts } from "../support/contracts.ts";
import { lawKept } from "../support/law_table.ts";
import { startPostgres } from "../support/postgres_server.ts";
import { inVirtualTime } from "../support/virtual_time.ts";

Deno.test("Postgres keeps every law", async (t) => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 8 });
  const sql = postgres(server.url, { max: 8, onnotice: () => {} });
  try {
    await postgresStore((text, values) => pool.query(text, values)).migrate();
    const clients = {
      "Postgres, pg": (text: string, values: unknown[]) => pool.query(text, values),
      // deno-lint-ignore no-explicit-any
      "Postgres, postgres.js": (text: string, values: any[]) => sql.unsafe(text, values),
    };
    let count = 0;
    for (const [engine, query] of Object.entries(clients)) {
      for (const [contract, list] of Object.entries(contracts)) {
        for (const law of list) {
          await t.step(`${engine}: ${contract}: ${law.name}`, async () => {
            const prefix = `law ${count++}`;
            await law.run(inVirtualTime((clock) => {
              return postgresStore(query, { prefix, virtualTime: () => clock.now() });
            }));
            lawKept(engine, contract);
          });
        }
      }
    }
  } finally {
    await sql.end();
    await pool.end();
  }
});
