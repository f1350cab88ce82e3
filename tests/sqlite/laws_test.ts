/** Every law on SQLite: in this process, through libSQL, and on D1 inside workerd. */
import {
  libsqlStore,
  nodeSqliteStore,
  type SqliteStore,
  type SqliteStoreOptions,
} from "@holdfast/edge/sqlite";
import { createClient } from "@libsql/client";
import { DatabaseSync } from "node:sqlite";
import { contracts } from "../support/contracts.ts";
import { lawKept } from "../support/law_table.ts";
import { inVirtualTime } from "../support/virtual_time.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

async function keepsEveryLaw(
  t: Deno.TestContext,
  engine: string,
  open: (options: SqliteStoreOptions) => SqliteStore,
): Promise<void> {
  await open({}).migrate();
  let count = 0;
  for (const [contract, list] of Object.entries(contracts)) {
    for (const law of list) {
      await t.step(`${engine}: ${contract}: ${law.name}`, async () => {
        const prefix = `law ${count++}`;
        await law.run(inVirtualTime((clock) => open({ prefix, virtualTime: () => clock.now() })));
        lawKept(engine, contract);
      });
    }
  }
}

Deno.test("node:sqlite keeps every law", async (t) => {
  const database = new DatabaseSync(":memory:");
  try {
    await keepsEveryLaw(t, "SQLite, node:sqlite", (options) => nodeSqliteStore(database, options));
  } finally {
    database.close();
  }
});

Deno.test("libSQL on a file keeps every law", async (t) => {
  const folder = await Deno.makeTempDir();
  const client = createClient({ url: `file:${folder}/holdfast.db` });
  try {
    await client.execute("pragma journal_mode = wal");
    await keepsEveryLaw(t, "libSQL, a file", (options) => libsqlStore(client, options));
  } finally {
    client.close();
    await Deno.remove(folder, { recursive: true });
  }
});

workerdTest("D1 keeps every law inside workerd", async (t) => {
  const entry = new URL("d1_worker.ts", import.meta.url);
  await using worker = await startWorkerd({ entry, d1: ["DB"] });
  const ask = async (body: unknown) => {
    const response = await worker.fetch("/", { method: "POST", body: JSON.stringify(body) });
    const { error } = await response.json();
    if (error) throw new Error(error.stack ?? error.message);
  };
  await ask({ contract: "migrate" });
  let count = 0;
  for (const [contract, list] of Object.entries(contracts)) {
    for (const [index, law] of list.entries()) {
      await t.step(`D1: ${contract}: ${law.name}`, async () => {
        await ask({ contract, index, prefix: `law ${count++}` });
        lawKept("D1", contract);
      });
    }
  }
});
