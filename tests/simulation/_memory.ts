/** The primary's memory, which may be lost: the store restarts empty, or is set back to an older state. */
import { type AtomicStore, memoryStore } from "@holdfast/edge";
import { type Atomic, atomicSessionStore, type IndexedSessionStore } from "@holdfast/edge/sessions";
import type { MachineClock } from "./_world.ts";

type Transition = Parameters<AtomicStore["transact"]>[0];
type Fields = Parameters<AtomicStore["transact"]>[2];

/** Longer than any life. */
const KEEP = 2_400_000;
const NAMESPACES = ["record", "user"] as const;

const dump: Transition = { name: "test.dump", apply: (record) => ({ output: record ?? {} }) };
const write: Transition = {
  name: "test.write",
  apply: (_record, input, now) => ({ output: {}, write: { record: input, expiresAt: now + KEEP } }),
};

/** The state of the primary at some time. */
export type Snapshot = ReadonlyMap<typeof NAMESPACES[number], ReadonlyMap<string, Fields>>;

export class Memory {
  readonly #clock: MachineClock;
  #engine: AtomicStore;
  #current: Atomic<IndexedSessionStore>;
  /** The session store on whatever the memory holds now. */
  readonly store: Atomic<IndexedSessionStore>;

  constructor(engine: AtomicStore, clock: MachineClock) {
    this.#engine = engine;
    this.#clock = clock;
    this.#current = atomicSessionStore(engine, { remember: "10m" });
    const current = () => this.#current;
    this.store = {
      consistency: "atomic",
      load: (key) => current().load(key),
      exists: (key) => current().exists(key),
      save: (key, change) => current().save(key, change),
      delete: (key, options) => current().delete(key, options),
      index: {
        add: (user, entry, options) => current().index.add(user, entry, options),
        remove: (user, handle) => current().index.remove(user, handle),
        read: (user) => current().index.read(user),
        revoke: (user, options) => current().index.revoke(user, options),
        keys: (options) => current().index.keys(options),
      },
    };
  }

  /** The present state. */
  async snapshot(): Promise<Snapshot> {
    const room = this.#engine.namespace("session");
    const entries = await Promise.all(NAMESPACES.map(async (name) => {
      const store = room.namespace(name);
      const { keys } = await store.listPage({ limit: 100 });
      const records = await Promise.all(keys.map((key) => store.transact(dump, key, {})));
      return [name, new Map(keys.map((key, i) => [key, records[i]!]))] as const;
    }));
    return new Map(entries);
  }

  /** Restarts empty. */
  forget(): void {
    this.#engine = memoryStore({ clock: this.#clock });
    this.#current = atomicSessionStore(this.#engine, { remember: "10m" });
  }

  /** Is set back, in one moment. */
  async restore(snapshot: Snapshot): Promise<void> {
    const engine = memoryStore({ clock: this.#clock });
    for (const [name, records] of snapshot) {
      const store = engine.namespace("session").namespace(name);
      for (const [key, record] of records) await store.transact(write, key, record);
    }
    this.#engine = engine;
    this.#current = atomicSessionStore(engine, { remember: "10m" });
  }
}
