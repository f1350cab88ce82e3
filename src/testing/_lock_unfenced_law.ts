/** What locks promise without a fencing token, by the engine's own command or not. */
import { HoldfastError } from "../errors.ts";
import { createLocks, type Locks, type UnfencedOptions } from "../lock/locks.ts";
import type { UnfencedLock } from "../lock/lock.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

const PLAIN: UnfencedOptions = { ttl: 10_000, fenced: false };

/** Soon over. A grant that a busy machine brings too late is asked for again, hence the wait. */
const BRIEF: UnfencedOptions = { ttl: 100, wait: 2000, fenced: false };

async function held(locks: Locks, options = PLAIN): Promise<UnfencedLock> {
  const lock = await locks.acquire("key", options);
  check(lock, "it acquires");
  return lock;
}

/** Laws of locks without a token. */
export const lockUnfencedLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "unfenced: one of many has the key until it is released, apart from who has a token",
    async run({ store, clock }) {
      const locks = createLocks(store, { clock });
      const all = await Promise.all(Array.from({ length: 100 }, () => locks.acquire("key", PLAIN)));
      const [lock, ...more] = all.filter((lock) => lock !== undefined);
      check(lock && more.length === 0, "one wins");
      check(!("fencingToken" in lock || "expiresAt" in lock || "toJSON" in lock), "it shows no token");
      const fenced = await locks.acquire("key", { ttl: 10_000 });
      equal(await fenced?.release(), "released", "one with a token, in a room of its own");
      equal(await locks.acquire("key", PLAIN), undefined, "still held");
      equal(await lock.release(), "released", "release");
      equal([lock.signal.aborted, await lock.extend()], [true, false], "over for its holder");
      equal(await locks.withLock("key", PLAIN, () => 7), 7, "withLock");
      equal(await (await held(locks)).release(), "released", "and released");
    },
  },
  {
    name: "unfenced: a holder whose lease ended knows, and can neither extend nor release a newer one's",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const gone = await held(locks, BRIEF);
      gone.assertHeld();
      await wait(110);
      const error = await rejection(() => Promise.resolve().then(() => gone.assertHeld()), "assertHeld");
      check(error instanceof HoldfastError && error.code === "lock-lost", "its code is lock-lost");
      equal([gone.signal.aborted, await gone.extend()], [true, false], "it is not revived");
      equal(await gone.release(), "expired", "release");
      const stale = await held(locks, BRIEF);
      await wait(110);
      const fresh = await held(locks);
      equal([await stale.extend(), await stale.release()], [false, "overtaken"], "the stale one");
      equal(await locks.acquire("key", PLAIN), undefined, "the newer one has it");
      equal([await fresh.extend(), await fresh.release()], [true, "released"], "and gives it back");
    },
  },
  {
    name: "unfenced: extend() makes the lease end that long from now, renew until maxHold",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const lock = await held(locks, { ...BRIEF, ttl: 200 });
      equal(await lock.extend(10_000), true, "extend");
      await wait(250);
      equal([lock.signal.aborted, await locks.acquire("key", PLAIN)], [false, undefined], "still held");
      equal([await lock.release(), await lock.release()], ["released", "released"], "release, twice");
      const renewed = await held(locks, { ...BRIEF, ttl: 200, renew: true, maxHold: 1200 });
      for (let i = 0; i < 9; i++) {
        await wait(30);
        equal(await locks.acquire("key", PLAIN), undefined, "renewed");
      }
      for (let passed = 0; !renewed.signal.aborted && passed < 1500; passed += 10) await wait(10);
      check(renewed.signal.aborted, "maxHold ends it");
      await wait(200);
      equal(await (await held(locks)).release(), "released", "its lease ends too");
    },
  },
  {
    name: "unfenced: who waits gets it after a release, or gives up and leaves no ghost",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const first = await held(locks);
      const waiting = held(locks, { ...PLAIN, wait: 5000 });
      await first.release();
      await wait(50);
      const second = await waiting;
      const reason = new Error("enough");
      const controller = new AbortController();
      const third = locks.acquire("key", { ...PLAIN, wait: 5000, signal: controller.signal });
      controller.abort(reason);
      check(await rejection(() => third, "an aborted wait") === reason, "it rejects with the reason");
      await second.release();
      await wait(50);
      equal(await (await held(locks)).release(), "released", "no ghost is left");
    },
  },
  {
    name: "unfenced: what needs a token or a queue is a TypeError",
    async run({ store, clock }) {
      const locks = createLocks(store, { clock });
      for (
        const no of [{ fair: true }, { permits: 2 }, { permits: 1 }, { mode: "read" }, { lockDelay: "1s" }]
      ) {
        const error = await rejection(
          () => locks.acquire("key", { ...PLAIN, ...no }),
          JSON.stringify(no),
        );
        check(error instanceof TypeError, `${Object.keys(no)} is a TypeError`);
      }
      for (const key of ["", "\ud800"]) {
        check(await rejection(() => locks.acquire(key, PLAIN), "a key") instanceof TypeError, "no key");
      }
      const several = { ...PLAIN, fenced: false as unknown as true };
      const error = await rejection(() => locks.acquireAll(["key"], several), "several keys");
      check(error instanceof TypeError, "several keys are a TypeError");
      equal(await (await held(locks)).release(), "released", "nothing was taken");
    },
  },
];
