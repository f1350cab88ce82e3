import {
  type Clock,
  createIdempotency,
  createLocks,
  HoldfastError,
  memoryStore,
  type Transition,
} from "@holdfast/edge";
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

Deno.test("the wall clock decides about nothing: a lease lasts as long as it was taken for", async () => {
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

Deno.test("a list sees every key that stays, however many lists run and whatever else is written", async () => {
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

Deno.test("a page looks at so many records and no more: a rare prefix gives empty pages", async () => {
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
  for (let i = 0; i < 100; i++) await store.set(`later-${i}`, "x", { ttl: 5 });
  const left = Math.max(...maps.map(({ size }) => size));
  assert(left >= 100 && left < 5000, `${left} entries are left`);
});

Deno.test("memoryStore() refuses a bad size and an unknown option", () => {
  assertThrows(() => memoryStore({ maxEntires: 5 } as never), TypeError);
  for (const maxEntries of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => memoryStore({ maxEntries }), RangeError);
  }
});
