/**
 * The laws catch what is broken, each for its own reason: an engine that breaks one promise fails that law.
 */
import { type AtomicStore, type ClearOptions, type Clock, memoryStore } from "@holdfast/edge";
import {
  atomicStoreLaw,
  keyValueStoreLaw,
  type Law,
  LawError,
  type StoreSubject,
} from "@holdfast/edge/testing";
import { assert, assertEquals } from "./support/assert.ts";
import { ManualClock } from "./support/manual_clock.ts";

/** The memory engine with some methods done wrong, in every namespace. */
function broken(store: AtomicStore, methods: (store: AtomicStore) => Partial<AtomicStore>): AtomicStore {
  const wrong = methods(store);
  return new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return (space: string) => broken(store.namespace(space), methods);
      if (name in wrong) return Reflect.get(wrong, name);
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 0));

const faults: Record<string, { methods: (store: AtomicStore) => Partial<AtomicStore>; law: string }> = {
  "ignores the ttl": {
    methods: (store) => ({
      set: (key, value, options) => store.set(key, value, { signal: options?.signal }),
    }),
    law: "a value expires at its deadline, for every method",
  },
  "always says it deleted something": {
    methods: (store) => ({ delete: (key, options) => store.delete(key, options).then(() => true) }),
    law: "delete() answers whether the key existed",
  },
  "does not transact atomically": {
    methods: (store) => ({
      async transact(transition, key, input, options) {
        const record = await store.transact({ name: "peek", apply: (r) => ({ output: { ...r } }) }, key, {});
        await tick();
        const step = transition.apply(Object.keys(record).length ? record : undefined, input, Date.now());
        const { write } = step;
        if (write) {
          await store.transact({ name: "poke", apply: () => ({ output: {}, write }) }, key, {}, options);
        }
        return step.output;
      },
    }),
    law: "a transition of the user's own runs atomically",
  },
  "loses falsy values": {
    methods: (store) => ({ get: async (key, options) => (await store.get(key, options)) || undefined }),
    law: "every value comes back as it was stored, falsy ones too",
  },
};

async function failures(open: (clock: Clock) => AtomicStore): Promise<Map<string, unknown>> {
  const failed = new Map<string, unknown>();
  for (const law of [...keyValueStoreLaw, ...atomicStoreLaw] as Law<StoreSubject<AtomicStore>>[]) {
    const clock = new ManualClock();
    const subject = { store: open(clock), clock, wait: (ms: number) => clock.advance(ms) };
    await law.run(subject).catch((error) => failed.set(law.name, error));
  }
  return failed;
}

for (const [fault, { methods, law }] of Object.entries(faults)) {
  Deno.test(`an engine that ${fault} fails "${law}"`, async () => {
    const failed = await failures((clock) => broken(memoryStore({ clock }), methods));
    assert(
      failed.get(law) instanceof LawError,
      `it failed only ${[...failed.keys()].join(", ") || "nothing"}`,
    );
  });
}

Deno.test("an engine that clears beyond its namespace fails that law", async () => {
  // The engine has no namespaces: clearing one clears everything.
  const all = (root: AtomicStore, store: AtomicStore): AtomicStore =>
    new Proxy(store, {
      get(target, name) {
        if (name === "clear") return (options?: ClearOptions) => root.clear(options);
        if (name === "namespace") return (space: string) => all(root, store.namespace(space));
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  const failed = await failures((clock) => {
    const root = memoryStore({ clock });
    return all(root, root);
  });
  assertEquals([...failed.keys()], ["clear() empties a namespace and those inside it, and nothing else"]);
});

Deno.test("the intact engine fails none", async () => {
  assertEquals([...(await failures((clock) => memoryStore({ clock }))).keys()], []);
});
