/**
 * Tests of the Upstash engine beside the laws: requests per operation, order, exactness, namespaces, clients.
 */
import { Redis } from "@upstash/redis";
import { Redis as IoRedis } from "ioredis";
import { createClient } from "redis";
import {
  type AtomicStore,
  createIdempotency,
  createLocks,
  createSessions,
  createThrottle,
  HoldfastError,
} from "@holdfast/edge";
import { type RedisScripts, upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { type RedisServer, startRedis } from "../support/redis_server.ts";
import { startUpstash, type UpstashServer } from "../support/upstash_server.ts";

/** A test on a database of its own. */
function test(name: string, run: (server: UpstashServer, redis: RedisServer) => Promise<void>): void {
  Deno.test(`Upstash: ${name}`, async () => {
    await using redis = await startRedis();
    await using server = await startUpstash(redis.port);
    await run(server, redis);
  });
}

async function keys(redis: RedisServer): Promise<string[]> {
  const reply = await redis.send("KEYS", "*") as Uint8Array[];
  const all = reply.map((key) => new TextDecoder().decode(key)).sort();
  return all.filter((key) => !key.includes("//")); // replies are remembered for a minute
}

test("each operation of a contract is one request", async (server) => {
  const store = upstashStore(server);
  const costs: Record<string, number> = {};
  const cost = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    server.requests();
    const result = await work();
    costs[name] = server.requests().length;
    return result;
  };
  const locks = createLocks(store);
  const idempotency = createIdempotency(store);
  const limits = { limit: 2, window: "1m" } as const;
  const throttle = createThrottle(store, {
    timeout: "1m",
    name: "api",
    policies: [{ name: "a", ...limits }, { name: "b", ...limits }, {
      name: "c",
      ...limits,
      algorithm: "sliding-window",
    }],
  });
  const operations = async () => {
    await cost("set", () => store.set("key", 1));
    await cost("get", () => store.get("key"));
    await cost("exists", () => store.exists("key"));
    await cost("touch", () => store.touch("key", "1h"));
    await cost(
      "setMany of 100",
      () => store.setMany(Array.from({ length: 100 }, (_, i) => [`many-${i}`, i])),
    );
    await cost("getMany of 100", () => store.getMany(Array.from({ length: 100 }, (_, i) => `many-${i}`)));
    await cost(
      "deleteMany of 100",
      () => store.deleteMany(Array.from({ length: 100 }, (_, i) => `many-${i}`)),
    );
    await cost("compareAndSet", () => store.compareAndSet("key", 1, 2));
    await cost("setIfAbsent", () => store.setIfAbsent("key", 1));
    await cost("compareAndDelete", () => store.compareAndDelete("key", 2));
    await cost("getAndDelete", () => store.getAndDelete("key"));
    await cost("delete", () => store.delete("key"));
    await cost("increment", () => store.increment("counter", { ttl: "1m" }));
    const lock = await cost("acquire", () => locks.acquire("key", { ttl: "1m" }));
    await cost("acquire a held lock", () => locks.acquire("key", { ttl: "1m" }));
    await cost("extend", () => lock!.extend());
    await cost("inspect", () => locks.inspect("key"));
    await cost("release", () => lock!.release());
    const begun = await cost("begin", () => idempotency.begin("key"));
    if (begun.state === "new") await cost("complete", () => idempotency.complete(begun.claim, "done"));
    await cost("replay", () => idempotency.begin("key"));
    await cost("check of 3 policies", () => throttle.check("key"));
    await cost("peek", () => throttle.peek("key"));
    await cost("refund", () => throttle.refund("key", 1));
    await store.clear();
  };
  await operations(); // the server learns the scripts
  await operations();
  assertEquals(costs, Object.fromEntries(Object.keys(costs).map((name) => [name, 1])));
  report(`requests on Upstash: 1 for each of ${Object.keys(costs).join(", ")}`);
});

test("the usual call of a lock, a claim and a throttle reads no record whole", async (server, redis) => {
  const store = upstashStore(server);
  const [locks, keys] = [createLocks(store), createIdempotency(store)];
  const limit = { limit: 2, window: "1d" } as const;
  const policies = (["gcra", "fixed-window", "sliding-window"] as const).map((algorithm) => (
    { ...limit, algorithm, name: algorithm }
  ));
  const throttles = [
    ...policies.map((policy) => createThrottle(store, { ...policy, timeout: "1m" })),
    createThrottle(store, { name: "all", policies, timeout: "1m" }),
  ];
  const wholeReads = async () => {
    const stats = new TextDecoder().decode(await redis.send("INFO", "commandstats") as Uint8Array);
    return Number(/cmdstat_hgetall:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  for (let round = 0; round < 3; round++) {
    await using lock = await locks.acquire("key", { ttl: "1m" });
    await lock!.extend();
    const begun = await keys.begin(`key-${round}`);
    if (begun.state === "new") await keys.complete(begun.claim, "done");
    for (const [i, throttle] of throttles.entries()) await throttle.check(`key-${i}`); // the third time in vain
  }
  assertEquals(await wholeReads(), 0);
  await locks.inspect("key");
  assertEquals(await wholeReads(), 1, "what is not usual does");
});

test("a session that is not read sends no request", async (server) => {
  const sessions = createSessions(upstashStore(server));
  const session = sessions.open(`__Host-session=${"A".repeat(43)}`);
  assertEquals(await sessions.commit(session), undefined);
  assertEquals(server.requests().length, 0);
});

test("calls of one tick share a request and keep their order", async (server) => {
  const store = upstashStore(server);
  await store.set("key", 0);
  await store.get("key");
  await store.increment("counter");
  server.requests();
  const calls = Array.from(
    { length: 50 },
    (_, i) => [store.set("key", i), store.get("key"), store.increment("counter")],
  );
  const answers = await Promise.all(calls.flat());
  assertEquals(answers.filter((_, i) => i % 3 === 1), Array.from({ length: 50 }, (_, i) => i));
  assertEquals(server.requests().map(({ path }) => path), ["pipeline"]);
});

test("calls whose requests would be too large are split, in order", async (server) => {
  const store = upstashStore(server);
  const large = "x".repeat(300_000);
  await Promise.all(Array.from({ length: 12 }, (_, i) => store.set("key", `${large}${i}`)));
  assertEquals(await store.get("key"), `${large}11`);
  assert(server.requests().every(({ bytes }) => bytes <= 1_048_576), "each is within the limit");
});

test("a call that was aborted rejects at once, the others of its request go on", async (server) => {
  const store = upstashStore(server);
  await store.increment("counter");
  const [arrived, replied] = [Promise.withResolvers<void>(), Promise.withResolvers<undefined>()];
  server.fault = () => (arrived.resolve(), replied.promise);
  const controller = new AbortController();
  const aborted = store.increment("counter", { signal: controller.signal });
  const other = store.increment("counter");
  await arrived.promise;
  controller.abort(new Error("enough"));
  assertEquals((await assertRejects(() => aborted)).message, "enough");
  replied.resolve(undefined);
  assertEquals((await other).value, 3); // the aborted one was on its way
  server.fault = undefined;
  const late = AbortSignal.abort(new Error("before"));
  assertEquals((await assertRejects(() => store.increment("counter", { signal: late }))).message, "before");
  assertEquals((await store.increment("counter")).value, 4);
});

test("the sync token of the last reply is sent with the next request", async (server) => {
  const store = upstashStore(server);
  for (let i = 0; i < 3; i++) await store.set("key", i);
  const tokens = server.requests().map(({ syncToken }) => syncToken);
  assertEquals(tokens[0], null);
  assertEquals(tokens.slice(1), Array.from({ length: tokens.length - 1 }, (_, i) => `sync-${i + 1}`));
});

test("values are exact through the SDK, whatever it deserializes", async (server) => {
  const stores = [
    upstashStore(server),
    upstashStore(new Redis({ ...connection(server), enableTelemetry: false })),
  ];
  const values = [
    "123",
    "true",
    "null",
    '{"a":1}',
    "1e3",
    "9007199254740993",
    "~",
    "",
    "\u0000",
    [],
    {},
    null,
    1.5,
  ];
  for (const value of [...values, new Uint8Array([0, 255])]) {
    for (const store of stores) await store.set("key", value);
    for (const store of stores) assertEquals(await store.get("key"), value);
    assertEquals(await stores[1]!.compareAndSet("key", value, value), { set: true });
  }
});

test(
  "list and clear touch their own namespace alone, with any glob characters in its name",
  async (server, redis) => {
    const store = upstashStore(server, { prefix: "app*[1]?\\:" });
    await redis.send("SET", "app-other", "untouched");
    await redis.send("SET", "appX1Y\\:key", "untouched");
    for (const name of ["a*", "a?", "[a]", "a\\", "ab"]) await store.namespace(name).set("key", name);
    assertEquals(await store.namespace("a*").clear(), { deleted: 1, done: true });
    assertEquals(await store.namespace("ab").get("key"), "ab");
    assertEquals((await store.clear()).deleted, 4);
    assertEquals(await keys(redis), ["app-other", "appX1Y\\:key"]);
  },
);

test("30,000 keys are listed and cleared in requests that stay small", async (server, redis) => {
  const store = upstashStore(server).namespace("many");
  await store.setMany(Array.from({ length: 30_000 }, (_, i) => [`key-${i}`, i] as const));
  const seen = new Set<string>();
  for await (const key of store.list()) seen.add(key);
  assertEquals(seen.size, 30_000);
  assertEquals((await store.clear()).deleted, 30_000);
  assertEquals(await keys(redis), []);
  assert(server.requests().every(({ bytes }) => bytes <= 1_048_576));
});

test("records with a time to live and remembered replies expire by themselves", async (server, redis) => {
  const store = upstashStore(server);
  await store.increment("counter", { ttl: "1m" });
  await createThrottle(store, { name: "api", limit: 1, window: "1m", timeout: "1m" }).check("key");
  await (await createLocks(store).acquire("key", { ttl: "1m" }))!.release();
  const all = await redis.send("KEYS", "*") as Uint8Array[];
  assert(all.length > 3, "remembered replies are there too");
  for (const key of all) {
    assert(Number(await redis.send("PTTL", new TextDecoder().decode(key))) > 0, "it has an expiry");
  }
  const listed: string[] = [];
  for await (const key of store.list()) listed.push(key);
  assertEquals(listed, ["counter"], "a remembered reply is no key of the store");
});

test("a value is read by one plain command, a read-only token's too", async (server, redis) => {
  const store = upstashStore(server);
  await store.set("a", ["é", 1], { ttl: "1m" });
  await redis.send("HSET", "holdfast:other", "field", "of no value");
  await store.get("a");
  server.requests();
  assertEquals(await store.get("a"), ["é", 1]);
  assertEquals(await store.get("none"), undefined);
  const reader = upstashStore({ url: server.url, token: "read-only-token" });
  assertEquals(await reader.get("a"), ["é", 1]);
  assertEquals((await assertRejects(() => store.get("other"), HoldfastError)).code, "corrupt-record");
  const sent = server.requests().map(({ command }) => command);
  assertEquals(sent, ["a", "none", "a", "other"].map((key) => ["HGETALL", `holdfast:${key}`]));
});

test("Redis drops a value at its deadline, however it was written", async (server, redis) => {
  const store = upstashStore(server);
  const number = async (...command: string[]) =>
    Number(new TextDecoder().decode(await redis.send(...command) as Uint8Array));
  await store.set("set", 1, { ttl: "1m" });
  await store.setIfAbsent("absent", 1, { ttl: "1m" });
  await store.setMany([["many", 1]], { ttl: "1m" });
  await store.increment("count", { ttl: "1m" });
  await store.set("touched", 1);
  await store.touch("touched", "1m");
  for (const key of ["set", "absent", "many", "count", "touched"]) {
    // Redis keeps a key through the millisecond that it is told.
    const kept = Number(await redis.send("PEXPIRETIME", `holdfast:${key}`));
    assertEquals(kept + 1, await number("HGET", `holdfast:${key}`, "@"), key);
  }
});

test("a key that another program wrote is a typed error, and stays", async (server, redis) => {
  const store = upstashStore(server);
  await redis.send("SET", "holdfast:theirs", "untouched");
  const error = await assertRejects(() => store.get("theirs"), HoldfastError);
  assertEquals([error.code, error.retryable], ["corrupt-record", false]);
  assertEquals((await assertRejects(() => store.increment("theirs"), HoldfastError)).code, "corrupt-record");
  assertEquals(
    new TextDecoder().decode(await redis.send("GET", "holdfast:theirs") as Uint8Array),
    "untouched",
  );
});

test(
  "a value beyond the limit is a typed error before any I/O, one beyond the server's is typed too",
  async (_, redis) => {
    await using small = await startUpstash(redis.port, 100_000);
    const refused = await assertRejects(
      () => upstashStore(small).set("key", "x".repeat(1_000_000)),
      HoldfastError,
    );
    assertEquals([refused.code, small.requests().length], ["value-too-large", 0]);
    const error = await assertRejects(
      () => upstashStore(small).set("key", "x".repeat(200_000)),
      HoldfastError,
    );
    assertEquals([error.code, error.ambiguous], ["value-too-large", false]);
  },
);

test(
  "any client with eval is fitted in two lines: ioredis over TCP, without key locking",
  async (_, redis) => {
    const tcp = new IoRedis(redis.port, "127.0.0.1", { lazyConnect: true });
    await tcp.connect();
    const client: RedisScripts = {
      evalsha: (sha, keys, args) => tcp.evalsha(sha, keys.length, ...keys, ...args),
      eval: (script, keys, args) => tcp.eval(script, keys.length, ...keys, ...args),
    };
    const store = upstashStore(client);
    assertEquals(await exact(store), EXACT);
    tcp.disconnect();
    await new Promise((resolve) => tcp.once("end", resolve));
  },
);

test(
  "any client with eval is fitted in two lines: node-redis over TCP, without key locking",
  async (_, redis) => {
    const tcp = createClient({ url: `redis://127.0.0.1:${redis.port}` });
    await tcp.connect();
    const client: RedisScripts = {
      evalsha: (sha, keys, args) => tcp.evalSha(sha, { keys, arguments: args }),
      eval: (script, keys, args) => tcp.eval(script, { keys, arguments: args }),
    };
    const store = upstashStore(client);
    assertEquals(await exact(store), EXACT);
    for (const value of ["123", "\u0000", "\u{1F600}", new Uint8Array([0, 255]), { a: [] }]) {
      await store.set("key", value);
      assertEquals(await store.get("key"), value);
    }
    await redis.send("SET", "holdfast:theirs", "secret");
    const error = await assertRejects(() => store.get("theirs"), HoldfastError);
    assertEquals(error.code, "corrupt-record");
    tcp.destroy();
  },
);

Deno.test("Upstash: a reply that our scripts do not make is a typed error, ambiguous if the call writes", async () => {
  for (const reply of ["~[", "~1", "[]", { a: 1 }, undefined, null, 7, [1, "2"]]) {
    const store = upstashStore({ evalsha: () => Promise.resolve(reply), eval: () => Promise.resolve(reply) });
    const flags = async (call: () => Promise<unknown>) => {
      const { code, retryable, ambiguous } = await assertRejects(call, HoldfastError);
      return [code, retryable, ambiguous];
    };
    assertEquals(await flags(() => store.increment("key")), ["backend-unavailable", true, true]);
    assertEquals(await flags(() => store.setMany([["key", 1]])), ["backend-unavailable", true, true]);
    assertEquals(await flags(() => store.get("key")), ["backend-unavailable", true, false]);
    assertEquals(await flags(() => store.getMany(["key"])), ["backend-unavailable", true, false]);
    assertEquals(await flags(() => store.listPage()), ["backend-unavailable", true, false]);
    const throttle = createThrottle(store, {
      name: "api",
      limit: 1,
      window: "1m",
      whenUnavailable: "throw",
      timeout: "1m",
    });
    assertEquals(await flags(() => throttle.check("key")), ["backend-unavailable", true, true]);
    assertEquals(await flags(() => throttle.peek("key")), ["backend-unavailable", true, false]);
  }
});

const EXACT = { increments: 1000, grants: 1, begins: 1 };

async function exact(store: AtomicStore): Promise<typeof EXACT> {
  const times = <T>(n: number, work: () => Promise<T>) => Promise.all(Array.from({ length: n }, work));
  const locks = createLocks(store);
  const idempotency = createIdempotency(store);
  await times(1000, () => store.increment("n"));
  const grants = (await times(200, () => locks.acquire("key", { ttl: "1m" }))).filter(Boolean);
  const begun = (await times(100, () => idempotency.begin("key"))).filter(({ state }) => state === "new");
  await Promise.all(grants.map((lock) => lock!.release()));
  return { increments: await store.get<number>("n") ?? 0, grants: grants.length, begins: begun.length };
}

test("1,000 increments, 200 acquires and 100 begins at once give the exact answer", async (server) => {
  assertEquals(await exact(upstashStore(server)), EXACT);
});

Deno.test("upstashStore() refuses what is neither a client nor a connection", () => {
  for (
    const bad of [
      {},
      { url: "", token: "t" },
      { url: "ftp://x", token: "t" },
      { url: "https://x", token: "" },
      { evalsha: 1 },
      null,
    ]
  ) {
    assertThrows(() => upstashStore(bad as never), TypeError);
  }
  assertThrows(() => upstashStore({ url: "https://x", token: "t" }, { timeout: 0 }), RangeError);
});

function connection({ url, token }: UpstashServer): { url: string; token: string } {
  return { url, token };
}
