/**
 * The checker and the recorder: faults that are planted in a store, and histories that are wrong by hand, are
 * rejected.
 */
import { type AtomicStore, HoldfastError, memoryStore } from "@holdfast/edge";
import { assert, assertEquals } from "../support/assert.ts";
import { Random } from "../support/random.ts";
import { report } from "../support/report.ts";
import { isLinearizable, type Model, type Operation } from "./linearizability.ts";
import { counter, idempotency, lock, register } from "./models.ts";
import { workloads } from "./workloads.ts";

/** A history as lines: client, input, output (`undefined` in doubt), called, returned. */
type Line = readonly [client: number, input: unknown, output: unknown, called: number, returned: number];

const operations = (lines: readonly Line[]) =>
  lines.map(([client, input, output, called, returned]) => ({ client, input, output, called, returned }));

const get = (value: number | null) => [{ call: "get" }, { value }] as const;
const set = (value: number) => [{ call: "set", value }, { done: true }] as const;
const cas = (expected: number | null, value: number, out: unknown) =>
  [{ call: "compareAndSet", expected, value }, out] as const;
const acquire = (grant: number, fence: number | null) => [{ call: "acquire", grant }, { fence }] as const;
const release = (grant: number, released = true) => [{ call: "release", grant }, { released }] as const;
const begin = (claim: number, out: unknown) => [{ call: "begin", claim }, out] as const;
const complete = (claim: number) => [{ call: "complete", claim }, { state: "ok" }] as const;

/** Pairs that differ in one thing: a history that is right, and one that is not. */
const histories: Record<string, { model: Model<never, never, never>; right: Line[]; wrong: Line[] }> = {
  "a read that misses an acknowledged write": {
    model: register as never,
    right: [[0, ...set(1), 0, 3], [1, ...get(null), 1, 2]],
    wrong: [[0, ...set(1), 0, 1], [1, ...get(null), 2, 3]],
  },
  "a write in doubt that takes effect twice": {
    model: register as never,
    right: [[0, { call: "set", value: 1 }, undefined, 0, Infinity], [1, ...get(1), 1, 2], [
      1,
      ...set(2),
      3,
      4,
    ], [1, ...get(2), 5, 6]],
    wrong: [
      [0, { call: "set", value: 1 }, undefined, 0, Infinity],
      [1, ...get(1), 1, 2],
      [1, ...set(2), 3, 4],
      [1, ...get(1), 5, 6],
    ],
  },
  "a value that nothing wrote": {
    model: register as never,
    right: [[0, ...set(1), 0, 1], [1, ...get(1), 2, 3]],
    wrong: [[1, ...get(7), 2, 3]],
  },
  "two conditional writes on one value": {
    model: register as never,
    right: [[0, ...cas(null, 1, { done: true }), 0, 3], [
      1,
      ...cas(null, 2, { done: false, current: 1 }),
      1,
      2,
    ]],
    wrong: [[0, ...cas(null, 1, { done: true }), 0, 3], [1, ...cas(null, 2, { done: true }), 1, 2]],
  },
  "an increment that counts twice": {
    model: counter as never,
    right: [[0, { call: "increment", by: 1 }, { value: 1 }, 0, 1], [
      1,
      { call: "increment", by: 1 },
      { value: 2 },
      2,
      3,
    ]],
    wrong: [[0, { call: "increment", by: 1 }, { value: 1 }, 0, 1], [
      1,
      { call: "increment", by: 1 },
      { value: 3 },
      2,
      3,
    ]],
  },
  "two holders of a lock": {
    model: lock as never,
    right: [[0, ...acquire(1, 5), 0, 1], [0, ...release(1), 2, 5], [1, ...acquire(2, 6), 3, 4]],
    wrong: [[0, ...acquire(1, 5), 0, 1], [1, ...acquire(2, 6), 2, 3], [0, ...release(1), 4, 5]],
  },
  "a fencing token that does not increase": {
    model: lock as never,
    right: [[0, ...acquire(1, 5), 0, 1], [0, ...release(1), 2, 3], [1, ...acquire(2, 6), 4, 5]],
    wrong: [[0, ...acquire(1, 5), 0, 1], [0, ...release(1), 2, 3], [1, ...acquire(2, 5), 4, 5]],
  },
  "a release by another than the holder": {
    model: lock as never,
    right: [[0, ...acquire(1, 5), 0, 1], [1, ...release(2, false), 2, 3]],
    wrong: [[0, ...acquire(1, 5), 0, 1], [1, ...release(2), 2, 3]],
  },
  "a lock that an acquisition in doubt holds for good after its release": {
    model: lock as never,
    right: [[0, { call: "acquire", grant: 1 }, undefined, 0, Infinity], [1, ...acquire(2, null), 1, 2]],
    wrong: [[1, ...acquire(2, null), 1, 2]],
  },
  "two claims of one key": {
    model: idempotency as never,
    right: [[0, ...begin(1, { state: "new" }), 0, 1], [1, ...begin(2, { state: "in-progress" }), 2, 3]],
    wrong: [[0, ...begin(1, { state: "new" }), 0, 1], [1, ...begin(2, { state: "new" }), 2, 3]],
  },
  "a result that is forgotten": {
    model: idempotency as never,
    right: [[0, ...begin(1, { state: "new" }), 0, 1], [0, ...complete(1), 2, 3], [
      1,
      ...begin(2, { result: 1 }),
      4,
      5,
    ]],
    wrong: [[0, ...begin(1, { state: "new" }), 0, 1], [0, ...complete(1), 2, 3], [
      1,
      ...begin(2, { state: "new" }),
      4,
      5,
    ]],
  },
  "a result of another claim": {
    model: idempotency as never,
    right: [[0, ...begin(1, { state: "new" }), 0, 1], [0, ...complete(1), 2, 3], [
      1,
      ...begin(2, { result: 1 }),
      4,
      5,
    ]],
    wrong: [[0, ...begin(1, { state: "new" }), 0, 1], [0, ...complete(1), 2, 3], [
      1,
      ...begin(2, { result: 2 }),
      4,
      5,
    ]],
  },
};

Deno.test("linearizability: the checker accepts linearizable histories and rejects others", async (t) => {
  for (const [name, { model, right, wrong }] of Object.entries(histories)) {
    await t.step(name, () => {
      const judge = (lines: Line[]) => isLinearizable(model, operations(lines) as Operation<never, never>[]);
      assertEquals([judge(right), judge(wrong)], [true, false]);
    });
  }
});

/** Every order of a small history, tried one by one: what the checker's shortcuts must agree with. */
function byForce<State, In, Out>(
  model: Model<State, In, Out>,
  history: readonly Operation<In, Out>[],
): boolean {
  const place = (state: State, left: readonly Operation<In, Out>[]): boolean => {
    if (left.every(({ returned }) => returned === Infinity)) return true;
    return left.some((one) => {
      if (left.some((other) => other.returned < one.called)) return false;
      const next = model.step(state, one.input, one.output);
      return next !== undefined && place(next, left.filter((other) => other !== one));
    });
  };
  return place(model.initial, history);
}

Deno.test("linearizability: the checker agrees with every order tried one by one on 5,000 small histories", () => {
  const random = new Random(Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31)));
  const verdicts = { right: 0, wrong: 0 };
  for (let i = 0; i < 5000; i++) {
    const times = Array.from({ length: 12 }, (_, n) => n);
    const history = Array.from({ length: 2 + random.below(5) }, (_, client) => {
      const take = () => times.splice(random.below(times.length), 1)[0]!;
      const [called, returned] = [take(), take()].sort((a, b) => a - b) as [number, number];
      const [input, output] = random.pick([
        () => set(random.below(3)),
        () => get(random.pick([null, 0, 1, 2])),
        () =>
          [
            { call: "delete" },
            { done: random.chance(0.5) },
          ] as const,
      ])();
      const doubtful = random.chance(0.2);
      return {
        client,
        input,
        output: doubtful ? undefined : output,
        called,
        returned: doubtful ? Infinity : returned,
      };
    }) as Operation<never, never>[];
    const verdict = isLinearizable(register as never, history);
    assertEquals(verdict, byForce(register as never, history));
    verdicts[verdict ? "right" : "wrong"]++;
  }
  assert(verdicts.right > 500 && verdicts.wrong > 500, "both verdicts are frequent");
});

/** Methods in place of a store's own, or another store. */
type Plant = (store: AtomicStore, random: Random) => Partial<AtomicStore>;

/** A store with a fault planted in some of its methods. */
function planted(plant: Plant, random: Random): AtomicStore {
  const store = memoryStore();
  const changed = plant(store, random);
  return new Proxy(store, {
    get(target, name) {
      if (Reflect.has(changed, name)) return Reflect.get(changed, name);
      const own = Reflect.get(target, name, target);
      return typeof own === "function" ? own.bind(target) : own;
    },
  });
}

const doubt = () =>
  new HoldfastError("backend-unavailable", "Cannot reach it", { retryable: false, ambiguous: true });
const certain = () => new HoldfastError("backend-unavailable", "Cannot reach it", { retryable: false });

/** A store that forgets a record before every second call of a transition, in every namespace. */
function forgetful(store: AtomicStore, name: string, random: Random): AtomicStore {
  return new Proxy(store, {
    get(target, property) {
      if (property === "namespace") {
        return (inner: string) => forgetful(target.namespace(inner), name, random);
      }
      if (property === "transact") {
        return async (...call: Parameters<AtomicStore["transact"]>) => {
          if (call[0].name === name && random.chance(0.5)) await target.delete(call[1]);
          return await target.transact(...call);
        };
      }
      const own = Reflect.get(target, property, target);
      return typeof own === "function" ? own.bind(target) : own;
    },
  });
}

/** Ten faults, by what they are planted in. */
const mutants: Record<string, { workload: string; plant: Plant }> = {
  "a read from a replica that is behind": {
    workload: "register",
    plant: (store, random) => {
      let last: unknown;
      return {
        async get<T>(key: string) {
          const value = await store.get<T>(key);
          const answer = random.chance(0.3) ? last : value;
          last = value;
          return answer as T;
        },
      };
    },
  },
  "a write that is acknowledged and lost": {
    workload: "register",
    plant: (store, random) => ({
      set: async (key, value) => random.chance(0.3) ? undefined : await store.set(key, value),
    }),
  },
  "a copy of a write that arrives later": {
    workload: "register",
    plant: (store, random) => ({
      async set(key, value) {
        await store.set(key, value);
        if (random.chance(0.5)) setTimeout(() => store.set(key, value), 3);
      },
    }),
  },
  "a write that happened and is reported as refused": {
    workload: "register",
    plant: (store, random) => ({
      async set(key, value) {
        await store.set(key, value);
        if (random.chance(0.3)) throw certain();
      },
    }),
  },
  "a conditional write without a condition": {
    workload: "register",
    plant: (store) =>
      ({
        async compareAndSet(key: string, _expected: unknown, value: unknown) {
          await store.set(key, value);
          return { set: true as const };
        },
      }) as Partial<AtomicStore>,
  },
  "a delete that always finds something": {
    workload: "register",
    plant: (store) => ({
      async delete(key) {
        await store.delete(key);
        return true;
      },
    }),
  },
  "an increment that a retry counts twice": {
    workload: "counter",
    plant: (store, random) => ({
      async increment(key, options) {
        if (random.chance(0.2)) await store.increment(key, options);
        return await store.increment(key, options);
      },
    }),
  },
  "an increment that is read and written apart": {
    workload: "counter",
    plant: (store) => ({
      async increment(key, options) {
        const value = (await store.get<number>(key) ?? 0) + (options?.by ?? 1);
        await new Promise((resolve) => setTimeout(resolve, 1));
        await store.set(key, value);
        return { value };
      },
    }),
  },
  "a lock that is given to a second holder": {
    workload: "lock",
    plant: (store, random) => forgetful(store, "lock.acquire", random),
  },
  "a claim that is given twice": {
    workload: "idempotency",
    plant: (store, random) => forgetful(store, "idempotency.begin", random),
  },
};

Deno.test("linearizability: each of ten planted faults is rejected, and the sound store is not", async (t) => {
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  for (const [name, workload] of Object.entries(workloads)) {
    await t.step(`${name} on a sound store`, async () => {
      for (let i = 0; i < 20; i++) {
        assert((await workload(memoryStore(), new Random(seed + i))).linearizable, `SEED=${seed}`);
      }
    });
  }
  await t.step("register on a sound store that leaves calls in doubt", async () => {
    for (let i = 0; i < 20; i++) {
      const random = new Random(seed + i);
      const unsure = planted((store) => ({
        async set(key, value) {
          const doubtful = random.chance(0.3);
          if (!doubtful || random.chance(0.5)) await store.set(key, value);
          if (doubtful) throw doubt();
        },
      }), random);
      assert((await workloads.register!(unsure, random)).linearizable, `SEED=${seed}`);
    }
  });
  for (const [name, { workload, plant }] of Object.entries(mutants)) {
    await t.step(name, async () => {
      let tries = 0;
      for (; tries < 200; tries++) {
        const random = new Random(seed + tries);
        if (!(await workloads[workload]!(planted(plant, random), random)).linearizable) break;
      }
      report(`${name}: rejected in history ${tries + 1}`);
      assert(tries < 200, `SEED=${seed}`);
    });
  }
});
