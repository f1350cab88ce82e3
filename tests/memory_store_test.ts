import {
  type AtomicStore,
  type Clock,
  createIdempotency,
  createLocks,
  createSessions,
  createThrottle,
  HoldfastError,
  memoryStore,
} from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { faultClass } from "../src/fault_class.ts";
import { beginClaim } from "../src/idempotency/idempotency_transitions.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "./support/assert.ts";
import { ManualClock } from "./support/manual_clock.ts";

Deno.test("a full store drops the record written longest ago, never a held lock or a claim", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ maxEntries: 10, clock });
  const lock = await createLocks(store, { clock }).acquire("key", { ttl: "1h" });
  const begun = await createIdempotency(store, { clock }).begin("key");
  for (let i = 0; i < 100; i++) await store.set(`key-${i}`, i);
  const keys: string[] = [];
  for await (const key of store.list()) keys.push(key);
  assertEquals(keys.sort(), Array.from({ length: 8 }, (_, i) => `key-${92 + i}`));
  assert(begun.state === "new" && await createIdempotency(store, { clock }).extend(begun.claim));
  assertEquals(await lock!.release(), "released");
});

Deno.test("a store full of claims refuses new ones with store-full, and frees itself as they expire", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ maxEntries: 4, clock });
  const begin = (o: string) =>
    store.transact(beginClaim, `key ${o}`, { owner: o, claim: o, lease: "1000", retention: "60000" });
  await begin("a");
  await begin("b");
  const error = await assertRejects(() => begin("c"), HoldfastError);
  assertEquals([error.code, error.retryable, error.ambiguous], ["store-full", true, false]);
  assertEquals(faultClass(error), "outage");
  assert(/claims/.test(error.message) && /2 of 4/.test(error.message), error.message);
  await store.set("value", 1); // a value finds space all the same
  assertEquals(await store.get("value"), 1);
  await clock.advance(60_000);
  assertEquals((await begin("c")).state, "new");
});

Deno.test("a change of the wall clock changes no lease", async () => {
  const time = new ManualClock();
  let step = 0;
  const clock: Clock = {
    now: () => time.now() + step,
    monotonic: () => time.monotonic(),
    sleep: (milliseconds, signal) => time.sleep(milliseconds, signal),
  };
  const store = memoryStore({ clock });
  for (step of [0, 3_600_000, -3_600_000]) {
    const lock = await createLocks(store, { clock }).acquire("job", { ttl: "30s" });
    await store.set("value", 1, { ttl: "30s" });
    assert(lock !== undefined);
    for (step of [step + 3_600_000, step - 3_600_000]) {
      await time.advance(10_000);
      assertEquals(await createLocks(store, { clock }).acquire("job", { ttl: "30s" }), undefined);
      assertEquals(await store.get("value"), 1);
    }
    assertEquals(lock.signal.aborted, false, "its holder counts on it");
    await time.advance(10_000);
    assertEquals(await store.get("value"), undefined);
    const next = await createLocks(store, { clock }).acquire("job", { ttl: "30s" });
    assert(next !== undefined && next.fencingToken > lock.fencingToken);
    await next.release();
  }
});

Deno.test("a transition's input, output and record are never the stored objects", async () => {
  const store = memoryStore();
  const hand: Transition = {
    name: "test.hand",
    apply: (record, input) => ({ output: record ?? input, write: { record: record ?? input } }),
  };
  const input: Record<string, string> = { items: "a" };
  const first = await store.transact(hand, "key", input) as Record<string, string>;
  input.items = first.items = "changed";
  const second = await store.transact(hand, "key", {}) as Record<string, string>;
  assertEquals(second, { items: "a" });
  second.items = "changed";
  assertEquals(await store.transact(hand, "key", {}), { items: "a" });
});

Deno.test("clear() of many keys lets timers run meanwhile", async () => {
  const store = memoryStore();
  const room = store.namespace("room");
  for (let i = 0; i < 30_000; i++) await room.set(`key-${i}`, i);
  await store.set("beside", 1);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const { deleted, done } = await room.clear();
  clearInterval(timer);
  assertEquals([deleted, done, await store.get("beside")], [30_000, true, 1]);
  assert(ticks >= 10, `${ticks} ticks`);
});

Deno.test("a list sees every key that stays, beside other lists and writes", async () => {
  const store = memoryStore();
  for (let i = 0; i < 5000; i++) await store.set(`key-${i}`, i);
  const lists = Array.from({ length: 40 }, async (_, n) => {
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await store.listPage({ prefix: "key-", limit: 100 + n, cursor });
      seen.push(...page.keys);
      await store.delete(`key-${4000 + n * 10 + seen.length % 10}`);
      await store.set(`key-${n}`, "again");
      await store.set(`new-${n}-${seen.length}`, 1);
      cursor = page.cursor;
    } while (cursor !== undefined);
    assertEquals(new Set(seen).size, seen.length, "no key twice");
    const all = new Set(seen);
    for (let i = 0; i < 4000; i++) assert(all.has(`key-${i}`), `key-${i} is missing`);
  });
  await Promise.all(lists);
});

Deno.test("a page looks at a bounded number of records: a rare prefix gives empty pages", async () => {
  const store = memoryStore();
  for (let i = 0; i < 25_000; i++) await store.set(`key-${i}`, i);
  await store.set("rare", 1);
  const pages: number[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.listPage({ prefix: "rare", cursor });
    pages.push(page.keys.length);
    cursor = page.cursor;
  } while (cursor !== undefined);
  assertEquals(pages, [0, 0, 1]);
});

Deno.test("expired records leave without being read", async () => {
  // The engine does not tell its size; its Map does, when the test makes it.
  const maps: Map<unknown, unknown>[] = [];
  const PlainMap = globalThis.Map;
  globalThis.Map = class<K, V> extends PlainMap<K, V> {
    constructor() {
      super();
      maps.push(this);
    }
  } as MapConstructor;
  const store = memoryStore({ maxEntries: 1_000_000 });
  globalThis.Map = PlainMap;
  for (let i = 0; i < 200_000; i++) await store.set(`short-${i}`, "x", { ttl: 5 });
  await new Promise((resolve) => setTimeout(resolve, 10));
  for (let i = 0; i < 100; i++) await store.set(`later-${i}`, "x", { ttl: "1h" });
  const left = Math.max(...maps.map(({ size }) => size));
  assert(left >= 100 && left < 5000, `${left} entries are left`);
});

Deno.test("a namespace of more keys than one map holds has each of them once", async () => {
  const store = memoryStore({ maxEntries: 200_000 }).namespace("large");
  const count = 140_000;
  for (let i = 0; i < count; i++) await store.set(`key:${i}`, i);
  await store.set("key:139999", "again");
  for (const i of [0, 1, 131_071, 131_072, 135_000, 139_998]) assertEquals(await store.get(`key:${i}`), i);
  assertEquals(await store.get("key:139999"), "again");
  for (let i = 130_000; i < count; i++) assertEquals(await store.delete(`key:${i}`), true);
  assertEquals([await store.get("key:135000"), await store.delete("key:135000")], [undefined, false]);
  await store.set("key:135000", "back");
  const seen = new Set<string>();
  let listed = 0;
  for await (const key of store.list()) {
    seen.add(key);
    listed++;
  }
  assertEquals([seen.size, listed, seen.has("key:135000")], [130_001, 130_001, true]);
  assertEquals((await store.clear()).deleted, 130_001);
});

Deno.test("stores of one namespace are the same, also after its last record has left", async () => {
  const store = memoryStore();
  const [one, other] = [store.namespace("a"), store.namespace("a")];
  for (let i = 0; i < 3; i++) {
    await one.set("key", i);
    assertEquals(await other.get("key"), i);
    assertEquals(await other.delete("key"), true);
    assertEquals([await one.get("key"), await other.get("key")], [undefined, undefined]);
    await other.set("key", "other");
    assertEquals([await one.get("key"), await store.get("key")], ["other", undefined]);
    await store.clear();
    assertEquals(await one.exists("key"), false);
  }
});

Deno.test("a list skips other namespaces, and a clear removes the namespaces inside", async () => {
  const store = memoryStore();
  for (const name of ["a", "ab", "a/b", "b"]) await store.namespace(name).set("key", name);
  await store.namespace("a").namespace("inner").set("key", "inner");
  await store.set("/a/:key", "bare");
  await store.set("a", "bare");
  const keys: string[] = [];
  for await (const key of store.list()) keys.push(key);
  assertEquals(keys.sort(), ["/a/:key", "a"]);
  assertEquals((await store.namespace("a").clear()).deleted, 2);
  assertEquals(await store.namespace("ab").get("key"), "ab");
  assertEquals(await store.namespace("a/b").get("key"), "a/b");
  assertEquals(await store.get("/a/:key"), "bare");
});

Deno.test("contracts ask a store around another one by its own transact", async () => {
  const asked: string[] = [];
  const around = (store: AtomicStore): AtomicStore =>
    new Proxy(store, {
      get(target, name) {
        if (name === "namespace") return (space: string) => around(target.namespace(space));
        const member = Reflect.get(target, name);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          if (name === "transact") asked.push((args[0] as Transition).name);
          return Reflect.apply(member, target, args);
        };
      },
    });
  const store = around(memoryStore());
  await createThrottle(store, { name: "test", limit: 1, window: "1m" }).check("key");
  await createIdempotency(store).run("key", () => 1);
  await (await createLocks(store).acquire("key", { ttl: "1m" }))!.release();
  const sessions = createSessions(store);
  const session = sessions.open(null);
  session.set("n", 1);
  await sessions.commit(session);
  assertEquals(asked, [
    "throttle.check",
    "idempotency.begin",
    "idempotency.complete",
    "lock.acquire",
    "lock.release",
    "session.create",
  ]);
});

Deno.test("memoryStore() refuses a bad size and an unknown option", () => {
  assertThrows(() => memoryStore({ maxEntires: 5 } as never), TypeError);
  for (const maxEntries of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => memoryStore({ maxEntries }), RangeError);
  }
});
