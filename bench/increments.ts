// deno-lint-ignore-file no-console
/**
 * 64 parallel increments on one key, again and again, beside raw SQL that does the same: operations a second, and whether every
 * one counted. `deno run -A bench/increments.ts`.
 */
import type { AtomicStore } from "@holdfast/edge";
import { postgresStore } from "@holdfast/edge/postgres";
import { libsqlStore } from "@holdfast/edge/sqlite";
import { createClient } from "@libsql/client";
import pg from "pg";
import { startPostgres } from "../tests/support/postgres_server.ts";

const PARALLEL = 64;
const ROUNDS = 30;

/** Runs rounds of parallel increments, one more to warm up, and prints a row of the table. */
async function measure(
  name: string,
  increment: (i: number) => Promise<unknown>,
  read: () => Promise<number>,
): Promise<void> {
  const round = () => Promise.all(Array.from({ length: PARALLEL }, (_, i) => increment(i)));
  await round();
  const began = performance.now();
  for (let i = 0; i < ROUNDS; i++) await round();
  const seconds = (performance.now() - began) / 1000;
  const [made, counted] = [PARALLEL * (ROUNDS + 1), await read()];
  const rate = Math.round(PARALLEL * ROUNDS / seconds);
  console.log(`| ${name} | ${rate} | ${counted === made ? "exact" : `${counted} of ${made}`} |`);
}

const one = (store: AtomicStore) =>
  [() => store.increment("n"), async () => await store.get<number>("n") ?? 0] as const;
const many = (stores: readonly AtomicStore[]) =>
  [
    (i: number) => stores[i % stores.length]!.increment("n"),
    async () => await stores[0]!.get<number>("n") ?? 0,
  ] as const;

console.log("| 64 parallel increments on one key | a second | sum |\n| --- | --: | --- |");
const RAW =
  "insert into counters (key, n) values ('n', 1) on conflict (key) do update set n = counters.n + 1 returning n";

const server = await startPostgres();
const pool = new pg.Pool({ connectionString: server.url, max: 8 });
const query = (text: string, values: unknown[]) => pool.query(text, values);
await postgresStore(query).migrate();
await pool.query("create table counters (key text primary key, n bigint not null)");
await measure("Postgres, raw SQL over 8 connections", () => pool.query(RAW), async () => {
  return Number((await pool.query("select n from counters")).rows[0].n);
});
await measure("Postgres, one store", ...one(postgresStore(query, { prefix: "one" })));
await measure(
  "Postgres, eight stores as in eight processes",
  ...many(Array.from({ length: 8 }, () => postgresStore(query, { prefix: "eight" }))),
);
await pool.end();
await server[Symbol.asyncDispose]();

const folder = await Deno.makeTempDir();
const client = createClient({ url: `file:${folder}/holdfast.db`, timeout: 5000 });
await client.execute("pragma journal_mode = wal");
await libsqlStore(client).migrate();
await client.execute("create table counters (key text primary key, n integer not null)");
await measure("libSQL on a file, raw SQL", () => client.execute(RAW), async () => {
  return Number((await client.execute("select n from counters")).rows[0]!.n);
});
await measure("libSQL on a file, one store", ...one(libsqlStore(client, { prefix: "one" })));
await measure(
  "libSQL on a file, eight stores",
  ...many(Array.from({ length: 8 }, () => libsqlStore(client, { prefix: "eight" }))),
);
client.close();
await Deno.remove(folder, { recursive: true });
