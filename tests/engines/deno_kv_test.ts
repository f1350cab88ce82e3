/** Deno KV's own behaviour, beside the laws. */
import { createIdempotency, createLocks, createThrottle, HoldfastError } from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { type DenoKv, denoKvStore } from "@holdfast/edge/deno-kv";
import { successor } from "../../src/store/key_text.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** Counts what goes to the database. */
function counted(kv: Deno.Kv): { kv: DenoKv; trips: () => number } {
  let trips = 0;
  const counting = new Set(["get", "set", "getMany", "list"]);
  const spy = new Proxy(kv as DenoKv, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (counting.has(String(name))) trips++;
        const result = value.apply(target, args);
        if (name !== "atomic") return result;
        const commit = result.commit.bind(result);
        result.commit = () => (trips++, commit());
        return result;
      };
    },
  });
  return {
    kv: spy,
    trips: () => {
      const since = trips;
      trips = 0;
      return since;
    },
  };
}

Deno.test("Deno KV: an uncontended transition is two round trips, a read or a plain write one", async () => {
  using real = await Deno.openKv(":memory:");
  const { kv, trips } = counted(real);
  const store = denoKvStore(kv);
  const costs: Record<string, number> = {};
  const cost = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    trips();
    const result = await work();
    costs[name] = trips();
    return result;
  };
  await cost("set", () => store.set("key", 1));
  await cost("get", () => store.get("key"));
  await cost("increment", () => store.increment("counter"));
  const lock = await cost("acquire", () => createLocks(store).acquire("key", { ttl: "1m" }));
  await cost("acquire a held one", () => createLocks(store).acquire("key", { ttl: "1m" }));
  await cost("extend", () => lock!.extend());
  await cost("release", () => lock!.release());
  const begun = await cost("begin", () => createIdempotency(store).begin("key"));
  if (begun.state === "new") await cost("complete", () => createIdempotency(store).complete(begun.claim, 1));
  await cost("replay", () => createIdempotency(store).begin("key"));
  const throttle = createThrottle(store, { name: "api", limit: 1, window: "1m", timeout: "1m" });
  await cost("check", () => throttle.check("key"));
  await cost("a denied check", () => throttle.check("key"));
  await cost(
    "100 increments at once",
    () => Promise.all(Array.from({ length: 100 }, () => store.increment("n"))),
  );
  assertEquals(costs, {
    "set": 1,
    "get": 1,
    "increment": 2,
    "acquire": 2,
    "acquire a held one": 1,
    "extend": 2,
    "release": 2,
    "begin": 2,
    "complete": 2,
    "replay": 1,
    "check": 2,
    "a denied check": 1,
    "100 increments at once": 4, // the first one alone, the other 99 together
  });
});

Deno.test("Deno KV: isolates that contend for a key lose nothing", async () => {
  const path = await Deno.makeTempFile();
  const opened = await Promise.all(Array.from({ length: 4 }, () => Deno.openKv(path)));
  try {
    const stores = opened.map((kv) => denoKvStore(kv));
    await Promise.all(
      stores.flatMap((store) => Array.from({ length: 50 }, () => store.increment("counter"))),
    );
    assertEquals(await stores[0]!.get("counter"), 200);
    const locks = await Promise.all(stores.map((store) => createLocks(store).acquire("key", { ttl: "1m" })));
    assertEquals(locks.filter(Boolean).length, 1);
    await Promise.all(locks.map((lock) => lock?.release()));
  } finally {
    for (const kv of opened) kv.close();
  }
});

Deno.test("Deno KV: values stored on disk are there when the database is opened again", async () => {
  const path = await Deno.makeTempFile();
  {
    using kv = await Deno.openKv(path);
    await denoKvStore(kv).namespace("room").set("key", { kept: true });
  }
  using kv = await Deno.openKv(path);
  assertEquals(await denoKvStore(kv).namespace("room").get("key"), { kept: true });
});

Deno.test("Deno KV: a value beyond 64 KiB is a typed error before any I/O, and one below fits", async () => {
  using kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  for (const value of ["x".repeat(70_000), "\u{1F600}".repeat(20_000), new Uint8Array(60_000)]) {
    const error = await assertRejects(() => store.set("key", value), HoldfastError);
    assertEquals(error.code, "value-too-large");
  }
  for (const value of ["x".repeat(65_000), "\u4e2d".repeat(32_000), new Uint8Array(48_000)]) {
    await store.set("key", value);
    assertEquals(await store.get("key"), value);
  }
});

Deno.test("Deno KV: the longest ttl is taken", async () => {
  const ttl = Number.MAX_SAFE_INTEGER;
  using kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  await store.set("a", 1, { ttl });
  assertEquals(await store.setIfAbsent("b", 2, { ttl }), { set: true });
  assertEquals(await store.getMany(["a", "b"]), [1, 2]);
});

Deno.test("Deno KV: clear goes beyond the limit of one atomic operation", async () => {
  using kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  await store.setMany(Array.from({ length: 2500 }, (_, i) => [`key-${i}`, i] as const));
  await kv.set(["mine"], "untouched");
  assertEquals(await store.clear(), { deleted: 2500, done: true });
  assertEquals((await kv.get(["mine"])).value, "untouched");
});

Deno.test("Deno KV: a waiter is notified of a release, without polling", async () => {
  using real = await Deno.openKv(":memory:");
  const { kv, trips } = counted(real);
  const locks = createLocks(denoKvStore(kv));
  const first = await locks.acquire("key", { ttl: "2m" });
  const waiting = locks.acquire("key", { ttl: "2m", wait: "1m" });
  await new Promise((resolve) => setTimeout(resolve, 300));
  trips();
  await first!.release();
  const second = await waiting;
  assertEquals(await second!.release(), "released");
  assertEquals(trips() <= 8, true, "release 2, acquire 2, release 2, and one more look at most");
});

/** A database that does not reply until told to. */
function silent(kv: Deno.Kv): { kv: DenoKv; speak: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const held = (name: "get" | "set" | "getMany") => async (...args: unknown[]) => {
    await promise;
    return await (kv[name] as (...args: unknown[]) => Promise<unknown>)(...args);
  };
  const spy = new Proxy(kv as DenoKv, {
    get(target, name) {
      if (name === "get" || name === "set" || name === "getMany") return held(name);
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { kv: spy, speak: resolve };
}

Deno.test("Deno KV: a call that is given up rejects at once, and one that still waited for its turn is never run", async () => {
  using real = await Deno.openKv(":memory:");
  const { kv, speak } = silent(real);
  const store = denoKvStore(kv);
  const first = store.increment("n");
  const controller = new AbortController();
  const { signal } = controller;
  const calls = [
    store.increment("n", { signal }),
    store.get("n", { signal }),
    store.set("other", 1, { signal }),
    store.getMany(["n"], { signal }),
    store.deleteMany(["n"], { signal }),
  ];
  const outcomes = Promise.allSettled(calls);
  const reason = new Error("enough");
  controller.abort(reason);
  for (const outcome of await outcomes) {
    assertEquals([outcome.status, outcome.status === "rejected" && outcome.reason], ["rejected", reason]);
  }
  speak();
  assertEquals((await first).value, 1);
  assertEquals((await store.increment("n")).value, 2);
});

Deno.test("Deno KV: a call without a reply is a timeout, ambiguous if it writes", async () => {
  using real = await Deno.openKv(":memory:");
  const store = denoKvStore(silent(real).kv, { timeout: 30 });
  const flags = async (call: () => Promise<unknown>) => {
    const { code, retryable, ambiguous } = await assertRejects(call, HoldfastError);
    return [code, retryable, ambiguous];
  };
  assertEquals(await flags(() => store.get("key")), ["timeout", true, false]);
  assertEquals(await flags(() => store.set("key", 1)), ["timeout", true, true]);
  // It was still reading: nothing can have been written.
  assertEquals(await flags(() => store.increment("key")), ["timeout", true, false]);
  assertThrows(() => denoKvStore(real, { timeout: 0 }), RangeError);
});

Deno.test("Deno KV: of calls that share a commit, one that fails fails alone", async () => {
  using kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  const grow: Transition = {
    name: "test.grow",
    apply: (record, { by }) => {
      if (by === undefined) throw new TypeError("by nothing");
      const text = (record?.text ?? "") + "x".repeat(Number(by));
      return { output: { length: String(text.length) }, write: { record: { text } } };
    },
  };
  const inputs = [{ by: "1" }, { by: "2" }, { by: "70000" }, {}, { by: "3" }] as Record<string, string>[];
  const outcomes = await Promise.allSettled(inputs.map((input) => store.transact(grow, "key", input)));
  assertEquals(
    outcomes.map((outcome) => outcome.status === "fulfilled" ? outcome.value.length : outcome.reason.name),
    ["1", "3", "HoldfastError", "TypeError", "6"],
  );
});

Deno.test("Deno KV: a lease ends early by how far another clock is ahead, and not at all with a lockDelay above that", async () => {
  using kv = await Deno.openKv(":memory:");
  const AHEAD = 300;
  for (const lockDelay of [undefined, AHEAD]) {
    const clock = new ManualClock();
    const ahead = { ...clockOf(clock), now: () => clock.now() + AHEAD };
    const [behind, before] = [clock, ahead].map((clock) =>
      createLocks(denoKvStore(kv, { clock }).namespace(String(lockDelay)), { clock })
    );
    const options = { ttl: 1000, lockDelay };
    const first = await behind!.acquire("key", options);
    const early = lockDelay === undefined ? AHEAD : 0;
    await clock.advance(1000 - early - 1);
    assertEquals(await before!.acquire("key", options), undefined, "a millisecond too soon");
    await clock.advance(1);
    const second = await before!.acquire("key", options);
    assert(second!.fencingToken > first!.fencingToken, "the token is higher");
    if (lockDelay !== undefined) assertEquals(first!.signal.aborted, true, "its holder knew");
    await second!.release();
    const third = await behind!.acquire("key", options);
    assert(third!.fencingToken > second!.fencingToken, "by the clock that is behind, too");
    await third!.release();
  }
});

function clockOf(clock: ManualClock): Omit<ManualClock, "advance"> {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    sleep: (milliseconds, signal) => clock.sleep(milliseconds, signal),
  };
}

Deno.test("denoKvStore() refuses an object that is not a Deno KV", () => {
  assertThrows(() => denoKvStore({} as DenoKv), TypeError);
});

Deno.test("Deno KV: a prefix that leaves no room for keys is refused when the store is made, and the longest works", async () => {
  using kv = await Deno.openKv(":memory:");
  assertThrows(() => denoKvStore(kv, { prefix: "x".repeat(257) }), RangeError);
  assertThrows(() => denoKvStore(kv, { prefix: "x".repeat(5000) }), RangeError);
  assertThrows(() => denoKvStore(kv, { prefix: "\ud800" }), TypeError);
  assertThrows(() => denoKvStore(kv, { prefx: "x" } as never), TypeError);
  for (const prefix of ["", "x".repeat(256)]) {
    const store = denoKvStore(kv, { prefix });
    const longest = "k".repeat(store.limits.maxKeyBytes);
    await store.set(longest, 1);
    assertEquals((await store.increment(longest)).value, 2);
    assertEquals(await store.getMany([longest]), [2]);
    const pages = await store.listPage({ limit: 1 });
    assertEquals([pages.keys, (await store.listPage({ cursor: pages.cursor })).keys], [[longest], []]);
    assertEquals(await store.deleteMany([longest]), 1);
    await assertRejects(() => store.set(longest + "k", 1), RangeError);
    // A NUL takes two bytes there.
    await assertRejects(() => store.set("\0".repeat(1100), 1), RangeError);
    await assertRejects(() => store.increment("\0".repeat(1100)), RangeError);
    await store.set("\0".repeat(800), 1);
    assertEquals(await store.clear(), { deleted: 1, done: true });
  }
});

Deno.test("Deno KV: 500 long keys are deleted at once, and two callers count each key once", async () => {
  using kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  const keys = Array.from({ length: 500 }, (_, i) => `${i}`.padEnd(1800, "k"));
  await store.setMany(keys.map((key) => [key, 1]));
  const counts = await Promise.all([store.deleteMany(keys), store.deleteMany(keys), store.clear()]);
  const [a, b, { deleted }] = counts;
  assertEquals(a + b + deleted, 500);
  assertEquals(await store.clear(), { deleted: 0, done: true });
});

Deno.test("Deno KV: keys that begin with the last code point are listed and cleared, with every prefix", async () => {
  using kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  const keys = ["\u{10ffff}", "\u{10ffff}a", "\u{10ffff}\u{10ffff}b", "\ud7ffx", "\ue000x", "z\u{10ffff}y"];
  await store.setMany(keys.map((key) => [key, 1]));
  const found = async (prefix?: string) => (await store.listPage({ prefix })).keys;
  assertEquals(new Set(await found()), new Set(keys));
  assertEquals(await found("\u{10ffff}"), keys.slice(0, 3));
  assertEquals(await found("\u{10ffff}\u{10ffff}"), ["\u{10ffff}\u{10ffff}b"]);
  assertEquals(await found("\ud7ff"), ["\ud7ffx"]);
  assertEquals(await found("z\u{10ffff}"), ["z\u{10ffff}y"]);
  assertEquals((await store.clear()).deleted, keys.length);
});

Deno.test("Deno KV: 4,096 calls wait for one key, one more is refused, and another key is free", async () => {
  using real = await Deno.openKv(":memory:");
  const { kv, speak } = silent(real);
  const store = denoKvStore(kv);
  const calls = Array.from({ length: 4097 }, () => store.increment("hot"));
  const other = store.increment("other");
  const error = await assertRejects(() => store.increment("hot"), HoldfastError);
  assertEquals([error.code, error.retryable, error.ambiguous], ["contention", true, false]);
  speak();
  assertEquals(new Set((await Promise.all(calls)).map(({ value }) => value)).size, 4097);
  assertEquals((await other).value, 1);
  assertEquals((await store.increment("hot")).value, 4098);
});

Deno.test("Deno KV: the timeout of a call includes its wait for the key, and a call that timed out there never runs", async () => {
  using real = await Deno.openKv(":memory:");
  const { kv, speak } = silent(real);
  const store = denoKvStore(kv, { timeout: 50 });
  const calls = Array.from({ length: 3 }, () => assertRejects(() => store.increment("n"), HoldfastError));
  for (const error of await Promise.all(calls)) {
    assertEquals([error.code, error.retryable, error.ambiguous], ["timeout", true, false]);
  }
  speak();
  await new Promise((resolve) => setTimeout(resolve, 50));
  // With time enough for a busy machine.
  assertEquals((await denoKvStore(real).increment("n")).value, 1);
});

Deno.test("Deno KV: the end of a prefix is the first string after all strings that begin with it", () => {
  const texts = ["a", "z", "\0", "\ud7ff", "\ue000", "\uffff", "\u{10ffff}", "\u{10fffe}", "é", "\u{1F600}"];
  const bytes = (text: string) =>
    new TextEncoder().encode(text).join(" ").replace(/\d+/g, (n) => n.padStart(3, "0"));
  for (const a of texts) {
    for (const b of ["", ...texts]) {
      const prefix = a + b;
      const after = successor(prefix);
      for (const c of ["", ...texts]) {
        const inside = prefix + c;
        if (after !== null) assert(bytes(inside) < bytes(after), JSON.stringify([prefix, inside]));
      }
      if (after === null) {
        assert(/^\u{10ffff}+$/u.test(prefix));
        continue;
      }
      for (const c of texts) {
        assert(c.startsWith(prefix) || bytes(c) < bytes(prefix) || bytes(c) >= bytes(after));
      }
    }
  }
});
