/** Throttles against a brute-force model, and under many parallel calls on every engine. */
import {
  type AtomicStore,
  type Clock,
  createThrottle,
  memoryStore,
  type ThrottleAlgorithm,
  type ThrottlePolicy,
} from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { Random } from "../support/random.ts";
import { startRedis } from "../support/redis_server.ts";
import { RespConnection } from "../support/resp.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { engines, steadily } from "./engines.ts";
import { type Admission, type ModelPolicy, overAdmission, ThrottleModel } from "./throttle_model.ts";

const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
const scale = Number(Deno.env.get("CHECKS") ?? 1);
const quiet = { sanitizeOps: false, sanitizeResources: false };
const ALGORITHMS: readonly ThrottleAlgorithm[] = ["gcra", "fixed-window", "sliding-window"];
const peek: Transition = { name: "test.peek", apply: (record) => ({ output: { ...record } }) };

/** Engines whose clock a test can move, as the model must know the time exactly. */
const timed: Record<
  string,
  (clock: Clock) => Promise<{ store: AtomicStore; close(): Promise<void> | void }>
> = {
  "memory": (clock) => Promise.resolve({ store: memoryStore({ clock }), close() {} }),
  async "Deno KV"(clock) {
    const kv = await Deno.openKv(":memory:");
    return { store: denoKvStore(kv, { clock }), close: () => kv.close() };
  },
  async "Upstash"(clock) {
    const redis = await startRedis();
    const upstash = await startUpstash(redis.port);
    const { url, token } = upstash;
    return {
      store: upstashStore({ url, token }, { virtualTime: () => clock.now() }),
      async close() {
        await upstash[Symbol.asyncDispose]();
        await redis[Symbol.asyncDispose]();
      },
    };
  },
};

/** The model's policy as a throttle takes it: only GCRA has a burst. */
function asked<Policy extends ModelPolicy>({ burst, ...policy }: Policy): ThrottlePolicy {
  return policy.algorithm === "gcra" ? { ...policy, burst } : policy;
}

/** A random history of one key, compared call by call. */
async function compare(store: AtomicStore, clock: ManualClock, random: Random, steps: number): Promise<void> {
  const policies = Array.from({ length: 1 + random.below(3) }, (_, i) => {
    const limit = 1 + random.below(8);
    const algorithm = random.pick(ALGORITHMS);
    const burst = algorithm === "gcra" ? 1 + random.below(8) : limit;
    return { name: `p${i}`, algorithm, limit, burst, window: random.pick([7, 100, 977, 5000]) };
  });
  const throttle = createThrottle(store, {
    name: "compared",
    policies: policies.map(asked),
    whenUnavailable: "throw",
    timeout: "2m",
  });
  const model = new ThrottleModel(policies as ModelPolicy[]);
  for (let step = 0; step < steps; step++) {
    await clock.advance(random.pick([0, 0, 1, random.below(50), random.below(500)]));
    const now = clock.now();
    const what = `step ${step} of ${JSON.stringify(policies)}`;
    if (random.chance(0.1)) {
      const units = 1 + random.below(3);
      const { policies } = await throttle.refund("key", units);
      assertEquals(policies.map(({ remaining }) => remaining), model.refund(units, now), `refund: ${what}`);
      continue;
    }
    if (random.chance(0.03)) {
      const milliseconds = 1 + random.below(300);
      await throttle.block("key", milliseconds);
      model.block(milliseconds, now);
    }
    const cost = random.pick([1, 1, 1, 2, 3, 9]);
    const before = await store.namespace("throttle").namespace("compared").transact(peek, "key", {});
    const decision = await throttle.check("key", { cost });
    const expected = model.check(cost, now);
    assertEquals(decision.allowed, expected.allowed, `allowed: ${what}`);
    assertEquals(
      decision.policies.map(({ remaining }) => remaining),
      expected.remaining,
      `remaining: ${what}`,
    );
    assertEquals(decision.retryAfter, expected.retryAfter, `retryAfter: ${what}`);
    if (decision.allowed) continue;
    const after = await store.namespace("throttle").namespace("compared").transact(peek, "key", {});
    assertEquals(after, before, `a denied call changed something: ${what}`);
  }
}

for (const [engine, open] of Object.entries(timed)) {
  Deno.test({
    name:
      `${engine}: every decision is the model's, and a denied call leaves the state byte for byte the same`,
    ...quiet,
    async fn() {
      const clock = new ManualClock();
      const { store, close } = await open(clock);
      try {
        const histories = (engine === "memory" ? 30 : 8) * scale;
        for (let i = 0; i < histories; i++) {
          const random = new Random(seed + i);
          await clock.advance(random.below(5000));
          await compare(store.namespace(`history-${i}`), clock, random, 60).catch((error) => {
            error.message += `\nSEED=${seed + i}`;
            throw error;
          });
        }
      } finally {
        await close();
      }
    },
  });
}

/** Many clients at once; what was admitted, with when it was asked and answered. */
async function crowd(
  stores: readonly AtomicStore[],
  policy: ThrottlePolicy & ModelPolicy,
  calls: number,
  options: { denyCache?: number } = {},
): Promise<{ admissions: Admission[]; faults: number }> {
  const clients = stores.map((store) =>
    createThrottle(store, {
      name: "crowd",
      policies: [asked(policy)],
      whenUnavailable: "throw",
      timeout: "2m",
      ...options,
    })
  );
  const admissions: Admission[] = [];
  let faults = 0;
  const call = async (i: number) => {
    const from = Date.now();
    try {
      const { allowed } = await clients[i % clients.length]!.check("key");
      if (allowed) admissions.push({ from, to: Date.now(), cost: 1 });
    } catch {
      faults++; // it may have counted, and it was not admitted
    }
  };
  // Waves, so that windows pass and units come back between them.
  const waves = 16;
  const pending: Promise<void>[] = [];
  for (let wave = 0; wave < waves; wave++) {
    for (let i = wave; i < calls; i += waves) pending.push(call(Math.floor(i / waves)));
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await Promise.all(pending);
  return { admissions, faults };
}

for (const [engine, open] of Object.entries(engines)) {
  Deno.test({
    name: `${engine}: 1,000 parallel checks under 20 % faults never pass the model's bound`,
    ...quiet,
    async fn() {
      for (const algorithm of ALGORITHMS) {
        const policy = { algorithm, limit: 50, window: 400, burst: 50 };
        const run = async () => {
          const { store, close } = await open(new Random(seed), 0.2);
          try {
            const found = await crowd(Array.from({ length: 8 }, store), policy, 1000 * scale);
            return { ...found, over: overAdmission(found.admissions, policy) };
          } finally {
            await close();
          }
        };
        const { admissions, faults, over } = await steadily(run, ({ over }) => over === 0);
        assertEquals(over, 0, `${algorithm}, ${admissions.length} admitted, SEED=${seed}`);
        assert(admissions.length >= 30 && faults > 0, `${admissions.length} admitted, ${faults} faults`);
      }
    },
  });

  Deno.test({
    name: `${engine}: checks with a deny cache never pass the model's bound either`,
    ...quiet,
    async fn() {
      const policy = { algorithm: "gcra", limit: 100, window: 400, burst: 100 } as const;
      const run = async () => {
        const { store, close } = await open(new Random(seed), 0.1);
        try {
          return (await crowd(Array.from({ length: 4 }, store), policy, 1000 * scale, { denyCache: 50 }))
            .admissions;
        } finally {
          await close();
        }
      };
      const admissions = await steadily(run, (admissions) => overAdmission(admissions, policy) === 0);
      assertEquals(overAdmission(admissions, policy), 0, `${admissions.length} admitted, SEED=${seed}`);
      assert(admissions.length >= 50, `${admissions.length} admitted`);
    },
  });
}

Deno.test("Upstash: a two-policy denial consumes neither, and its record stays byte for byte the same", async () => {
  await using redis = await startRedis();
  await using upstash = await startUpstash(redis.port);
  const connection = await RespConnection.open(redis.port);
  const throttle = createThrottle(upstashStore({ url: upstash.url, token: upstash.token }), {
    timeout: "1m",
    name: "two",
    policies: [{ name: "burst", limit: 5, window: "7d" }, {
      name: "day",
      limit: 2,
      window: "1d",
      algorithm: "fixed-window",
    }],
    whenUnavailable: "throw",
  });
  await throttle.check("key", { cost: 2 });
  const keys = async () => (await connection.send(["KEYS", "holdfast:*"]))[0] as Uint8Array[];
  const [key] = await keys();
  const dump = async () => (await connection.send(["DUMP", new TextDecoder().decode(key)]))[0];
  const before = await dump();
  for (let i = 0; i < 20; i++) assertEquals((await throttle.check("key")).allowed, false);
  assertEquals(await dump(), before);
  assertEquals((await throttle.peek("key")).policies.map(({ remaining }) => remaining), [3, 0]);
  for (const key of await keys()) {
    const [ttl] = await connection.send(["PTTL", new TextDecoder().decode(key)]);
    assert(Number(ttl) > 0, "no key without an expiry");
  }
  connection.close();
});

/** An engine that reads, waits and writes: two calls at once see the same record. */
function racy(store: AtomicStore): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return (space: string) => racy(target.namespace(space));
      if (name !== "transact") return Reflect.get(target, name);
      return async (...[transition, key, input]: Parameters<AtomicStore["transact"]>) => {
        const record = await target.transact(peek, key, {});
        await new Promise((resolve) => setTimeout(resolve, 1));
        const step = transition.apply(Object.keys(record).length ? record : undefined, input, Date.now());
        const { write } = step;
        if (write) {
          await target.transact({ name: "test.poke", apply: () => ({ output: {}, write }) }, key, {});
        }
        return step.output;
      };
    },
  });
}

Deno.test("the judge of crowds catches an engine that is not atomic", async () => {
  for (const algorithm of ALGORITHMS) {
    const policy = { algorithm, limit: 50, window: 60_000, burst: 50 };
    const { admissions } = await crowd([racy(memoryStore())], policy, 400);
    assert(overAdmission(admissions, policy) > 0, algorithm);
  }
});

Deno.test("the model comparison catches a policy that is off by one", async () => {
  const clock = new ManualClock();
  const wrong = new Proxy(memoryStore({ clock }), {
    get(target, name) {
      if (name === "namespace") return () => wrong;
      if (name !== "transact") return Reflect.get(target, name);
      return (...[transition, key, input, options]: Parameters<AtomicStore["transact"]>) => {
        const apply: Transition["apply"] = (record, input, now) => transition.apply(record, input, now + 1);
        return target.transact({ ...transition, apply }, key, input, options);
      };
    },
  });
  await assertRejects(async () => {
    for (let i = 0; i < 20; i++) await compare(wrong, clock, new Random(seed + i), 60);
  });
});

Deno.test("the judge of crowds flags more admissions than the bound", () => {
  const policy = { algorithm: "gcra", limit: 2, window: 1000, burst: 2 } as const;
  const at = (...times: number[]) => times.map((from) => ({ from, to: from, cost: 1 }));
  assertEquals(overAdmission(at(0, 0, 500, 1000), policy), 0);
  assertEquals(overAdmission(at(0, 0, 400), policy), 1);
  const windows = { ...policy, algorithm: "fixed-window" } as const;
  assertEquals(overAdmission(at(900, 900, 1000, 1000), windows), 0);
  assertEquals(overAdmission(at(1000, 1500, 1999), windows), 1);
});
