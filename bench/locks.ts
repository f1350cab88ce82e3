/**
 * Locks beside their peers, in one run: `deno task bench:locks`. One redis-server, one Upstash-compatible
 * REST endpoint for all who speak HTTP; redlock speaks RESP, so its bytes and throughput are another
 * protocol's. Ratios count, not the figures: every round runs all contenders, in turns, and the median of the
 * rounds is printed.
 */
// deno-lint-ignore-file no-console
import { Lock as PeerLock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { Redis as IoRedis } from "ioredis";
import redlockModule from "redlock";
import { createLocks } from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import { someFault } from "../tests/checks/faulty_store.ts";
import { type Acquire, heldLock, runWorkload, shown } from "../tests/checks/lock_workload.ts";
import { ownProcess } from "../tests/support/own_process.ts";
import { Random } from "../tests/support/random.ts";
import { startRedis } from "../tests/support/redis_server.ts";
import { startUpstash } from "../tests/support/upstash_server.ts";

const TTL = 10_000;
const DELAY = 5;
const ROUNDS = 5;
const SEQUENTIAL = 60;
const CONCURRENT = 64;
const CYCLES = 50;
const SPRINTS = 15;
const SECTIONS = Number(Deno.env.get("CHECK_SECTIONS") ?? 25);

/** Stands before Redis: counts what is sent to it, and holds every request up. */
function startProxy(redisPort: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const proxy = {
    port: (listener.addr as Deno.NetAddr).port,
    delay: 0,
    requests: 0,
    bytes: 0,
    close: () => listener.close(),
  };
  (async () => {
    for await (const client of listener) {
      const server = await Deno.connect({ hostname: "127.0.0.1", port: redisPort });
      client.setNoDelay(true);
      server.setNoDelay(true);
      server.readable.pipeTo(client.writable).catch(() => {});
      const held = new TransformStream<Uint8Array, Uint8Array>({
        async transform(chunk, controller) {
          proxy.requests++;
          proxy.bytes += chunk.length;
          if (proxy.delay > 0) await new Promise((resolve) => setTimeout(resolve, proxy.delay));
          controller.enqueue(chunk);
        },
      });
      client.readable.pipeThrough(held).pipeTo(server.writable).catch(() => {});
    }
  })().catch(() => {});
  return proxy;
}

interface Grant {
  extend(): Promise<unknown>;
  release(): Promise<unknown>;
}

interface Contender {
  readonly name: string;
  acquire(key: string): Promise<Grant | undefined>;
}

await using redis = await startRedis();
await using upstash = await startUpstash(redis.port);
const proxy = startProxy(redis.port);
const { url, token } = upstash;
const sdk = new Redis({ url, token, enableTelemetry: false });
const tcp = new IoRedis(proxy.port, "127.0.0.1");
// deno-lint-ignore no-explicit-any
const Redlock = (redlockModule as any).default ?? redlockModule;
const redlock = new Redlock([tcp], { retryCount: 0 });

function ours(name: string, store: ReturnType<typeof upstashStore>): Contender {
  const locks = createLocks(store);
  return { name, acquire: (key) => locks.acquire(key, { ttl: TTL }) };
}

const own = ours("holdfast", upstashStore({ url, token }, { prefix: "own:" }));
const peer: Contender = {
  name: "@upstash/lock",
  async acquire(key) {
    const lock = new PeerLock({ id: key, redis: sdk as never, lease: TTL, retry: { attempts: 1, delay: 0 } });
    return await lock.acquire()
      ? { extend: () => lock.extend(TTL), release: () => lock.release() }
      : undefined;
  },
};
const contenders: readonly Contender[] = [
  own,
  ours("holdfast over the SDK", upstashStore(sdk, { prefix: "sdk:" })),
  peer,
  {
    name: "redlock, one node",
    async acquire(key) {
      let lock = await redlock.acquire([key], TTL).catch(() => undefined);
      return lock && { extend: async () => lock = await lock.extend(TTL), release: () => lock.release() };
    },
  },
];

const median = (all: number[]) => all.toSorted((a, b) => a - b)[all.length >> 1]!;
const percentile = (all: number[], p: number) => all.toSorted((a, b) => a - b)[Math.floor(all.length * p)]!;
const ratio = (a: number, b: number) => `${(a / b).toFixed(2)}x`;

async function counted(work: () => Promise<unknown>): Promise<{ requests: number; bytes: number }> {
  upstash.requests();
  const before = { ...proxy };
  await work();
  const http = upstash.requests();
  return {
    requests: http.length + proxy.requests - before.requests,
    bytes: http.reduce((sum, { bytes }) => sum + bytes, 0) + proxy.bytes - before.bytes,
  };
}

console.log("requests and body bytes per operation (after the first, which teaches the server its scripts)");
const costs = new Map<string, Record<string, { requests: number; bytes: number }>>();
for (const contender of contenders) {
  for (let round = 0; round < 2; round++) { // the first one warms up
    let grant: Grant | undefined;
    const cost = {
      acquire: await counted(async () => grant = await contender.acquire("cost")),
      refused: await counted(() => contender.acquire("cost")),
      extend: await counted(() => grant!.extend()),
      release: await counted(() => grant!.release()),
    };
    costs.set(contender.name, cost);
  }
  const cells = Object.entries(costs.get(contender.name)!).map(([name, { requests, bytes }]) =>
    `${name} ${requests} / ${bytes} B`
  );
  console.log(`  ${contender.name.padEnd(24)}${cells.join("   ")}`);
}
const cycle = (name: string) => costs.get(name)!.acquire!.bytes + costs.get(name)!.release!.bytes;
console.log(
  `  acquire + release, bytes of ours to @upstash/lock's: ${
    ratio(cycle(own.name), cycle(peer.name))
  }; with extend: ${
    ratio(
      cycle(own.name) + costs.get(own.name)!.extend!.bytes,
      cycle(peer.name) + costs.get(peer.name)!.extend!.bytes,
    )
  }`,
);

async function roundTrip(command: unknown[]): Promise<void> {
  const response = await fetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(command),
  });
  await response.text();
}

/** Notes how long each of its steps took. */
type Timed = (
  i: number,
  time: (name: string, work: () => Promise<unknown>) => Promise<void>,
) => Promise<void>;

/** Measures all candidates in turns, so that the load of the machine is the same for each. */
async function sequential(works: readonly Timed[]): Promise<Record<string, number[]>> {
  const times: Record<string, number[]> = {};
  for (let i = 0; i < SEQUENTIAL * ROUNDS; i++) {
    for (let k = 0; k < works.length; k++) {
      await works[(k + i) % works.length]!(i, async (name, work) => {
        const began = performance.now();
        await work();
        (times[name] ??= []).push(performance.now() - began);
      });
    }
  }
  return times;
}

upstash.fault = () => ({ delay: DELAY });
proxy.delay = DELAY;
console.log(`\none after the other, through a proxy that holds every request up for ${DELAY} ms`);
const times = await sequential([
  (_i, time) => time("one round trip (PING)", () => roundTrip(["PING"])),
  ...contenders.map((contender): Timed => async (_i, time) => {
    let grant: Grant | undefined;
    await time(`${contender.name}: acquire`, async () => grant = await contender.acquire("timed"));
    await time(`${contender.name}: release`, () => grant!.release());
  }),
]);
const trip = median(times["one round trip (PING)"]!);
for (const [name, all] of Object.entries(times).sort(([a], [b]) => a < b ? -1 : 1)) {
  console.log(
    `  ${name.padEnd(34)}p50 ${median(all).toFixed(2)} ms (${
      ratio(median(all), trip)
    } of a round trip)   p99 ${percentile(all, 0.99).toFixed(2)} ms`,
  );
}
upstash.fault = undefined;
proxy.delay = 0;

console.log(`\nacquire + release ${CONCURRENT} ways at once, no delay`);
const rates = new Map<string, number[]>();
const requests = new Map<string, number>();
for (let round = 0; round <= SPRINTS; round++) {
  for (let k = 0; k < contenders.length; k++) {
    const contender = contenders[(k + round) % contenders.length]!;
    const began = performance.now();
    const { requests: sent } = await counted(() =>
      Promise.all(Array.from({ length: CONCURRENT }, async (_, way) => {
        for (let i = 0; i < CYCLES; i++) await (await contender.acquire(`way-${way}`))!.release();
      }))
    );
    if (round === 0) continue; // warms up
    const seconds = (performance.now() - began) / 1000;
    rates.set(contender.name, [...rates.get(contender.name) ?? [], 2 * CONCURRENT * CYCLES / seconds]);
    requests.set(contender.name, sent / (2 * CONCURRENT * CYCLES));
  }
}
for (const [name, all] of rates) {
  // Rounds are compared with each other, as the machine's other work comes and goes.
  const times = median(all.map((rate, round) => rate / rates.get(peer.name)![round]!));
  console.log(
    `  ${name.padEnd(24)}${median(all).toFixed(0).padStart(7)} ops/s (${ratio(times, 1)} of @upstash/lock), ${
      requests.get(name)!.toFixed(3)
    } requests an operation`,
  );
}

console.log(
  "\nwhat a single command in place of the script would earn: SET NX PX GET, without token and queue",
);
{
  const set = (i: number) =>
    sdk.set(`fast:${i}`, "0123456789abcdefghijkl", { nx: true, get: true, px: TTL } as never);
  const { bytes } = await counted(() => set(-1));
  const seconds = async (work: (i: number) => Promise<unknown>) => {
    const began = performance.now();
    for (let i = 0; i < CYCLES; i++) {
      await Promise.all(Array.from({ length: CONCURRENT }, (_, way) => work(i * CONCURRENT + way)));
    }
    return (performance.now() - began) / 1000;
  };
  const overSdk = contenders[1]!;
  const [fast, script] = [[] as number[], [] as number[]];
  for (let round = 0; round < ROUNDS; round++) {
    await sdk.flushall();
    fast.push(await seconds(set));
    script.push(await seconds((i) => overSdk.acquire(`fast-${round}-${i}`)));
  }
  const ms = await sequential([
    (i, time) => time("fast", () => set(1e6 + i)),
    (i, time) => time("script", () => overSdk.acquire(`slow-${i}`)),
  ]);
  console.log(
    `  acquire alone, script to command: bytes ${ratio(costs.get(own.name)!.acquire!.bytes, bytes)}, p50 ${
      ratio(median(ms.script!), median(ms.fast!))
    } without a delay, time at ${CONCURRENT} ways ${ratio(median(script), median(fast))}`,
  );
}

console.log(`\nthe checker, 12 clients x ${SECTIONS} sections, pauses past the lease in 10 %`);
{
  const random = new Random(Math.floor(Math.random() * 2 ** 31));
  const mine = (): Acquire => {
    const locks = createLocks(ownProcess(upstashStore({ url, token }, { timeout: 1000 })));
    return async (key, ttl) => heldLock(await locks.acquire(key, { ttl, wait: "20s" }));
  };
  const theirs = (): Acquire => async (key, lease) => {
    const lock = new PeerLock({ id: key, redis: sdk as never, lease, retry: { attempts: 100, delay: 10 } });
    if (!await lock.acquire()) return undefined;
    return { fence: undefined, signal: undefined, release: () => lock.release() };
  };
  const red = (): Acquire => {
    const patient = new Redlock([tcp], { retryCount: 100, retryDelay: 10, retryJitter: 10 });
    return async (key, ttl) => {
      const lock = await patient.acquire([key], ttl);
      return { fence: undefined, signal: undefined, release: () => lock.release() };
    };
  };
  for (const rate of [0, 0.2]) {
    upstash.fault = () => someFault(random, rate);
    const all = {
      holdfast: mine,
      "@upstash/lock": theirs,
      redlock: red,
    };
    for (const [name, client] of Object.entries(all)) {
      if (name === "redlock" && rate > 0) continue; // it has no HTTP to break
      const clients = Array.from({ length: 12 }, client);
      const verdict = await runWorkload({ random, clients, sections: SECTIONS, pauses: 0.1 });
      console.log("  " + shown(`${name}, ${rate * 100} % faults`, verdict));
    }
  }
  upstash.fault = undefined;
}
tcp.disconnect();
proxy.close();
