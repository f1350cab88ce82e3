import { HoldfastError } from "../errors.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Transition } from "../store/transition.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

const push: Transition = {
  name: "law.push",
  apply: (record, { item }) => {
    const items = (record?.items ?? "") + item;
    return { output: { length: String(items.length) }, write: { record: { items } } };
  },
};

const drop: Transition = { name: "law.drop", apply: () => ({ output: {}, write: { record: undefined } }) };

/**
 * The transitions that these laws add; an engine that looks transitions up by name must know them to be
 * tested.
 *
 * @category Laws
 */
export const lawTransitions: readonly Transition[] = [push, drop];

/**
 * The promises of every {@linkcode AtomicStore} beyond those of a key-value store.
 *
 * @category Laws
 */
export const atomicStoreLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "1,000 parallel increments give the exact sum, each value once",
    async run({ store }) {
      const values = await Promise.all(Array.from({ length: 1000 }, () => store.increment("counter")));
      equal(new Set(values.map(({ value }) => value)).size, 1000, "distinct values");
      equal(await store.get("counter"), 1000, "the sum");
    },
  },
  {
    name: "the increment that creates a counter fixes its deadline",
    async run({ store, wait }) {
      const first = await store.increment("counter", { ttl: 400 });
      await wait(50);
      const second = await store.increment("counter", { ttl: "1h", by: 4 });
      equal([second.value, second.expiresAt], [5, first.expiresAt], "the second");
      await wait(400);
      equal((await store.increment("counter", { by: -2 })).value, -2, "after the deadline");
    },
  },
  {
    name: "incrementing a value that is not a safe integer is a typed error and changes nothing",
    async run({ store }) {
      for (const value of ["5", 1.5, null, [1], Number.MAX_SAFE_INTEGER]) {
        await store.set("value", value);
        const error = await rejection(() => store.increment("value"), "increment");
        check(
          error instanceof HoldfastError && error.code === "not-an-integer",
          "its code is not-an-integer",
        );
        equal(await store.get("value"), value, "unchanged");
      }
      check(
        await rejection(() => store.increment("x", { by: 0.5 }), "by") instanceof RangeError,
        "a bad 'by' is a RangeError",
      );
    },
  },
  {
    name: "of 100 concurrent setIfAbsent() calls one sets the key, and the others get its value",
    async run({ store }) {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => store.setIfAbsent("leader", i)),
      );
      equal(answers.filter(({ set }) => set).length, 1, "winners");
      const leader = answers.findIndex(({ set }) => set);
      equal(answers.filter((answer) => !answer.set && answer.current === leader).length, 99, "the others");
    },
  },
  {
    name: "setIfAbsent sets again after the deadline",
    async run({ store, wait }) {
      equal(await store.setIfAbsent("key", "a", { ttl: 300 }), { set: true }, "first");
      equal(await store.setIfAbsent("key", "b"), { set: false, current: "a" }, "second");
      await wait(300);
      equal(await store.setIfAbsent("key", "c"), { set: true }, "after the deadline");
    },
  },
  {
    name: "compareAndSet() and compareAndDelete() act only on the expected value",
    async run({ store }) {
      equal(await store.compareAndSet("key", 1, 2), { set: false, current: undefined }, "absent");
      equal(await store.compareAndSet("key", undefined, { n: 1 }), { set: true }, "from nothing");
      equal(
        await store.compareAndSet("key", { n: 2 }, 3),
        { set: false, current: { n: 1 } },
        "another value",
      );
      equal(await store.compareAndSet("key", { n: 1 }, "3"), { set: true }, "the value");
      equal(await store.compareAndDelete("key", 3), false, "a number is no string");
      equal(await store.compareAndDelete("key", "3"), true, "the value goes");
      equal(await store.compareAndDelete("key", "3"), false, "once");
    },
  },
  {
    name: "of 100 concurrent getAndDelete() calls one gets the value",
    async run({ store }) {
      await store.set("prize", { gold: 1 });
      const taken = await Promise.all(Array.from({ length: 100 }, () => store.getAndDelete("prize")));
      equal(taken.filter((value) => value !== undefined), [{ gold: 1 }], "taken");
    },
  },
  {
    name: "when parallel calls delete the same keys, each key is counted by one of them",
    async run({ store }) {
      const keys = Array.from({ length: 60 }, (_, i) => `key-${i}`);
      await store.setMany(keys.map((key) => [key, 1]));
      const counts = await Promise.all(Array.from({ length: 8 }, () => store.deleteMany(keys)));
      equal(counts.reduce((sum, count) => sum + count, 0), 60, "the sum of the counts");
      equal(await store.getMany(keys.slice(0, 2)), [undefined, undefined], "deleted");
    },
  },
  {
    name: "conditional calls refuse values that JSON cannot hold, and unknown options",
    async run({ store }) {
      const map = new Map();
      const bad = { tll: "1m" } as never;
      const calls: Record<string, () => Promise<unknown>> = {
        "setIfAbsent a Map": () => store.setIfAbsent("key", map),
        "compareAndSet to a Map": () => store.compareAndSet("key", undefined, [map]),
        "compareAndSet from a Map": () => store.compareAndSet("key", map, 1),
        "compareAndDelete a Map": () => store.compareAndDelete("key", map),
        "increment": () => store.increment("key", bad),
        "setIfAbsent": () => store.setIfAbsent("key", 1, bad),
        "compareAndSet": () => store.compareAndSet("key", undefined, 1, bad),
        "compareAndDelete": () => store.compareAndDelete("key", 1, bad),
        "getAndDelete": () => store.getAndDelete("key", bad),
      };
      for (const [name, call] of Object.entries(calls)) {
        check(await rejection(call, name) instanceof TypeError, `${name} is a TypeError`);
      }
      equal(await store.get("key"), undefined, "nothing was stored");
    },
  },
  {
    name: "a transition of the user's own runs atomically",
    async run({ store }) {
      const lengths = await Promise.all(
        Array.from({ length: 50 }, () => store.transact(push, "list", { item: "x" })),
      );
      equal(new Set(lengths.map(({ length }) => length)).size, 50, "distinct lengths");
      await store.transact(drop, "list", {});
      equal((await store.transact(push, "list", { item: "y" })).length, "1", "after deletion");
    },
  },
  {
    name: "reading another contract's record as a value is a typed error",
    async run({ store }) {
      await store.transact(push, "foreign", { item: "x" });
      const error = await rejection(() => store.get("foreign"), "get");
      check(error instanceof HoldfastError && error.code === "corrupt-record", "its code is corrupt-record");
    },
  },
  {
    name: "an aborted change rejects with the signal's reason and changes nothing",
    async run({ store }) {
      const reason = new Error("enough");
      const signal = AbortSignal.abort(reason);
      const calls: Record<string, () => Promise<unknown>> = {
        transact: () => store.transact(push, "key", { item: "x" }, { signal }),
        increment: () => store.increment("key", { signal }),
        setIfAbsent: () => store.setIfAbsent("key", 1, { signal }),
        compareAndSet: () => store.compareAndSet("key", undefined, 1, { signal }),
        compareAndDelete: () => store.compareAndDelete("key", 1, { signal }),
        getAndDelete: () => store.getAndDelete("key", { signal }),
      };
      for (const [name, call] of Object.entries(calls)) {
        check(await rejection(call, name) === reason, `${name} rejects with the reason`);
      }
      equal(await store.get("key"), undefined, "nothing was stored");
    },
  },
];
