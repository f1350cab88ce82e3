/** Runs after every other test: prints which laws were kept on which engine, and holds the README to it. */
import { assert, assertEquals } from "../support/assert.ts";
import { contracts } from "../support/contracts.ts";
import { keptLaws, lawTable } from "../support/law_table.ts";
import { report } from "../support/report.ts";

/** A row of the README's table, and the engines that were run for it. */
const ENGINES: Readonly<Record<string, readonly string[]>> = {
  "memoryStore()": ["memory", "memory, in a namespace", "memory, observed"],
  "denoKvStore(kv)": ["Deno KV"],
  "upstashStore(redis)": ["Upstash, own transport", "Upstash, @upstash/redis"],
  "redisStore(client)": [
    "Redis, ioredis",
    "Redis, node-redis",
    "Redis, node-redis pool",
    "Redis, Bun",
    "Redis Cluster, ioredis",
    "Redis Cluster, node-redis",
  ],
  "postgresStore(query)": ["Postgres, pg", "Postgres, postgres.js"],
  "d1Store(binding)": ["D1"],
  "libsqlStore(client)": ["libSQL, a file"],
  "nodeSqliteStore(database)": ["SQLite, node:sqlite"],
  "mongodbStore(collection)": ["MongoDB"],
  "durableObjectStore(binding)": ["Durable Objects"],
  "durableObjectStore(binding, { shards })": ["Durable Objects, 4 shards", "Durable Objects, over HTTP"],
  "workersKvStore(binding)": ["Workers KV", "Workers KV, over HTTP"],
};

/** A column of it, and the laws behind. */
const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  "values": ["key-value store"],
  "atomic": ["atomic store"],
  "locks": ["locks"],
  "idempotency": ["idempotency"],
  "throttles": ["throttle"],
  "sessions": ["session store", "session index", "sessions", "sessions of users"],
  "outbox": ["outbox", "mail outbox"],
};

function guarantees(readme: string): Record<string, Record<string, string>> {
  const lines = readme.split("\n").filter((line) => line.startsWith("|"));
  const head = lines.findIndex((line) => /^\| engine .*\| locks /.test(line));
  const cells = (line: string) => line.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", ""));
  const [, ...columns] = cells(lines[head]!);
  const rows: Record<string, Record<string, string>> = {};
  for (const line of lines.slice(head + 2)) {
    const [engine = "", ...values] = cells(line);
    if (values.length !== columns.length) break;
    rows[engine] = Object.fromEntries(columns.map((column, i) => [column, values[i]!]));
  }
  return rows;
}

Deno.test("the README promises for each engine exactly the laws that ran on it", async () => {
  const table = keptLaws();
  report("\nLaws kept, by engine:\n\n" + lawTable(table) + "\n");
  const rows = guarantees(await Deno.readTextFile("README.md"));
  assertEquals(Object.keys(rows).sort(), Object.keys(ENGINES).sort());
  for (const [row, engines] of Object.entries(ENGINES)) {
    for (const [column, names] of Object.entries(COLUMNS)) {
      const laws = names.reduce((sum, name) => sum + contracts[name]!.length, 0);
      for (const engine of engines) {
        const counts = table[engine];
        assert(counts, `${engine} was not run`);
        const kept = names.reduce((sum, name) => sum + (counts[name] ?? 0), 0);
        const word = kept === laws ? "yes" : kept === 0 ? "no" : "all but listing";
        assertEquals(rows[row]![column], word, `${row}, ${column}: ${kept} of ${laws} laws on ${engine}`);
      }
    }
  }
});
