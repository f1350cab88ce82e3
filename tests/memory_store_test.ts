import { createIdempotency, createLocks, HoldfastError, memoryStore } from "@holdfast/edge";
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

Deno.test("a store full of held locks refuses new work with store-full, and frees itself as they expire", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ maxEntries: 3, clock });
  const idempotency = createIdempotency(store, { clock, retention: "1m" });
  for (const key of ["a", "b", "c"]) await idempotency.begin(key);
  const error = await assertRejects(() => store.set("value", 1), HoldfastError);
  assertEquals([error.code, error.retryable], ["store-full", true]);
  await clock.advance(60_000);
  await store.set("value", 1);
  assertEquals(await store.get("value"), 1);
});

Deno.test("expired records leave without being read", async () => {
  // The engine tells nobody its size; its Map does, when we are the ones to make it.
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

Deno.test("memoryStore() refuses a size that is none", () => {
  for (const maxEntries of [0, -1, 1.5, NaN, Infinity]) {
    assertThrows(() => memoryStore({ maxEntries }), RangeError);
  }
});
