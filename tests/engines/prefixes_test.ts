/** The law of prefixes on every engine that can be reached from here; inside workerd it runs in `tests/workerd/laws_test.ts`. */
import { createClient } from "@libsql/client";
import { Redis } from "@upstash/redis";
import { Redis as IoRedis } from "ioredis";
import { MongoClient } from "mongodb";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { mongodbStore } from "@holdfast/edge/mongodb";
import { postgresStore } from "@holdfast/edge/postgres";
import { libsqlStore, nodeSqliteStore } from "@holdfast/edge/sqlite";
import { prefixLaw, type PrefixSubject } from "@holdfast/edge/testing";
import { upstashStore } from "@holdfast/edge/upstash";
import { lawKept } from "../support/law_table.ts";
import { mongodbIsBuilt, startMongodb } from "../support/mongodb_server.ts";
import { startPostgres } from "../support/postgres_server.ts";
import { startRedis } from "../support/redis_server.ts";
import { report } from "../support/report.ts";
import { startUpstash } from "../support/upstash_server.ts";

/** Opens a backend that is empty; called once for each law. */
type Empty = () => Promise<PrefixSubject>;

/** Starts an engine, which lives until the stack is disposed; `undefined` where it cannot be had quickly. */
type Engine = (stack: AsyncDisposableStack) => Promise<Empty | undefined>;

const engines: Record<string, Engine> = {
  "Deno KV": (stack) =>
    Promise.resolve(async () => {
      const kv = stack.use(await Deno.openKv(":memory:"));
      return { open: (prefix) => denoKvStore(kv, { prefix }) };
    }),
  async Upstash(stack) {
    const redis = stack.use(await startRedis());
    const { url, token } = stack.use(await startUpstash(redis.port));
    return async () => {
      await redis.send("FLUSHALL");
      return { open: (prefix) => upstashStore({ url, token }, { prefix }) };
    };
  },
  async "Upstash, @upstash/redis"(stack) {
    const redis = stack.use(await startRedis());
    const { url, token } = stack.use(await startUpstash(redis.port));
    const client = new Redis({ url, token, enableTelemetry: false });
    return async () => {
      await redis.send("FLUSHALL");
      return { open: (prefix) => upstashStore(client, { prefix }) };
    };
  },
  async "Redis, ioredis"(stack) {
    const redis = stack.use(await startRedis());
    const client = new IoRedis(redis.port, "127.0.0.1");
    stack.defer(() => void client.disconnect());
    const scripts = {
      evalsha: (sha: string, keys: string[], args: string[]) =>
        client.evalsha(sha, keys.length, ...keys, ...args),
      eval: (script: string, keys: string[], args: string[]) =>
        client.eval(script, keys.length, ...keys, ...args),
    };
    return async () => {
      await redis.send("FLUSHALL");
      return { open: (prefix) => upstashStore(scripts, { prefix }) };
    };
  },
  async Postgres(stack) {
    const server = stack.use(await startPostgres());
    const pool = new pg.Pool({ connectionString: server.url, max: 4 });
    stack.defer(() => pool.end());
    const query = (text: string, values: unknown[]) => pool.query(text, values);
    let tables = 0;
    return async () => {
      const table = `prefixes_${tables++}`;
      await postgresStore(query, { table }).migrate();
      return { open: (prefix) => postgresStore(query, { table, prefix }) };
    };
  },
  "SQLite, node:sqlite": (stack) =>
    Promise.resolve(async () => {
      const database = new DatabaseSync(":memory:");
      stack.defer(() => database.close());
      await nodeSqliteStore(database).migrate();
      return { open: (prefix) => nodeSqliteStore(database, { prefix }) };
    }),
  "SQLite, libSQL": (stack) =>
    Promise.resolve(async () => {
      const folder = await Deno.makeTempDir();
      stack.defer(() => Deno.remove(folder, { recursive: true }));
      const client = createClient({ url: `file:${folder}/holdfast.db` });
      stack.defer(() => client.close());
      await client.execute("pragma journal_mode = wal");
      await libsqlStore(client).migrate();
      return { open: (prefix) => libsqlStore(client, { prefix }) };
    }),
  async MongoDB(stack) {
    if (!await mongodbIsBuilt()) return undefined;
    const server = stack.use((await startMongodb())!);
    const client = await MongoClient.connect(server.url, { maxPoolSize: 1 });
    stack.defer(() => client.close());
    return () => {
      const collection = client.db("prefixes").collection<never>(crypto.randomUUID());
      return Promise.resolve({ open: (prefix) => mongodbStore(collection, { prefix }) });
    };
  },
};

for (const [engine, start] of Object.entries(engines)) {
  Deno.test({
    name: `${engine}: prefixes`,
    sanitizeOps: false, // clients keep sockets and timers
    sanitizeResources: false,
    async fn(t) {
      await using stack = new AsyncDisposableStack();
      const empty = await start(stack);
      if (empty === undefined) return report(`${engine}: prefixes: not run, as there is no server at hand`);
      for (const law of prefixLaw) {
        await t.step(law.name, async () => {
          await law.run(await empty());
          lawKept(engine, "prefixes");
        });
      }
    },
  });
}
