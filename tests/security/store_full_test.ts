/**
 * A store that is full fails closed where it protects: no check passes, no block is lost in silence, a
 * logout ends the session.
 */
import { type AtomicStore, createSessions, createThrottle, HoldfastError, memoryStore } from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { atomicSessionStore, createSealedSessions } from "@holdfast/edge/sessions";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";

/** Writes a record that is never evicted. */
const pin: Transition = {
  name: "test.pin",
  apply: () => ({ output: {}, write: { record: { kept: "1" }, retention: "protected" } }),
};

/** Fills what protected records may take, whatever their namespaces. */
async function fill(store: AtomicStore): Promise<void> {
  for (let space = 0; space < 20; space++) {
    for (let i = 0; i < 200; i++) {
      await store.namespace(`strangers-${space}`).transact(pin, `${i}`, {}).catch(() => {});
    }
  }
}

const sent = (cookie: string | undefined) => cookie!.split(";")[0]!;
const limits = { name: "login", limit: 1, window: "1h" } as const;

/** A store whose throttle records cannot be written. */
function full(store: AtomicStore): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return (space: string) => full(target.namespace(space));
      if (name === "transact") {
        return () => Promise.reject(new HoldfastError("store-full", "Cannot store", { retryable: true }));
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

Deno.test("throttle: a check on a full store is denied, also with whenUnavailable 'allow'", async () => {
  const faults: unknown[] = [];
  const onFault = (error: unknown) => faults.push((error as HoldfastError).code);
  const store = full(memoryStore());
  for (const whenUnavailable of [undefined, "allow", "deny"] as const) {
    const throttle = createThrottle(store, { ...limits, whenUnavailable, onFault });
    for (const decision of [await throttle.check("attacker"), await throttle.peek("attacker")]) {
      assertEquals([decision.allowed, decision.degraded, decision.remaining], [false, true, 0]);
      assert(decision.retryAfter > 0);
    }
  }
  assertEquals(faults, Array(6).fill("store-full"));
  const throwing = createThrottle(store, { ...limits, whenUnavailable: "throw" });
  assertEquals((await assertRejects(() => throwing.check("a"), HoldfastError)).code, "store-full");
  // Another throttle protects too.
  const other = createThrottle(memoryStore(), limits);
  const chained = createThrottle(store, { ...limits, whenUnavailable: other });
  assertEquals([(await chained.check("a")).allowed, (await chained.check("a")).allowed], [true, false]);
});

Deno.test("throttle: block() throws on a full store, and a blocked key stays denied", async () => {
  const store = memoryStore({ maxEntries: 200 });
  const throttle = createThrottle(store, limits);
  await throttle.block("banned", "1d");
  await fill(store);
  let refused: HoldfastError | undefined;
  for (let i = 0; i < 200 && !refused; i++) {
    await throttle.block(`attacker-${i}`, "1d").catch((error) => refused = error);
  }
  assertEquals(refused?.code, "store-full");
  assertEquals((await throttle.check("banned")).allowed, false);
  assertEquals((await throttle.check("guest")).allowed, true, "counters find space all the same");
  assertEquals((await throttle.check("guest")).allowed, false);
});

Deno.test("sessions: a logout on a full store ends the session although no tombstone fits", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ maxEntries: 200, clock });
  const events: string[] = [];
  const sessions = createSessions(store, { clock, onEvent: ({ type }) => void events.push(type) });
  const login = async (user: string) => {
    const session = sessions.open(null);
    session.login(user);
    return sent(await sessions.commit(session));
  };
  const cookies = await Promise.all(["ada", "bob", "carol", "dora", "eve"].map(login));
  await fill(store);
  // Tombstones get what is left of their namespace's share; then none fits.
  const tombstones = atomicSessionStore(store);
  let fits = true;
  for (let i = 0; i < 300 && fits; i++) {
    await tombstones.delete(`filler-${i}`, { why: "revoked", absent: "tombstone" }).catch((error) => {
      assertEquals(error.code, "store-full");
      fits = false;
    });
  }
  assertEquals(fits, false, "the session's own namespace is full");
  events.length = 0;
  for (const cookie of cookies) {
    const session = sessions.open(cookie);
    assert(await session.userId() !== undefined);
    session.revoke();
    assertEquals((await sessions.commit(session))?.includes("Max-Age=0"), true);
    assertEquals(await sessions.open(cookie).userId(), undefined, "the session lives");
  }
  assertEquals(events.filter((type) => type === "revoked").length, cookies.length);
  // Only the reason is lost: the token looks like one that never existed.
  assertEquals(await tombstones.delete("nothing", { why: "revoked" }), undefined);
  assertEquals(events.filter((type) => type === "unknown-id").length, cookies.length);
});

Deno.test("sessions: a rotation, a burial and a replicated logout are refused instead, or a session could live on", async () => {
  const store = memoryStore({ maxEntries: 200 });
  const records = atomicSessionStore(store);
  await records.save("key", {
    type: "create",
    handle: "h",
    idleTimeout: 60_000,
    absoluteTimeout: 60_000,
    schemaVersion: 1,
    values: {},
  });
  await fill(store);
  for (let i = 0; i < 300; i++) {
    await records.delete(`filler-${i}`, { why: "revoked", absent: "tombstone" }).catch(() => {});
  }
  for (
    const [key, change] of [
      ["key", { why: "rotated", next: "other" }],
      ["nothing", { why: "revoked", absent: "tombstone" }],
      ["key", { why: "revoked", lasting: true }],
    ] as const
  ) {
    const error = await assertRejects(() => records.delete(key, change), HoldfastError);
    assertEquals(error.code, "store-full", JSON.stringify(change));
    assertEquals((await records.load("key")).state, "live");
  }
  assertEquals((await records.delete("key", { why: "revoked", absent: "tombstone" }))?.handle, "h");
  assertEquals((await records.load("key")).state, "unknown");
});

Deno.test("sealed sessions: a logout that cannot be stored is an error", async () => {
  const store = memoryStore({ maxEntries: 200 });
  const sealed = createSealedSessions({
    keys: [{ id: "a", secret: new Uint8Array(32).fill(1) }],
    revocation: full(store),
  });
  const begun = createSealedSessions({ keys: [{ id: "a", secret: new Uint8Array(32).fill(1) }] });
  const session = begun.open(null);
  session.login("ada");
  const cookie = sent(await begun.commit(session));
  const ending = sealed.open(cookie);
  ending.revoke();
  assertEquals((await assertRejects(() => sealed.commit(ending), HoldfastError)).code, "store-full");
});

Deno.test({
  name: "Redis without memory: checks are denied, a block throws, and a logout ends the session",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using redis = await startRedis();
    await using upstash = await startUpstash(redis.port);
    const store = upstashStore(upstash);
    const sessions = createSessions(store);
    const session = sessions.open(null);
    session.login("ada");
    const cookie = sent(await sessions.commit(session));
    const throttle = createThrottle(store, limits);
    await redis.send("CONFIG", "SET", "maxmemory", "1");
    assertEquals((await throttle.check("guest")).allowed, false);
    assertEquals((await assertRejects(() => throttle.block("a", "1d"), HoldfastError)).code, "store-full");
    const ending = sessions.open(cookie);
    ending.revoke();
    await sessions.commit(ending);
    assertEquals(await sessions.open(cookie).userId(), undefined);
  },
});
