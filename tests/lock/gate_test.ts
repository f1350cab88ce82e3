/** Waiters of one process: a gate lets only the first of a key ask the store. */
import { createLocks, type Lock, memoryStore } from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import { Gate, SILENCE } from "../../src/lock/_gate.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { startRedis } from "../support/redis_server.ts";
import { report } from "../support/report.ts";
import { startUpstash } from "../support/upstash_server.ts";

const WAIT = { ttl: "1m", wait: "4m" } as const;

/** All waiters take the lock in turn; answers their numbers as they came. */
async function serveAll(count: number, acquire: (i: number) => Promise<Lock | undefined>): Promise<number[]> {
  const order: number[] = [];
  await Promise.all(Array.from({ length: count }, async (_, i) => {
    const lock = await acquire(i);
    if (lock) order.push(i);
    await lock?.release();
  }));
  return order;
}

for (const fair of [false, true]) {
  Deno.test(`memory: 10,000 waiters of one process are served in order${fair ? ", from a fair queue" : ""}`, async () => {
    const locks = createLocks(memoryStore());
    const first = await locks.acquire("key", { ttl: "5m" });
    const served = serveAll(10_000, () => locks.acquire("key", { ...WAIT, fair }));
    await eventually(async () => (await locks.inspect("key")).waiting >= 9_999, "all wait");
    const began = performance.now();
    await first!.release();
    const order = await served;
    const took = performance.now() - began;
    report(`10,000 waiters on a memory lock${fair ? ", fair" : ""}: ${took.toFixed(0)} ms`);
    assertEquals(order, Array.from({ length: 10_000 }, (_, i) => i));
    // About a second on an idle machine; before the gate it was four minutes, and most timed out.
    assert(took < 100_000, `it took ${took} ms`);
  });
}

Deno.test({
  name: "Upstash: 1,000 waiters of one process are served in order, with three requests each at most",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using redis = await startRedis();
    await using upstash = await startUpstash(redis.port);
    const locks = createLocks(upstashStore(upstash));
    const first = await locks.acquire("key", { ttl: "5m" });
    const served = serveAll(1000, () => locks.acquire("key", { ...WAIT, ttl: "30s" }));
    await eventually(async () => (await locks.inspect("key")).waiting === 999, "all wait");
    upstash.requests();
    const began = performance.now();
    await first!.release();
    assertEquals(await served, Array.from({ length: 1000 }, (_, i) => i));
    const requests = upstash.requests().length;
    report(
      `1,000 waiters on Upstash: ${(performance.now() - began).toFixed(0)} ms, ${requests} requests`,
    );
    assert(requests <= 3 * 1000 + 20, `${requests} requests`);
  },
});

Deno.test("permits and readers: as many contend at a time as may hold the lock together", async () => {
  const locks = createLocks(memoryStore());
  for (const kind of [{ permits: 5 }, { mode: "read" }] as const) {
    const held = await Promise.all(
      Array.from({ length: 5 }, () => locks.acquire("shared", { ...WAIT, ...kind })),
    );
    assertEquals((await locks.inspect("shared")).holders, 5);
    for (const lock of held) await lock!.release();
  }
});

Deno.test("an acquisition that is given up in line leaves it at once, and the next is served", async () => {
  const locks = createLocks(memoryStore());
  const first = await locks.acquire("key", { ttl: "1m" });
  const controllers = [1, 2, 3].map(() => new AbortController());
  const waiters = controllers.map(({ signal }) => locks.acquire("key", { ...WAIT, signal }));
  const last = locks.acquire("key", WAIT);
  const reason = new Error("enough");
  for (const [i, controller] of controllers.entries()) {
    controller.abort(reason);
    assertEquals(await assertRejects(() => waiters[i]!), reason);
  }
  await first!.release();
  assertEquals(await (await last)?.release(), "released");
  assertEquals(await locks.acquire("key", { ttl: "1m", wait: 1 }) !== undefined, true, "the line is empty");
});

Deno.test("a wait that ends in line asks the store once more", async () => {
  const clock = new ManualClock();
  const locks = createLocks(memoryStore({ clock }), { clock });
  const first = (await locks.acquire("key", { ttl: "1m" }))!;
  const waiting = [1, 2].map(() => locks.acquire("key", { ttl: "1m", wait: 500 }));
  await clock.advance(499);
  await clock.advance(1);
  assertEquals(await Promise.all(waiting), [undefined, undefined]);
  await first.release();
});

Deno.test("a place without a sign of life leaves the line, and the others no longer wait for it", async () => {
  const clock = new ManualClock();
  const gate = new Gate();
  // Requests that were cancelled on Workers: their timers and promises never settle.
  const dead = [1, 2, 3].map(() => gate.join("key", 1, clock));
  assertEquals(dead.map(({ contends }) => contends), [true, false, false]);
  const living = gate.join("key", 1, clock);
  let entered = false;
  const entering = living.enter(Infinity, undefined).then(() => entered = true);
  await clock.advance(SILENCE - 500);
  assertEquals([entered, gate.waiting("key")], [false, 3]);
  for (let i = 0; i < 3; i++) await clock.advance(1000);
  await entering;
  assertEquals([dead.map(({ gone }) => gone), living.contends, gate.waiting("key")], [
    [true, true, true],
    true,
    0,
  ]);
  for (const place of dead) place.leave();
  const next = gate.join("key", 1, clock);
  assertEquals(next.contends, false, "one that left late changes nothing");
  living.leave();
  assertEquals(next.contends, true);
  next.leave();
  assertEquals(gate.waiting("key"), 0);
});

Deno.test("a place that contends shows that it is alive for as long as it takes", async () => {
  const clock = new ManualClock();
  const gate = new Gate();
  const first = gate.join("key", 1, clock);
  await first.enter(Infinity, undefined);
  const second = gate.join("key", 1, clock);
  const entering = second.enter(Infinity, undefined);
  for (let i = 0; i < 20; i++) await clock.advance(500);
  assertEquals([first.gone, second.contends], [false, false]);
  first.leave();
  await entering;
  assertEquals(second.contends, true);
  second.leave();
});
