/** SQLite's own behaviour: trips, other processes, slices, faults. */
import { createIdempotency, createLocks, HoldfastError } from "@holdfast/edge";
import { type D1Binding, d1Store, libsqlStore, nodeSqliteStore } from "@holdfast/edge/sqlite";
import { createClient } from "@libsql/client";
import { DatabaseSync } from "node:sqlite";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";

Deno.test("a call on libSQL takes one batch where the record is absent or was seen, else two", async () => {
  const client = createClient({ url: ":memory:" });
  let trips = 0;
  const counting = {
    batch: (...[statements, mode]: Parameters<typeof client.batch>) => {
      trips++;
      return client.batch(statements, mode);
    },
  };
  const store = libsqlStore(counting);
  await store.migrate();
  const trip = async (work: () => Promise<unknown>) => {
    const before = trips;
    await work();
    return trips - before;
  };
  assertEquals(await trip(() => store.set("a", 1, { ttl: "1m" })), 1, "set");
  assertEquals(await trip(() => store.get("a")), 1, "get");
  assertEquals(await trip(() => store.increment("n")), 2, "the first call asks for the database's time");
  assertEquals(await trip(() => store.increment("n")), 1, "a record that was seen");
  assertEquals(await trip(() => store.increment("m")), 1, "a record that is absent");
  const other = libsqlStore(counting);
  await other.increment("o");
  assertEquals(await trip(() => other.increment("n")), 2, "a record that this store never saw");
  const locks = createLocks(store);
  assertEquals(await trip(async () => await (await locks.acquire("l", { ttl: "30s" }))!.release()), 2);
  assertEquals(await trip(() => createIdempotency(store).run("i", () => 1)), 2, "begin and complete");
  client.close();
});

Deno.test("several processes write to one libSQL file: every increment counts, no two sections meet", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/holdfast.db`;
  const client = createClient({ url: `file:${file}`, timeout: 60_000 });
  try {
    await client.execute("pragma journal_mode = wal");
    const store = libsqlStore(client);
    await store.migrate();
    const [processes, times] = [4, Number(Deno.env.get("CHECK_SECTIONS") ?? 25)];
    const script = new URL("_increments.ts", import.meta.url).pathname;
    const runs = await Promise.all(Array.from({ length: processes }, async () => {
      const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", script, file, String(times)],
      }).output();
      assert(success, new TextDecoder().decode(stderr));
      return JSON.parse(new TextDecoder().decode(stdout)) as string[];
    }));
    assertEquals(await store.get("count"), processes * times);
    assertEquals(await store.get("sections"), processes * times);
    assertEquals(new Set(runs.flat()).size, processes * times, "every fencing token is another");
  } finally {
    client.close();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("keys with NUL and the highest character are listed, paged and cleared; prefixes never meet", async () => {
  using database = new DatabaseSync(":memory:");
  const [one, ten] = ["tenant-1", "tenant-10"].map((prefix) => nodeSqliteStore(database, { prefix }));
  await one!.migrate();
  const keys = ["a", "a\0", "a\0b", "a\u0001", "a\u{10ffff}", "a\u{10ffff}b", "b", "0:x"];
  await one!.setMany(keys.map((key) => [key, key] as const));
  await ten!.set("x", "another's");
  const listed: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await one!.listPage({ prefix: "a", cursor, limit: 2 });
    listed.push(...page.keys);
    cursor = page.cursor;
  } while (cursor !== undefined);
  assertEquals(listed.sort(), keys.filter((key) => key.startsWith("a")).sort());
  assertEquals(await one!.clear(), { deleted: keys.length, done: true });
  assertEquals(await ten!.get("x"), "another's");
});

Deno.test("purge() deletes expired records in slices and leaves live ones", async () => {
  using database = new DatabaseSync(":memory:");
  let now = 1_700_000_000_000;
  const store = nodeSqliteStore(database, { virtualTime: () => now });
  await store.migrate();
  await store.setMany(Array.from({ length: 30 }, (_, i) => [`dead ${i}`, i] as const), { ttl: "1s" });
  await store.set("live", 1, { ttl: "1h" });
  now += 1000;
  assertEquals([await store.purge({ limit: 20 }), await store.purge({ limit: 20 })], [20, 10]);
  assertEquals(await store.get("live"), 1);
});

Deno.test("a record with the longest ttl is read again, on node:sqlite and libSQL", async () => {
  const ttl = Number.MAX_SAFE_INTEGER; // its deadline is a number that a client refuses to read
  const client = createClient({ url: ":memory:" });
  const database = new DatabaseSync(":memory:");
  for (const store of [nodeSqliteStore(database), libsqlStore(client)]) {
    await store.migrate();
    assertEquals(await store.setIfAbsent("a", 1, { ttl }), { set: true });
    assertEquals(await store.setIfAbsent("a", 2, { ttl }), { set: false, current: 1 });
    await store.set("b", 1, { ttl });
    assertEquals(await store.compareAndSet("b", 1, 2, { ttl }), { set: true });
    assertEquals(await store.getMany(["a", "b"]), [1, 2]);
    assertEquals((await store.increment("n", { ttl })).value, 1);
    assertEquals((await store.increment("n")).value, 2);
  }
  client.close();
  database.close();
});

Deno.test("a missing table, a wrong file and a wrong argument are errors that name the remedy", async () => {
  using database = new DatabaseSync(":memory:");
  const missing = await assertRejects(() => nodeSqliteStore(database).set("a", 1), HoldfastError);
  assertEquals([missing.code, missing.retryable], ["misconfigured", false]);
  assert(missing.message.includes("migrate()"), missing.message);
  const error = new Error("D1_ERROR: no such table: holdfast: SQLITE_ERROR");
  const binding: D1Binding = {
    prepare: () => ({ bind: () => binding.prepare("") }),
    batch: () => Promise.reject(error),
  };
  assertEquals((await assertRejects(() => d1Store(binding).get("a"), HoldfastError)).code, "misconfigured");
  assertThrows(() => d1Store({} as D1Binding), TypeError);
  // A D1 database has the methods of both others, and another meaning for them.
  const d1 = { ...binding, exec: () => {} } as never;
  for (const make of [() => libsqlStore(d1), () => nodeSqliteStore(d1)]) {
    assert(/d1Store\(\)/.test(assertThrows(make, TypeError).message));
  }
  assertThrows(() => libsqlStore({} as never), TypeError);
  assertThrows(() => nodeSqliteStore({} as never), TypeError);
  assertThrows(() => nodeSqliteStore(database, { tabel: "x" } as never), TypeError);
  assertThrows(() => nodeSqliteStore(database, { table: 'x"; drop' }), TypeError);
  assertThrows(() => nodeSqliteStore(database, { virtualTime: 7 as never }), TypeError);
  const purging = nodeSqliteStore(database).purge({ limits: 20 } as never); // a promise in any case
  assert((await assertRejects(() => purging, TypeError)).message.includes("limits"));
});

Deno.test("a record that was damaged in the table is corrupt-record, and no error quotes it", async () => {
  const database = new DatabaseSync(":memory:");
  const store = nodeSqliteStore(database);
  await store.migrate();
  for (const damaged of ["a secret, no JSON", "17", "null", '["a secret"]', '{"v":17}']) {
    await store.set("key", "value");
    database.prepare("update holdfast set record = ?").run(damaged);
    for (const call of [() => store.get("key"), () => store.getMany(["key"]), () => store.increment("key")]) {
      const error = await assertRejects(call, HoldfastError);
      assertEquals(error.code, "corrupt-record", damaged);
      assert(!Deno.inspect(error).includes("secret"), "an error that quotes the record");
    }
  }
  database.close();
});
