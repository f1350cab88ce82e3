/** The cost of a queue's waiters on an engine that cannot notify; none loses its place by sleeping. */
import { type AtomicStore, createLocks, type Lock, memoryStore } from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { looksUntil, nextStep } from "../../src/lock/acquire_plan.ts";
import { acquireLock, lookLock, releaseLock } from "../../src/lock/lock_transitions.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { ownProcess } from "../support/own_process.ts";

/** The store as an engine without notifications has it; counts the transitions by name. */
function silent(store: AtomicStore, calls: Map<string, number>): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "watch") return undefined;
      if (name === "namespace") return (space: string) => silent(target.namespace(space), calls);
      if (name === "transact") {
        return (transition: Transition, ...rest: [string, Record<string, string>]) => {
          calls.set(transition.name, (calls.get(transition.name) ?? 0) + 1);
          return target.transact(transition, ...rest);
        };
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const WAITERS = 20;

Deno.test("a queue that stands still is looked at seldom, its tickets are renewed, and it is served in order", async () => {
  const clock = new ManualClock();
  const calls = new Map<string, number>();
  const store = silent(memoryStore({ clock }), calls);
  const locks = () => createLocks(ownProcess(store), { clock });
  const first = (await locks().acquire("key", { ttl: "1h" }))!;
  const order: number[] = [];
  const held: Promise<Lock | undefined>[] = [];
  for (let i = 0; i < WAITERS; i++) {
    const lock = locks().acquire("key", { ttl: "1h", wait: "1h", fair: true });
    held.push(lock.then((lock) => (order.push(i), lock)));
    await clock.advance(1);
  }
  calls.clear();
  for (let i = 0; i < 240; i++) await clock.advance(250);
  assertEquals((await locks().inspect("key")).waiting, WAITERS, "every ticket lasts");
  const [asked, looked] = [calls.get("lock.acquire")!, calls.get("lock.look")!];
  // The first asks for the lock about eight times a second; each of the others renews its ticket about every
  // ten seconds. Before, all of them asked, about 1,500 times.
  assert(asked < 60 * 10 + WAITERS * 60 / 6, `${asked} requests for the lock`);
  assert(looked > asked / 4 && looked < 2500, `${looked} looks`);
  await first.release();
  for (let i = 0; i < WAITERS; i++) {
    for (let step = 0; order.length === i && step < 20; step++) await clock.advance(50);
    assertEquals(order.at(-1), i, "first come, first served");
    await (await held[i]!)!.release();
  }
});

Deno.test("a waiter far back sleeps in proportion to its place, never beyond its ticket", () => {
  for (const ahead of [1, 2, 10, 100, 255]) {
    const most = Math.min(5000, Math.max(250, ahead * 100));
    for (const random of [0, 0.5, 0.999]) {
      const step = nextStep({ remaining: "1000", ahead: String(ahead) }, 10, random);
      assert(step.do === "wait" && step.ahead === ahead);
      assert(step.backoff >= 0.8 * most && step.backoff <= most, `${step.backoff} ms with ${ahead} ahead`);
    }
    // The ticket as the engine keeps it: two sleeps, with a look in between, fit into it.
    const queue = acquireLock.apply(undefined, { owner: "holder", ttl: "1000000" }, 0);
    let record = queue.write!.record;
    for (let i = 0; i <= ahead; i++) {
      record = acquireLock.apply(record, { owner: `o${i}`, ttl: "1", wait: "1000000" }, 0).write!.record;
    }
    const ends = Number(record![`by:o${ahead}`]!.split(" ")[2]);
    assert(looksUntil(0, ahead) + most <= ends - 4000, "also when the last renewal gained too little");
    assert(looksUntil(0, ahead) >= most, "the first sleep is followed by a look");
  }
  assertEquals(looksUntil(0, 0), -Infinity, "the first in the queue asks for the lock");
});

Deno.test("a look changes nothing, and tells nothing when the turn has come or something has ended", () => {
  let record = acquireLock.apply(undefined, { owner: "a", ttl: "50000" }, 0).write!.record;
  for (const owner of ["b", "c"]) {
    record = acquireLock.apply(record, { owner, ttl: "1", wait: "60000" }, 0).write!.record;
  }
  const look = (owner: string, now: number) => lookLock.apply(record, { owner }, now);
  assertEquals(look("c", 10), { output: { remaining: "14990", ahead: "1" } });
  assertEquals(look("a", 10), { output: {} }, "a holder");
  assertEquals(look("d", 10), { output: {} }, "another");
  assertEquals(lookLock.apply(undefined, { owner: "a" }, 0), { output: {} });
  assertEquals(look("c", 15_000), { output: {} }, "the ticket of the first has ended");
  record = releaseLock.apply(record, { owner: "a" }, 20).write!.record;
  assertEquals(look("b", 21), { output: {} }, "it has been let in");
  assertEquals(look("c", 21).output.ahead, "0");
});

Deno.test("tickets that ended behind a living first waiter give their places in a full queue back", () => {
  let record = acquireLock.apply(undefined, { owner: "holder", ttl: "1000000" }, 0).write!.record;
  const ask = (owner: string, now: number) => {
    const { output, write } = acquireLock.apply(record, { owner, ttl: "1", wait: "1000000" }, now);
    if (write) record = write.record;
    return output;
  };
  for (let i = 0; i < 256; i++) ask(`o${i}`, 0);
  assertEquals(ask("late", 1).ahead, undefined, "the queue is full");
  // All have died but the first, which renews its ticket.
  for (let now = 10_000; now <= 70_000; now += 10_000) ask("o0", now);
  assert(Number(ask("late", 70_001).ahead) < 255, "there is a place again");
});
