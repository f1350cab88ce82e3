/** Tests of replication beside the laws and the simulator. */
import { createSessions, HoldfastError, memoryStore } from "@holdfast/edge";
import {
  type Atomic,
  atomicSessionStore,
  type DroppedReplication,
  type IndexedSessionStore,
  keyValueSessionStore,
  NotReplicatedError,
  replicatedSessions,
  type ReplicatedSessionsOptions,
  type ReplicationOperation,
  type SessionCreate,
  type SessionFound,
} from "@holdfast/edge/sessions";
import { assert, assertEquals, assertObjectMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { deferred } from "../../src/deferred.ts";
import { ManualClock } from "../support/manual_clock.ts";

type Mode = "up" | "down" | "hanging";
type Store = Atomic<IndexedSessionStore>;

/** A store whose calls are counted, and which can be down or hang. */
class Side {
  mode: Mode = "up";
  calls: string[] = [];
  readonly inner: Store;
  readonly store: Store;

  constructor(clock: ManualClock) {
    this.inner = atomicSessionStore(memoryStore({ clock }), { remember: "10m" });
    this.store = this.#watched(this.inner, "");
  }

  #watched<T extends object>(target: T, path: string): T {
    return new Proxy(target, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value === "object" && value !== null) {
          return this.#watched(value, `${path}${String(name)}.`);
        }
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          this.calls.push(path + String(name));
          if (this.mode === "hanging") return await new Promise(() => {});
          if (this.mode === "down") {
            throw new HoldfastError("backend-unavailable", "Cannot reach it", { retryable: true });
          }
          return await value.apply(target, args);
        };
      },
    });
  }

  /** The calls since the last look. */
  asked(): string[] {
    return this.calls.splice(0);
  }
}

function setUp(options: ReplicatedSessionsOptions = {}) {
  const clock = new ManualClock();
  const [primary, secondary] = [new Side(clock), new Side(clock)];
  const dropped: DroppedReplication[] = [];
  const operations: ReplicationOperation[] = [];
  const store = replicatedSessions(primary.store, secondary.store, {
    clock,
    random: () => 0.5,
    onDropped: (drop) => dropped.push(drop),
    onOperation: (operation) => operations.push(operation),
    ...options,
  });
  return { clock, primary, secondary, store, dropped, operations };
}

function create(name = "key"): SessionCreate {
  return {
    type: "create",
    handle: `handle-${name}`,
    idleTimeout: 600_000,
    absoluteTimeout: 3_600_000,
    schemaVersion: 1,
    values: { "d:a": "1" },
  };
}

/** A store whose saves can be held, before they happen or after. */
function held(inner: Store) {
  let [when, gate]: ["before" | "after", Promise<void> | undefined] = ["before", undefined];
  const store: Store = {
    consistency: "atomic",
    index: inner.index,
    load: inner.load.bind(inner),
    exists: inner.exists.bind(inner),
    delete: inner.delete.bind(inner),
    async save(...args) {
      const [moment, until] = [when, gate];
      if (moment === "before") await until;
      const saved = await inner.save(...args);
      await until;
      return saved;
    },
  };
  return {
    store,
    /** Holds the saves from now on until what it answers is called. */
    hold(moment: "before" | "after"): () => void {
      const { promise, resolve } = deferred<void>();
      [when, gate] = [moment, promise];
      return resolve;
    },
    /** Lets those pass that come now. */
    pass: () => void (gate = undefined),
  };
}

/** Lets time pass until the call answers. */
async function settled<T>(clock: ManualClock, call: Promise<T>, step = 100): Promise<T> {
  let done = false;
  const watched = call.finally(() => done = true);
  watched.catch(() => {});
  for (let i = 0; !done && i < 1000; i++) await clock.advance(step);
  return await watched;
}

/** The answer of a side, without the age of its tombstone: the sides get theirs one after the other. */
function timeless(found: SessionFound): unknown {
  const { ago: _ago, ...rest } = { ago: 0, ...found };
  return rest;
}

Deno.test("async: a save is one call before its answer, and one put behind it", async () => {
  const { primary, secondary, store } = setUp();
  await store.save("key", create());
  assertEquals(primary.asked(), ["save"]);
  await store.flush();
  assertEquals([primary.asked(), secondary.asked()], [[], ["save"]], "a copy is not loaded again");
  assertEquals(await secondary.inner.load("key"), await primary.inner.load("key"), "equal");
  await store.load("key");
  assertEquals([primary.asked(), secondary.asked()], [["load"], ["load"]], "a read asks both at once");
  await store.load("unknown");
  assertEquals([primary.asked(), secondary.asked()], [["load"], ["load"]], "a miss");
  await store.delete("key", { why: "revoked" });
  assertEquals([primary.asked(), secondary.asked()], [["delete"], ["delete"]], "a logout");
  await store.delete("unknown", { why: "revoked" });
  assertEquals(
    [primary.asked(), secondary.asked()],
    [["delete", "load", "delete"], ["delete"]],
    "a logout of what the primary does not know",
  );
  await store.close();
});

Deno.test("async: while the secondary is away saves of a key coalesce, and one put carries them all", async () => {
  const { clock, primary, secondary, store } = setUp();
  secondary.mode = "down";
  await store.save("key", create());
  for (let i = 0; i < 20; i++) await store.save("key", { type: "update", set: { [`d:n${i}`]: "1" } });
  assertEquals(store.pending, 1);
  secondary.mode = "up";
  secondary.asked();
  await settled(clock, store.flush());
  assert(secondary.asked().length <= 2);
  assertEquals(await secondary.inner.load("key"), await primary.inner.load("key"));
  await store.close();
});

Deno.test("acknowledged: a save that only the primary stored rejects with that fact, and reaches the secondary later", async () => {
  const { clock, primary, secondary, store } = setUp({ strategy: "acknowledged" });
  secondary.mode = "hanging";
  const error = await assertRejects(() => settled(clock, store.save("key", create())), NotReplicatedError);
  assertEquals([error.code, error.committed, error.queued, error.ambiguous], [
    "not-replicated",
    "primary",
    true,
    true,
  ]);
  secondary.mode = "up";
  await settled(clock, store.flush());
  assertEquals(await secondary.inner.load("key"), await primary.inner.load("key"));
  await store.close();
});

Deno.test("sync: once the secondary is known to be down, a save is refused before anything is written", async () => {
  const { clock, primary, secondary, store, operations } = setUp({ strategy: "sync" });
  await store.save("key", create());
  secondary.mode = "down";
  await assertRejects(() => settled(clock, store.save("key", { type: "update" })), NotReplicatedError);
  assert(
    operations.some(({ operation, outcome, side }) =>
      operation === "circuit" && outcome === "open" && side === "secondary"
    ),
  );
  primary.asked();
  const error = await assertRejects(() => store.save("key", { type: "update" }), HoldfastError);
  assertEquals([error.code, error.ambiguous], ["backend-unavailable", false]);
  assertEquals(primary.asked().filter((call) => call === "save"), []);
  secondary.mode = "up";
  await settled(clock, store.flush());
  assertEquals((await store.save("key", { type: "update" })).state, "saved");
  await store.close();
});

Deno.test("a delete that the secondary does not answer rejects, stays queued, and counts in this isolate at once", async () => {
  const { clock, secondary, store } = setUp();
  await store.save("key", create());
  await store.flush();
  secondary.mode = "hanging";
  const error = await assertRejects(
    () => settled(clock, store.delete("key", { why: "revoked" })),
    NotReplicatedError,
  );
  assertEquals([error.committed, error.queued], ["primary", true]);
  assertObjectMatch(await store.load("key"), { state: "ended", why: "revoked" });
  secondary.mode = "up";
  await settled(clock, store.flush());
  assertObjectMatch(await secondary.inner.load("key"), { state: "ended", why: "revoked" });
  await store.close();
});

Deno.test("a delete while the primary is away leaves a tombstone on the secondary, rejects, and reaches the primary later", async () => {
  const { clock, primary, secondary, store } = setUp();
  await store.save("key", create());
  await store.flush();
  primary.mode = "down";
  await assertRejects(() => settled(clock, store.delete("key", { why: "revoked" })), NotReplicatedError);
  assertObjectMatch(await secondary.inner.load("key"), { state: "ended", why: "revoked" });
  primary.mode = "up";
  await settled(clock, store.flush());
  assertObjectMatch(await primary.inner.load("key"), { state: "ended", why: "revoked" });
  await store.close();
});

Deno.test("concurrent deletes: exactly one returns the record when the primary fails once", async () => {
  const { clock, primary, store } = setUp();
  await store.save("key", create());
  await store.flush();
  primary.mode = "down";
  const calls = Promise.all([
    store.delete("key", { why: "revoked" }),
    clock.advance(0).then(() => store.delete("key", { why: "revoked" })),
  ]);
  await clock.advance(0);
  primary.mode = "up";
  const taken = await settled(clock, calls);
  assertEquals(taken.filter((record) => record !== undefined).map(({ handle }) => handle), ["handle-key"]);
  await store.close();
});

Deno.test("while the primary is away a read is degraded, or of a tombstone, or rejects; it never returns unknown", async () => {
  for (const mode of ["down", "hanging"] as const) {
    const { clock, primary, store } = setUp();
    await store.save("key", create());
    await store.save("gone", create("gone"));
    await store.delete("gone", { why: "rotated" });
    await store.flush();
    primary.mode = mode;
    const found = await settled(clock, store.load("key"));
    assert(found.state === "live" && found.degraded, "degraded");
    assertObjectMatch(await settled(clock, store.load("gone")), { state: "ended", why: "rotated" });
    await assertRejects(
      () => settled(clock, store.load("unknown")),
      HoldfastError,
    );
    await assertRejects(() => settled(clock, store.save("key", { type: "update" })), HoldfastError);
    primary.mode = "up";
    await clock.advance(10_000);
    assertEquals((await store.load("key") as { degraded?: true }).degraded, undefined);
    await store.close();
  }
});

Deno.test("whenUnavailable 'throw': a read rejects while either side is away", async () => {
  const { clock, primary, secondary, store } = setUp({ whenUnavailable: "throw" });
  await store.save("key", create());
  await store.flush();
  for (const side of [primary, secondary]) {
    side.mode = "down";
    await assertRejects(() => settled(clock, store.load("key")), HoldfastError);
    side.mode = "up";
    await clock.advance(10_000);
  }
  assertEquals((await store.load("key")).state, "live");
  await store.close();
});

Deno.test("a full queue rejects, waits or ships inline before anything is written, and a delete still finds a place", async () => {
  for (const whenFull of ["reject", "wait", "inline"] as const) {
    const { clock, primary, secondary, store, dropped } = setUp({ queueSize: 4, whenFull });
    for (const key of ["one", "two", "three", "four"]) await store.save(key, create(key));
    await store.flush();
    secondary.mode = "hanging";
    for (const key of ["one", "two", "three"]) await store.save(key, { type: "update" });
    assertEquals(store.pending, 3, "three quarters");
    primary.asked();
    if (whenFull === "inline") {
      const error = await assertRejects(
        () => settled(clock, store.save("four", { type: "update" })),
        NotReplicatedError,
      );
      assertEquals([error.committed, error.queued], ["primary", false], "it was on its own");
    } else {
      const error = await assertRejects(
        () => settled(clock, store.save("four", { type: "update" })),
        HoldfastError,
      );
      assertEquals([error.code, error.retryable], ["queue-full", true]);
      assertEquals(primary.asked().includes("save"), false, "nothing was written");
    }
    assertEquals(
      (await store.save("one", { type: "update" })).state,
      "saved",
      "a key that waits needs no more room",
    );
    await assertRejects(() => settled(clock, store.delete("four", { why: "revoked" })), NotReplicatedError);
    assertEquals(store.pending, 4);
    secondary.mode = "up";
    await settled(clock, store.flush({ timeout: "1m" }));
    for (const key of ["one", "two", "three", "four"]) {
      assertEquals(timeless(await secondary.inner.load(key)), timeless(await primary.inner.load(key)), key);
    }
    assertEquals(dropped, []);
    await store.close();
  }
});

Deno.test("a save that waits for space in the queue continues when there is some", async () => {
  const { clock, secondary, store } = setUp({ queueSize: 1 });
  secondary.mode = "down";
  await store.save("one", create("one"));
  const second = store.save("two", create("two"));
  secondary.mode = "up";
  assertEquals((await settled(clock, second)).state, "saved");
  await settled(clock, store.flush());
  await store.close();
});

Deno.test("attempts during an outage do not count: pending work is shipped after the outage", async () => {
  const { clock, primary, secondary, store, dropped } = setUp();
  secondary.mode = "down";
  await store.save("key", create());
  await clock.advance(300_000);
  assertEquals([store.pending, dropped], [1, []]);
  secondary.mode = "up";
  await settled(clock, store.flush());
  assertEquals(await secondary.inner.load("key"), await primary.inner.load("key"));
  await store.close();
});

Deno.test("a shipment that always fails is given up, reported with its key, and delays no other", async () => {
  const clock = new ManualClock();
  const [primary, secondary] = [new Side(clock), new Side(clock)];
  const dropped: DroppedReplication[] = [];
  const picky: Store = {
    ...secondary.inner,
    consistency: "atomic",
    index: secondary.inner.index,
    load: (key) => secondary.inner.load(key),
    delete: (key, options) => secondary.inner.delete(key, options),
    exists: (key) => secondary.inner.exists(key),
    save(key, change) {
      if (key === "poison") {
        throw new HoldfastError("backend-unavailable", "Cannot take it", { retryable: true });
      }
      return secondary.inner.save(key, change);
    },
  };
  const store = replicatedSessions(primary.store, picky, {
    clock,
    retryAttempts: 2,
    onDropped: (drop) => {
      dropped.push(drop);
      throw new Error("a listener's own affair");
    },
  });
  await store.save("poison", create("poison"));
  for (let i = 0; i < 10; i++) {
    await store.save(`key${i}`, create(`key${i}`));
    await clock.advance(0);
    assert(await secondary.inner.exists(`key${i}`), "the others go on");
  }
  await settled(clock, store.flush());
  assertEquals(dropped.map(({ kind, key }) => [kind, key]), [["session", "poison"]]);
  await store.close();
});

Deno.test("a primary that restarted empty gets back its sessions, tombstones and epochs", async () => {
  const clock = new ManualClock();
  const engine = memoryStore({ clock });
  const secondary = new Side(clock);
  const store = replicatedSessions(engine, secondary.store, {
    clock,
    strategy: "acknowledged",
  });
  await store.save("key", create());
  await store.save("gone", create("gone"));
  const { bornAt } = await store.index.add("ada", {
    handle: "handle-key",
    key: "key",
    endsAt: clock.now() + 60_000,
  }) as {
    bornAt: number;
  };
  await store.index.revoke("bob", { remember: 60_000 });
  await store.delete("gone", { why: "revoked" });
  await engine.clear();
  const found = await store.load("key");
  assert(found.state === "live" && found.degraded === undefined);
  assertEquals(found.record.values, { "d:a": "1" });
  assertObjectMatch(await store.load("gone"), { state: "ended", why: "revoked" });
  const saved = await store.save("key", { type: "update", set: { "d:b": "2" } });
  assert(saved.state === "saved");
  assertEquals(saved.record.values, { "d:a": "1", "d:b": "2" });
  assertEquals(await secondary.inner.load("key"), { state: "live", record: saved.record });
  assertEquals((await store.index.read("ada")).entries.map(({ key }) => key), ["key"]);
  assert((await store.index.read("bob")).epoch > bornAt, "epochs are not forgotten either");
  assertEquals((await store.index.keys()).keys, ["key"]);
  await store.close();
});

Deno.test("acknowledged: saves that the primary lost before they were shipped reject", async () => {
  const clock = new ManualClock();
  const [engine, copies] = [memoryStore({ clock }), atomicSessionStore(memoryStore({ clock }))];
  const slow = held(copies);
  const isolate = (secondary: Store) =>
    replicatedSessions(engine, secondary, { clock, strategy: "acknowledged" });
  const [ours, other] = [isolate(slow.store), isolate(copies)];
  await ours.save("key", create());
  const answered: string[] = [];
  const save = async (name: string) => {
    await ours.save("key", { type: "update", set: { [`d:${name}`]: "1" } }).then(
      () => answered.push(`d:${name}`),
      (error) => assert(error instanceof NotReplicatedError),
    );
  };
  const release = slow.hold("before");
  const saves = [save("shipping")];
  await clock.advance(0);
  saves.push(save("waiting"));
  await clock.advance(0);
  await engine.clear(); // and another isolate begins a new history on the copy
  await other.save("key", { type: "update", set: { "d:other": "1" } });
  saves.push(save("after"));
  await clock.advance(0);
  slow.pass();
  release();
  await Promise.all(saves);
  const primary = await atomicSessionStore(engine).load("key");
  assert(primary.state === "live");
  assertEquals(await copies.load("key"), primary, "both are the same");
  assertEquals(primary.record.values, { "d:a": "1", "d:other": "1", "d:after": "1" });
  assertEquals(answered.filter((name) => !(name in primary.record.values)), [], "answered, and gone");
  await Promise.all([ours.close(), other.close()]);
});

Deno.test("acknowledged: a save whose answer arrives after the primary lost it rejects", async () => {
  const clock = new ManualClock();
  const engine = memoryStore({ clock });
  const [primary, secondary] = [atomicSessionStore(engine), atomicSessionStore(memoryStore({ clock }))];
  const slow = held(primary);
  const isolate = (primary: Store) =>
    replicatedSessions(primary, secondary, { clock, strategy: "acknowledged" });
  const [ours, other] = [isolate(slow.store), isolate(primary)];
  await ours.save("key", create());
  const release = slow.hold("after");
  const late = ours.save("key", { type: "update", set: { "d:late": "1" } });
  await clock.advance(0);
  await engine.clear(); // and another isolate begins a new history on the copy
  await other.save("key", { type: "update", set: { "d:other": "1" } });
  slow.pass();
  await ours.save("key", { type: "update", set: { "d:after": "1" } });
  release();
  await assertRejects(() => late, NotReplicatedError);
  const found = await primary.load("key");
  assert(found.state === "live");
  assertEquals(found.record.values, { "d:a": "1", "d:other": "1", "d:after": "1" });
  assertEquals(await secondary.load("key"), found, "both are the same");
  await Promise.all([ours.close(), other.close()]);
});

Deno.test("recover() ships the pending work of a dead isolate", async () => {
  const clock = new ManualClock();
  const outbox = memoryStore({ clock });
  const [primary, secondary] = [new Side(clock), new Side(clock)];
  const isolate = () => replicatedSessions(primary.store, secondary.store, { clock, outbox });
  const [dies, lives] = [isolate(), isolate()];
  await dies.save("ended", create("ended"));
  await dies.flush();
  await dies.save("short", create("short"));
  await dies.delete("short", { why: "revoked" });
  await dies.flush();
  assertEquals((await outbox.namespace("replication").listPage()).keys, [], "what is shipped leaves no mark");
  secondary.mode = "hanging";
  for (let i = 0; i < 5; i++) await dies.save(`key${i}`, create(`key${i}`));
  await assertRejects(() => settled(clock, dies.delete("ended", { why: "revoked" })), NotReplicatedError);
  await settled(clock, dies.close({ timeout: 1 }));
  secondary.mode = "up";
  assertEquals(await lives.recover(), { found: 0, pending: 0 }, "a young mark may belong to a live isolate");
  await clock.advance(60_000);
  assertEquals(await settled(clock, lives.recover()), { found: 6, pending: 0 });
  for (const key of ["key0", "key4", "ended"]) {
    assertEquals(timeless(await secondary.inner.load(key)), timeless(await primary.inner.load(key)), key);
  }
  assertEquals((await secondary.inner.load("ended")).state, "ended");
  assertEquals(await lives.recover(), { found: 0, pending: 0 }, "the marks are gone");
  await lives.close();
});

Deno.test("an isolate that dies before its rotation begins leaves no outbox mark that ends the session", async () => {
  const clock = new ManualClock();
  const outbox = memoryStore({ clock });
  const [primary, secondary] = [new Side(clock), new Side(clock)];
  const isolate = () => replicatedSessions(primary.store, secondary.store, { clock, outbox });
  const [dies, lives] = [isolate(), isolate()];
  await dies.save("key", create());
  await dies.flush();
  secondary.mode = "hanging";
  dies.delete("key", { why: "rotated" }).catch(() => {}); // its caller is gone
  await clock.advance(0);
  assertEquals((await outbox.namespace("replication").listPage()).keys, [], "no mark");
  secondary.mode = "up";
  await clock.advance(60_000);
  assertEquals(await lives.recover(), { found: 0, pending: 0 });
  for (const side of [primary, secondary]) assertEquals((await side.inner.load("key")).state, "live");
  await dies.close();
  await lives.close();
});

Deno.test("a save without a place that may have happened is in the outbox before its caller is told", async () => {
  const clock = new ManualClock();
  const outbox = memoryStore({ clock });
  const [primary, secondary] = [new Side(clock), new Side(clock)];
  const isolate = () =>
    replicatedSessions(primary.store, secondary.store, { clock, outbox, queueSize: 4, whenFull: "inline" });
  const [dies, lives] = [isolate(), isolate()];
  secondary.mode = "hanging";
  for (const key of ["one", "two", "three"]) await dies.save(key, create(key));
  primary.mode = "hanging";
  await assertRejects(() => settled(clock, dies.save("four", create("four"))), HoldfastError);
  await primary.inner.save("four", create("four")); // it had only been slow
  await settled(clock, dies.close({ timeout: 1 }));
  primary.mode = secondary.mode = "up";
  await clock.advance(60_000);
  assertEquals(await settled(clock, lives.recover()), { found: 4, pending: 0 });
  assertEquals((await secondary.inner.load("four")).state, "live");
  await lives.close();
});

Deno.test("close() ships pending work; later saves ship before they answer", async () => {
  const { secondary, store } = setUp();
  await store.save("key", create());
  assertEquals(await store.close(), { pending: 0 });
  assert(await secondary.inner.exists("key"));
  await store.save("late", create("late"));
  assert(await secondary.inner.exists("late"));
  assertEquals(store.pending, 0);
});

Deno.test("waitUntil keeps the isolate alive until the copy has arrived", async () => {
  const kept: Promise<unknown>[] = [];
  const { secondary, store } = setUp({ waitUntil: (work) => kept.push(work) });
  await store.save("key", create());
  assertEquals(kept.length, 1);
  await kept[0];
  assert(await secondary.inner.exists("key"));
  await store.close();
});

Deno.test("revoking a user copies the primary's epoch: a later login is not revoked on the secondary", async () => {
  const { clock, primary, secondary, store } = setUp({ attemptTimeout: "50ms" });
  const sessions = createSessions(store, { clock });
  secondary.mode = "hanging";
  await assertRejects(() => settled(clock, sessions.revokeUser("ada"), 10), NotReplicatedError);
  await clock.advance(1000);
  secondary.mode = "up";
  const session = sessions.open(null);
  session.login("ada");
  const cookie = (await settled(clock, sessions.commit(session)))!.split(";")[0]!;
  await settled(clock, store.flush());
  primary.mode = "down";
  assertEquals(await settled(clock, sessions.open(cookie).userId()), "ada");
  primary.mode = "up";
  await clock.advance(10_000);
  await store.close();
});

Deno.test("a revocation that the primary did not answer rejects, and degraded reads obey it all the same", async () => {
  const { clock, primary, store } = setUp();
  const sessions = createSessions(store, { clock, touchEvery: 1 });
  const session = sessions.open(null);
  session.login("ada");
  const cookie = (await sessions.commit(session))!.split(";")[0]!;
  await settled(clock, store.flush());
  primary.mode = "down";
  assertEquals(await settled(clock, sessions.open(cookie).userId()), "ada");
  await assertRejects(() => settled(clock, sessions.revokeUser("ada")), NotReplicatedError);
  assertEquals(await settled(clock, sessions.open(cookie).userId()), undefined);
  primary.mode = "up";
  await settled(clock, store.flush());
  assertEquals(await sessions.open(cookie).userId(), undefined);
  await store.close();
});

Deno.test("onOperation gets side, outcome and pending, and never a key", async () => {
  const { operations, store } = setUp();
  await store.save("secret-key", create());
  await store.flush();
  assertEquals(operations.map(({ operation, side, outcome }) => `${operation} ${side} ${outcome}`), [
    "save primary ok",
    "ship secondary ok",
  ]);
  assertEquals(JSON.stringify(operations).includes("secret"), false);
  await store.close();
});

Deno.test("replicatedSessions() refuses eventual stores and options out of range", () => {
  const store = memoryStore();
  assertThrows(
    () => replicatedSessions(store, keyValueSessionStore(store) as unknown as Store),
    TypeError,
  );
  assertThrows(() => replicatedSessions(store, undefined as unknown as Store), TypeError);
  for (const queueSize of [0, -1, 1.5, NaN]) {
    assertThrows(() => replicatedSessions(store, store, { queueSize }), RangeError);
  }
  assertThrows(() => replicatedSessions(store, store, { retryAttempts: -1 }), RangeError);
  assertThrows(() => replicatedSessions(store, store, { attemptTimeout: 0 }), RangeError);
  assertThrows(() => replicatedSessions(store, store, { retryDelay: -1 }), RangeError);
  assertThrows(() => replicatedSessions(store, store, { strategy: "later" as "async" }), TypeError);
  assertThrows(() => replicatedSessions(store, store, { whenFull: "drop" as "wait" }), TypeError);
});

Deno.test("flush() and a save that finds the queue full end at once with a signal that is aborted already", async () => {
  const { store, secondary } = setUp({ queueSize: 1 });
  secondary.mode = "hanging";
  await store.save("a", create("a"));
  const signal = AbortSignal.abort(new Error("left"));
  const calls = [() => store.flush({ signal }), () => store.save("b", create("b"), { signal })];
  for (const call of calls) assertEquals((await assertRejects(call, Error)).message, "left");
  await assertRejects(() => store.flush({ timeOut: "1s" } as never), TypeError);
});
