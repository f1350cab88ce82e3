/**
 * createThrottle(): what is stored belongs to what is configured, faults, time limits, what is kept in the
 * process.
 */
import {
  type AtomicStore,
  createThrottle,
  HoldfastError,
  memoryStore,
  type Throttle,
  type ThrottleAlgorithm,
  type ThrottleOptions,
} from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import type { Fields, Transition } from "@holdfast/edge/engine";
import { throttle } from "@holdfast/edge/hono";
import { BINDING } from "../../src/store/binding.ts";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { startRedis } from "../support/redis_server.ts";
import { RespConnection } from "../support/resp.ts";
import { startUpstash } from "../support/upstash_server.ts";

const ALGORITHMS: readonly ThrottleAlgorithm[] = ["gcra", "fixed-window", "sliding-window"];
const DAY = 86_400_000;

/** A store whose calls end as `call` says, in every namespace. */
function failing(call: () => Promise<never>): AtomicStore {
  return new Proxy(memoryStore(), {
    get(target, name) {
      if (name === "namespace") return () => failing(call);
      return name === "transact" || name === "delete" ? call : Reflect.get(target, name);
    },
  });
}

/** Uses a policy up and answers the decision of the first denied call. */
async function usedUp(throttle: Throttle, key = "key", cost = 1) {
  for (;;) {
    const decision = await throttle.check(key, { cost });
    if (!decision.allowed) return decision;
  }
}

Deno.test("a deploy that changes the window never denies for longer than the new one", async () => {
  for (const algorithm of ALGORITHMS) {
    for (const [before, after] of [["1m", "1h"], ["1h", "1m"], ["1s", "1d"], ["1d", 250]] as const) {
      const store = memoryStore({ clock: new ManualClock() });
      const of = (window: typeof before | typeof after) =>
        createThrottle(store, { name: "api", limit: 10, window, algorithm, whenUnavailable: "throw" });
      await usedUp(of(before));
      const decision = await of(after).check("key");
      assertEquals([decision.allowed, decision.remaining], [true, 9], `${algorithm}: ${before} to ${after}`);
    }
  }
});

Deno.test("a plan that is raised helps at once, and one that is lowered denies within its own window", async () => {
  const plans = {
    free: { name: "plan", limit: 10, window: "1d" },
    pro: { name: "plan", limit: 1000, window: "1m" },
    more: { name: "plan", limit: 20, window: "1d" },
  } as const;
  for (const algorithm of ALGORITHMS) {
    const store = memoryStore({ clock: new ManualClock() });
    const of = (plan: keyof typeof plans) =>
      createThrottle(store, { name: "api", policies: [{ ...plans[plan], algorithm }] });
    await usedUp(of("free"));
    assertEquals((await of("pro").check("key")).allowed, true, algorithm);
    assertEquals((await of("more").check("key")).allowed, true, algorithm);
    await usedUp(of("more"));
    const { retryAfter } = await usedUp(of("free"));
    assert(retryAfter <= 2 * DAY, `${algorithm} denies for ${retryAfter} ms`);
    assertEquals((await of("pro").check("key")).allowed, true, algorithm);
  }
});

Deno.test("Upstash: a record never outlives its longest window by more than 20 seconds", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const connection = await RespConnection.open(redis.port);
  const store = upstashStore({ url: server.url, token: server.token });
  for (const algorithm of ALGORITHMS) {
    let longest = 0;
    for (
      const [window, milliseconds] of [["1s", 1000], ["1h", 3_600_000], ["1m", 60_000], ["1d", DAY]] as const
    ) {
      longest = Math.max(longest, milliseconds * (algorithm === "sliding-window" ? 2 : 1));
      const options = { limit: 10, window, algorithm, whenUnavailable: "throw", timeout: "1m" } as const;
      // All at once: of the shortest window, units come back as fast as a busy machine takes them one by one.
      const decision = await usedUp(createThrottle(store, { name: algorithm, ...options }), "key", 10);
      assert(decision.retryAfter <= 2 * milliseconds, `${algorithm}: ${decision.retryAfter} ms`);
      const [keys] = await connection.send(["KEYS", `*${algorithm}*`]) as [Uint8Array[]];
      assertEquals(keys.length, 1);
      const [left] = await connection.send(["PTTL", new TextDecoder().decode(keys[0])]);
      assert(Number(left) > 0 && Number(left) <= longest + 20_000, `${algorithm}: ${left} ms left`);
    }
  }
  connection.close();
});

Deno.test("counters of policies that are over leave the record, and a clock that steps back denies for a window at most", async () => {
  for (const algorithm of ALGORITHMS) {
    const clock = new ManualClock();
    const store = memoryStore({ clock });
    const of = (limit: number, window: number) =>
      createThrottle(store, { name: "api", limit, window, algorithm, whenUnavailable: "throw" });
    for (let i = 1; i <= 100; i++) {
      await of(i, 1000 + i).check("key");
      await clock.advance(15_000);
    }
    const record = await store.namespace("throttle").namespace("api").transact(
      { name: "test.read", apply: (record) => ({ output: { ...record } }) },
      "key",
      {},
    );
    assert(Object.keys(record).length <= 6, Object.keys(record).join(" "));
    await usedUp(of(2, 60_000));
    await clock.advance(-3_600_000);
    const { retryAfter } = await usedUp(of(2, 60_000));
    assert(retryAfter <= 120_000, `${algorithm}: ${retryAfter} ms after the step`);
    await clock.advance(retryAfter);
    assertEquals((await of(2, 60_000).check("key")).allowed, true, `${algorithm}: after the wait`);
  }
});

const throttles = (store: AtomicStore, options: Partial<ThrottleOptions> = {}) =>
  createThrottle(store, { name: "api", limit: 1, window: "1m", timeout: 20, ...options } as ThrottleOptions);
const CALLS: Record<string, (throttle: Throttle) => Promise<unknown>> = {
  check: (throttle) => throttle.check("key"),
  "check of cost 0": (throttle) => throttle.check("key", { cost: 0 }),
  peek: (throttle) => throttle.peek("key"),
  refund: (throttle) => throttle.refund("key", 1),
  block: (throttle) => throttle.block("key", "1m"),
  reset: (throttle) => throttle.reset("key"),
};

Deno.test("every call ends within its timeout when the store is silent, and the fault is reported", async () => {
  for (const [name, call] of Object.entries(CALLS)) {
    const faults: unknown[] = [];
    const onFault = (error: unknown) => void faults.push((error as HoldfastError).code);
    const silent = throttles(failing(() => new Promise(() => {})), { whenUnavailable: "throw", onFault });
    const error = await assertRejects(() => call(silent), HoldfastError);
    assertEquals([error.code, error.retryable, error.ambiguous], [
      "timeout",
      true,
      !/peek|of cost 0/.test(name),
    ], name);
    assertEquals(faults, ["timeout"], name);
  }
});

Deno.test("a misconfigured store throws from every call, and is reported each time", async () => {
  const fault = new HoldfastError("unauthorized", "Cannot use Redis as it refused the token: WRONGPASS");
  for (const whenUnavailable of ["allow", "deny"] as const) {
    const faults: unknown[] = [];
    const mine = throttles(failing(() => Promise.reject(fault)), {
      whenUnavailable,
      onFault: (error) => void faults.push(error),
    });
    for (const [name, call] of Object.entries(CALLS)) {
      assert(await assertRejects(() => call(mine)) === fault, name);
    }
    assertEquals(faults, Object.keys(CALLS).map(() => fault));
  }
});

Deno.test("bad input is thrown before any I/O and is no fault of the store's", async () => {
  let asked = 0;
  const faults: unknown[] = [];
  const counting = failing(() => (asked++, Promise.reject(new Error("asked"))));
  const mine = throttles(counting, { onFault: (error) => void faults.push(error) });
  for (const cost of [-1, 1.5, NaN]) await assertRejects(() => mine.check("key", { cost }), RangeError);
  for (const cost of [0, -1, NaN]) await assertRejects(() => mine.refund("key", cost), RangeError);
  for (const duration of [0, -1, "40000d"] as const) {
    await assertRejects(() => mine.block("key", duration), RangeError);
  }
  const keyed = throttles(memoryStore(), { onFault: (error) => void faults.push(error) });
  await assertRejects(() => keyed.check(""), TypeError);
  await assertRejects(() => keyed.check("x".repeat(100_000)), RangeError);
  assertEquals([asked, faults], [0, []]);
});

/** The same binding, with a store object of its own for each request. */
function perRequest(store: AtomicStore, binding: object, asked: { count: number }): AtomicStore {
  const wrap = (inner: AtomicStore, scope: string): AtomicStore =>
    new Proxy(inner, {
      get(target, name) {
        if (name === BINDING) return { object: binding, scope };
        if (name === "namespace") {
          return (part: string) => wrap(target.namespace(part), `${scope}/${encodeURIComponent(part)}`);
        }
        const value = Reflect.get(target, name);
        if (name !== "transact") return typeof value === "function" ? value.bind(target) : value;
        return (...args: Parameters<AtomicStore["transact"]>) => (asked.count++, target.transact(...args));
      },
    });
  return wrap(store, "");
}

Deno.test("a deny cache is kept per binding and name, for stores and throttles that are made anew for each request", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const asked = { count: 0 };
  const binding = {};
  const made = (name: string, limit = 1) =>
    createThrottle(perRequest(store, binding, asked), { name, limit, window: "1h", denyCache: "10s", clock });
  await usedUp(made("one"));
  asked.count = 0;
  for (let i = 0; i < 5; i++) assertEquals((await made("one").check("key")).allowed, false);
  assertEquals(asked.count, 0, "five requests, no call");
  assertEquals((await made("two").check("key")).allowed, true, "another name");
  assertEquals((await made("one", 2).check("key")).allowed, true, "a raised limit is not denied from memory");
  const { retryAfter } = await made("one").check("key");
  await clock.advance(10_000);
  asked.count = 0;
  assertEquals((await made("one").check("key")).retryAfter, retryAfter - 10_000);
  assertEquals(asked.count, 1, "after its time the store is asked");
  await made("one").reset("key");
  assertEquals((await made("one").check("key")).allowed, true, "a reset is seen at once in its own process");
  const still = new ManualClock();
  await usedUp(made("one"));
  asked.count = 0;
  await createThrottle(perRequest(store, binding, asked), {
    name: "one",
    limit: 1,
    window: "1h",
    denyCache: "10s",
    clock: still,
  }).check("key");
  assertEquals(asked.count, 1, "times of another clock mean nothing");
});

Deno.test("a deny cache keeps 10,000 denials, the latest", async () => {
  const clock = new ManualClock();
  const asked = { count: 0 };
  const store = perRequest(memoryStore({ clock, maxEntries: 50_000 }), {}, asked);
  const mine = createThrottle(store, { name: "many", limit: 1, window: "1h", denyCache: "1h", clock });
  for (let i = 0; i < 10_001; i++) {
    await mine.check(`key-${i}`);
    await mine.check(`key-${i}`);
  }
  asked.count = 0;
  await mine.check("key-1");
  assertEquals(asked.count, 0, "the oldest that is kept");
  await mine.check("key-0");
  assertEquals(asked.count, 1, "the one before it");
});

Deno.test("a single rule has the throttle's name, and each of several policies has its own", async () => {
  const store = memoryStore();
  const rule = { limit: 1, window: "1m" } as const;
  assertEquals(createThrottle(store, { name: "api", ...rule }).policies[0]!.name, "api");
  assertEquals(createThrottle(store, { name: "api", policies: [rule] }).policies[0]!.name, "api");
  const two = [{ name: "a", ...rule }, { name: "b", ...rule }];
  assertEquals(createThrottle(store, { name: "api", policies: two }).policies.map(({ name }) => name), [
    "a",
    "b",
  ]);
  assertThrows(() => createThrottle(store, { name: "api", policies: [rule, rule] }), RangeError);
  const refused = (make: () => unknown, message: RegExp) =>
    assertMatch(assertThrows(make, TypeError).message, message);
  // @ts-expect-error a throttle has a name
  refused(() => createThrottle(store, rule), /'name' of the throttle/);
  // @ts-expect-error a limit beside policies would count nothing
  refused(() => createThrottle(store, { name: "a", limit: 1, policies: two }), /'limit' and 'policies'/);
  // @ts-expect-error the same of the helper
  refused(() => throttle({ store, name: "a", window: "1m", policies: two }), /'window' and 'policies'/);
  // @ts-expect-error an algorithm has one name
  refused(() => createThrottle(store, { name: "a", ...rule, algorithm: "token-bucket" }), /'algorithm'/);
  // @ts-expect-error no option of that name
  refused(() => createThrottle(store, { name: "a", ...rule, namespace: "b" }), /no option 'namespace'/);
  // The throttle's name never meets the namespace of another contract.
  await createThrottle(store, { name: "lock", ...rule }).check("key");
  const keys: string[] = [];
  for await (const key of store.namespace("lock").list()) keys.push(key);
  assertEquals(keys, []);
});

Deno.test("a call has an id where a copy of it may arrive late, and none where the records are in this process", async () => {
  const inputs: Fields[] = [];
  const noting = (store: AtomicStore): AtomicStore => {
    const wrapper: AtomicStore = Object.create(store);
    wrapper.namespace = (name) => noting(store.namespace(name));
    wrapper.transact = (transition, key, input, options) => {
      inputs.push(input);
      return store.transact(transition, key, input, options);
    };
    return wrapper;
  };
  const memory = memoryStore();
  for (const store of [memory, noting(memory)]) {
    const throttle = createThrottle(store, { name: "api", limit: 9, window: "1m" });
    await throttle.check("ada");
    await throttle.block("eve", "1s");
  }
  assertEquals(inputs.length, 2);
  for (const { call } of inputs) assertMatch(call!, /^[0-9a-z]{2,20}$/);
  assertEquals(new Set(inputs.map(({ call }) => call)).size, 2);
  const read: Transition = { name: "test.read", apply: (record) => ({ output: record ?? {} }) };
  const { recentCalls } = await memory.namespace("throttle").namespace("api").transact(read, "ada", {});
  assertEquals(recentCalls, `${inputs[0]!.call},`); // the wrapper's call alone
});
