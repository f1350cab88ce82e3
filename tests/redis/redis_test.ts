/**
 * Redis' own behaviour, beside the laws: kinds of clients, commands a call, restarts, forgotten scripts,
 * listings.
 */
import { Redis as UpstashRedis } from "@upstash/redis";
import {
  createIdempotency,
  createLocks,
  createSessions,
  createThrottle,
  HoldfastError,
} from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { createOutbox } from "@holdfast/edge/outbox";
import {
  createRedisStore,
  type RedisClient,
  redisStore,
  type RedisStoreOptions,
  throttleScripts,
} from "@holdfast/edge/redis";
import { Redis } from "ioredis";
import { createClient, createClientPool, createCluster } from "redis";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { contracts } from "../support/contracts.ts";
import { lawKept } from "../support/law_table.ts";
import { type RedisServer, startCluster, startRedis } from "../support/redis_server.ts";
import { runIn } from "../support/runtimes.ts";
import { clients, clusterClients } from "./_clients.ts";

const options = { sanitizeOps: false, sanitizeResources: false }; // the clients keep sockets and timers

/** The number of scripts and other commands that the server has run since it was asked last. */
async function commands(server: RedisServer): Promise<number> {
  const info = new TextDecoder().decode(await server.send("INFO", "commandstats") as Uint8Array);
  await server.send("CONFIG", "RESETSTAT");
  // Only what a client sends: the commands inside a script are counted too. What is read plainly has no script around it.
  const calls = (names: string) =>
    [...info.matchAll(new RegExp(`cmdstat_(?:${names}):calls=(\\d+)`, "g"))]
      .reduce((sum, [, n]) => sum + Number(n), 0);
  return calls("evalsha|eval") || calls("hgetall");
}

Deno.test({
  name: "Redis: a call is one command, through every client",
  ...options,
  async fn() {
    await using server = await startRedis();
    for (const [name, connect] of Object.entries(clients)) {
      await using connected = await connect(server.port);
      const store = redisStore(connected.client, { prefix: name });
      assertEquals(store.engine, "redis");
      const locks = createLocks(store);
      const throttle = createThrottle(store, {
        timeout: "1m",
        name: "api",
        limit: 100,
        window: "1m",
        whenUnavailable: "throw",
      });
      const calls: Record<string, [commands: number, call: (round: string) => Promise<unknown>]> = {
        get: [1, () => store.get("a")],
        set: [1, () => store.set("a", 1, { ttl: "1m" })],
        increment: [1, () => store.increment("n")],
        getMany: [1, () => store.getMany(["a", "b", "c"])],
        setMany: [1, () => store.setMany([["a", 1], ["b", 2]])],
        deleteMany: [1, () => store.deleteMany(["a", "b"])],
        "a lock and its release": [
          2,
          async (round) => await (await locks.acquire(round, { ttl: "1m" }))!.release(),
        ],
        "begin and complete": [2, (round) => createIdempotency(store).run(round, () => 1)],
        check: [1, () => throttle.check("visitor")],
      };
      for (const [call, [expected, run]] of Object.entries(calls)) {
        await run("first"); // teaches the server the script
        await commands(server);
        await run("second");
        assertEquals(await commands(server), expected, `${name}: ${call}`);
      }
    }
  },
});

Deno.test({
  name:
    "Redis: with the scripts of throttles alone a throttle is one command, and a lock works in two, through every client",
  ...options,
  async fn() {
    await using server = await startRedis();
    for (const [name, connect] of Object.entries(clients)) {
      await using connected = await connect(server.port);
      const lean = createRedisStore(connected.client, { prefix: name, scripts: [throttleScripts] });
      const whole = redisStore(connected.client, { prefix: name });
      const settings = { name: "api", limit: 3, window: "1h", timeout: "1m" } as const;
      const throttle = createThrottle(lean, settings);
      await throttle.check("ada"); // the server learns the script
      await commands(server);
      assertEquals((await throttle.check("ada")).remaining, 1, name);
      assertEquals(await commands(server), 1, name);
      // Both kinds of stores keep the same records.
      assertEquals((await createThrottle(whole, settings).check("ada")).remaining, 0, name);
      const lock = await createLocks(lean).acquire("key", { ttl: "1m" });
      assertEquals(await createLocks(whole).acquire("key", { ttl: "1m" }), undefined, name);
      await commands(server);
      assert(await lock!.release(), name);
      const count = await commands(server);
      assert(count >= 2 && count <= 4, `${name}: ${count} commands`); // two may be scripts that the server learns
      for (const scripts of [undefined, null, "all", [{}]]) {
        assertThrows(() => createRedisStore(connected.client, { scripts: scripts as never }), TypeError);
      }
    }
  },
});

Deno.test({
  name: "Redis: a value is read by a plain command, and by a script where a client might ask a replica",
  ...options,
  async fn() {
    await using server = await startRedis();
    await using cluster = await startCluster();
    const cached = createClient({
      url: `redis://127.0.0.1:${server.port}`,
      RESP: 3,
      clientSideCache: { ttl: 0, maxEntries: 0 },
    });
    await cached.connect();
    const scripts = async (servers: readonly RedisServer[]) => {
      const texts = await Promise.all(servers.map((one) => one.send("INFO", "commandstats")));
      await Promise.all(servers.map((one) => one.send("CONFIG", "RESETSTAT")));
      return texts.some((text) => /cmdstat_eval/.test(new TextDecoder().decode(text as Uint8Array)));
    };
    const read = async (client: RedisClient, servers: readonly RedisServer[]) => {
      const store = redisStore(client, { prefix: "plain" });
      await store.set("a", { text: "é" }, { ttl: "1m" });
      await scripts(servers);
      assertEquals([await store.get("a"), await store.get("none")], [{ text: "é" }, undefined]);
      return await scripts(servers);
    };
    try {
      for (const [name, connect] of Object.entries(clients)) {
        await using connected = await connect(server.port);
        assertEquals(await read(connected.client, [server]), false, name);
      }
      assertEquals(await read(cached as unknown as RedisClient, [server]), true, "a client with a cache");
      for (const [name, connect] of Object.entries(clusterClients)) {
        await using connected = await connect(cluster.ports);
        assertEquals(await read(connected.client, cluster.nodes), true, name);
      }
    } finally {
      cached.destroy();
    }
  },
});

Deno.test({
  name: "Redis: scripts that the server lost are loaded again, by every client",
  ...options,
  async fn() {
    await using server = await startRedis();
    await using cluster = await startCluster();
    const both = [
      ...Object.entries(clients).map(([name, connect]) => [name, () => connect(server.port)] as const),
      ...Object.entries(clusterClients).map(([name, connect]) =>
        [name, () => connect(cluster.ports)] as const
      ),
    ];
    for (const [name, connect] of both) {
      await using connected = await connect();
      const store = redisStore(connected.client, { prefix: name });
      assertEquals((await store.increment("n")).value, 1);
      for (const node of [server, ...cluster.nodes]) await node.send("SCRIPT", "FLUSH");
      assertEquals((await store.increment("n")).value, 2, name);
    }
  },
});

Deno.test({
  name: "Redis: after a restart of a killed server the store works again; calls meanwhile are outages",
  ...options,
  async fn() {
    await using server = await startRedis();
    const client = new Redis(server.port, "127.0.0.1", { retryStrategy: () => 20, maxRetriesPerRequest: 0 });
    client.on("error", () => {});
    const store = redisStore(client, { timeout: 5000 });
    await store.set("a", 1);
    await server.kill();
    const error = await assertRejects(() => store.set("a", 2), HoldfastError);
    assertEquals([error.code, error.retryable, error.ambiguous], ["backend-unavailable", true, true]);
    await server.start();
    for (let left = 1500;; left--) {
      try {
        await store.set("a", 3);
        break;
      } catch (error) {
        if (left === 0) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    assertEquals(await store.get("a"), 3);
    client.disconnect();
  },
});

Deno.test({
  name: "Redis: a listing loses no key that is there throughout while the table of keys grows and shrinks",
  ...options,
  async fn() {
    await using server = await startRedis();
    const client = new Redis(server.port, "127.0.0.1");
    const store = redisStore(client);
    const staying = Array.from({ length: 300 }, (_, i) => `staying-${i}`);
    await store.setMany(staying.map((key) => [key, 1] as const));
    for (const change of ["grows", "shrinks"]) {
      const seen: string[] = [];
      let cursor: string | undefined;
      let round = 0;
      do {
        const page = await store.listPage({ prefix: "staying-", limit: 20, cursor });
        seen.push(...page.keys);
        cursor = page.cursor;
        const others = Array.from({ length: 1000 }, (_, i) => `other-${round}-${i}`);
        if (change === "grows" && round < 16) await store.setMany(others.map((key) => [key, 1] as const));
        if (change === "shrinks" && round < 16) await store.deleteMany(others);
        round++;
      } while (cursor !== undefined);
      assertEquals(staying.filter((key) => !seen.includes(key)), [], `lost while it ${change}`);
    }
    client.disconnect();
  },
});

Deno.test({
  name:
    "Redis: a user with the commands that docs/engines/redis.md lists may do everything; with fewer it says so",
  ...options,
  async fn() {
    await using server = await startRedis();
    const page = await Deno.readTextFile("docs/engines/redis.md");
    const listed = /`(\+eval [+\w ]+)`/.exec(page)![1]!.split(" ");
    const allowed = ["on", ">secret", "~holdfast:*", ...listed];
    await server.send("ACL", "SETUSER", "app", ...allowed);
    const login = { username: "app", password: "secret", enableReadyCheck: false };
    const client = new Redis(server.port, "127.0.0.1", login);
    for (const store of [redisStore(client), createRedisStore(client, { scripts: [] })]) {
      await store.setMany([["a", 1], ["b", 2]], { ttl: "1m" });
      await store.set("a", 1);
      await store.touch("b", "1h");
      assertEquals([await store.exists("a"), await store.getMany(["a", "c"])], [true, [1, undefined]]);
      await store.increment("n", { ttl: "1m" });
      await createThrottle(store, { name: "door", limit: 9, window: "1m" }).check("ada");
      await createIdempotency(store).run("order", () => 1);
      await (await createLocks(store).acquire("job", { ttl: "30s", fair: true }))!.release();
      const sessions = createSessions(store);
      const session = sessions.open(null);
      session.login("ada");
      await sessions.commit(session);
      await sessions.revokeUser("ada");
      const cache = createCache(store, { name: "pages", whenUnavailable: "throw" });
      await cache.get("home", () => 1, { ttl: "1m", tags: ["all"] });
      await cache.invalidateTags(["all"]);
      const events = createOutbox<number>(store, { name: "events", handle: () => {} });
      await events.add(1);
      assertEquals((await events.drain()).done, 1);
      await store.deleteMany(["a", "b"]);
      assertEquals((await store.clear()).done, true);
    }
    await server.send("ACL", "SETUSER", "app", "-hset", "-set");
    const error = await assertRejects(() => redisStore(client).set("a", 1), HoldfastError);
    assertEquals([error.code, error.retryable], ["misconfigured", false]);
    assert(/user may not/.test(error.message), error.message);
    client.disconnect();
  },
});

Deno.test("redisStore() accepts each supported client, and names the remedy for others", async () => {
  const refused = (client: unknown, word: RegExp, options?: RedisStoreOptions) => {
    const error = assertThrows(() => redisStore(client as RedisClient, options), TypeError);
    assert(word.test(error.message), error.message);
  };
  refused(undefined, /ioredis, node-redis or Bun/);
  refused({}, /ioredis, node-redis or Bun/);
  refused(new UpstashRedis({ url: "https://x.upstash.io", token: "t" }), /upstashStore/);
  refused({ url: "https://x.upstash.io", token: "t" }, /upstashStore/);
  const node = createClient();
  refused(node, /no option 'prefx'/, { prefx: "a" } as never);
  refused(node, /'cluster' must be a boolean/, { cluster: "yes" as never });
  // Without connect() no call ever succeeds: no throttle may take that for an outage, and let requests pass.
  for (const client of [node, createClientPool(), createCluster({ rootNodes: [] })]) {
    const store = redisStore(client);
    for (const call of [() => store.get("a"), () => store.set("a", 1)]) {
      const error = await assertRejects(call, HoldfastError);
      assertEquals([error.code, error.ambiguous], ["misconfigured", false]);
      assert(/connect\(\)/.test(error.message), error.message);
    }
    const throttle = createThrottle(store, { name: "door", limit: 1, window: "1m" });
    assertEquals((await assertRejects(() => throttle.check("ada"), HoldfastError)).code, "misconfigured");
  }
});

Deno.test({
  name: "Redis, Bun: Bun's own client keeps every law, in Bun",
  ...options,
  async fn() {
    await using server = await startRedis();
    const { kept, broken } = await runIn<{ kept: Record<string, number>; broken: string[] }>(
      "bun",
      "tests/redis/bun_scenario.ts",
      { port: server.port },
    );
    assertEquals(broken, []);
    for (const [contract, laws] of Object.entries(contracts)) {
      assertEquals(kept[contract], laws.length, contract);
      for (let i = 0; i < laws.length; i++) lawKept("Redis, Bun", contract);
    }
  },
});
