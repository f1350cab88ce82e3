/**
 * Replicated sessions over thousands of lives. `SIMULATION_SEEDS=10000` makes more of them, on Deno, and
 * `SIMULATION_RUNTIME_SEEDS=1000` in each other runtime; `SEED=…` lives one again: a failing seed says how.
 */
import type { Atomic, IndexedSessionStore, ReplicationStrategy, SessionRecord } from "@holdfast/edge";
import { assert, assertEquals } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { runIn } from "../support/runtimes.ts";
import { workerdTest } from "../support/workerd.ts";
import type { PlantedFault } from "./_naive.ts";
import { scenario } from "./_scenario.ts";
import { type Invariant, type Life, live, type SimulationOptions } from "./_simulation.ts";

const strategies: readonly ReplicationStrategy[] = ["async", "sync", "acknowledged"];
const invariants: readonly Invariant[] = [
  "a deleted session is never readable again",
  "an older save never wins",
  "both sides converge at quiescence",
  "the queue stays in its bound",
  "no copy outlives the original",
  "an acknowledged write is never lost",
];

/** Some seeds that are always the same, and some that never are. */
function seeds(): number[] {
  const one = Deno.env.get("SEED");
  if (one !== undefined) return [Number(one)];
  const many = Number(Deno.env.get("SIMULATION_SEEDS") ?? 30);
  const fixed = Array.from({ length: many }, (_, i) => i);
  if (Deno.env.has("SIMULATION_SEEDS")) return fixed;
  return [...fixed, ...Array.from({ length: many / 3 }, () => Math.floor(Math.random() * 2 ** 31))];
}

const RUNTIME_SEEDS = Number(Deno.env.get("SIMULATION_RUNTIME_SEEDS") ?? 6);

interface Lives {
  readonly lives: number;
  readonly broken: Map<Invariant, number>;
  readonly seen: Map<string, number>;
  /** The seeds of lives that went wrong, and the first of those lives. */
  readonly bad: readonly number[];
  readonly first: Life | undefined;
}

async function liveAll(options: Omit<SimulationOptions, "seed">, from: readonly number[]): Promise<Lives> {
  const broken = new Map<Invariant, number>();
  const seen = new Map<string, number>();
  const bad: number[] = [];
  let first: Life | undefined;
  for (const seed of from) {
    const life = await live({ ...options, seed });
    for (const [what, times] of Object.entries(life.seen)) seen.set(what, (seen.get(what) ?? 0) + times);
    for (const invariant of new Set(life.violations.map(({ invariant }) => invariant))) {
      broken.set(invariant, (broken.get(invariant) ?? 0) + 1);
    }
    if (life.violations.length === 0) continue;
    bad.push(seed);
    first ??= life;
  }
  return { lives: from.length, broken, seen, bad, first };
}

for (const strategy of strategies) {
  for (const loses of [false, true]) {
    const name = loses ? `${strategy}, over a primary that restarts empty or is set back` : strategy;
    Deno.test(`simulation: ${name}: every promise is kept in every life`, async () => {
      const { lives, bad, first, seen } = await liveAll({ strategy, loses }, seeds());
      if (first !== undefined) {
        const { violations } = first;
        throw new Error(
          `${bad.length} of ${lives} lives went wrong, with the seeds ${bad.join(", ")}; the first:\n` +
            `${violations.map(({ invariant, what }) => `${invariant}: ${what}`).join("\n")}\n` +
            `live it again: SEED=${bad[0]} deno test -A tests/simulation --filter "${name}:"`,
        );
      }
      report(
        `${name}: ${lives} lives, 0 violations; ` + [...seen].map(([what, n]) => `${n} ${what}`).join(", "),
      );
      if (lives === 1) return;
      // A network without accidents would prove nothing.
      for (
        const what of ["calls that failed", "degraded reads", "deletes that were reported", "circuits opened"]
      ) {
        assert((seen.get(what) ?? 0) > 0, what);
      }
    });
  }

  Deno.test(`simulation: ${strategy} as the seed document has it fails within 100 lives`, async () => {
    const { broken } = await liveAll(
      { strategy, algorithm: "naive" },
      Array.from({ length: 100 }, (_, i) => i),
    );
    report(
      `naive ${strategy}: of 100 lives break ` +
        invariants.map((name) => `"${name}" ${broken.get(name) ?? 0}`).join(", "),
    );
    assert((broken.get("both sides converge at quiescence") ?? 0) > 0);
    if (strategy === "async") assert((broken.get("a deleted session is never readable again") ?? 0) > 0);
  });
}

/** Lives of ten thousand that went wrong once, and what broke. */
const REGRESSIONS: readonly [strategy: ReplicationStrategy, seed: number, broke: Invariant][] = [
  // A write that was answered out of order while a shipment found the primary's history lost.
  ["sync", 5572, "an acknowledged write is never lost"],
];

for (const [strategy, seed, broke] of REGRESSIONS) {
  Deno.test(`simulation: ${strategy}, seed ${seed}: ${broke}`, async () => {
    assertEquals((await live({ seed, strategy, loses: true })).violations, []);
  });
}

Deno.test("simulation: the same seed lives the same life", async () => {
  const [a, b] = [await live({ seed: 7, strategy: "async" }), await live({ seed: 7, strategy: "async" })];
  assertEquals(a, b);
});

/** A store that puts whatever it is given. */
function careless(
  store: Atomic<IndexedSessionStore>,
  takes: (record: SessionRecord, there: "live" | "ended" | "unknown") => SessionRecord | undefined,
): Atomic<IndexedSessionStore> {
  const put = new Map<string, SessionRecord>();
  return {
    consistency: store.consistency,
    index: store.index,
    async load(key) {
      const record = put.get(key);
      return record === undefined ? await store.load(key) : { state: "live", record };
    },
    async exists(key) {
      return (await this.load(key)).state === "live";
    },
    async delete(key, options) {
      put.delete(key);
      return await store.delete(key, options);
    },
    async save(key, change) {
      if (change.type !== "put") return await store.save(key, change);
      const record = takes(change.record, (await store.load(key)).state);
      if (record === undefined) return await store.save(key, change);
      put.set(key, record);
      return { state: "saved", record };
    },
  };
}

const plants: Record<Invariant, SimulationOptions["plant"] & object> = {
  "a deleted session is never readable again": {
    secondary: (store) => careless(store, (record, there) => there === "ended" ? record : undefined),
  },
  "an older save never wins": {
    secondary: (store) => careless(store, (record, there) => there === "live" ? record : undefined),
  },
  "both sides converge at quiescence": {
    secondary: (store) => ({
      ...careless(store, () => undefined),
      // Says yes to every seventh version, and does nothing.
      save: async (key, change) =>
        change.type === "put" && change.record.version % 7 === 3
          ? { state: "saved", record: change.record }
          : await store.save(key, change),
    }),
  },
  "the queue stays in its bound": { bound: 1 },
  "no copy outlives the original": {
    // A time to live that begins when the copy arrives.
    secondary: (store) => careless(store, (record) => ({ ...record, touchedAt: record.touchedAt + 60_000 })),
  },
  "an acknowledged write is never lost": {
    primary: (store) => ({
      ...careless(store, () => undefined),
      save: async (key, change) => {
        if (change.type !== "update" || !("d:a0" in (change.set ?? {}))) return await store.save(key, change);
        const found = await store.load(key);
        if (found.state !== "live" || found.record.version % 5 !== 4) return await store.save(key, change);
        return { state: "saved", record: found.record };
      },
    }),
  },
};

/** A point in which our algorithm becomes a naive one, where it shows, and what it breaks. */
const faults: readonly [
  fault: PlantedFault,
  options: Pick<SimulationOptions, "strategy" | "loses">,
  breaks: Invariant,
  lives?: number,
][] = [
  [
    "delete-trusts-unknown",
    { strategy: "acknowledged", loses: true },
    "a deleted session is never readable again",
    300, // about one life in sixty shows it
  ],
  ["no-reconciliation", { strategy: "async" }, "both sides converge at quiescence"],
  ["sync-acknowledges-one", { strategy: "sync" }, "an acknowledged write is never lost"],
  ["older-overwrites", { strategy: "async" }, "an older save never wins"],
];

for (const [fault, options, invariant, lives = 40] of faults) {
  Deno.test(`simulation: a planted fault is caught: ${fault}`, async () => {
    const { broken } = await liveAll({ ...options, fault }, Array.from({ length: lives }, (_, i) => i));
    report(
      `${fault}: of ${lives} lives break ${[...broken].map(([name, n]) => `"${name}" ${n}`).join(", ")}`,
    );
    assert((broken.get(invariant) ?? 0) > 0);
  });
}

for (const strategy of strategies) {
  for (const whenUnavailable of ["degrade", "throw"] as const) {
    Deno.test(`simulation: ${strategy}, whenUnavailable "${whenUnavailable}": every other promise is kept`, async () => {
      const { lives, bad, seen } = await liveAll(
        { strategy, loses: true, whenUnavailable },
        seeds().slice(0, 20),
      );
      assertEquals(bad, []);
      const read = seen.get("ended sessions read when both sides had failed") ?? 0;
      report(`${strategy}, "${whenUnavailable}": ${lives} lives, 0 violations, ${read} ended sessions read`);
    });
  }
}

for (const runtime of ["node", "bun"] as const) {
  workerdTest(
    `simulation in ${runtime}: every promise is kept, and a seed lives the same life as in Deno`,
    async () => {
      for (const strategy of strategies) {
        // A program of another runtime has a minute: so many lives fit, also on a busy machine.
        for (let from = 0; from < RUNTIME_SEEDS; from += 50) {
          const input = { strategy, loses: true, from, to: Math.min(from + 50, RUNTIME_SEEDS) };
          const there = await runIn(runtime, "tests/simulation/_scenario.ts", input);
          assertEquals(there, await scenario(input), strategy);
          assertEquals((there as { bad: readonly number[] }).bad, [], strategy);
        }
        report(`${strategy} in ${runtime}: ${RUNTIME_SEEDS} lives, as in Deno`);
      }
    },
  );
}

for (const invariant of invariants) {
  Deno.test(`simulation: a planted bug is caught: ${invariant}`, async () => {
    const plant = plants[invariant];
    const { broken } = await liveAll({ strategy: "async", plant }, Array.from({ length: 60 }, (_, i) => i));
    report(`planted: of 60 lives break ${[...broken].map(([name, n]) => `"${name}" ${n}`).join(", ")}`);
    assert((broken.get(invariant) ?? 0) > 0);
  });
}
