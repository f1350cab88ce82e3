/** The law of prefixes on every engine that runs in this process; inside workerd it runs in `tests/workerd/laws_test.ts`. */
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { postgresStore } from "@holdfast/edge/postgres";
import { libsqlStore, nodeSqliteStore } from "@holdfast/edge/sqlite";
import { createClient } from "@libsql/client";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import { startPostgres } from "../support/postgres_server.ts";
import { prefixLaw, type PrefixSubject } from "@holdfast/edge/testing";
import { lawKept } from "../support/law_table.ts";

const engines: Record<string, () => Promise<PrefixSubject & AsyncDisposable>> = {
  "Deno KV": async () => {
    const kv = await Deno.openKv(":memory:");
    return {
      open: (prefix) => denoKvStore(kv, { prefix }),
      [Symbol.asyncDispose]: () => Promise.resolve(kv.close()),
    };
  },
  "Postgres, pg": async () => {
    const server = await startPostgres();
    const pool = new pg.Pool({ connectionString: server.url, max: 2 });
    const open = (prefix?: string) => postgresStore((text, values) => pool.query(text, values), { prefix });
    await open().migrate();
    return {
      open,
      async [Symbol.asyncDispose]() {
        await pool.end();
        await server[Symbol.asyncDispose]();
      },
    };
  },
  "libSQL, a file": async () => {
    const client = createClient({ url: ":memory:" });
    await libsqlStore(client).migrate();
    return {
      open: (prefix) => libsqlStore(client, { prefix }),
      [Symbol.asyncDispose]: () => Promise.resolve(client.close()),
    };
  },
  "SQLite, node:sqlite": async () => {
    const database = new DatabaseSync(":memory:");
    await nodeSqliteStore(database).migrate();
    return {
      open: (prefix) => nodeSqliteStore(database, { prefix }),
      [Symbol.asyncDispose]: () => Promise.resolve(database.close()),
    };
  },
};

for (const [engine, open] of Object.entries(engines)) {
  for (const law of prefixLaw) {
    Deno.test(`${engine}: prefixes: ${law.name}`, async () => {
      await using subject = await open();
      await law.run(subject);
      lawKept(engine, "prefixes");
    });
  }
}
