import { HoldfastError } from "../errors.ts";
import { createLocks } from "../lock/create_locks.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { check, equal, eventually, rejection } from "./_check.ts";
import { lockCopiesLaw } from "./_lock_copies_law.ts";
import { lockKindsLaw } from "./_lock_kinds_law.ts";
import type { Law, StoreSubject } from "./law.ts";

const TTL = 10_000;

/** A short lease. A grant that a busy machine brings too late is asked for again, hence the wait. */
const BRIEF = { ttl: 100, wait: 2000 };

/**
 * Laws of locks on every engine.
 *
 * @category Laws
 */
export const lockLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "acquire() answers undefined while a live holder has the key",
    async run({ store, clock }) {
      const locks = createLocks(store, { clock });
      const lock = await locks.acquire("key", { ttl: TTL });
      check(lock, "the first acquires");
      equal(await locks.acquire("key", { ttl: TTL }), undefined, "the second");
      const other = await locks.acquire("other", { ttl: TTL });
      equal(await other?.release(), "released", "another key");
      equal(await lock.release(), "released", "release");
      const next = await locks.acquire("key", { ttl: TTL });
      check(next, "after the release");
      await next.release();
    },
  },
  {
    name: "of 200 parallel acquires one wins",
    async run({ store, clock }) {
      const locks = createLocks(store, { clock });
      const won = (await Promise.all(Array.from({ length: 200 }, () => locks.acquire("key", { ttl: TTL }))))
        .filter((lock) => lock !== undefined);
      equal(won.length, 1, "winners");
      await won[0]!.release();
    },
  },
  {
    name: "fencing tokens strictly increase over release and expiry, and are safe integers",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      let last = 0;
      for (let i = 0; i < 10; i++) {
        const lock = await locks.acquire("key", i % 3 === 0 ? BRIEF : { ttl: TTL });
        check(
          lock && lock.fencingToken > last && Number.isSafeInteger(lock.fencingToken),
          "the token is above the last",
        );
        last = lock.fencingToken;
        if (i % 3 === 0) await wait(110);
        await lock.release();
      }
      equal((await locks.inspect("key")).fencingToken, last, "inspect");
    },
  },
  {
    name: "a stale holder can neither extend nor release a newer holder's lock",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const stale = await locks.acquire("key", BRIEF);
      await wait(110);
      const fresh = await locks.acquire("key", { ttl: TTL });
      check(stale && fresh, "both acquired");
      equal(await stale.extend(), false, "extend");
      equal(await stale.release(), "overtaken", "release");
      equal((await locks.inspect("key")).held, true, "the newer lock");
      equal(await fresh.release(), "released", "the newer holder's release");
    },
  },
  {
    name: "the end of a lease aborts its signal, and an expired lease cannot be extended",
    async run({ store, wait, clock }) {
      const lock = await createLocks(store, { clock }).acquire("key", BRIEF);
      check(lock && !lock.signal.aborted, "held at first");
      lock.assertHeld();
      await wait(110);
      check(lock.signal.aborted, "the signal is aborted");
      const error = await rejection(() => Promise.resolve().then(() => lock.assertHeld()), "assertHeld");
      check(error instanceof HoldfastError && error.code === "lock-lost", "its code is lock-lost");
      equal(await lock.extend(TTL), false, "extend");
      equal(await lock.release(), "expired", "release");
    },
  },
  {
    name: "extend() sets the end of the lease to that time from now",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const lock = await locks.acquire("key", { ttl: 200 });
      equal(await lock!.extend(TTL), true, "extend");
      await wait(250);
      equal([(await locks.inspect("key")).held, lock!.signal.aborted], [true, false], "still held");
      await lock!.release();
      equal((await locks.inspect("key")).held, false, "released");
    },
  },
  {
    name: "a waiting acquire gets the lock when it is released, and gives up in time",
    async run({ store, wait, clock }) {
      const locks = createLocks(store, { clock });
      const first = await locks.acquire("key", { ttl: TTL });
      const waiting = locks.acquire("key", { ttl: TTL, wait: 5000 });
      await first!.release();
      const second = await eventually(waiting, wait);
      check(second, "the waiter got it");
      const controller = new AbortController();
      const third = locks.acquire("key", { ttl: TTL, wait: 5000, signal: controller.signal });
      const reason = new Error("enough");
      controller.abort(reason);
      check(await rejection(() => third, "an aborted wait") === reason, "it rejects with the reason");
      const fourth = locks.acquire("key", { ttl: TTL, wait: 100 });
      equal(await eventually(fourth, wait), undefined, "a wait that was too short");
      equal((await locks.inspect("key")).held, true, "the second still has it");
      await second.release();
      equal((await locks.inspect("key")).held, false, "no orphaned acquisition is left");
    },
  },
  {
    name:
      "withLock() releases the lock also after an error, and throws lock-timeout when the lock is not free",
    async run({ store, clock }) {
      const locks = createLocks(store, { clock });
      equal(await locks.withLock("key", { ttl: TTL }, () => 7), 7, "the result");
      const thrown = new Error("mine");
      check(
        await rejection(
          () => locks.withLock("key", { ttl: TTL }, () => Promise.reject(thrown)),
          "fn's error",
        ) === thrown,
        "fn's own error",
      );
      await locks.withLock("key", { ttl: TTL }, async () => {
        const error = await rejection(() => locks.withLock("key", { ttl: TTL }, () => {}), "a second");
        check(error instanceof HoldfastError && error.code === "lock-timeout", "its code is lock-timeout");
      });
    },
  },
  ...lockKindsLaw,
  ...lockCopiesLaw,
];
