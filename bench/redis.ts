/**
 * Microseconds of Redis per call: `deno task bench:redis`. They are those of `INFO commandstats`, so neither the endpoint nor
 * the client counts. Every line runs in turn, several times over, on the same server. They are microseconds of the wall: a
 * batch is twenty calls, shorter than a time slice, and of all batches the least is shown, so other load hardly counts.
 */
import { Lock as UpstashLock } from "@upstash/lock";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import {
  createIdempotency,
  createLocks,
  createSessions,
  createThrottle,
  type ThrottlePolicy,
} from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import { startRedis } from "../tests/support/redis_server.ts";
import { RespConnection } from "../tests/support/resp.ts";
import { startUpstash } from "../tests/support/upstash_server.ts";

const BATCH = 20;
const BATCHES = Number(Deno.env.get("BATCHES") ?? 20);
const ONLY = new RegExp(Deno.env.get("ONLY") ?? "");
const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 5);

await using redis = await startRedis();
await using server = await startUpstash(redis.port);
const client = new Redis({ url: server.url, token: server.token });
const store = upstashStore({ url: server.url, token: server.token });

const decoder = new TextDecoder();

/** The time that Redis spent on commands from outside since the last reset, in microseconds. */
async function spent(): Promise<number> {
  const text = decoder.decode((await control.send(["INFO", "commandstats"]))[0] as Uint8Array);
  const all = new Map(
    Array.from(
      text.matchAll(/cmdstat_([^:]+):calls=(\d+),usec=(\d+)/g),
      ([, name, , usec]) => [name, Number(usec)],
    ),
  );
  // A script's time includes that of its commands, which have lines of their own.
  for (const own of ["info", "config|resetstat"]) all.delete(own);
  const scripts = (all.get("evalsha") ?? 0) + (all.get("eval") ?? 0);
  return scripts > 0 ? scripts : [...all.values()].reduce((sum, usec) => sum + usec, 0);
}

/** One connection for what is asked of the server itself. */
const control = await RespConnection.open(redis.port);

async function measured(call: (i: number) => Promise<unknown>, from: number): Promise<number> {
  let least = Infinity;
  for (let i = from; i < from + BATCH * BATCHES; i += BATCH) {
    await control.send(["CONFIG", "RESETSTAT"]);
    await Promise.all(Array.from({ length: BATCH }, (_, k) => call(i + k)));
    least = Math.min(least, await spent() / BATCH);
  }
  return least;
}

const gate = (policy: Partial<ThrottlePolicy>) =>
  createThrottle(store, { name: "api", limit: 1_000_000, window: "1h", ...policy } as never);
const peer = (limiter: ReturnType<typeof Ratelimit.fixedWindow>) =>
  new Ratelimit({ redis: client, limiter, ephemeralCache: false });
const gates = {
  fixed: gate({ algorithm: "fixed-window" }),
  sliding: gate({ algorithm: "sliding-window" }),
  gcra: gate({}),
  two: createThrottle(store, {
    name: "api",
    policies: [
      { name: "second", limit: 1_000_000, window: "1s" },
      { name: "hour", limit: 1_000_000, window: "1h" },
    ],
  }),
};
const peers = {
  fixed: peer(Ratelimit.fixedWindow(1_000_000, "1 h")),
  sliding: peer(Ratelimit.slidingWindow(1_000_000, "1 h")),
  bucket: peer(Ratelimit.tokenBucket(1_000_000, "1 h", 1_000_000)),
};
const locks = createLocks(store);
const idempotency = createIdempotency(store);
const sessions = createSessions(store);
const many = 1_000_000;
await client.set("plain", "a value of some length");
await store.set("plain", "a value of some length");
await store.set("ttl", "a value of some length", { ttl: "1h" });
const session = sessions.open(null);
session.set("userId", "ada");
session.set("cart", ["one", "two"]);
const cookie = (await sessions.commit(session))!;

const held: unknown[] = [];
const claims: { claim: Parameters<typeof idempotency.complete>[0] }[] = [];
const LINES: [string, (i: number) => Promise<unknown>][] = [
  ["GET", () => client.get("plain")],
  ["get", () => store.get("plain")],
  ["get, with a ttl", () => store.get("ttl")],
  ["SET", () => client.set("plain", "a value of some length")],
  ["set", () => store.set("plain", "a value of some length")],
  ["SET PX", () => client.set("plain2", "a value of some length", { px: 3_600_000 })],
  ["set, with a ttl", () => store.set("ttl", "a value of some length", { ttl: "1h" })],
  ["INCR", () => client.incr("count")],
  ["increment", () => store.increment("count")],
  ["increment, with a ttl", () => store.increment("count-ttl", { ttl: "1h" })],
  ["@upstash/ratelimit fixed", () => peers.fixed.limit("ada")],
  ["throttle fixed", () => gates.fixed.check("ada-f")],
  ["@upstash/ratelimit sliding", () => peers.sliding.limit("ada")],
  ["throttle sliding", () => gates.sliding.check("ada-s")],
  ["@upstash/ratelimit token bucket", () => peers.bucket.limit("ada")],
  ["throttle gcra", () => gates.gcra.check("ada-g")],
  ["@upstash/ratelimit twice", async () => {
    await peers.fixed.limit("bob");
    await peers.fixed.limit("cy");
  }],
  ["throttle, two policies", () => gates.two.check("ada-two")],
  ["lock acquire", async (i) => held[i % many] = await locks.acquire(`key-${i % 50}-${i}`, { ttl: "1m" })],
  ["lock release", (i) => (held[i % many] as { release(): Promise<unknown> }).release()],
  ["lock acquire and release", async (i) => {
    const lock = await locks.acquire(`again-${i % 20}`, { ttl: "1m" });
    await lock!.release();
  }],
  ["@upstash/lock acquire and release", async (i) => {
    const lock = new UpstashLock({ id: `again-${i % 20}`, redis: client as never, lease: 60_000 });
    await lock.acquire();
    await lock.release();
  }],
  ["idempotency begin", async (i) => {
    const begun = await idempotency.begin(`order-${i}`);
    if (begun.state === "new") claims[i] = begun as never;
  }],
  ["idempotency complete", (i) => idempotency.complete(claims[i]!.claim, { charged: true })],
  ["idempotency replay", (i) => idempotency.begin(`order-${i}`)],
  ["session load", async () => {
    await sessions.open(cookie.split(";")[0]!).get("userId");
  }],
];

const best = new Map<string, number>();
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, call] of LINES) {
    if (!ONLY.test(name)) continue;
    const usec = await measured(call, 1000 + round * BATCH * BATCHES);
    best.set(name, Math.min(best.get(name) ?? Infinity, usec));
  }
}
// deno-lint-ignore no-console
for (const [name, usec] of best) console.log(`${name.padEnd(36)} ${usec.toFixed(2)}`);
control.close();
