/** Every law over MongoDB's protocol, through the official driver, and what is MongoDB's own. */
import { createIdempotency, createLocks, HoldfastError } from "@holdfast/edge";
import { mongodbStore } from "@holdfast/edge/mongodb";
import { MongoClient } from "mongodb";
import { contracts } from "../support/contracts.ts";
import { lawKept } from "../support/law_table.ts";
import { startMongodb } from "../support/mongodb_server.ts";
import { inVirtualTime } from "../support/virtual_time.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { report } from "../support/report.ts";

Deno.test({
  name: "MongoDB's protocol",
  sanitizeOps: false, // the driver keeps sockets and timers
  sanitizeResources: false,
  async fn(t) {
    await using server = await startMongodb();
    if (server === undefined) {
      report("\nMongoDB: not run, as neither MONGODB_URL nor Go is there\n");
      return;
    }
    // FerretDB checks the filter of an update apart from the update: over several connections two conditional writes
    // both win (106 winners in 20 races of 8). One connection runs its commands one after the other.
    const ferret = server.product.startsWith("FerretDB");
    report(`\nMongoDB: ${server.product}${ferret ? ", over one connection" : ""}\n`);
    const trips = { count: 0 };
    const client = await MongoClient.connect(server.url, {
      monitorCommands: true,
      ...(ferret && { maxPoolSize: 1 }),
    });
    client.on("commandStarted", () => void trips.count++);
    const collection = client.db("holdfast").collection<never>("records");
    let prefixes = 0;
    const trip = async (work: () => Promise<unknown>) => {
      const before = trips.count;
      await work();
      return trips.count - before;
    };
    try {
      await t.step("migrate() makes the index that deletes, or says that the server has none", async () => {
        const error = await mongodbStore(collection).migrate().catch((error) => error);
        // FerretDB lacks such indexes: its expired records are invisible, and stay.
        if (ferret) assertEquals(error.code, "unsupported");
        else assertEquals(error, undefined);
      });
      for (const [contract, list] of Object.entries(contracts)) {
        for (const law of list) {
          await t.step(`MongoDB: ${contract}: ${law.name}`, async () => {
            const prefix = `law ${prefixes++}`;
            await law.run(inVirtualTime((clock) => mongodbStore(collection, { prefix, clock })));
            lawKept("MongoDB", contract);
          });
        }
      }

      await t.step("a call takes one command where the record is absent or was seen", async () => {
        const store = mongodbStore(collection, { prefix: `test ${prefixes++}` });
        assertEquals(await trip(() => store.set("a", 1, { ttl: "1m" })), 1, "set");
        assertEquals(await trip(() => store.get("a")), 1, "get");
        assertEquals(await trip(() => store.increment("n")), 1, "absent");
        assertEquals(await trip(() => store.increment("n")), 1, "seen");
        const other = mongodbStore(collection, { prefix: `test ${prefixes - 1}` });
        assertEquals(await trip(() => other.increment("n")), 3, "a refused insert, a read, a write");
        const locks = createLocks(store);
        assertEquals(await trip(async () => await (await locks.acquire("l", { ttl: "30s" }))!.release()), 2);
        assertEquals(await trip(() => createIdempotency(store).run("i", () => 1)), 2);
      });

      await t.step("64 parallel increments on one key are exact, from one store and from eight", async () => {
        const prefix = `test ${prefixes++}`;
        const stores = Array.from({ length: 8 }, () => mongodbStore(collection, { prefix }));
        await Promise.all(Array.from({ length: 64 }, () => stores[0]!.increment("one")));
        await Promise.all(Array.from({ length: 64 }, (_, i) => stores[i % 8]!.increment("eight")));
        assertEquals(await stores[0]!.getMany(["one", "eight"]), [64, 64]);
      });

      await t.step(
        "prefixes never meet, and keys with NUL, dots and dollar signs are themselves",
        async () => {
          const [one, ten] = ["tenant-1", "tenant-10"].map((prefix) => mongodbStore(collection, { prefix }));
          const keys = ["a", "a\0", "a.b", "$a", "a\u{10ffff}", "0:x"];
          await one!.setMany(keys.map((key) => [key, key] as const));
          await ten!.set("x", "another's");
          assertEquals(await one!.getMany(keys), keys);
          assertEquals(await one!.clear(), { deleted: keys.length, done: true });
          assertEquals(await ten!.get("x"), "another's");
        },
      );
    } finally {
      await client.close();
    }
  },
});

Deno.test({
  name: "an unreachable MongoDB is an outage; invalid options are refused",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const client = new MongoClient("mongodb://127.0.0.1:1/", { serverSelectionTimeoutMS: 200 });
    const collection = client.db("holdfast").collection<never>("records");
    const error = await assertRejects(() => mongodbStore(collection).set("a", 1), HoldfastError);
    assertEquals([error.code, error.retryable, error.ambiguous], ["backend-unavailable", true, false]);
    await client.close();
    assertThrows(() => mongodbStore({} as never), TypeError);
    // Unacknowledged, two inserts of one id both succeed: two callers would hold one lock.
    const w0 = { writeConcern: { w: 0 } } as const;
    const unacknowledged = new MongoClient("mongodb://127.0.0.1:1/", w0);
    const own = client.db("holdfast").collection<never>("records", w0);
    for (const collection of [own, unacknowledged.db("holdfast").collection<never>("records")]) {
      const { message } = assertThrows(() => mongodbStore(collection), TypeError);
      assert(message.includes('{ w: "majority" }'), message);
    }
    await unacknowledged.close();
    assertThrows(() => mongodbStore(collection, { prefx: "a" } as never), TypeError);
  },
});
