/** Session stores other than the plain atomic one. */
import { type AtomicStore, createSessions, HoldfastError, memoryStore } from "@holdfast/edge";
import { storeFromEngine } from "@holdfast/edge/engine";
import {
  type Atomic,
  atomicSessionStore,
  type IndexedSessionStore,
  keyValueSessionStore,
  type SessionDelete,
  type SessionStore,
} from "@holdfast/edge/sessions";
import { sessionIndexLaw, sessionLaw, sessionStoreLaw, sessionUserLaw } from "@holdfast/edge/testing";
import { assertEquals, assertObjectMatch, assertThrows } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** Promises that take more than one step cannot be kept without atomicity. */
const NEEDS_ATOMICITY = [
  /parallel/,
  /of many that delete/,
  /bound to a version/,
  /of two/,
  /late for a rotation/,
  /concurrent/,
  /computed again/,
  /never twice/,
  /in flight/,
  /at once/,
  /an anonymous request makes no store call/,
];

function eventual(clock: ManualClock): Atomic<IndexedSessionStore> {
  const store = keyValueSessionStore(memoryStore({ clock }), { clock });
  assertEquals(store.consistency, "eventual");
  return Object.assign(Object.create(store), { consistency: "atomic" as const, index: store.index }, {
    load: store.load.bind(store),
    save: store.save.bind(store),
    delete: store.delete.bind(store),
    exists: store.exists.bind(store),
  });
}

const promised = ({ name }: { readonly name: string }) => !NEEDS_ATOMICITY.some((word) => word.test(name));

for (const law of sessionStoreLaw.filter(promised)) {
  Deno.test(`key-value: session store: ${law.name}`, async () => {
    const clock = new ManualClock();
    await law.run({ store: eventual(clock), clock, wait: (ms) => clock.advance(ms) });
  });
}
for (const law of sessionIndexLaw.filter(promised)) {
  Deno.test(`key-value: session index: ${law.name}`, async () => {
    const clock = new ManualClock();
    await law.run({ store: eventual(clock).index, clock, wait: (ms) => clock.advance(ms) });
  });
}
for (const law of [...sessionLaw, ...sessionUserLaw].filter(promised)) {
  Deno.test(`key-value: sessions: ${law.name}`, async () => {
    const clock = new ManualClock();
    await law.run({ store: eventual(clock), clock, wait: (ms) => clock.advance(ms) });
  });
}

/** The store, whose sets are told and wait for the gate. */
function gated(store: AtomicStore, gate: Promise<void>, told: () => void): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name === "namespace") return (space: string) => gated(target.namespace(space), gate, told);
      if (name === "set") return (...args: unknown[]) => (told(), gate.then(() => value.apply(target, args)));
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

Deno.test("a late write to a key-value store does not revive an ended session", async () => {
  const clock = new ManualClock();
  const kv = memoryStore({ clock });
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const store = keyValueSessionStore(kv, { clock });
  const slow = keyValueSessionStore(gated(kv, gate, asked.resolve), { clock });
  await store.save("key", {
    type: "create",
    handle: "h",
    idleTimeout: 60_000,
    absoluteTimeout: 600_000,
    schemaVersion: 1,
    values: {},
  });
  const write = slow.save("key", { type: "update", set: { "d:x": "1" } }); // has read what was there
  await asked.promise;
  await store.delete("key", { why: "revoked" });
  open();
  assertEquals((await write).state, "saved"); // it believes so
  assertObjectMatch(await store.load("key"), { state: "ended", why: "revoked" });
  await clock.advance(120_000);
  assertEquals(await store.exists("key"), false);
});

Deno.test("createSessions() needs `eventual: true` for an eventually consistent store, and refuses an invalid store", () => {
  const weak = keyValueSessionStore(memoryStore());
  // @ts-expect-error its promise is weaker
  assertThrows(() => createSessions(weak), TypeError);
  createSessions(weak, { eventual: true });
  const bare: Atomic<SessionStore> = { ...parts(), consistency: "atomic" };
  const sessions = createSessions(bare);
  // @ts-expect-error a store without an index cannot list
  assertEquals(typeof sessions.listSessions, "function");
  assertThrows(() => createSessions({} as AtomicStore), TypeError);
  assertThrows(() => createSessions(undefined as unknown as AtomicStore), TypeError);
  assertThrows(() => createSessions(memoryStore(), { maxSessionsPerUser: 0 }), RangeError);
  assertThrows(() => createSessions(memoryStore(), { idleTimeout: 0 }), RangeError);
  assertThrows(() => createSessions(memoryStore(), { version: 1.5 }), RangeError);
});

function parts(): Omit<SessionStore, "consistency"> {
  const store = atomicSessionStore(memoryStore());
  return {
    load: store.load.bind(store),
    save: store.save.bind(store),
    delete: store.delete.bind(store),
    exists: store.exists.bind(store),
  };
}

Deno.test("sessions on a store without an index: requests work, methods about users throw", async () => {
  const sessions = createSessions({ ...parts(), consistency: "atomic" as const });
  const session = sessions.open(null);
  session.login("ada");
  const cookie = await sessions.commit(session);
  assertEquals(await sessions.open(cookie!.split(";")[0]).userId(), "ada");
  const all = sessions as unknown as { revokeUser(user: string): Promise<number> };
  let error: unknown;
  await all.revokeUser("ada").catch((thrown) => error = thrown);
  assertEquals(error instanceof TypeError, true);
});

Deno.test("a store that ignores every ttl ends sessions all the same", async () => {
  const clock = new ManualClock();
  const rows = new Map<string, Readonly<Record<string, string>>>();
  const forgetful = storeFromEngine({
    name: "no-ttl",
    limits: { maxKeyBytes: 512, maxValueLength: 100_000 },
    transact(transition, key, input) {
      const step = transition.apply(rows.get(key), input, clock.now());
      if (step.write?.record) rows.set(key, step.write.record);
      else if (step.write) rows.delete(key);
      return step.output;
    },
    list: ({ prefix }) => ({ keys: [...rows.keys()].filter((key) => key.startsWith(prefix)) }),
  });
  const sessions = createSessions(forgetful, { clock, idleTimeout: "10m", absoluteTimeout: "1h" });
  const session = sessions.open(null);
  session.login("ada");
  const cookie = (await sessions.commit(session))!.split(";")[0];
  await clock.advance(600_000);
  assertEquals(await sessions.open(cookie).isNew(), true);
  assertEquals(await sessions.listSessions("ada"), []);
});

Deno.test("a read from a copy that may be behind is marked, never fresh, and touches nothing", async () => {
  const clock = new ManualClock();
  const inner = atomicSessionStore(memoryStore({ clock }));
  let degraded = false;
  const calls: string[] = [];
  const store: Atomic<IndexedSessionStore> = {
    consistency: "atomic",
    index: inner.index,
    async load(key, options) {
      const found = await inner.load(key, options);
      return degraded && found.state === "live" ? { ...found, degraded: true } : found;
    },
    save(key, change, options) {
      calls.push(change.type);
      return inner.save(key, change, options);
    },
    delete: inner.delete.bind(inner),
    exists: inner.exists.bind(inner),
  };
  const sessions = createSessions(store, { clock });
  const login = sessions.open(null);
  login.login("ada");
  const cookie = (await sessions.commit(login))!.split(";")[0];
  await clock.advance(120_000);
  degraded = true;
  const session = sessions.open(cookie);
  assertEquals([await session.userId(), await session.isDegraded()], ["ada", true]);
  assertEquals(await session.isFresh("1h"), false);
  await sessions.commit(session);
  assertEquals(calls, ["create"]);
  degraded = false;
  const later = sessions.open(cookie);
  assertEquals([await later.isDegraded(), await later.isFresh("1h")], [false, true]);
  await sessions.commit(later);
  assertEquals(calls, ["create", "update"]);
});

Deno.test("sessions: a rotation that lost is silent although what was made for it cannot be deleted", async () => {
  const store = atomicSessionStore(memoryStore());
  const deleted: string[] = [];
  const failing: Atomic<IndexedSessionStore> = {
    consistency: "atomic",
    index: store.index,
    load: store.load.bind(store),
    save: store.save.bind(store),
    exists: store.exists.bind(store),
    delete(key: string, options: SessionDelete) {
      deleted.push(key);
      if (deleted.length === 3) return Promise.reject(new HoldfastError("backend-unavailable", "Cannot"));
      return store.delete(key, options);
    },
  };
  const sessions = createSessions(failing);
  const first = sessions.open(null);
  first.set("x", 1);
  const cookie = (await sessions.commit(first))!.split(";", 1)[0]!;
  const [winner, loser] = [sessions.open(cookie), sessions.open(cookie)];
  await Promise.all([winner.data(), loser.data()]);
  winner.rotate();
  loser.rotate();
  const next = await sessions.commit(winner);
  assertEquals(await sessions.commit(loser), undefined, "no cookie and no error");
  assertEquals(new Set(deleted).size, 2, "the old one twice, and what was made in vain");
  assertEquals(await sessions.open(next!.split(";", 1)[0]!).get("x"), 1);
});
