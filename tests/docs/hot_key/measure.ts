/**
 * Measures how long each engine's server is busy with one call of a key, and writes it to `measured.json`, the input of the
 * simulation: `deno run -A tests/docs/hot_key/measure.ts`. Medians of rounds, as the machine has other work, too.
 */
import { type AtomicStore, createLocks, createThrottle } from "@holdfast/edge";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { upstashStore } from "@holdfast/edge/upstash";
import { startRedis } from "../../support/redis_server.ts";
import { startUpstash } from "../../support/upstash_server.ts";
import { startWorkerd } from "../../support/workerd.ts";

const [ROUNDS, CALLS] = [9, 100];

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** Milliseconds with three digits. */
const rounded = (milliseconds: number) => Number(milliseconds.toPrecision(3));

/** The calls that are measured; each is a transition or two on one key. */
async function work(store: AtomicStore, times: number): Promise<number> {
  const throttle = createThrottle(store, { name: "hot", limit: 1_000_000, window: "1m" });
  const locks = createLocks(store);
  for (let i = 0; i < times; i++) {
    await store.increment("hot");
    await throttle.check("hot");
    await (await locks.acquire("hot", { ttl: "1m" }))!.release();
  }
  return times * 4;
}

/** Redis' own figures of its scripts. */
async function redisService(): Promise<number> {
  await using redis = await startRedis();
  await using endpoint = await startUpstash(redis.port);
  const store = upstashStore(endpoint);
  await work(store, 10);
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await redis.send("CONFIG", "RESETSTAT");
    await work(store, CALLS);
    const stats = new TextDecoder().decode(await redis.send("INFO", "commandstats") as Uint8Array);
    rounds.push(Number(/cmdstat_evalsha:.*usec_per_call=([\d.]+)/.exec(stats)![1]) / 1000);
  }
  return median(rounds);
}

/** 32 calls at a time to one object in workerd: it is never idle, so the time of all is its own. */
async function objectService(): Promise<number> {
  await using worker = await startWorkerd({
    script: `
      import { durableObjectStore } from "@holdfast/edge/durable-objects";
      export { HoldfastObject } from "@holdfast/edge/durable-objects/object";
      export default {
        async fetch(_request, env) {
          const store = durableObjectStore(env.HOLDFAST);
          for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 32 }, () => store.increment("hot")));
          return new Response("done");
        },
      };`,
    durableObjects: { HOLDFAST: "HoldfastObject" },
    persist: await Deno.makeTempDir(),
  });
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    await (await worker.fetch("/")).text();
    rounds.push((performance.now() - began) / 320);
  }
  return median(rounds);
}

/** A transition is a reading and a commit: half of its time each, on a database in a file. */
async function denoKvService(): Promise<number> {
  const folder = await Deno.makeTempDir();
  using kv = await Deno.openKv(`${folder}/hot.db`);
  const store = denoKvStore(kv);
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    for (let i = 0; i < CALLS; i++) await store.increment("hot");
    rounds.push((performance.now() - began) / CALLS / 2);
  }
  return median(rounds);
}

const measured = {
  on: new Date().toISOString().slice(0, 10),
  machine: `${navigator.hardwareConcurrency} processors, Deno ${Deno.version.deno}`,
  milliseconds: {
    "Upstash, Redis": rounded(await redisService()),
    "Durable Objects": rounded(await objectService()),
    "Deno KV": rounded(await denoKvService()),
  },
};
await Deno.writeTextFile(new URL("measured.json", import.meta.url), `${JSON.stringify(measured, null, 2)}\n`);
