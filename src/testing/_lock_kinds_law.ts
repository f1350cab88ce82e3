/** Laws of locks beyond one holder: queues, sharing, several keys, hand-over, renewal, bad input. */
import { createLocks } from "../lock/create_locks.ts";
import type { Lock, LockHandle, Locks } from "../lock/lock.ts";
import { acquireLock } from "../lock/lock_transitions.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { check, equal, eventually, rejection, until } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

const TTL = 10_000;

/** A short lease. A grant that a busy machine brings too late is asked for again, hence the wait. */
const BRIEF = { ttl: 100, wait: 2000 };
type Subject = StoreSubject<AtomicStore>;

async function queued(locks: Locks, count: number, wait: Subject["wait"]): Promise<void> {
  await until(
    async () => (await locks.inspect("key")).waiting === count,
    wait,
    2000,
    `${count} wait in the queue`,
  );
}

function held(lock: Lock | undefined, sentence: string): Lock {
  check(lock, sentence);
  return lock;
}

/** Laws of the kinds of locks. */
export const lockKindsLaw: readonly Law<Subject>[] = [
  {
    name: "a fair lock serves its waiters in the order in which they came",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const first = held(await locks.acquire("key", { ttl: TTL }), "the first");
      const order: number[] = [];
      const waiters: Promise<void>[] = [];
      let last = first.fencingToken;
      for (let i = 0; i < 5; i++) {
        const waiter = async () => {
          const lock = held(
            await locks.acquire("key", { ttl: TTL, wait: TTL, fair: true }),
            "a turn for each",
          );
          order.push(i);
          check(lock.fencingToken > last, "the fencing token is above the last");
          last = lock.fencingToken;
          equal(await lock.release(), "released", "release");
        };
        waiters.push(waiter());
        await queued(locks, i + 1, wait);
      }
      await first.release();
      await eventually(Promise.all(waiters), wait, 5000);
      equal(order, [0, 1, 2, 3, 4], "the order");
      equal((await locks.inspect("key")).waiting, 0, "the queue at the end");
    },
  },
  {
    name: "no acquisition overtakes the queue of a fair lock, and a waiter that gives up leaves the queue",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const first = held(await locks.acquire("key", { ttl: TTL }), "the first");
      const gone = new AbortController();
      const quitter = locks.acquire("key", { ttl: TTL, wait: TTL, fair: true, signal: gone.signal });
      await queued(locks, 1, wait);
      const waiter = locks.acquire("key", { ttl: TTL, wait: TTL, fair: true });
      await queued(locks, 2, wait);
      gone.abort(new Error("enough"));
      equal(await rejection(() => quitter, "the waiter that gave up"), gone.signal.reason, "the reason");
      await queued(locks, 1, wait);
      await first.release();
      equal(await locks.acquire("key", { ttl: TTL }), undefined, "an acquisition that did not queue");
      const second = held(await eventually(waiter, wait), "the one that did");
      equal(await second.release(), "released", "release");
      const late = await locks.acquire("key", { ttl: TTL });
      equal(await late?.release(), "released", "when none waits");
    },
  },
  {
    name: "a waiter that died delays the queue by at most a second",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const first = held(await locks.acquire("key", { ttl: TTL }), "the first");
      const dead = { owner: "dead", ttl: String(TTL), wait: String(TTL) };
      await store.namespace("lock").transact(acquireLock, "key", dead);
      const waiter = locks.acquire("key", { ttl: TTL, wait: TTL, fair: true });
      await queued(locks, 2, wait);
      await first.release();
      equal((await locks.inspect("key")).held, true, "the dead one is given its chance");
      const lock = held(await eventually(waiter, wait, 2000), "the living one's turn");
      equal(await lock.release(), "released", "release");
    },
  },
  {
    name: "a lock has at most as many holders as permits, and an acquisition without permits is exclusive",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const options = { ttl: TTL, permits: 3 };
      const all = await Promise.all(Array.from({ length: 10 }, () => locks.acquire("key", options)));
      const inside = all.filter((lock) => lock !== undefined);
      equal(
        [inside.length, new Set(inside.map((lock) => lock.fencingToken)).size],
        [3, 3],
        "holders and tokens",
      );
      equal((await locks.inspect("key")).holders, 3, "inspect");
      equal(await locks.acquire("key", { ttl: TTL }), undefined, "alone");
      const fourth = locks.acquire("key", { ...options, wait: TTL });
      equal(await inside[0]!.release(), "released", "one leaves");
      const fresh = held(await eventually(fourth, wait), "another comes");
      check(
        fresh.fencingToken > Math.max(...inside.map((lock) => lock.fencingToken)),
        "its token is above all",
      );
      for (const lock of [...inside.slice(1), fresh]) equal(await lock.release(), "released", "release");
      const alone = held(await locks.acquire("key", { ttl: TTL }), "alone");
      equal(await locks.acquire("key", options), undefined, "beside an exclusive holder");
      await alone.release();
      const brief = held(await locks.acquire("key", { ...BRIEF, permits: 2 }), "one that will expire");
      await wait(110);
      equal([brief.signal.aborted, (await locks.inspect("key")).holders], [true, 0], "an expired permit");
    },
  },
  {
    name: "readers share, a writer is alone, and a waiting writer is not starved by new readers",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const read = { ttl: TTL, mode: "read" } as const;
      const write = { ttl: TTL, mode: "write" } as const;
      const readers = [await locks.acquire("key", read), await locks.acquire("key", read)];
      check(readers[0] && readers[1], "two readers");
      equal(await locks.acquire("key", write), undefined, "a writer beside readers");
      const writer = locks.acquire("key", { ...write, wait: TTL });
      await queued(locks, 1, wait);
      equal(await locks.acquire("key", read), undefined, "a new reader before a waiting writer");
      const later = [1, 2].map(() => locks.acquire("key", { ...read, wait: TTL }));
      await queued(locks, 3, wait);
      for (const reader of readers) await reader!.release();
      const alone = held(await eventually(writer, wait), "the writer's turn");
      equal((await locks.inspect("key")).holders, 1, "the writer is alone");
      await alone.release();
      const both = await eventually(Promise.all(later), wait);
      equal(
        await Promise.all(both.map((reader) => reader?.release())),
        ["released", "released"],
        "both readers",
      );
    },
  },
  {
    name: "acquireAll() acquires all keys or none, and callers with the same keys never deadlock",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const b = held(await locks.acquire("b", { ttl: TTL }), "b");
      equal(await locks.acquireAll(["c", "b", "a"], { ttl: TTL }), undefined, "while one is taken");
      for (const key of ["a", "c"]) equal((await locks.inspect(key)).held, false, `${key} is free`);
      await b.release();
      const set = await locks.acquireAll(["c", "b", "a", "b"], { ttl: TTL });
      check(set, "when all are free");
      set.assertHeld();
      equal(set.locks.map((lock) => lock.key), ["c", "b", "a"], "in the order that was asked for");
      equal(await set.extend(), true, "extend");
      equal([await set.release(), set.signal.aborted], ["released", true], "release");
      const cross = async (keys: string[]) => {
        for (let i = 0; i < 3; i++) {
          const both = await locks.acquireAll(keys, { ttl: TTL, wait: TTL });
          equal(await both?.release(), "released", "a turn");
        }
      };
      await eventually(Promise.all([cross(["x", "y"]), cross(["y", "x"])]), wait, 5000);
      check(
        await rejection(() => locks.acquireAll([], { ttl: TTL }), "no key") instanceof TypeError,
        "no key",
      );
    },
  },
  {
    name: "a lock that another process resumes has a higher token there, and is lost here",
    async run({ store, wait, clock }) {
      const [here, there] = [createLocks(store, { clock }), createLocks(store, { clock })];
      const giver = held(await here.acquire("key", { ttl: TTL }), "the giver");
      const handle = JSON.parse(JSON.stringify(giver.handle())) as LockHandle;
      const taker = held(await there.resume(handle, { ttl: TTL }), "the taker");
      check(taker.fencingToken > giver.fencingToken, "its token is higher");
      equal(await there.resume(handle, { ttl: TTL }), undefined, "a second taker");
      equal([await giver.extend(), giver.signal.aborted], [false, true], "the giver is told");
      equal(await giver.release(), "overtaken", "and takes nothing away");
      equal([await taker.extend(), await taker.release()], [true, "released"], "the taker has it");
      equal(await here.resume(handle, { ttl: TTL }), undefined, "after the release");
      const brief = held(await here.acquire("key", BRIEF), "one that will expire");
      await wait(110);
      equal(await there.resume(brief.handle(), { ttl: TTL }), undefined, "after the lease");
      for (const no of [undefined, {}, { key: "key" }, "key"]) {
        const error = await rejection(() => here.resume(no as LockHandle, { ttl: TTL }), "no handle");
        check(error instanceof TypeError, "what is no handle is a TypeError");
      }
    },
  },
  {
    name: "lockDelay keeps the key locked after a lease that ended without a release, and only then",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const options = { ...BRIEF, lockDelay: 400 };
      await (await locks.acquire("key", { ...options, ttl: TTL }))!.release();
      const lost = held(await locks.acquire("key", options), "after a release, at once");
      await wait(110);
      equal([lost.signal.aborted, (await locks.inspect("key")).held], [true, false], "the lease has ended");
      equal(await locks.acquire("key", { ttl: TTL }), undefined, "within the delay");
      check((await locks.inspect("key")).remaining > 0, "inspect tells how long");
      await wait(420);
      equal(await (await locks.acquire("key", { ttl: TTL }))?.release(), "released", "after the delay");
      const late = held(await locks.acquire("key", { ...options, lockDelay: TTL }), "one more");
      await wait(110);
      equal(await late.release(), "expired", "a late release");
      equal(await (await locks.acquire("key", { ttl: TTL }))?.release(), "released", "ends the delay");
    },
  },
  {
    name: "forceRelease() takes the lock from its holder, and aborts the holder's signal",
    async run({ store, clock }) {
      const locks = createLocks(store, { clock });
      equal(await locks.forceRelease("key"), false, "an unknown key");
      const lock = held(await locks.acquire("key", { ttl: TTL }), "held");
      equal([await locks.forceRelease("key"), await locks.forceRelease("key")], [true, false], "forced once");
      const next = held(await locks.acquire("key", { ttl: TTL }), "free at once");
      check(next.fencingToken > lock.fencingToken, "the next token is higher");
      equal([await lock.extend(), lock.signal.aborted], [false, true], "the holder is told");
      equal([await lock.release(), await next.release()], ["overtaken", "released"], "releases");
    },
  },
  {
    name: "renew keeps the lease until maxHold, release ends it",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      // In real time a step takes longer than asked for; in virtual time each look lets the engine extend.
      const lock = held(
        await locks.acquire("key", { ttl: 400, wait: 2000, renew: true, maxHold: 1600 }),
        "held",
      );
      for (let i = 0; i < 9; i++) {
        await wait(60);
        await locks.inspect("key");
      }
      equal([lock.signal.aborted, (await locks.inspect("key")).held], [false, true], "beyond its ttl");
      await until(() => lock.signal.aborted, wait, 2000, "maxHold ends it");
      await until(async () => !(await locks.inspect("key")).held, wait, 1000, "its lease ends too");
      const other = held(await locks.acquire("key", { ttl: 200, renew: true }), "again");
      equal([await other.release(), await other.release()], ["released", "released"], "release, twice");
      await wait(150);
      equal((await locks.inspect("key")).held, false, "released, and not renewed");
    },
  },
  {
    name: "bad input is refused before anything is sent, and unusual keys work",
    async run({ store, clock }) {
      const locks = createLocks(store, { clock });
      const bad = async (options: Record<string, unknown>, type: typeof Error, key = "key") => {
        const error = await rejection(
          () => locks.acquire(key, { ttl: TTL, ...options }),
          JSON.stringify(options),
        );
        check(error instanceof type, `${Object.keys(options)} is a ${type.name}`);
      };
      for (const no of [0, -1, NaN, Infinity, "soon", "-1s", undefined, 400 * 86_400_000]) {
        await bad({ ttl: no }, RangeError);
      }
      await bad({ ttl: null }, TypeError);
      for (const no of [0, -1, NaN]) {
        await bad({ wait: no }, RangeError);
        await bad({ lockDelay: no }, RangeError);
        await bad({ maxHold: no, renew: true }, RangeError);
      }
      for (const no of [0, 1.5, -1, 257, NaN, "3"]) await bad({ permits: no }, RangeError);
      await bad({ mode: "exclusive" }, TypeError);
      await bad({ mode: "read", permits: 2 }, TypeError);
      await bad({}, TypeError, "");
      await bad({}, TypeError, "\ud800");
      await bad({}, RangeError, "x".repeat(10_240));
      equal((await locks.inspect("key")).fencingToken, undefined, "nothing was sent");
      const odd = [":", "*", "{}", "a\0b", "\0", "k:p", "/", "%", "\u{1F600}", "__proto__"];
      const all = await Promise.all(odd.map((key) => locks.acquire(key, { ttl: TTL })));
      check(all.every((lock) => lock !== undefined), "every odd key is a key of its own");
      for (const lock of all) equal(await lock!.release(), "released", "release");
      // Less than a millisecond is rounded up to one, which may have passed before the answer arrives.
      const brief = await locks.acquire("brief", { ttl: 0.5 }).catch((error) => error.code);
      check(brief === "timeout" || typeof brief?.fencingToken === "number", "a lease of half a millisecond");
    },
  },
  {
    name: "an aborted call rejects with the signal's reason and leaves nothing behind",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const reason = new Error("enough");
      const signal = AbortSignal.abort(reason);
      const lock = held(await locks.acquire("key", { ttl: TTL }), "the lock");
      const before = lock.remaining;
      const options = { ttl: TTL, signal };
      const calls: Record<string, () => Promise<unknown>> = {
        acquire: () => locks.acquire("other", options),
        acquireAll: () => locks.acquireAll(["other", "third"], options),
        withLock: () => locks.withLock("other", options, () => {}),
        resume: () => locks.resume(lock.handle(), { ttl: TTL, signal }),
        inspect: () => locks.inspect("key", { signal }),
        forceRelease: () => locks.forceRelease("key", { signal }),
        extend: () => lock.extend(TTL * 3, { signal }),
      };
      for (const [name, call] of Object.entries(calls)) {
        equal(await rejection(call, name) === reason, true, name);
      }
      check(lock.remaining <= before && !lock.signal.aborted, "held as before");
      for (const key of ["other", "third"]) equal((await locks.inspect(key)).held, false, key);
      equal(await rejection(() => lock.release({ signal }), "release") === reason, true, "release");
      await until(async () => !(await locks.inspect("key")).held, wait, 2000, "the release went on");
    },
  },
];
