/** Postgres' own behaviour: trips, transactions, crashes, clients, faults. */
import { createIdempotency, createLocks, HoldfastError } from "@holdfast/edge";
import { type PostgresQuery, postgresStore } from "@holdfast/edge/postgres";
import pg from "pg";
import postgres from "postgres";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { startPostgres } from "../support/postgres_server.ts";
import { report } from "../support/report.ts";

/** Counts the statements that a store sends. */
function counted(query: PostgresQuery): { query: PostgresQuery; trips: () => number } {
  let trips = 0;
  return {
    query: (text, values) => {
      trips++;
      return query(text, values);
    },
    trips: () => trips,
  };
}

Deno.test("Postgres", async (t) => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 16 });
  pool.on("error", () => {}); // idle connections end with the server
  const query: PostgresQuery = (text, values) => pool.query(text, values);
  let prefixes = 0;
  const open = (run: PostgresQuery = query) => postgresStore(run, { prefix: `test ${prefixes++}` });
  try {
    await t.step("without its table it says what to do", async () => {
      const error = await assertRejects(() => open().get("a"), HoldfastError);
      assertEquals([error.code, error.retryable, error.ambiguous], ["misconfigured", false, false]);
      assert(error.message.includes("migrate()"), error.message);
    });

    await t.step("migrate() may run twice", async () => {
      await open().migrate();
      await open().migrate();
    });

    await t.step("16 processes that start at once may each run migrate()", async () => {
      await Promise.all(Array.from({ length: 16 }, () => pool.query("select pg_sleep(0.1)"))); // all are connected
      for (const table of ["race_1", "race_2", "race_3"]) {
        await Promise.all(Array.from({ length: 16 }, () => postgresStore(query, { table }).migrate()));
        await postgresStore(query, { table }).set("a", 1);
      }
    });

    await t.step("what has ended has ended for a client, too, that renames the columns of rows", async () => {
      const sql = postgres(server.url, { max: 1, transform: postgres.camel, onnotice() {} });
      // deno-lint-ignore no-explicit-any
      const renaming = (text: string, values: any[]) => sql.unsafe(text, values);
      const own = { table: "renamed_columns" }; // a purge counts what is in the other one
      await postgresStore(query, own).migrate();
      try {
        await postgresStore(renaming, own).increment("n", { ttl: "1s" });
        await postgresStore(renaming, own).set("v", 1, { ttl: "1s" });
        const first = createIdempotency(postgresStore(renaming, own), { retention: "1s" });
        assertEquals(await first.run("order", () => "first"), "first");
        await query("select pg_sleep(1.1)", []);
        const later = postgresStore(renaming, own); // which has seen none of these records
        assertEquals((await later.increment("n", { ttl: "1s" })).value, 1);
        assertEquals((await later.setIfAbsent("v", 2)).set, true);
        const second = createIdempotency(later, { retention: "1s" });
        assertEquals(await second.run("order", () => "again"), "again");
      } finally {
        await sql.end();
      }
    });

    await t.step(
      "rows without the names of their columns are a misconfiguration, on every call that reads one",
      async () => {
        const arrays: PostgresQuery = (text, values) => pool.query({ text, values, rowMode: "array" });
        const none: PostgresQuery = () => Promise.resolve([]);
        const own = { table: "renamed_columns" };
        const full = postgresStore(query, own);
        await full.setMany([["a", 1], ["b", 2]]);
        for (const run of [arrays, none]) {
          const store = postgresStore(run, own);
          const calls = [
            () => store.increment("n"),
            () => createLocks(store).acquire("a", { ttl: "1s" }),
            ...(run === none ? [] : [
              () => store.get("a"),
              () => store.getMany(["a"]),
              () => store.listPage(),
              () => store.deleteMany(["b"]),
              () => store.delete("a"),
            ]),
          ];
          for (const call of calls) {
            assertEquals((await assertRejects(call, HoldfastError)).code, "misconfigured", String(call));
          }
        }
      },
    );

    await t.step("a call takes one trip where the record is absent or was seen, else two", async () => {
      const { query: run, trips } = counted(query);
      const store = open(run);
      const trip = async (work: () => Promise<unknown>) => {
        const before = trips();
        await work();
        return trips() - before;
      };
      assertEquals(await trip(() => store.get("a")), 1, "get");
      assertEquals(await trip(() => store.set("a", 1, { ttl: "1m" })), 1, "set");
      assertEquals(await trip(() => store.increment("n")), 2, "the first call asks for the server's time");
      assertEquals(await trip(() => store.increment("n")), 1, "a record that was seen");
      assertEquals(await trip(() => store.increment("m")), 1, "a record that is absent");
      const other = postgresStore(run, { prefix: `test ${prefixes - 1}` });
      await other.increment("o");
      assertEquals(await trip(() => other.increment("n")), 2, "a record that this store never saw");
      const locks = createLocks(store);
      assertEquals(await trip(async () => await (await locks.acquire("l", { ttl: "30s" }))!.release()), 2);
      assertEquals(await trip(() => createIdempotency(store).run("i", () => 1)), 2, "begin and complete");
      assertEquals(await trip(() => store.getMany(["a", "n", "x"])), 1, "getMany");
      assertEquals(await trip(() => store.deleteMany(["a", "n", "x"])), 1, "deleteMany");
    });

    await t.step(
      "a record that was deleted and written again is not taken for the one seen before",
      async () => {
        const [one, other] = [open(), undefined];
        void other;
        await one.increment("n"); // seen: 1
        await one.increment("n"); // seen: 2
        const second = postgresStore(query, { prefix: `test ${prefixes - 1}` });
        await second.delete("n");
        await second.increment("n", { by: 40 });
        assertEquals((await one.increment("n")).value, 41);
      },
    );

    await t.step(
      "keys with NUL, U+0001 and the highest character are listed, paged and cleared",
      async () => {
        const store = open();
        const keys = [
          "a",
          "a\0",
          "a\0b",
          "a\u0001",
          "a\u0001\0",
          "a\u{10ffff}",
          "a\u{10ffff}b",
          "a\ud7ff",
          "b",
        ];
        await store.setMany(keys.map((key) => [key, key] as const));
        const listed: string[] = [];
        let cursor: string | undefined;
        do {
          const page = await store.listPage({ prefix: "a", cursor, limit: 2 });
          listed.push(...page.keys);
          cursor = page.cursor;
        } while (cursor !== undefined);
        assertEquals(listed.sort(), keys.filter((key) => key !== "b").sort());
        assertEquals(await store.getMany(keys), keys);
        assertEquals(await store.clear(), { deleted: keys.length, done: true });
      },
    );

    await t.step("64 parallel increments on one key are exact, from one store and from eight", async () => {
      const one = open();
      await Promise.all(Array.from({ length: 64 }, () => one.increment("n")));
      assertEquals(await one.get("n"), 64);
      const eight = Array.from({ length: 8 }, () => postgresStore(query, { prefix: "eight" }));
      await Promise.all(Array.from({ length: 64 }, (_, i) => eight[i % 8]!.increment("n")));
      assertEquals(await eight[0]!.get("n"), 64);
    });

    await t.step("within a transaction the record and the row commit together, or neither does", async () => {
      await pool.query("create table if not exists orders (id text primary key)");
      const store = open();
      const place = async (id: string, fails: boolean) => {
        const client = await pool.connect();
        try {
          await client.query("begin");
          const inside = createIdempotency(store.within((text, values) => client.query(text, values)));
          await inside.run(id, async () => {
            await client.query("insert into orders (id) values ($1)", [id]);
            return { id };
          });
          if (fails) throw new Error("the process ends here");
          await client.query("commit");
        } catch {
          await client.query("rollback");
        } finally {
          client.release();
        }
      };
      await place("17", true);
      assertEquals(await createIdempotency(store).get("17"), undefined);
      await place("17", false);
      await place("17", false);
      assertEquals((await pool.query("select id from orders")).rows, [{ id: "17" }]);
    });

    await t.step("purge() deletes expired records in slices and leaves live ones", async () => {
      const store = open();
      await store.setMany(Array.from({ length: 30 }, (_, i) => [`dead ${i}`, i] as const), { ttl: 1 });
      await store.set("live", 1, { ttl: "1h" });
      await store.set("forever", 1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      assertEquals([await store.purge({ limit: 20 }), await store.purge({ limit: 20 })], [20, 10]);
      assertEquals([await store.get("live"), await store.get("forever")], [1, 1]);
      await assertRejects(() => store.purge({ limit: 0 }), RangeError);
    });

    await t.step("killed under load 20 times, it has every increment that was acknowledged", async () => {
      const kills = Number(Deno.env.get("POSTGRES_KILLS") ?? 3);
      const store = open();
      let [acknowledged, uncertain, refused] = [0, 0, 0];
      let running = true;
      const writer = async () => {
        while (running) {
          try {
            await store.increment("n");
            acknowledged++;
          } catch (error) {
            assert(error instanceof HoldfastError && error.retryable, String(error));
            if (error.ambiguous) uncertain++;
            else refused++;
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        }
      };
      const writers = Array.from({ length: 8 }, writer);
      for (let i = 0; i < kills; i++) {
        await new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 200));
        await server.kill();
        await server.restart();
      }
      running = false;
      await Promise.all(writers);
      const value = await store.get<number>("n") ?? 0;
      report(
        `killed ${kills} times: ${acknowledged} acknowledged, ${uncertain} uncertain, ${refused} refused, ${value} counted\n`,
      );
      assert(value >= acknowledged && value <= acknowledged + uncertain, `${value} of ${acknowledged}`);
    });
  } finally {
    await pool.end();
  }
});

Deno.test("an unreachable Postgres is an outage, a wrong password is not", async () => {
  await using server = await startPostgres();
  const refused = new pg.Pool({ connectionString: "postgres://postgres@127.0.0.1:1/postgres" });
  const missing = new pg.Pool({ connectionString: server.url.replace(/postgres$/, "nothing") });
  try {
    const outage = await assertRejects(
      () => postgresStore((text, values) => refused.query(text, values)).set("a", 1),
      HoldfastError,
    );
    assertEquals([outage.code, outage.retryable, outage.ambiguous], ["backend-unavailable", true, false]);
    const wrong = await assertRejects(
      () => postgresStore((text, values) => missing.query(text, values)).set("a", 1),
      HoldfastError,
    );
    assertEquals([wrong.code, wrong.retryable], ["misconfigured", false]);
  } finally {
    await refused.end();
    await missing.end();
  }
});

Deno.test("postgresStore() refuses invalid arguments before any I/O", async () => {
  const query: PostgresQuery = () => Promise.reject(new Error("no I/O"));
  const cases: unknown[][] = [
    [undefined],
    [query, { tabel: "x" }],
    [query, { table: 'x"; drop table y' }],
    [query, { table: "a.b.c" }],
    [query, { prefix: "\ud800" }],
    [query, { virtualTime: 7 }],
  ];
  for (const [run, options] of cases) {
    let thrown: unknown;
    try {
      postgresStore(run as PostgresQuery, options as never);
    } catch (error) {
      thrown = error;
    }
    assert(thrown instanceof TypeError, String(thrown));
  }
  await Promise.resolve();
});
