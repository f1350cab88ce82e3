/**
 * Copies of a request: networks and clients send one again, at once, late, or after others had their turn.
 * Repeated with the same input a transition answers the same and changes nothing more.
 */
import { createLocks } from "../lock/create_locks.ts";
import { acquireLock, extendLock, forceLock, inspectLock, releaseLock } from "../lock/lock_transitions.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { check, equal } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

const TTL = "10000";
type Subject = StoreSubject<AtomicStore>;

/** Calls transitions as they travel. */
function wire(store: AtomicStore) {
  const locks = store.namespace("lock");
  const run = (transition: Transition, input: Fields) => locks.transact(transition, "key", input);
  let count = 0;
  return {
    acquire: (owner: string, input: Fields = {}) => run(acquireLock, { owner, ttl: TTL, ...input }),
    extend: (owner: string, ttl: string) => run(extendLock, { owner, ttl }),
    release: (owner: string, fence?: string) =>
      run(releaseLock, fence === undefined ? { owner } : { owner, fence }),
    force: (id: string, fence: string) => run(forceLock, { id, fence }),
    inspect: () => run(inspectLock, {}),
    /** Other owners come and go. */
    async others(times: number) {
      for (let i = 0; i < times; i++) {
        const owner = `other-${++count}`;
        const { fence } = await this.acquire(owner);
        check(fence, "another owner gets the lock");
        equal((await this.release(owner, fence)).result, "released", "and releases it");
      }
    },
    held: async () => (await run(inspectLock, {})).held,
  };
}

/** Laws of requests that arrive twice. */
export const lockCopiesLaw: readonly Law<Subject>[] = [
  {
    name: "a repeated acquisition gets the same grant, and never shortens the lease",
    async run({ store }) {
      const lock = wire(store);
      const first = await lock.acquire("a", { ttl: "2000" });
      equal((await lock.acquire("a", { ttl: "2000" })).fence, first.fence, "at once");
      const { until } = await lock.extend("a", "60000");
      const copy = await lock.acquire("a", { ttl: "2000" });
      equal([copy.fence, copy.until], [first.fence, until], "after an extension");
    },
  },
  {
    name:
      "a copy of an acquisition that arrives after its release is not granted, even after other acquisitions",
    async run({ store }) {
      const lock = wire(store);
      const { fence } = await lock.acquire("a");
      await lock.release("a", fence);
      for (const others of [0, 1, 3, 3]) {
        await lock.others(others);
        const copy = await lock.acquire("a");
        equal([copy.fence, await lock.held()], [undefined, "0"], `after ${others} others`);
      }
      const next = await lock.acquire("b");
      equal([(await lock.acquire("a")).fence, await lock.held()], [undefined, "1"], "beside a holder");
      equal((await lock.release("b", next.fence)).result, "released", "which is not disturbed");
    },
  },
  {
    name: "an acquisition that arrives after its own release is not granted",
    async run({ store }) {
      const lock = wire(store);
      await lock.release("a");
      equal((await lock.acquire("a")).fence, undefined, "the acquisition");
      check((await lock.acquire("b")).fence, "the lock is free");
    },
  },
  {
    name: "a repeated request of a waiter keeps its place, and does not queue again after the waiter left",
    async run({ store }) {
      const lock = wire(store);
      const { fence } = await lock.acquire("a");
      for (const owner of ["b", "c", "b"]) await lock.acquire(owner, { wait: TTL });
      equal((await lock.inspect()).waiting, "2", "two wait");
      equal((await lock.acquire("b", { wait: TTL })).ahead, "0", "the first stays the first");
      await lock.release("b");
      await lock.acquire("b", { wait: TTL });
      equal((await lock.inspect()).waiting, "1", "the one that left");
      await lock.release("a", fence);
      check((await lock.acquire("c")).fence, "the one behind it has the lock");
    },
  },
  {
    name: "a repeated extension never shortens the lease, and never revives a released one",
    async run({ store }) {
      const lock = wire(store);
      const { fence } = await lock.acquire("a");
      const short = await lock.extend("a", "15000");
      const long = await lock.extend("a", "60000");
      check(Number(short.until) < Number(long.until), "the second is longer");
      equal((await lock.extend("a", "15000")).until, long.until, "a copy of the first, late");
      await lock.release("a", fence);
      equal(
        [(await lock.extend("a", "60000")).until, await lock.held()],
        [undefined, "0"],
        "after the release",
      );
    },
  },
  {
    name: "a repeated release answers the same, also after other acquisitions, and does not affect them",
    async run({ store }) {
      const lock = wire(store);
      const { fence } = await lock.acquire("a");
      for (const others of [0, 0, 1, 12]) {
        await lock.others(others);
        equal((await lock.release("a", fence)).result, "released", `after ${others} others`);
      }
      const { fence: next } = await lock.acquire("b");
      equal(
        [(await lock.release("a", fence)).result, await lock.held()],
        ["released", "1"],
        "beside a holder",
      );
      equal((await lock.release("b", next)).result, "released", "which is not disturbed");
    },
  },
  {
    name: "a repeated forced release answers the same, and does not affect later holders",
    async run({ store, clock }) {
      const lock = wire(store);
      const { fence } = await lock.acquire("a");
      equal(
        [(await lock.force("op", fence!)).count, (await lock.force("op", fence!)).count],
        ["1", "1"],
        "at once",
      );
      equal((await lock.acquire("a")).fence, undefined, "a copy of the acquisition it ended");
      const next = await lock.acquire("b");
      equal([(await lock.force("op", fence!)).count, await lock.held()], ["1", "1"], "after another");
      equal((await lock.release("b", next.fence)).result, "released", "which keeps it");
      // The same through the contract, by the caller's own id.
      const locks = createLocks(store, { clock });
      await locks.acquire("other", { ttl: Number(TTL) });
      equal(await locks.forceRelease("other", { id: "op" }), true, "forceRelease");
      const later = await locks.acquire("other", { ttl: Number(TTL) });
      equal(await locks.forceRelease("other", { id: "op" }), true, "repeated");
      equal(await later?.release(), "released", "and nothing more was taken");
    },
  },
  {
    name:
      "a copy of a resumption has the same grant; the giver's lease is no shorter for it, and its copies get nothing",
    async run({ store }) {
      const lock = wire(store);
      const giver = await lock.acquire("a", { ttl: "60000" });
      const taker = await lock.acquire("b", { ttl: "1000", from: "a" });
      check(Number(taker.fence) > Number(giver.fence), "a higher token");
      check(Number(taker.until) >= Number(giver.until), "what the giver counts on is still locked");
      equal((await lock.acquire("b", { ttl: "1000", from: "a" })).fence, taker.fence, "at once");
      equal((await lock.acquire("a")).fence, undefined, "a copy of the giver's acquisition");
      equal((await lock.release("a", giver.fence)).result, "overtaken", "the giver's release");
      await lock.release("b", taker.fence);
      equal((await lock.acquire("b", { from: "a" })).fence, undefined, "after the release");
      equal(await lock.held(), "0", "the lock is free");
    },
  },
  {
    name: "a handle resumes the lock of its own key only, also with acquireAll()",
    async run({ store, clock }) {
      const locks = createLocks(store, { clock });
      const set = await locks.acquireAll(["a", "b"], { ttl: Number(TTL) });
      const [a] = set!.locks;
      const moved = await locks.resume({ ...a!.handle(), key: "b" }, { ttl: Number(TTL) });
      equal(moved, undefined, "another key");
      equal((await locks.resume(a!.handle(), { ttl: Number(TTL) }))?.key, "a", "its own");
    },
  },
];
