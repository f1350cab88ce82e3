/** Code that must not compile. */
import { type AtomicStore, createLocks, type KeyValueStore, memoryStore } from "@holdfast/edge";
import { keyValueStoreFromEngine } from "@holdfast/edge/engine";
import { assertEquals } from "./support/assert.ts";

Deno.test("a plain KeyValueStore is no AtomicStore", async () => {
  const plain: KeyValueStore = keyValueStoreFromEngine({
    name: "plain",
    limits: { maxKeyBytes: 512, maxValueLength: 1000 },
    get: () => undefined,
    set: () => {},
    delete: () => false,
    touch: () => false,
    list: () => ({ keys: [] }),
  });
  const refused = () => {
    // @ts-expect-error locks need a store that changes a key atomically
    createLocks(plain);
    // @ts-expect-error a typo in a duration does not compile
    plain.set("key", 1, { ttl: "5 minutes" });
    // @ts-expect-error nor does a unit nobody knows
    plain.set("key", 1, { ttl: "5w" });
  };
  assertEquals(typeof refused, "function");
  const atomic: AtomicStore = memoryStore();
  const also: KeyValueStore = atomic;
  assertEquals(await also.get("missing"), undefined);
  assertEquals(await plain.exists("missing"), false);
});
