/**
 * A real Redis Cluster of three masters: every contract on it, through the cluster clients of ioredis and
 * node-redis.
 */
import { Cluster } from "ioredis";
import { createCluster } from "redis";
import { type AtomicStore, createIdempotency, createLocks } from "@holdfast/edge";
import { type RedisScripts, upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { contracts } from "../support/contracts.ts";
import { type RedisCluster, startCluster } from "../support/redis_server.ts";
import { inVirtualTime } from "../support/virtual_time.ts";

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms + 2));

/** A cluster client, fitted as the documentation says, and the words of every error that it met. */
interface Fitted extends AsyncDisposable {
  readonly client: RedisScripts;
  readonly words: Set<string>;
}

function noted(client: RedisScripts, words: Set<string>): RedisScripts {
  const note = <T>(reply: Promise<T>) =>
    reply.catch((error: Error) => {
      words.add(error.message.split(" ")[0]!);
      throw error;
    });
  return {
    evalsha: (sha, keys, args) => note(client.evalsha(sha, keys, args)),
    eval: (script, keys, args) => note(client.eval(script, keys, args)),
  };
}

const clients: Record<string, (cluster: RedisCluster) => Promise<Fitted>> = {
  async "ioredis Cluster"({ ports }) {
    const redis = new Cluster(ports.map((port) => ({ host: "127.0.0.1", port })), { lazyConnect: true });
    await redis.connect();
    const words = new Set<string>();
    const client: RedisScripts = {
      evalsha: (sha, keys, args) => redis.evalsha(sha, keys.length, ...keys, ...args),
      eval: (script, keys, args) => redis.eval(script, keys.length, ...keys, ...args),
    };
    return {
      client: noted(client, words),
      words,
      async [Symbol.asyncDispose]() {
        const ended = new Promise((resolve) => redis.once("end", resolve));
        redis.disconnect();
        await ended;
      },
    };
  },
  async "node-redis cluster"({ ports }) {
    const redis = createCluster({ rootNodes: ports.map((port) => ({ url: `redis://127.0.0.1:${port}` })) });
    await redis.connect();
    const words = new Set<string>();
    const client: RedisScripts = {
      evalsha: (sha, keys, args) => redis.evalSha(sha, { keys, arguments: args }),
      eval: (script, keys, args) => redis.eval(script, { keys, arguments: args }),
    };
    return {
      client: noted(client, words),
      words,
      [Symbol.asyncDispose]() {
        redis.destroy();
        return Promise.resolve();
      },
    };
  },
};

/** Keys with everything that could change their slot. */
const KEYS = Array.from({ length: 200 }, (_, i) => [`k${i}`, `{k${i}`, `a}b${i}`, `{t}${i}`, `%7B${i}{}`])
  .flat();

async function spread(store: AtomicStore): Promise<void> {
  await store.setMany(KEYS.map((key, i) => [key, i] as const));
  assertEquals(await store.getMany(KEYS), KEYS.map((_, i) => i));
  const listed: string[] = [];
  for await (const key of store.list({ prefix: "{" })) listed.push(key);
  assertEquals(
    listed.sort(),
    KEYS.filter((key) => key.startsWith("{")).sort(),
    "keys of every node are listed",
  );
  assertEquals(await store.deleteMany(KEYS.slice(0, 100)), 100);
  assertEquals(await store.clear(), { deleted: KEYS.length - 100, done: true });
  assertEquals(await store.getMany(KEYS), KEYS.map(() => undefined));
  const locks = createLocks(store);
  for (const key of KEYS.slice(0, 20)) {
    const lock = await locks.acquire(key, { ttl: "1m" });
    assert(await lock!.release());
    assertEquals((await store.increment(key)).value, 1);
    assertEquals((await createIdempotency(store).begin(key)).state, "new");
  }
  await store.clear();
}

Deno.test({
  name: "Redis Cluster: contracts, many keys and listings, without a redirection to another slot",
  sanitizeOps: false, // the clients keep sockets and timers
  sanitizeResources: false,
  async fn(t) {
    await using cluster = await startCluster();
    for (const [name, connect] of Object.entries(clients)) {
      await using fitted = await connect(cluster);
      for (const prefix of ["spread", "{tagged}"]) {
        await t.step(
          `${name}, prefix ${prefix}: 1,000 keys are set, read, listed, deleted and cleared`,
          async () => {
            await spread(upstashStore(fitted.client, { prefix: `${prefix}-${name}` }));
          },
        );
      }
      await t.step(`${name}: two stores on one cluster clear their own keys alone`, async () => {
        const [one, other] = ["tenant-1", "tenant-10"].map((prefix) =>
          upstashStore(fitted.client, { prefix })
        );
        await other!.setMany(KEYS.slice(0, 50).map((key) => [key, key]));
        assertEquals((await one!.clear()).deleted, 0);
        assertEquals((await other!.clear()).deleted, 50);
      });
      // One client is enough for all contracts; the other shows that the stores are the same. Sessions are left out: they
      // use what is tested here.
      for (const [contract, laws] of Object.entries(contracts)) {
        if (contract.startsWith("session")) continue;
        if (name !== "ioredis Cluster" && !contract.endsWith("store")) continue;
        for (const law of laws) {
          await t.step(`${name}: ${contract}: ${law.name}`, async () => {
            const prefix = crypto.randomUUID();
            // Reads of many values and listings go by Redis' own expiry, which knows no virtual time.
            const subject = contract === "key-value store"
              ? { store: upstashStore(fitted.client, { prefix }), wait }
              : inVirtualTime((clock) =>
                upstashStore(fitted.client, { prefix, virtualTime: () => clock.now() })
              );
            await law.run({ ...subject, listsTwice: true });
          });
        }
      }
      assertEquals([...fitted.words].filter((word) => word !== "NOSCRIPT" && word !== "ERR"), []);
    }
    const used = await Promise.all(cluster.nodes.map((node) => node.send("INFO", "commandstats")));
    for (const stats of used) assert(new TextDecoder().decode(stats as Uint8Array).includes("cmdstat_hset"));
  },
});

Deno.test("Redis Cluster: a client without cluster support is an error that names the cause", async () => {
  await using cluster = await startCluster(1);
  const { Redis } = await import("ioredis");
  const redis = new Redis(cluster.ports[0]!, "127.0.0.1", { lazyConnect: true });
  await redis.connect();
  try {
    const crossing: RedisScripts = {
      evalsha: (sha, keys, args) => redis.evalsha(sha, keys.length + 1, ...keys, "elsewhere", ...args),
      eval: (script, keys, args) => redis.eval(script, keys.length + 1, ...keys, "elsewhere", ...args),
    };
    const error = await assertRejects(() => upstashStore(crossing).get("key")) as Error & { code: string };
    assertEquals(error.code, "misconfigured");
    assert(error.message.includes("CROSSSLOT") && error.message.includes("hash tag"));
    // One master has every slot: nothing else of ours crosses slots.
    await spread(upstashStore({
      evalsha: (sha, keys, args) => redis.evalsha(sha, keys.length, ...keys, ...args),
      eval: (script, keys, args) => redis.eval(script, keys.length, ...keys, ...args),
    }));
  } finally {
    const ended = new Promise((resolve) => redis.once("end", resolve));
    redis.disconnect();
    await ended;
  }
});

Deno.test("Redis Cluster: braces in a prefix that are no hash tag are refused", () => {
  const client = { evalsha: () => Promise.resolve(null), eval: () => Promise.resolve(null) };
  for (const prefix of ["{", "a{}b", "}{", "a}"]) {
    assertThrows(() => upstashStore(client, { prefix }), TypeError);
  }
  for (const prefix of ["{a}", "x{a}y", "", "a:b"]) upstashStore(client, { prefix });
});
