/** CACHE_HISTORIES sets the lives per engine model (the long form: 100,000), SEED the first of them. */
import type { AtomicStore } from "@holdfast/edge";
import type { Fields, Step, Transition } from "@holdfast/edge/engine";
import type { Fill } from "@holdfast/edge/cache";
import { assert, assertEquals } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { type EngineModel, type LifeOptions, live, type SimulatedCache, type Verdict } from "./simulation.ts";

const HISTORIES = Number(Deno.env.get("CACHE_HISTORIES") ?? 1000);
const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));

async function lives(
  count: number,
  options: LifeOptions,
  until?: keyof Verdict,
): Promise<Verdict & { lives: number }> {
  const sum = { stale: 0, doubled: 0, reads: 0, fills: 0, invalidations: 0, lives: 0 };
  for (let i = 0; i < count; i++) {
    const verdict = await live(seed + i, options);
    sum.lives++;
    for (const name of ["stale", "doubled", "reads", "fills", "invalidations"] as const) {
      sum[name] += verdict[name];
    }
    if (until && sum[until] > 0) break;
  }
  return sum;
}

/** Fillers that die leave the timers of their fills behind. */
const DYING = { sanitizeOps: false, sanitizeResources: false };

const MODELS: readonly EngineModel[] = ["one clock", "the callers' clocks"];

for (const model of MODELS) {
  Deno.test(
    `simulated cache, ${model}: no read answers a value that an acknowledged invalidation removed`,
    DYING,
    async () => {
      const verdict = await lives(HISTORIES, { model, faults: 0.2 });
      report(`${model}: ${JSON.stringify(verdict)}\n`);
      assert(verdict.reads > verdict.lives && verdict.invalidations > verdict.lives, "something happens");
      assertEquals(verdict.stale, 0, `SEED=${seed}`);
    },
  );
}

Deno.test("simulated cache, one clock: without faults one fill runs at a time", async () => {
  const verdict = await lives(HISTORIES, { model: "one clock", faults: 0, invalidates: false });
  report(`without faults: ${JSON.stringify(verdict)}\n`);
  assertEquals([verdict.stale, verdict.doubled], [0, 0], `SEED=${seed}`);
});

/** A cache without a lease: look, ask, store; and delete to invalidate. */
function naive(store: AtomicStore): SimulatedCache {
  return {
    async get<T>(
      key: string,
      fill: Fill<T>,
    ): Promise<T> {
      const found = await store.get<T>(key);
      if (found !== undefined) return found;
      const value = await fill({ key, signal: new AbortController().signal, previous: undefined, keep() {} });
      await store.set(key, value, { ttl: "1h" });
      return value;
    },
    async invalidate(key) {
      await store.delete(String(key));
    },
    async expire(key) {
      return await store.delete(key);
    },
    async invalidateTags() {
      await store.delete("key");
    },
  };
}

/** A transition with another semantics. */
function mutant(
  name: string,
  apply: (original: Transition, record: Fields | undefined, input: Fields, now: number) => Step,
) {
  return (transition: Transition): Transition =>
    transition.name !== name
      ? transition
      : { name, apply: (record, input, now) => apply(transition, record, input, now) };
}

/** Drops the value as it should, but leaves the right to fill: the fault of a fill that a change does not refuse. */
function keepsLease(_original: Transition, record: Fields | undefined): Step {
  if (record?.filler === undefined) return { output: {}, write: { record: undefined } };
  const { filler, grant, leaseEnds } = record;
  const lease = { filler, grant: grant!, leaseEnds: leaseEnds! };
  return { output: {}, write: { record: lease, expiresAt: Number(leaseEnds) } };
}

/** Each is a fault that the lives must find. */
const PLANTED: Readonly<Record<string, { options: Partial<LifeOptions>; finds: "stale" | "doubled" }>> = {
  "look, ask, store": { options: { create: naive }, finds: "stale" },
  "a fill is accepted from any filler": {
    options: {
      mutate: mutant(
        "cache.fill",
        (original, record, input, now) =>
          original.apply({ ...record, filler: input.filler!, grant: input.grant! }, input, now),
      ),
    },
    finds: "stale",
  },
  "a fill that lost its lease to another one is accepted": {
    options: {
      mutate: mutant(
        "cache.fill",
        (original, record, input, now) =>
          original.apply(record && { ...record, filler: input.filler!, grant: input.grant! }, input, now),
      ),
    },
    finds: "stale",
  },
  "the versions of the tags are those at the end of the fill": {
    options: {
      disturb(name, input, records) {
        if (name !== "cache.fill" || input.tags === "") return input;
        const version = [...records].find(([key]) => key.endsWith(":tag"))?.[1] ?? "";
        return { ...input, tags: JSON.stringify([["tag", version]]) };
      },
    },
    finds: "stale",
  },
  "an invalidated tag keeps its version": {
    options: { mutate: mutant("cache.tag", () => ({ output: {} })) },
    finds: "stale",
  },
  "an invalidation leaves the right to fill": {
    options: {
      mutate: mutant("cache.invalidate", keepsLease),
    },
    finds: "stale",
  },
  "a key that is expired keeps its right to fill": {
    options: {
      mutate: mutant("cache.expire", keepsLease),
    },
    finds: "stale",
  },
  "a value that is expired is answered until its old deadline": {
    options: {
      mutate: mutant("cache.expire", (original, record, input, now) => {
        if (record?.value === undefined) return original.apply(record, input, now);
        const { filler: _filler, grant: _grant, leaseEnds: _leaseEnds, ...rest } = record;
        const next = { ...rest, freshUntil: String(now), staleUntil: String(now) };
        return { output: {}, write: { record: next, expiresAt: Number(record.until) } };
      }),
    },
    finds: "stale",
  },
  "expire changes only what its caller sees": {
    options: {
      model: "the callers' clocks",
      mutate: mutant(
        "cache.expire",
        (original, record, input, now) =>
          record === undefined ? { output: {} } : original.apply(record, input, now),
      ),
    },
    finds: "stale",
  },
  "an invalidation deletes only what its caller sees": {
    options: {
      model: "the callers' clocks",
      mutate: mutant(
        "cache.invalidate",
        (original, record, input, now) =>
          record === undefined ? { output: {} } : original.apply(record, input, now),
      ),
    },
    finds: "stale",
  },
  "the right to fill is granted beside another": {
    options: {
      mutate: mutant("cache.read", (original, record, input, now) => {
        const { filler: _filler, grant: _grant, leaseEnds: _leaseEnds, ...rest } = record ?? {};
        return original.apply(record && rest, input, now);
      }),
    },
    finds: "doubled",
  },
  "the right to fill is not extended": {
    options: { mutate: mutant("cache.extend", () => ({ output: { done: "1" } })) },
    finds: "doubled",
  },
};

for (const [name, { options, finds }] of Object.entries(PLANTED)) {
  Deno.test(`simulated cache: a planted fault is found: ${name}`, DYING, async () => {
    const doubles = finds === "doubled";
    const faults = doubles ? 0 : 0.1;
    const verdict = await lives(
      3000,
      { model: "one clock", faults, invalidates: !doubles, ...options },
      finds,
    );
    report(`${name}: found after ${verdict.lives} lives\n`);
    assert(verdict[finds] > 0, `SEED=${seed}: not found`);
    if (name === "look, ask, store") assert(verdict.lives <= 100, `${verdict.lives} lives`);
  });
}
