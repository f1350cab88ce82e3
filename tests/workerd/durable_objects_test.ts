/** The Durable Objects' own behaviour, beside the laws. */
import * as holdfast from "@holdfast/edge";
import * as engine from "@holdfast/edge/engine";
import {
  durableObjectStore,
  type HoldfastNamespace,
  type HoldfastStub,
} from "@holdfast/edge/durable-objects";
import { OUR_TRANSITIONS } from "../../adapters/durable_objects/_transitions.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { startWorkerd, type Workerd, workerdTest } from "../support/workerd.ts";

// deno-lint-ignore no-explicit-any
type Found = any;

async function probe(worker: Workerd, name: string, query = ""): Promise<Found> {
  const response = await worker.fetch(`/${name}?${query}`);
  if (!response.ok) throw new Error(await response.text());
  return await response.json();
}

Deno.test("Durable Objects: the object knows every transition that the package exports", () => {
  const exported = Object.values(engine).flat().filter((value): value is engine.Transition =>
    typeof value === "object" && value !== null && "apply" in value && typeof value.apply === "function"
  );
  const known = new Set(OUR_TRANSITIONS);
  assertEquals(exported.filter((transition) => !known.has(transition)).map(({ name }) => name), []);
  assertEquals(known.size, new Set(OUR_TRANSITIONS.map(({ name }) => name)).size);
});

/** A namespace with the given `transact`. */
function namespace(transact: () => Promise<never>): { names: unknown[]; namespace: HoldfastNamespace } {
  const names: unknown[] = [];
  return {
    names,
    namespace: {
      getByName(...args) {
        names.push(args);
        return { transact: transact as unknown } as HoldfastStub;
      },
    },
  };
}

Deno.test("durableObjectStore(): Cloudflare's flags of a failure decide whether the call is repeated", async () => {
  const said = {
    overloaded: { overloaded: true, retryable: true },
    reset: { durableObjectReset: true, remote: true },
    retryable: { retryable: true },
    neither: { remote: true },
  };
  const found: Record<string, unknown> = {};
  for (const [name, flags] of Object.entries(said)) {
    const error = Object.assign(new Error("secret key"), flags);
    const store = durableObjectStore(namespace(() => Promise.reject(error)).namespace);
    const fault = await assertRejects(() => store.increment("key"), holdfast.HoldfastError);
    found[name] = [fault.code, fault.retryable, fault.ambiguous];
    assert(!fault.message.includes("secret"));
  }
  assertEquals(found, {
    overloaded: ["backend-unavailable", true, false],
    reset: ["backend-unavailable", true, true],
    retryable: ["backend-unavailable", true, true],
    neither: ["backend-unavailable", false, true],
  });
});

Deno.test("durableObjectStore(): an object that never replies is a timeout, an abort rejects with its reason", async () => {
  const hanging = namespace(() => new Promise(() => {}));
  const store = durableObjectStore(hanging.namespace, { timeout: 20, prefix: "p:", locationHint: "weur" });
  const late = await assertRejects(() => store.increment("key"), holdfast.HoldfastError);
  assertEquals([late.code, late.retryable, late.ambiguous], ["timeout", true, true]);
  const reason = new Error("enough");
  const controller = new AbortController();
  const work = assertRejects(() => store.increment("key", { signal: controller.signal }));
  controller.abort(reason);
  assertEquals(await work, reason);
  // A stub is never used twice: one that threw is broken.
  const named = ["p%3A:key", { locationHint: "weur" }];
  assertEquals(hanging.names, [named, named]);
});

Deno.test("durableObjectStore(): the name of a key's own object is never the name of a shard", async () => {
  const own = namespace(() => Promise.reject(new Error("no")));
  const shared = namespace(() => Promise.reject(new Error("no")));
  await assertRejects(() => durableObjectStore(shared.namespace, { shards: 1 }).increment("key"));
  const [[shard]] = shared.names as [[string]];
  for (const key of ["shard 0 of 1", "/shard 0 of 1", shard]) {
    await assertRejects(() => durableObjectStore(own.namespace).increment(key));
  }
  assert(!own.names.some((name) => (name as [string])[0] === shard), String(shard));
});

Deno.test("durableObjectStore(): a stub without methods is a misconfiguration that names the compatibility date", async () => {
  const old: HoldfastNamespace = { getByName: () => ({}) as HoldfastStub };
  const store = durableObjectStore(old);
  for (const call of [() => store.get("key"), () => store.set("key", 1), () => store.increment("key")]) {
    const error = await assertRejects(call, holdfast.HoldfastError);
    assertEquals([error.code, error.retryable, error.ambiguous], ["misconfigured", false, false]);
    assert(error.message.includes("2024-04-03"));
  }
});

Deno.test("durableObjectStore() refuses an invalid binding, and bad or unknown options", () => {
  assertThrows(() => durableObjectStore({} as HoldfastNamespace), TypeError);
  const { namespace: fine } = namespace(() => Promise.reject());
  for (const shards of [0, -1, 1.5, NaN]) {
    assertThrows(() => durableObjectStore(fine, { shards }), RangeError);
  }
  assertThrows(() => durableObjectStore(fine, { shard: 4 } as never), TypeError);
  assertThrows(() => durableObjectStore(fine, { locationHint: "mars" } as never), TypeError);
  assertThrows(() => durableObjectStore(fine, { prefix: "x".repeat(300) }), RangeError);
  assertThrows(() => durableObjectStore(fine, { prefix: "\ud800" }), TypeError);
});

workerdTest("Durable Objects", async (t) => {
  const persist = await Deno.makeTempDir();
  await using worker = await startWorkerd({
    entry: new URL("objects_worker.ts", import.meta.url),
    durableObjects: { HOLDFAST: "ProbeObject", FOREIGN: "ForeignObject" },
    persist,
  });

  await t.step("every operation is one call, a lazy session none", async () => {
    const { "setMany of 100 on 3 shards": set, "getMany of 100 on 3 shards": get, ...costs } = await probe(
      worker,
      "costs",
    );
    const { "deleteMany of 100 on 3 shards": deleted, "session: one that nobody reads": lazy, ...rest } =
      costs;
    assertEquals([set, get, deleted], [3, 3, 3]);
    assertEquals(lazy, 0);
    assertEquals(new Set(Object.values(rest)), new Set([1]), JSON.stringify(rest));
    assertEquals(Object.keys(rest).length, 21);
  });

  await t.step("four Workers at once: 1,000 increments, 200 acquires and 100 begins are exact", async () => {
    const prefix = crypto.randomUUID();
    const all = await Promise.all(
      Array.from({ length: 4 }, () => probe(worker, "contend", `prefix=${prefix}`)),
    );
    const values = new Set(all.flatMap(({ values }) => values));
    assertEquals([values.size, Math.max(...values)], [1000, 1000]);
    assertEquals(all.reduce((sum, { locks }) => sum + locks, 0), 1);
    assertEquals(all.reduce((sum, { claims }) => sum + claims, 0), 1);
  });

  await t.step("an object that crashes loses nothing it acknowledged", async () => {
    const { sent, acknowledged, last, faults, fences } = await probe(worker, "crashes");
    assert(acknowledged.length < sent, "no crash met a call");
    assertEquals(new Set(acknowledged).size, acknowledged.length);
    assert(Math.max(...acknowledged) <= last && acknowledged.length <= last && last <= sent);
    assertEquals(faults, ["backend-unavailable, ambiguous true"]);
    assertEquals(fences, fences.toSorted((a: number, b: number) => a - b), "fencing tokens rise");
  });

  await t.step("a restart in the middle loses nothing acknowledged", async () => {
    const query = `prefix=${crypto.randomUUID()}`;
    const acknowledged: number[] = [];
    const client = async () => {
      for (let i = 0; i < 25; i++) {
        await probe(worker, "increment", query).then((value) => acknowledged.push(value), () => {});
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    const clients = Array.from({ length: 4 }, client);
    while (acknowledged.length < 20) await new Promise((resolve) => setTimeout(resolve, 1));
    await worker.restart();
    await Promise.all(clients);
    const next = await probe(worker, "increment", query);
    assertEquals(new Set(acknowledged).size, acknowledged.length);
    assert(next > Math.max(...acknowledged) && next > acknowledged.length);
  });

  await t.step("what has expired is gone after the alarm, and with the last record the storage", async () => {
    const { before, after, now } = await probe(worker, "expiry", "ttl=3000");
    assertEquals([before.alone.rows, before.shared.rows], [1, 2]);
    assert(before.alone.alarm <= now + 3000);
    assertEquals(after.alone, { tables: 0, rows: 0, alarm: null });
    assertEquals(after.shared.rows, 1);
    assert(after.shared.alarm > now + 3_500_000, "the alarm comes again for the next one");
  });

  await t.step("a purge reads expired records alone, a thousand at a time", async () => {
    const { nothing, slices, left, written, again } = await probe(worker, "purges");
    assert(nothing.read < 20, `${nothing.read} rows read to find nothing`);
    assertEquals(left, 6000);
    const reads = slices.map(({ read }: { read: number }) => read);
    // Each expired row is read in the index and in the table, and a little beside.
    assert(Math.max(...reads) <= 2 * 1000 + 50 && reads.at(-1) < 20, `rows read: ${reads}`);
    assertEquals([written, again], [1, 1]); // an object of one key has no index; a lock's record keeps its deadline
  });

  await t.step(
    "the load of a session reads one row, the next load of the same none, and neither writes",
    async () => {
      const [load, again] = [{ read: 1, written: 0 }, { read: 0, written: 0 }];
      assertEquals(await probe(worker, "sessionLoad"), { sessions: 10, load, again });
    },
  );

  await t.step("a class without our methods is a misconfiguration", async () => {
    const { code, retryable, ambiguous, message } = await probe(worker, "foreign");
    assertEquals([code, retryable, ambiguous], ["misconfigured", false, false]);
    assert(/HoldfastObject/.test(message) && !/secret/.test(message));
  });

  await t.step("an object left empty, or only asked, has no storage", async () => {
    const nothing = { tables: 0, rows: 0, alarm: null };
    assertEquals(await probe(worker, "empty"), [nothing, nothing, nothing]);
  });

  await t.step(
    "unknown transitions and records beyond 2 MB are typed errors, many large values travel",
    async () => {
      const { unknown, tooLarge, ...rest } = await probe(worker, "limits");
      assertEquals([unknown.code, unknown.retryable, unknown.ambiguous], [
        "transition-unknown",
        false,
        false,
      ]);
      assertEquals([tooLarge.code, tooLarge.retryable, tooLarge.ambiguous], [
        "value-too-large",
        false,
        false,
      ]);
      assert(!/secret|nobody/.test(unknown.message + tooLarge.message));
      assertEquals(rest, { nothing: null, back: 30, fits: 1_900_000 });
    },
  );

  await t.step("a call that broke is a typed error, ambiguous if it writes", async () => {
    const { write, read } = await probe(worker, "faults");
    assertEquals([write.code, write.ambiguous], ["backend-unavailable", true]);
    assertEquals([read.code, read.ambiguous], ["backend-unavailable", false]);
    assert(!/secret|crashed/.test(write.message + read.message));
  });

  await t.step(
    "waiters are notified of a release at once, and otherwise ask only after their bound",
    async () => {
      const { turns, calls } = await probe(worker, "wait", "bound=60000");
      // No waiter polls before the bound of a minute.
      assert(Math.max(...turns) < 20_000, `turns after the release: ${turns}`);
      // All three look twice and wait; of n that are notified of a release one gets the lock and n - 1 wait again; four releases.
      assert(calls.transact <= 3 + 3 + (3 + 2 + 1) + 4 && calls.watch <= 3 + 2 + 1, JSON.stringify(calls));
    },
  );

  await t.step("a wait that ends at its bound is asked again, and one that a crash ended too", async () => {
    for (const query of ["bound=20&again", "bound=60000&crash", "bound=20&crash"]) {
      const { turns, calls } = await probe(worker, "wait", query);
      assert(Math.max(...turns) < 20_000, `turns after the release: ${turns}`);
      // A crash ends every wait, and nothing is notified after it: the turns themselves show that all asked again.
      if (!query.endsWith("crash")) assert(calls.watch > 3, JSON.stringify(calls));
    }
  });

  await t.step("calls of one request that follow each other share a timer", async () => {
    assertEquals(await probe(worker, "timers"), [1, 1]);
  });

  await t.step("no request depends on the timer of another one, which ends with it", async () => {
    const ends = await Promise.all(
      Array.from({ length: 24 }, (_, i) => probe(worker, "hangs", i % 3 === 0 ? "hang" : "")),
    );
    assertEquals(ends, Array.from({ length: 24 }, (_, i) => i % 3 === 0 ? "timeout" : "done"));
  });

  await t.step("no call is held longer than 20 seconds", async () => {
    const { short, longest, woken, stale } = await probe(worker, "bound");
    assertEquals([short.changed, woken, stale], [false, true, true]);
    assertEquals(longest, 20_000);
  });
});

workerdTest("Durable Objects under a compatibility_date without RPC", async () => {
  await using worker = await startWorkerd({
    entry: new URL("objects_worker.ts", import.meta.url),
    durableObjects: { HOLDFAST: "ProbeObject", FOREIGN: "ForeignObject" },
    compatibilityDate: "2024-04-02",
  });
  const { code, retryable, message } = await probe(worker, "foreign");
  assertEquals([code, retryable], ["misconfigured", false]);
  assert(message.includes("2024-04-03"), message);
});

workerdTest(
  "Durable Objects of a class without SQLite storage: a misconfiguration, and no outage",
  async () => {
    await using worker = await startWorkerd({
      script: `
      import { createThrottle } from "@holdfast/edge";
      import { durableObjectStore } from "@holdfast/edge/durable-objects";
      export { HoldfastObject } from "@holdfast/edge/durable-objects/object";
      const answer = (error) => ({ code: error.code, message: error.message });
      export default {
        async fetch(_request, env) {
          const store = durableObjectStore(env.HOLDFAST);
          const throttle = createThrottle(store, { name: "api", limit: 1, window: "1m", timeout: "1m" });
          return Response.json({
            checked: await throttle.check("visitor").catch(answer),
            read: await store.get("key").catch(answer),
            written: await store.set("key", 1).catch(answer),
          });
        },
      };`,
      durableObjects: { HOLDFAST: "HoldfastObject" },
      sqlite: false,
    });
    const found = await probe(worker, "");
    for (const call of ["checked", "read", "written"]) {
      assertEquals([call, found[call].code], [call, "misconfigured"]);
      assert(found[call].message.includes("new_sqlite_classes"), found[call].message);
    }
  },
);
