/**
 * Primaries that restart empty, are set back or answer late, with default options; callbacks that throw;
 * misconfigured sides.
 */
import { HoldfastError, memoryStore } from "@holdfast/edge";
import { NotReplicatedError, replicatedSessions } from "@holdfast/edge/sessions";
import type { ReplicatedSessionsOptions } from "@holdfast/edge/sessions";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { runIn } from "../support/runtimes.ts";
import { workerdTest } from "../support/workerd.ts";
import { cases, settled, setUp } from "./_faults_scenario.ts";

const out = [null, false];
const gone = { state: "ended", why: "rotated", next: "successor" };
const expected: Record<keyof typeof cases, unknown> = {
  "a logout holds although the primary restarted empty before it, and goes away after it": [out, out],
  "a logout holds although the primary is set back to the state before it": [out, ["ended", "ended"]],
  "a logout holds although the primary restarts empty after it": [out],
  "an ended session is refused on a primary that was set back unseen, while the secondary is away": [
    "backend-unavailable",
    "backend-unavailable",
    out,
    ["bob", false],
  ],
  "a read asks the secondary twice before it is refused": ["ada", ["load", "load"]],
  "`degrade` trusts a primary without an outage alone": ["ada", false],
  "a tombstone that travels through the queue leads to the session that goes on": [
    ...["not-replicated", gone, [gone, gone]],
    ...["not-replicated", gone, [gone, gone]],
  ],
  "a tombstone that a shipment finds leads to the session that goes on": [gone, gone],
  "a logout and a rotation that leave different tombstones: a read leads to the session that goes on": {
    ...gone,
    why: "revoked",
  },
  "a session lives on although the primary restarted empty, and its writes are kept": [
    ["ada", false],
    "dark",
  ],
  "a save that takes effect 20 times later than its caller waits reaches the secondary": [
    "timeout",
    true,
    { "d:a": "2" },
  ],
  "an effect that nothing looked for is found by the next read of another isolate": true,
  "flush(), close() and a full queue work": ["queue-full", 3, { pending: 0 }],
  "sync writes both sides in parallel: one delay, not two": [[true, true], true],
};

for (const [name, run] of Object.entries(cases)) {
  Deno.test(name, async () => assertEquals(await run(), expected[name]));
}

for (const runtime of ["node", "bun"] as const) {
  workerdTest(`replication in ${runtime}: every fault ends as in Deno`, async () => {
    assertEquals(await runIn(runtime, "tests/replication/_faults_scenario.ts", {}), expected);
  });
}

const create = {
  type: "create",
  handle: "handle",
  idleTimeout: 600_000,
  absoluteTimeout: 3_600_000,
  schemaVersion: 1,
  values: {},
} as const;

Deno.test("a callback of the application that throws rejects no save that happened", async () => {
  const fail = () => {
    throw new Error("a callback's own fault");
  };
  for (const name of ["waitUntil", "onOperation", "onFault", "onDropped", "random"] as const) {
    const { clock, store, both } = setUp({ [name]: fail });
    assertEquals((await store.save("key", create)).state, "saved", name);
    await settled(clock, store.flush());
    assertEquals((await both("key")).map(({ state }) => state), ["live", "live"], name);
    await store.delete("key", { why: "revoked" });
  }
});

Deno.test("a clock that begins to throw rejects no save that happened, and is reported", async () => {
  let broken = false;
  const reported: string[] = [];
  const time = () => {
    if (broken) throw new Error("no time");
    return 1;
  };
  const [first, second] = [memoryStore(), memoryStore()];
  const clock = { now: () => Date.now() + time(), monotonic: time, sleep: () => new Promise<void>(() => {}) };
  const store = replicatedSessions(first, second, {
    clock,
    onFault: (_error, { operation }) => void reported.push(operation),
  });
  broken = true;
  assertEquals((await store.save("key", create)).state, "saved");
  assert(reported.includes("clock"));
});

Deno.test("a rotation changes nothing while a side is unreachable", async () => {
  for (const away of ["primary", "secondary"] as const) {
    const sides = setUp();
    const { clock, store, both } = sides;
    await store.save("key", create);
    await settled(clock, store.flush());
    sides[away].mode = "down";
    const error = await assertRejects(() => store.delete("key", { why: "rotated" }), HoldfastError);
    assertEquals([error.code, error.ambiguous], ["backend-unavailable", false], away);
    assertEquals((await both("key")).map(({ state }) => state), ["live", "live"], away);
  }
});

Deno.test("a sync save that only the secondary stored reports that, and reaches the primary", async () => {
  const { clock, primary, store, both } = setUp({ strategy: "sync" });
  await settled(clock, store.save("key", create));
  primary.mode = "down";
  const change = { type: "update", set: { "d:a": "2" } } as const;
  const error = await assertRejects(() => settled(clock, store.save("key", change)), NotReplicatedError);
  assertEquals([error.committed, error.queued, error.ambiguous], ["secondary", true, true]);
  primary.mode = "up";
  await settled(clock, store.flush({ timeout: "1m" }));
  const [first, copy] = await both("key");
  assertEquals(first, copy);
  assert(first.state === "live" && first.record.values["d:a"] === "2");
});

Deno.test("a misconfigured side is reported and not retried for ever", async () => {
  const faults: string[] = [];
  const dropped: string[] = [];
  const { clock, primary, secondary } = setUp();
  let calls = 0;
  const refuses = {
    ...secondary.inner,
    consistency: "atomic" as const,
    index: secondary.inner.index,
    load: (key: string) => secondary.inner.load(key),
    exists: (key: string) => secondary.inner.exists(key),
    save: () => {
      calls++;
      return Promise.reject(new HoldfastError("unauthorized", "Cannot use Redis: WRONGPASS"));
    },
    delete: () => Promise.reject(new HoldfastError("read-only", "Cannot write: READONLY")),
  };
  const store = replicatedSessions(primary.store, refuses, {
    clock,
    onFault: (error, { side, operation }) =>
      faults.push(`${(error as HoldfastError).code} ${side} ${operation}`),
    onDropped: ({ error }) => dropped.push((error as HoldfastError).code),
  });
  await store.save("key", create);
  await settled(clock, store.flush());
  assertEquals([calls, faults, dropped], [1, ["unauthorized secondary ship"], ["unauthorized"]]);
  const error = await assertRejects(
    () => settled(clock, store.delete("key", { why: "revoked" })),
    HoldfastError,
  );
  assertEquals([error.code, faults.at(-1)], ["read-only", "read-only secondary delete"]);
  await clock.advance(3_600_000);
  assertEquals([store.pending, faults.length], [0, 2], "nothing is tried any more");
});

Deno.test("an outage is reported once, when it opens the circuit", async () => {
  const faults: string[] = [];
  const { clock, primary, store } = setUp({
    onFault: (error, { operation }) => faults.push(`${(error as HoldfastError).code} ${operation}`),
  });
  primary.mode = "down";
  for (let i = 0; i < 5; i++) await store.load("key").catch(() => {});
  assertEquals(faults, ["backend-unavailable circuit"]);
  await clock.advance(0);
});

Deno.test("work that waits for a late effect takes no place in the queue, and ends in time", async () => {
  const { clock, primary, store } = setUp({ queueSize: 2 });
  primary.mode = "hanging";
  for (const key of ["one", "two", "three", "four", "five"]) {
    await assertRejects(() => settled(clock, store.save(key, create)), HoldfastError);
    primary.mode = "up";
    assertEquals(await settled(clock, store.flush({ timeout: "1m" })), { pending: 0 }, key);
    primary.mode = "hanging";
  }
  primary.mode = "up";
  await clock.advance(700_000);
  primary.asked();
  await clock.advance(700_000);
  assertEquals(primary.asked(), [], "nothing is looked for any more");
  await store.close();
});

Deno.test("replicatedSessions() refuses unknown options and accepts undefined ones", () => {
  const store = memoryStore();
  const refused = { primaryForgets: true } as ReplicatedSessionsOptions;
  assertThrows(() => replicatedSessions(store, store, refused), TypeError);
  assertThrows(() => replicatedSessions(store, store, { reads: "any" as "both" }), TypeError);
  assertThrows(() => replicatedSessions(store, store, { waitUntil: 1 as never }), TypeError);
  assertThrows(() => replicatedSessions(store, store, { retryAttempts: 0 }), RangeError);
  replicatedSessions(store, store, { strategy: undefined, queueSize: undefined, timeout: undefined });
});

Deno.test("ASVS 7.4.3: revokeUser() with an exception holds although the primary restarts empty or is set back", async () => {
  for (const loss of ["empty", "set back"] as const) {
    const { clock, primary, sessions, login, whoIs } = setUp();
    const [kept, other] = [await login(), await login()];
    const setBack = await primary.snapshot((await primary.inner.index.keys()).keys);
    const except = await settled(clock, sessions.open(kept).handle());
    await settled(clock, sessions.revokeUser("ada", { except }));
    if (loss === "empty") primary.forget();
    else setBack();
    assertEquals([await whoIs(kept), await whoIs(other)], [["ada", false], [null, false]], loss);
  }
});

Deno.test("ASVS 3.3.3: the cookie of a replicated session has the __Host- prefix", async () => {
  const { login } = setUp();
  assert((await login()).startsWith("__Host-"));
});

Deno.test("ASVS 16.2.5: no callback and no error of a replicated store holds a token", async () => {
  const told: unknown[] = [];
  const tell = (...args: unknown[]) => void told.push(args);
  const { clock, primary, secondary, sessions, store, login } = setUp({
    onFault: tell,
    onDropped: tell,
    onOperation: tell,
    retryAttempts: 1,
  });
  const cookie = await login();
  const token = cookie.split("=")[1]!;
  for (const side of [primary, secondary]) {
    side.mode = "down";
    for (let i = 0; i < 4; i++) {
      const session = sessions.open(cookie);
      session.set("n", i);
      await settled(clock, sessions.commit(session)).catch(tell);
      await settled(clock, sessions.open(cookie).userId()).catch(tell);
    }
    side.mode = "up";
    await clock.advance(10_000);
  }
  told.push(store, sessions, (await primary.inner.index.keys()).keys);
  const text = Deno.inspect(told, { depth: 10, strAbbreviateSize: 10_000, iterableLimit: 10_000 });
  assert(text.includes("backend-unavailable"), "something was told");
  assertEquals(text.includes(token), false);
});
