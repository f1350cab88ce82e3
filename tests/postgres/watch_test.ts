/** Notifications of Postgres: a waiter learns of a change without asking again and again. */
import { createLocks } from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { type PostgresListen, type PostgresQuery, postgresStore } from "@holdfast/edge/postgres";
import pg from "pg";
import postgres from "postgres";
import { assert, assertEquals } from "../support/assert.ts";
import { ownProcess } from "../support/own_process.ts";
import { startPostgres } from "../support/postgres_server.ts";
import { report } from "../support/report.ts";

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

Deno.test("Postgres: a lock is handed over by notification, through pg and postgres.js", async (t) => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 8 });
  const listener = new pg.Client({ connectionString: server.url });
  const sql = postgres(server.url, { max: 2, onnotice: () => {} });
  const ways: Record<string, PostgresListen> = {
    async pg(channel, notify) {
      listener.on("notification", ({ payload }: { payload: string }) => notify(payload));
      await listener.connect();
      await listener.query(`listen ${channel}`);
    },
    "postgres.js": (channel, notify) => sql.listen(channel, notify),
  };
  try {
    await postgresStore((text, values) => pool.query(text, values)).migrate();
    for (const [name, listen] of Object.entries(ways)) {
      await t.step(name, async () => {
        let statements = 0;
        const counting: PostgresQuery = (text, values) => {
          statements++;
          return pool.query(text, values);
        };
        // Two processes: in one, a gate would hand the lock over before Postgres does.
        const open = (query: PostgresQuery) =>
          createLocks(ownProcess(postgresStore(query, { prefix: name, listen })));
        const [holders, waiters] = [open((text, values) => pool.query(text, values)), open(counting)];
        const first = await holders.acquire("key", { ttl: "1m" });
        const waiting = waiters.acquire("key", { ttl: "1m", wait: "1m" });
        const since = performance.now();
        await pause(3000);
        const asked = statements;
        const began = performance.now();
        await first!.release();
        const second = await waiting;
        assert(second && second.fencingToken > first!.fencingToken);
        report(
          `${name}: handed over after ${(performance.now() - began).toFixed(1)} ms, ${asked} statements in ${
            ((began - since) / 1000).toFixed(1)
          } s\n`,
        );
        // The acquisition, the readings of a wait every two seconds, and no polling: that would be some ten a second.
        const readings = Math.ceil((began - since) / 1000);
        assert(asked <= 5 + readings, `${asked} statements while it waited`);
        await second.release();
      });
    }
  } finally {
    await sql.end();
    await listener.end();
    await pool.end();
  }
});

Deno.test("Postgres: watch() reports every kind of write to its own key alone, and ends in time", async () => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 8 });
  const sql = postgres(server.url, { max: 1, onnotice: () => {} });
  try {
    const store = postgresStore((text, values) => pool.query(text, values), {
      listen: (channel, notify) => sql.listen(channel, notify),
    });
    await store.migrate();
    const touch: Transition = { name: "test.look", apply: () => ({ output: {} }) };
    const versionOf = async (key: string) => {
      let seen: string | undefined;
      await store.transact(touch, key, {}, { onVersion: (version) => void (seen = version) });
      return seen;
    };
    const writes: Record<string, () => Promise<unknown>> = {
      set: () => store.set("key", 1),
      setMany: () => store.setMany([["other", 1], ["key", 2]]),
      touch: () => store.touch("key", "1h"),
      increment: () => store.compareAndSet("key", 2, 3),
      delete: () => store.delete("key"),
      insert: () => store.setIfAbsent("key", 4),
      remove: () => store.compareAndDelete("key", 4),
      "within a transaction": async () => {
        await sql.begin(async (transaction) => {
          // deno-lint-ignore no-explicit-any
          await store.within((text, values) => transaction.unsafe(text, values as any[])).set("key", 5);
        });
      },
      deleteMany: () => store.deleteMany(["key", "other"]),
    };
    for (const [name, write] of Object.entries(writes)) {
      const since = await versionOf("key");
      const waiting = store.watch!("key", { timeout: "1m", since });
      const beside = store.watch!("beside", { timeout: 30 });
      await pause(50);
      await write();
      assertEquals([await waiting, await beside], [true, false], name);
      assertEquals(await store.watch!("key", { timeout: "1m", since }), true, `${name}, before the wait`);
    }
    const gone = new AbortController();
    const aborted = store.watch!("key", { timeout: "1m", signal: gone.signal });
    const reason = new Error("enough");
    setTimeout(() => gone.abort(reason), 20);
    assertEquals(await aborted.catch((error) => error), reason);
  } finally {
    await sql.end();
    await pool.end();
  }
});

Deno.test("Postgres: a lease that another transaction extends while a write waits for it has not ended", async () => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 4 });
  const query: PostgresQuery = (text, values) => pool.query(text, values);
  try {
    const store = postgresStore(query);
    await store.migrate();
    /** Answers `free` where nothing is held, and counts itself where something is. */
    const join: Transition = {
      name: "test.join",
      apply(record, { ttl }, now) {
        if (record === undefined && ttl === undefined) return { output: { state: "free" } };
        const write = {
          record: { n: String(Number(record?.n ?? 0) + 1) },
          expiresAt: now + Number(ttl ?? 60_000),
        };
        return { output: { state: "held" }, write };
      },
    };
    await store.transact(join, "lease", { ttl: "400" });
    const client = await pool.connect();
    await client.query("begin");
    await store.within((text, values) => client.query(text, values)).transact(join, "lease", {
      ttl: "60000",
    });
    // Begins before the deadline, waits for the transaction, and is answered after the deadline.
    const late = store.transact(join, "lease", {});
    await pause(600);
    await client.query("commit");
    client.release();
    assertEquals((await late).state, "held");
  } finally {
    await pool.end();
  }
});
