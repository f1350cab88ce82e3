/** The read cache: the law of every key-value store, and what is its own. */
import { type AtomicStore, type KeyValueStore, memoryStore } from "@holdfast/edge";
import { cachedStore, type CachedStoreOptions } from "@holdfast/edge/engine";
import { keyValueStoreLaw } from "@holdfast/edge/testing";
import { assertEquals, assertRejects, assertThrows } from "./support/assert.ts";
import { lawKept } from "./support/law_table.ts";
import { ManualClock } from "./support/manual_clock.ts";

for (const absence of [false, true]) {
  for (const law of keyValueStoreLaw) {
    Deno.test(`cached${absence ? ", absence too" : ""}: ${law.name}`, async () => {
      const clock = new ManualClock();
      const store = cachedStore(memoryStore({ clock }), { ttl: "1m", absence, clock });
      await law.run({ store, clock, wait: (ms) => clock.advance(ms) });
      if (!absence) lawKept("memory, cached", "key-value store");
    });
  }
}

/** A cache over memory whose reads and writes are counted, and can be held back. */
function setUp(options: Partial<CachedStoreOptions> = {}) {
  const clock = new ManualClock();
  const origin = memoryStore({ clock });
  const calls: string[] = [];
  let gate: Promise<unknown> = Promise.resolve();
  const watched = new Proxy(origin, {
    get(target, method) {
      const value = Reflect.get(target, method) as unknown;
      if (typeof value !== "function" || method === "namespace") {
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (...args: unknown[]) => {
        calls.push(String(method));
        const until = gate;
        const result = await value.apply(target, args);
        await until;
        return result;
      };
    },
  }) as AtomicStore;
  const store: KeyValueStore = cachedStore(watched, { ttl: "1m", clock, ...options });
  return { clock, origin, store, calls, hold: (until: Promise<unknown>) => void (gate = until) };
}

Deno.test("cachedStore(): a value is read once, and again when its time is up", async () => {
  const { clock, origin, store, calls } = setUp();
  await origin.set("key", 1);
  assertEquals([await store.get("key"), await store.get("key"), await store.exists("key")], [1, 1, true]);
  assertEquals(await store.getMany(["key", "other"]), [1, undefined]);
  assertEquals(calls, ["get", "get"]);
  await origin.set("key", 2);
  await clock.advance(59_999);
  assertEquals(await store.get("key"), 1);
  await clock.advance(1);
  assertEquals(await store.get("key"), 2);
});

Deno.test("cachedStore(): own writes are seen at once, in every namespace alike", async () => {
  const { origin, store } = setUp();
  const space = store.namespace("space");
  await origin.namespace("space").set("key", "old");
  assertEquals(await space.get("key"), "old");
  await store.namespace("space").set("key", "new");
  assertEquals([await space.get("key"), await origin.namespace("space").get("key")], ["new", "new"]);
  assertEquals(await store.get("key"), undefined);
  await store.namespace("space").delete("key");
  assertEquals(await space.get("key"), undefined);
});

Deno.test("cachedStore(): absence is read again each time, unless asked to remember it", async () => {
  const plain = setUp();
  await plain.store.get("key");
  await plain.store.get("key");
  assertEquals(plain.calls, ["get", "get"]);
  const remembering = setUp({ absence: true });
  await remembering.store.get("key");
  assertEquals(await remembering.store.get("key"), undefined);
  assertEquals(remembering.calls, ["get"]);
  await remembering.store.set("key", 1);
  assertEquals(await remembering.store.get("key"), 1);
});

Deno.test("cachedStore(): it keeps so many at most, and those read lately", async () => {
  const { store, calls } = setUp({ maxEntries: 2 });
  await store.set("a", 1);
  await store.set("b", 2);
  await store.get("a");
  await store.set("c", 3);
  calls.length = 0;
  assertEquals(await store.getMany(["a", "c"]), [1, 3]);
  assertEquals(calls, []);
  assertEquals(await store.get("b"), 2);
  assertEquals(calls, ["get"]);
});

Deno.test("cachedStore(): a read that a write overtook is not kept", async () => {
  const { origin, store, hold } = setUp();
  await origin.set("key", "old");
  const late = Promise.withResolvers<void>();
  hold(late.promise);
  const reading = store.get("key"); // it has read "old" already, its answer is on the way
  await Promise.resolve();
  hold(Promise.resolve());
  await store.set("key", "new");
  late.resolve();
  assertEquals(await reading, "old");
  assertEquals(await store.get("key"), "new");
});

Deno.test("cachedStore(): a write that failed leaves nothing behind", async () => {
  const { origin, store, hold } = setUp();
  await store.set("key", "old");
  hold(Promise.reject(new Error("lost")));
  await assertRejects(() => store.set("key", "new")); // it was stored, the reply was lost
  hold(Promise.resolve());
  assertEquals([await store.get("key"), await origin.get("key")], ["new", "new"]);
});

Deno.test("cachedStore() refuses a ttl or a size that is none", () => {
  const { origin } = setUp();
  for (const ttl of [0, -1, NaN, Infinity]) assertThrows(() => cachedStore(origin, { ttl }), RangeError);
  for (const maxEntries of [0, 1.5, NaN]) {
    assertThrows(() => cachedStore(origin, { ttl: 1000, maxEntries }), RangeError);
  }
});
