/**
 * Microseconds of Redis per call: `deno task bench:redis`. They are those of `INFO commandstats`, so neither the endpoint nor
 * the client counts. Every line runs in turn, several times over, on the same server. They are microseconds of the wall: a
 * batch is a hundred calls, about as long as a time slice. Of a round the lower quartile of the batches counts, since Redis counts whole
 * microseconds of each command, and the least batch would flatter what takes less than one; of the rounds, the least.
 *
 * The second table takes a script apart: what one costs that does nothing, and what each of its steps adds. `bench/redis.md`
 * has a run of both, and what follows from it.
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

const BATCH = 100;
const BATCHES = Number(Deno.env.get("BATCHES") ?? 8);
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

async function measured(batch: (from: number) => Promise<unknown>, round: number): Promise<number> {
  const usecs: number[] = [];
  for (let i = 0; i < BATCHES; i++) {
    await control.send(["CONFIG", "RESETSTAT"]);
    await batch(1000 + (round * BATCHES + i) * BATCH);
    usecs.push(await spent() / BATCH);
  }
  return usecs.sort((a, b) => a - b)[BATCHES >> 2]!;
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
    const lock = await locks.acquire(`again-${i % BATCH}`, { ttl: "1m" });
    await lock!.release();
  }],
  ["@upstash/lock acquire and release", async (i) => {
    const lock = new UpstashLock({ id: `again-${i % BATCH}`, redis: client as never, lease: 60_000 });
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

/** The steps of scripts, in Lua: what is measured is a script of that step alone. */
const KEYS = ["holdfast:step", "holdfast://0123456789abcdef"];
const ARGS = ["0123456789abcdef", "60000", "1", "x"];
const SUMMARY = "1764374986000123 1764374986000122 1764374986000 0 1764374986000 1 1 0 0 0";
const STEPS: [string, string][] = [
  ["a script that does nothing", ""],
  ["TIME", "redis.call('TIME')"],
  ["HMGET of four fields", "redis.call('HMGET', KEYS[1], 'a', 'b', 'c', 'd')"],
  ["HGETALL of fourteen fields", "redis.call('HGETALL', 'holdfast:session')"],
  [
    "SET NX PX of a new key: the memory of a call",
    "redis.call('SET', KEYS[2] .. ARGV[5], '=', 'NX', 'PX', '60000')",
  ],
  ["HSET of one field", "redis.call('HSET', KEYS[1], 'a', ARGV[4])"],
  ["HSET of four fields", "redis.call('HSET', KEYS[1], 'a', ARGV[4], 'b', '1', 'c', '2', 'd', '3')"],
  ["PEXPIREAT", "redis.call('PEXPIREAT', KEYS[1], '1999999999999')"],
  ["ten numbers of a text", `string.match('${SUMMARY}', '^${Array(10).fill("(%d+)").join(" ")}$')`],
  [
    "a text of ten numbers",
    `string.format('${Array(10).fill("%d").join(" ")}', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)`,
  ],
];

/** Loads a script of a step, and answers how it is called for the i-th time. */
async function step(lua: string, keys: string[], args: string[]): Promise<(i: number) => string[]> {
  const [sha] = await control.send(["SCRIPT", "LOAD", `${lua} return '='`]);
  const call = ["EVALSHA", decoder.decode(sha as Uint8Array), String(keys.length), ...keys, ...args];
  return (i) => keys.length === 0 ? call : [...call, String(i)];
}

const fields = Array.from({ length: 14 }, (_, i) => [`field${i}`, "0123456789"]).flat();
await control.send(["HSET", "holdfast:session", ...fields]);
const steps: [string, (i: number) => string[]][] = [
  ["a script without keys and arguments", await step("", [], [])],
];
for (const [name, lua] of STEPS) steps.push([name, await step(lua, KEYS, ARGS)]);
const alone = new Map<string, number>();
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, call] of LINES) {
    if (!ONLY.test(name)) continue;
    const all = (from: number) => Promise.all(Array.from({ length: BATCH }, (_, k) => call(from + k)));
    best.set(name, Math.min(best.get(name) ?? Infinity, await measured(all, round)));
  }
  for (const [name, command] of steps) {
    const all = (from: number) => control.send(...Array.from({ length: BATCH }, (_, k) => command(from + k)));
    alone.set(name, Math.min(alone.get(name) ?? Infinity, await measured(all, round)));
  }
}
const empty = alone.get(STEPS[0]![0])!;
const added = steps.slice(2).map(([name]): [string, number] => [`+ ${name}`, alone.get(name)! - empty]);
const table = (rows: Iterable<[string, number]>) =>
  Array.from(rows, ([name, usec]) => `| ${name} | ${usec.toFixed(2)} |`).join("\n");
const head = (what: string) => `| ${what} | µs |\n| --- | --: |\n`;
// deno-lint-ignore no-console
console.log(
  `${head("call")}${table(best)}\n\n${head("step of a script")}${
    table([...[...alone].slice(0, 2), ...added])
  }`,
);
control.close();
Deno.exit(0); // the SDK keeps sockets
