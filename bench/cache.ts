/**
 * The cache beside its peers, in one run: `deno task bench:cache`. Over one real Redis: commands and bytes of a hit, a miss, 64
 * misses at once and a hit with four tags. Ours goes through an Upstash-compatible endpoint (HTTP), its peers speak RESP: bytes
 * are counted at Redis for all. In memory: the time of a hit. Ratios count, not the figures.
 */
// deno-lint-ignore-file no-console
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { redisDriver } from "bentocache/drivers/redis";
import { Cacheable } from "cacheable";
import { Redis } from "ioredis";
import { memoryStore } from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { upstashStore } from "@holdfast/edge/upstash";
import { type RedisServer, startRedis } from "../tests/support/redis_server.ts";
import { startUpstash } from "../tests/support/upstash_server.ts";
import { type Node, peers } from "./cache_peers.ts";

interface Usage {
  readonly commands: number;
  readonly bytes: number;
}

/** Commands, those that scripts ran included, and bytes in and out, as Redis counts them. */
async function usage(redis: RedisServer): Promise<Usage> {
  const info = new TextDecoder().decode(await redis.send("INFO", "everything") as Uint8Array);
  const figure = (name: string) => Number(new RegExp(`${name}:(\\d+)`).exec(info)?.[1] ?? 0);
  const calls = [...info.matchAll(/cmdstat_([a-z|]+):calls=(\d+)/g)]
    .filter(([, name]) => !/^(info|hello|client|command|config|ping|select|quit)/.test(name!));
  const sum = calls.reduce((sum, [, , count]) => sum + Number(count), 0);
  return { commands: sum, bytes: figure("total_net_input_bytes") + figure("total_net_output_bytes") };
}

await using redis = await startRedis();
await using server = await startUpstash(redis.port);

/** The cost of an act at Redis; the cost of measuring is subtracted. */
async function cost(act: () => Promise<unknown>): Promise<Usage & { readonly requests: number }> {
  await usage(redis);
  const idle = [await usage(redis), await usage(redis)] as const;
  const own = idle[1].bytes - idle[0].bytes;
  server.requests();
  const before = await usage(redis);
  await act();
  const after = await usage(redis);
  return {
    commands: after.commands - before.commands,
    bytes: after.bytes - before.bytes - own,
    requests: server.requests().length,
  };
}

const value = { id: "rope", name: "Climbing rope", price: 8900 };
const fill = () => Promise.resolve(value);
const slowFill = async () => {
  await new Promise((resolve) => setTimeout(resolve, 100));
  return value;
};

/** Ours as its peers: one node, without tags or with four. */
function tagged(tags: readonly string[]): Node {
  const cache = createCache(upstashStore(server), { name: crypto.randomUUID() });
  return {
    get: (key, fill) => cache.get(key, fill, { ttl: "1h", tags }),
    invalidate: (key) => cache.invalidate(key),
  };
}

function bentoTagged(): Node {
  const connection = new Redis({ port: redis.port, host: "127.0.0.1" });
  const store = bentostore().useL2Layer(redisDriver({ connection, prefix: crypto.randomUUID() }));
  const cache = new BentoCache({ default: "main", stores: { main: store } });
  const tags = ["a", "b", "c", "d"];
  return {
    get: (key, factory) => cache.getOrSet({ key, factory, ttl: "1h", tags }),
    invalidate: (key) => cache.delete({ key }),
  };
}

const makers: Record<string, () => Node> = { "@holdfast/edge": () => tagged([]) };
for (const [name, make] of Object.entries(peers(redis.port))) makers[name] = () => make(crypto.randomUUID());

const shown = ({ commands, bytes, requests }: Awaited<ReturnType<typeof cost>>) =>
  `${commands} commands, ${bytes} B${requests > 0 ? `, ${requests} requests` : ""}`;

console.log("| at Redis | miss | hit | 64 misses at once on one node |\n| --- | --- | --- | --- |");
for (const [name, make] of Object.entries(makers)) {
  const node = make();
  await node.get("warm-up", fill);
  const miss = await cost(() => node.get("key", fill));
  const hit = await cost(() => node.get("key", fill));
  const many = await cost(() => Promise.all(Array.from({ length: 64 }, () => node.get("many", slowFill))));
  console.log(`| ${name} | ${shown(miss)} | ${shown(hit)} | ${shown(many)} |`);
}

console.log("\n| a hit with four tags, at Redis | |\n| --- | --- |");
for (
  const [name, node] of [["@holdfast/edge", tagged(["a", "b", "c", "d"])], [
    "bentocache",
    bentoTagged(),
  ]] as const
) {
  await node.get("key", fill);
  await node.get("key", fill);
  console.log(`| ${name} | ${shown(await cost(() => node.get("key", fill)))} |`);
}

const store = memoryStore();
const plain = store.namespace("plain");
await plain.set("key", value, { ttl: "1h" });
const inMemory = createCache(store, { name: "bench" });
const bento = new BentoCache({
  default: "main",
  stores: { main: bentostore().useL1Layer(memoryDriver({ maxItems: 100 })) },
});
const cacheable = new Cacheable();
const contenders: Record<string, () => Promise<unknown>> = {
  "the store's own get": () => plain.get("key"),
  "@holdfast/edge": () => inMemory.get("key", fill, { ttl: "1h" }),
  "bentocache": () => bento.getOrSet({ key: "key", factory: fill, ttl: "1h" }),
  "cacheable": () => cacheable.getOrSet("key", fill, { ttl: "1h" }),
};
const times = new Map<string, number[]>(Object.keys(contenders).map((name) => [name, []]));
for (let round = 0; round < 15; round++) {
  for (const [name, call] of Object.entries(contenders)) {
    const began = performance.now();
    for (let i = 0; i < 2000; i++) await call();
    times.get(name)!.push((performance.now() - began) / 2);
  }
}
console.log("\n| a hit in memory | µs | of the store's own get |\n| --- | --: | --: |");
const median = (name: string) => times.get(name)!.sort((a, b) => a - b)[7]!;
for (const name of times.keys()) {
  const ratio = median(name) / median("the store's own get");
  console.log(`| ${name} | ${median(name).toFixed(2)} | ${ratio.toFixed(2)} |`);
}
Deno.exit(0); // peers keep connections and timers open
