/** A store that reports: what is told of each call, and that telling changes nothing. The laws run on it in `laws_test.ts`. */
import {
  type AtomicStore,
  createIdempotency,
  createLocks,
  createThrottle,
  HoldfastError,
  memoryStore,
} from "@holdfast/edge";
import { observedStore, type StoreOperation } from "@holdfast/edge/engine";
import { bindingOf } from "../src/store/binding.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "./support/assert.ts";
import { ManualClock } from "./support/manual_clock.ts";

function setUp(store: AtomicStore = memoryStore()) {
  const told: StoreOperation[] = [];
  const operations = () => told.splice(0).map(({ operation, outcome }) => `${operation} ${outcome}`);
  return {
    store: observedStore(store, { onOperation: (operation) => told.push(operation) }),
    told,
    operations,
  };
}

Deno.test("observedStore(): reports each transition of every contract, in any namespace", async () => {
  const { store, operations } = setUp();
  await createLocks(store).withLock("key", { ttl: "1m" }, () => {});
  await createIdempotency(store.namespace("shop")).run("key", () => 1);
  await createThrottle(store, { name: "api", limit: 1, window: "1m" }).check("key");
  assertEquals(operations(), [
    "lock.acquire ok",
    "lock.release ok",
    "idempotency.begin ok",
    "idempotency.complete ok",
    "throttle.check ok",
  ]);
});

Deno.test("observedStore(): reports value calls by method, and lists page by page", async () => {
  const { store, operations } = setUp();
  await store.setMany(Array.from({ length: 5 }, (_, i) => [`key-${i}`, i]));
  assertEquals(await store.get("key-3"), 3);
  assertEquals((await Array.fromAsync(store.list({ prefix: "key" }))).length, 5);
  await store.increment("count");
  assertEquals((await store.clear()).deleted, 6);
  assertEquals(operations(), ["setMany ok", "get ok", "listPage ok", "increment ok", "clear ok"]);
});

Deno.test("observedStore(): reports a failure by its code, and rethrows it unchanged", async () => {
  const { store, operations } = setUp();
  await store.set("key", "text");
  assertEquals((await assertRejects(() => store.increment("key"), HoldfastError)).code, "not-an-integer");
  await assertRejects(() => store.get(""), TypeError);
  const reason = new Error("enough");
  assertEquals(await assertRejects(() => store.get("key", { signal: AbortSignal.abort(reason) })), reason);
  assertEquals(operations(), ["set ok", "increment not-an-integer", "get error", "get error"]);
});

Deno.test("observedStore(): reports times of the given clock, and neither keys nor values", async () => {
  const clock = new ManualClock();
  const told: StoreOperation[] = [];
  const slow = new Proxy(memoryStore({ clock }), {
    get: (store, name) =>
      name === "set"
        ? (...args: Parameters<AtomicStore["set"]>) => clock.advance(250).then(() => store.set(...args))
        : Reflect.get(store, name),
  });
  const store = observedStore(slow, { clock, onOperation: (operation) => told.push(operation) });
  await store.set("secret-key", "secret-value");
  assertEquals(told, [{
    contract: "store",
    operation: "set",
    engine: "memory",
    durationMs: 250,
    outcome: "ok",
  }]);
});

Deno.test("observedStore(): a hook that throws changes nothing, and watch is passed through", async () => {
  const store = observedStore(memoryStore(), {
    onOperation: () => {
      throw new Error("no");
    },
  });
  await store.set("key", 1);
  assertEquals(await store.get("key"), 1);
  const changed = store.watch!("key", { timeout: "5s" });
  await store.set("key", 2);
  assertEquals(await changed, true);
});

Deno.test("observedStore() has the binding of its store, in every namespace", () => {
  const plain = memoryStore();
  const { store } = setUp(plain);
  for (const open of [(s: AtomicStore) => s, (s: AtomicStore) => s.namespace("a").namespace("b")]) {
    assertEquals(bindingOf(open(store)).scope, bindingOf(open(plain)).scope);
    assert(bindingOf(open(store)).object === bindingOf(open(plain)).object);
  }
});

Deno.test("observedStore() refuses unknown options", () => {
  const store = memoryStore();
  assertThrows(() => observedStore(store, { onOperation() {}, clocks: 1 } as never), TypeError);
  assertThrows(() => observedStore(store, { onOperation: "log" } as never), TypeError);
});

Deno.test("console.log(store) and JSON show neither keys nor values, whatever wraps the store", async () => {
  const { inspect } = await import("node:util");
  const origin = memoryStore();
  const stores = [
    origin,
    origin.namespace("shop"),
    observedStore(origin, { onOperation() {} }),
  ];
  for (const store of stores) {
    await store.set("canary-key", "canary-value");
    await store.get("canary-key");
    const texts = [
      Deno.inspect(store, { depth: 20 }),
      inspect(store, { depth: 20, showHidden: true }),
      JSON.stringify(store),
    ];
    for (const text of texts) assert(!text.includes("canary"), text);
  }
});

Deno.test("observedStore(): 'around' is called around each call, outside 'onOperation', and its errors are the call's", async () => {
  const seen: string[] = [];
  const store = observedStore(memoryStore(), {
    async around({ operation, engine }, run) {
      seen.push(`begin ${operation} on ${engine}`);
      try {
        return await run();
      } finally {
        seen.push(`end ${operation}`);
      }
    },
    onOperation: ({ operation, outcome }) => seen.push(`${operation} ${outcome}`),
  });
  await store.namespace("shelf").set("a", 1);
  assertEquals(seen, ["begin set on memory", "set ok", "end set"]);
  const refusing = observedStore(memoryStore(), { around: () => Promise.reject(new Error("no")) });
  assertEquals((await assertRejects(() => refusing.get("a"))).message, "no");
});

Deno.test("observedStore() refuses to observe with no hook, or with one that is no function", () => {
  assertThrows(() => observedStore(memoryStore(), {}), TypeError);
  assertThrows(() => observedStore(memoryStore(), { around: true as never }), TypeError);
  assertThrows(() => observedStore(memoryStore(), { around: undefined, onOperation: undefined }), TypeError);
});
