/**
 * Waiters at work: order, promptness, and how often the store is asked. `gate_test.ts` has those of one
 * process.
 */
import { type AtomicStore, type Clock, createLocks, memoryStore } from "@holdfast/edge";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { ownProcess } from "../support/own_process.ts";
import { report } from "../support/report.ts";

/** Counts transitions. */
function counted(store: AtomicStore): { store: AtomicStore; calls: () => number } {
  let calls = 0;
  const counting = (store: AtomicStore): AtomicStore =>
    new Proxy(store, {
      get(target, name) {
        if (name === "namespace") return (space: string) => counting(target.namespace(space));
        if (name === "transact") calls++;
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  return {
    store: counting(store),
    calls() {
      const since = calls;
      calls = 0;
      return since;
    },
  };
}

const WAITERS = 50;

/** The engines that can notify. */
const engines: Record<string, (clock: Clock) => AtomicStore> = {
  memory: (clock) => memoryStore({ clock }),
};

for (const [engine, open] of Object.entries(engines)) {
  Deno.test(`${engine}: ${WAITERS} waiters on a fair lock are served in order, each within 50 ms, without polling`, async () => {
    const clock = new ManualClock();
    const { store, calls } = counted(open(clock));
    const locks = createLocks(store, { clock });
    const processes = Array.from({ length: WAITERS }, () => createLocks(ownProcess(store), { clock }));
    const first = await locks.acquire("key", { ttl: "1m" });
    const order: number[] = [];
    let released = 0;
    let slowest = 0;
    const waiters = processes.map(async (locks, i) => {
      const lock = await locks.acquire("key", { ttl: "1m", wait: "1m", fair: true });
      slowest = Math.max(slowest, clock.now() - released);
      order.push(i);
      await clock.sleep(2);
      released = clock.now();
      assertEquals(await lock!.release(), "released");
    });
    await eventually(async () => (await locks.inspect("key")).waiting === WAITERS, "all wait");
    calls();
    await clock.advance(1500);
    assertEquals(calls(), 0, "no waiter asks while nothing happens");
    released = clock.now();
    await first!.release();
    const served = Promise.all(waiters);
    await eventually(async () => (await clock.advance(1), order.length === WAITERS), "all are served");
    await clock.advance(2);
    await served;
    const asked = calls();
    report(
      `${engine}: slowest hand-over ${slowest.toFixed(1)} ms, ${asked} calls for ${WAITERS} waiters`,
    );
    assertEquals(order, Array.from({ length: WAITERS }, (_, i) => i));
    assert(slowest < 50, `the slowest came ${slowest} ms after the release before it`);
    // Its own release, one look when it has become the first, the acquisition, and a look that came too early
    // at times.
    assert(asked <= 4 * WAITERS + 1, `the store was asked ${asked} times`);
  });
}

Deno.test("a waiter that vanished delays a queue by its second at most, also several in a row", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const locks = createLocks(store, { clock });
  const first = await locks.acquire("key", { ttl: "1m" });
  // Stores that never answer again: what crashed processes look like from outside.
  let dead = false;
  const crashing: AtomicStore = new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return () => crashing;
      if (name === "transact") {
        return (...args: Parameters<AtomicStore["transact"]>) =>
          dead ? new Promise(() => {}) : target.namespace("lock").transact(...args);
      }
      if (name === "watch") return () => new Promise(() => {});
      return Reflect.get(target, name);
    },
  });
  const controller = new AbortController();
  const gone = [1, 2].map(() =>
    createLocks(ownProcess(crashing), { clock }).acquire("key", {
      ttl: "1m",
      wait: "1m",
      fair: true,
      signal: controller.signal,
    })
  );
  const waiting = async () => (await locks.inspect("key")).waiting;
  await eventually(async () => await waiting() === 2, "two wait");
  const waiter = locks.acquire("key", { ttl: "1m", wait: "1m", fair: true });
  await eventually(async () => await waiting() === 3, "a third waits");
  dead = true;
  const released = clock.now();
  await first!.release();
  let delay: number | undefined;
  const served = waiter.then((lock) => (delay = clock.now() - released, lock));
  await eventually(async () => (await clock.advance(10), delay !== undefined), "it is served");
  assertEquals(await (await served)?.release(), "released");
  assert(delay! >= 1990, "each was given its chance");
  assert(delay! < 2 * 1000 + 5000 + 500, `the delay was ${delay} ms`);
  controller.abort();
  await Promise.allSettled(gone);
});

Deno.test("a full queue of 256 processes turns none away for good", async () => {
  const store = memoryStore();
  const first = await createLocks(store).acquire("key", { ttl: "5m" });
  let served = 0;
  const waiters = Array.from({ length: 300 }, async () => {
    const locks = createLocks(ownProcess(store));
    const lock = await locks.acquire("key", { ttl: "5m", wait: "4m", fair: true });
    if (lock) served++;
    await lock?.release();
  });
  const waiting = async () => (await createLocks(store).inspect("key")).waiting;
  await eventually(async () => await waiting() === 256, "the queue is full");
  await first!.release();
  await Promise.all(waiters);
  assertEquals(served, 300);
});
