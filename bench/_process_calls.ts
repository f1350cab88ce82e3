/** The calls of the contracts on the memory store beside their peers; runs under Deno and Node, prints JSON. */
// deno-lint-ignore-file no-console
import process from "node:process";
import { LRUCache } from "lru-cache";
import { RateLimiterMemory } from "rate-limiter-flexible";
import { createIdempotency, createLocks, createSessions, createThrottle, memoryStore } from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { type Contender, interleaved, type Samples } from "./_rounds.ts";

const rounds = Number(process.env.ROUNDS ?? 5);
const ops = Number(process.env.OPS ?? 20_000);

const KEYS = Array.from({ length: 2000 }, (_, i) => `user:${i}`);
const loop = (call: (i: number) => unknown) => async (ops: number) => {
  for (let i = 0; i < ops; i++) await call(i);
};
const key = (i: number) => KEYS[i % KEYS.length]!;

const throttle = createThrottle(memoryStore(), { name: "bench", limit: 1e9, window: "60s" });
const fixed = createThrottle(memoryStore(), {
  name: "bench",
  limit: 1e9,
  window: "60s",
  algorithm: "fixed-window",
});
const flexible = new RateLimiterMemory({ points: 1e9, duration: 60 });
const idempotency = createIdempotency(memoryStore({ maxEntries: 1_000_000 }));
const locks = createLocks(memoryStore());
const values = memoryStore();
const cache = createCache(memoryStore(), { name: "bench" });
const lru = new LRUCache<string, { id: number; name: string }>({ max: 100_000, ttl: 60_000 });
const sessions = createSessions(memoryStore());
const VALUE = { id: 17, name: "Ada" };
for (const key of KEYS) {
  await values.set(key, VALUE, { ttl: "1h" });
  await cache.get(key, () => VALUE, { ttl: "1h" });
  lru.set(key, VALUE);
}
const first = sessions.open(null);
first.set("n", 1);
const cookie = (await sessions.commit(first))!.split(";")[0]!;
let unique = 0;

const groups: Record<string, { ops: number; contenders: Contender[] }> = {
  throttle: {
    ops,
    contenders: [
      { name: "holdfast throttle.check, gcra", run: loop((i) => throttle.check(key(i))) },
      { name: "holdfast throttle.check, fixed window", run: loop((i) => fixed.check(key(i))) },
      { name: "rate-limiter-flexible", run: loop((i) => flexible.consume(key(i))) },
    ],
  },
  idempotency: {
    ops: ops / 4,
    contenders: [
      { name: "idempotency.run, new", run: loop(() => idempotency.run(`order:${unique++}`, () => VALUE)) },
      {
        name: "idempotency.run, done",
        run: loop((i) => idempotency.run(`done:${i % 50}`, () => VALUE)),
      },
    ],
  },
  lock: {
    ops: ops / 2,
    contenders: [{
      name: "lock and release",
      run: loop(async (i) => await (await locks.acquire(key(i), { ttl: "30s" }))!.release()),
    }, {
      name: "lock with wait and release",
      run: loop(async (i) => await (await locks.acquire(key(i), { ttl: "30s", wait: "5s" }))!.release()),
    }],
  },
  cache: {
    ops: ops * 5,
    contenders: [
      { name: "memory store get", run: loop((i) => values.get(key(i))) },
      { name: "cache hit", run: loop((i) => cache.get(key(i), () => VALUE, { ttl: "1h" })) },
      { name: "lru-cache get, awaited", run: loop((i) => lru.get(key(i))) },
    ],
  },
  session: {
    ops: ops / 2,
    contenders: [
      { name: "session load", run: loop(() => sessions.open(cookie).get("n")) },
      {
        name: "session load and write",
        run: loop(async (i) => {
          const session = sessions.open(cookie);
          await session.get("n");
          session.set("n", i);
          await sessions.commit(session);
        }),
      },
      {
        name: "session create",
        run: loop(async (i) => {
          const session = sessions.open(null);
          session.set("n", i);
          await sessions.commit(session);
        }),
      },
    ],
  },
};
const only = process.env.ONLY;
const samples: Samples = {};
for (const [name, { ops, contenders }] of Object.entries(groups)) {
  if (only === undefined || only.split(",").includes(name)) {
    Object.assign(samples, await interleaved(contenders, { rounds, ops }));
  }
}
console.log("\n" + JSON.stringify(samples));
process.exit(0);
