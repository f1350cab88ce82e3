/**
 * A memory store under strangers who make as many records as they like: whatever protects stays, whatever
 * they fill, and a write costs the same however full the store is. `FLOOD=1000000` sets the number of
 * hostile records.
 */
import {
  type AtomicStore,
  createIdempotency,
  createLocks,
  createSessions,
  createThrottle,
  HoldfastError,
  memoryStore,
} from "@holdfast/edge";
import process from "node:process";
import type { Retention, Transition } from "@holdfast/edge/engine";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { assert, assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { report } from "../support/report.ts";

const FLOOD = Number(Deno.env.get("FLOOD") ?? 20_000);
const MAX_ENTRIES = Number(Deno.env.get("FLOOD_ENTRIES") ?? Math.min(100_000, FLOOD / 4));

/** Writes a record with a retention, as a contract does. */
const keep: Transition = {
  name: "test.keep",
  apply: (_record, { retention }, now) => ({
    output: {},
    write: { record: { kept: "1" }, expiresAt: now + 86_400_000, retention: retention as Retention },
  }),
};

/** Microseconds of processor time, garbage collection included: others on the machine do not count. */
function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

const sent = (cookie: string | undefined) => cookie!.split(";")[0]!;
const limits = { name: "login", limit: 3, window: "1h" } as const;
const cheap = { name: "api", limit: 1000, window: "1h" } as const;

/** The kinds of records that a stranger can make, each by its way in. */
function floods(store: AtomicStore, clock: ManualClock): Record<string, (i: number) => Promise<unknown>> {
  const idempotency = createIdempotency(store, { clock });
  const sessions = createSessions(store, { clock });
  const throttle = createThrottle(store.namespace("api"), cheap);
  return {
    "throttle counters": (i) => throttle.check(`stranger-${i}`),
    "plain values": (i) => store.set(`stranger-${i}`, i, { ttl: "1h" }),
    "idempotency keys": (i) =>
      store.namespace("idempotency").transact(keep, `stranger-${i}`, { retention: "protected" }),
    "idempotency keys by begin()": (i) =>
      i % 100 === 0
        ? idempotency.begin(`stranger-${i}`, { signal: AbortSignal.timeout(1) })
        : Promise.resolve(),
    "anonymous sessions": async (i) => {
      if (i % 20 !== 0) {
        return await store.namespace("session").transact(keep, `s-${i}`, { retention: "kept" });
      }
      const session = sessions.open(null);
      session.set("cart", [i]);
      return await sessions.commit(session);
    },
  };
}

async function protectedState(store: AtomicStore, clock: ManualClock) {
  const lock = await createLocks(store, { clock }).acquire("job", { ttl: "1d" });
  const begun = await createIdempotency(store, { clock, lease: "1h" }).begin("order");
  const throttle = createThrottle(store, limits);
  for (let i = 0; i < 3; i++) await throttle.check("attacker");
  await throttle.block("banned", "1d");
  const sealed = createSealedSessions({
    keys: [{ id: "a", secret: new Uint8Array(32).fill(1) }],
    revocation: store,
    clock,
  });
  const session = sealed.open(null);
  session.login("ada");
  const cookie = sent(await sealed.commit(session));
  const ending = sealed.open(cookie);
  ending.revoke();
  await sealed.commit(ending);
  const other = sealed.open(null);
  other.login("bob");
  const revoked = sent(await sealed.commit(other));
  await sealed.revokeUser("bob");
  return async (when: string) => {
    assertEquals((await throttle.check("banned")).allowed, false, `${when}: a block is lifted`);
    assertEquals((await throttle.check("attacker")).allowed, false, `${when}: a spent counter is reset`);
    assertEquals(await sealed.open(cookie).userId(), undefined, `${when}: a logout is undone`);
    assertEquals(await sealed.open(revoked).userId(), undefined, `${when}: a revocation is undone`);
    assertEquals(await createLocks(store, { clock }).acquire("job", { ttl: "1m" }), undefined, when);
    const again = await createIdempotency(store, { clock }).begin("order");
    assertEquals(again.state, "in-progress", `${when}: a claim is lost`);
    assert(begun.state === "new" && lock !== undefined);
  };
}

Deno.test("hostile records of every kind revive no session, unblock no key and open no lock", async () => {
  for (const together of [false, true]) {
    const clock = new ManualClock();
    const store = memoryStore({ maxEntries: MAX_ENTRIES, clock });
    const check = await protectedState(store, clock);
    const kinds = Object.entries(floods(store, clock));
    const refused = new Set<string>();
    const figures: Record<string, string> = {};
    /** Floods with `write`, and notes what the first and the last tenth cost. */
    const run = async (name: string, write: (i: number) => Promise<unknown>) => {
      const tenth = Math.floor(FLOOD / 10);
      const costs: string[] = [];
      for (let part = 0; part < 10; part++) {
        const began = processorTime();
        for (let i = part * tenth; i < (part + 1) * tenth; i++) await write(i);
        costs.push(((processorTime() - began) / tenth).toFixed(1));
      }
      figures[name] = `${costs[0]}, later ${costs[9]}`;
    };
    const flood = async (kind: string, write: (i: number) => Promise<unknown>, i: number) => {
      try {
        await write(i);
      } catch (error) {
        refused.add(error instanceof HoldfastError ? `${kind}: ${error.code}` : `${kind}: ${error}`);
      }
    };
    if (together) {
      await run("all together", (i) => flood(...kinds[i % kinds.length]!, i));
      await check("all together");
    } else {
      for (const [kind, write] of kinds) {
        await run(kind, (i) => flood(kind, write, i));
        await check(kind);
      }
    }
    report(
      `${FLOOD} hostile records against ${MAX_ENTRIES}, µs a write at first: ${JSON.stringify(figures)}`,
    );
    const claims = together ? FLOOD / kinds.length : FLOOD;
    assertEquals(refused.has("idempotency keys: store-full"), claims > MAX_ENTRIES / 2, [...refused].join());
    // Calls of other users still work beside the floods.
    const session = createSessions(store, { clock }).open(null);
    session.login("carol");
    const cookie = sent(await createSessions(store, { clock }).commit(session));
    assertEquals(await createSessions(store, { clock }).open(cookie).userId(), "carol");
    assert(await createLocks(store, { clock }).acquire("another", { ttl: "1m" }) !== undefined);
    assertEquals((await createThrottle(store, limits).check("guest")).allowed, true);
  }
});

Deno.test("1,100 cheap throttle keys evict neither a session nor a spent counter of a store of 1,000", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ maxEntries: 1000, clock });
  const sessions = createSessions(store, { clock });
  const session = sessions.open(null);
  session.set("cart", ["rope"]);
  const cookie = sent(await sessions.commit(session));
  const throttle = createThrottle(store, limits);
  for (let i = 0; i < 3; i++) await throttle.check("attacker");
  for (let i = 0; i < 1100; i++) await throttle.check(`stranger-${i}`);
  assertEquals(await sessions.open(cookie).get("cart"), ["rope"]);
  assertEquals((await throttle.check("attacker")).allowed, false);
});

Deno.test("a flood of one namespace evicts its own records, not another's", async () => {
  const store = memoryStore({ maxEntries: 1000 });
  for (let i = 0; i < 100; i++) await store.namespace("prices").set(`${i}`, i);
  for (let i = 0; i < 5000; i++) await store.namespace("search").set(`${i}`, i);
  for (let i = 0; i < 100; i++) assertEquals(await store.namespace("prices").get(`${i}`), i);
});

Deno.test("sessions never take the last eighth of the store from counters", async () => {
  const store = memoryStore({ maxEntries: 800 });
  for (let i = 0; i < 400; i++) await store.set(`counter-${i}`, i);
  for (let i = 0; i < 5000; i++) await store.namespace("s").transact(keep, `${i}`, { retention: "kept" });
  let counters = 0;
  for await (const _ of store.list()) counters++;
  assertEquals(counters, 100);
});

Deno.test("namespaces of protected records leave each other a share, and expiry gives it back", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ maxEntries: 1200, clock });
  const fill = async (namespace: string) => {
    let written = 0;
    for (let i = 0; i < 2000; i++) {
      await store.namespace(namespace).transact(keep, `${i}`, { retention: "protected" })
        .then(() => written++, (error) => assertEquals(error.code, "store-full"));
    }
    return written;
  };
  assertEquals([await fill("a"), await fill("b"), await fill("c")], [600, 200, 67]);
  await store.set("value", 1); // there is always space for what may be evicted
  assertEquals(await store.get("value"), 1);
  await clock.advance(86_400_000);
  assertEquals(await fill("a"), 600);
});

Deno.test("a write costs the same in a store that is full, and a refusal less than a scan", async () => {
  const time = async (count: number, write: (i: number) => Promise<unknown>) => {
    const began = processorTime();
    for (let i = 0; i < count; i++) await write(i).catch(() => {});
    return (processorTime() - began) / count;
  };
  const figures: Record<string, number> = {};
  for (const entries of [1000, 100_000]) {
    const store = memoryStore({ maxEntries: entries });
    const pinned = store.namespace("idempotency");
    for (let i = 0; i < entries * 2; i++) await store.set(`value-${i}`, i);
    await time(entries, (i) => pinned.transact(keep, `${i}`, { retention: "protected" }));
    figures[`evicting write at ${entries}`] = await time(20_000, (i) => store.set(`later-${i}`, i));
    figures[`refused write at ${entries}`] = await time(
      20_000,
      (i) => pinned.transact(keep, `later-${i}`, { retention: "protected" }),
    );
  }
  report(
    `memory under a flood, µs a write: ${
      JSON.stringify(figures, (_, v) => typeof v === "number" ? +v.toFixed(2) : v)
    }`,
  );
  // A scan of all entries would cost a hundred times as much in the larger store.
  for (const kind of ["evicting", "refused"]) {
    const [small, large] = [figures[`${kind} write at 1000`]!, figures[`${kind} write at 100000`]!];
    assert(large < 30 * small + 5, `${kind}: ${small} µs, then ${large} µs`);
  }
});
