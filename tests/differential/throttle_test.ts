/** Throttles say the same in Lua and in TypeScript. */
import { type Fields, throttleTransitions } from "@holdfast/edge/engine";
import { assert, assertMatch, assertRejects } from "../support/assert.ts";
import type { Random } from "../support/random.ts";
import { type Case, compare, damaging, planted, storing } from "./_differential.ts";

/**
 * Few and repeated, so that policies of several throttles meet in one record; with the extremes of every
 * number.
 */
const POLICIES = [
  "gcra:1000:10:10:default",
  "gcra:1000:3:3:default",
  "gcra:1000:3:30:default",
  "gcra:977:7:2:a:b",
  "gcra:1:1000000000:1000000000:fine",
  "gcra:1000:999999:999999:million",
  "gcra:2592000000:999999937:999999937:prime",
  "gcra:63072000000:1:1:rare",
  "gcra:63072000000:1000000000:7:long",
  "gcra:86400000:2:2:daily",
  "fixed:1000:5:default",
  "fixed:1000:50:default",
  "fixed:86400000:3:a:b",
  "fixed:7:1:tiny",
  "fixed:63072000000:1000000000:largest",
  "sliding:1000:5:default",
  "sliding:1000:2:default",
  "sliding:977:40:odd",
  "sliding:3600000:3:hourly",
  "sliding:63072000000:1000000000:largest",
];
/** The field of a policy's counter: calendar windows keep theirs when the limit changes. */
const fieldOf = (line: string): string => {
  const [kind, window, , ...name] = line.split(":");
  return kind === "gcra" ? line : [kind, window, ...name].join(":");
};
/** Up to three policies; the names of one throttle differ, so no two have one field. */
const policies = (random: Random): Record<string, string> => {
  const from = random.below(POLICIES.length);
  const count = 1 + random.below(3);
  const some = Array.from({ length: count }, (_, i) => POLICIES[(from + i) % POLICIES.length]!);
  const different = some.filter((line, i) =>
    some.findIndex((other) => fieldOf(other) === fieldOf(line)) === i
  );
  return Object.fromEntries(different.map((line, i) => [`policy${i}`, line]));
};

const COSTS = [1, 1, 1, 1, 2, 3, 5, 11, 50_000, 333_333_333, 1_000_000_000, -1, -2, -100, -999_999_999, 0];
const inputs: Record<string, Case["input"]> = {
  "throttle.check": (random) => ({
    cost: String(random.pick(COSTS)),
    ...(random.chance(0.7)
      ? { call: random.pick(["a", "b", "ab", "a-long-one-of-many-letters-" + random.below(40)]) }
      : {}),
    ...policies(random),
  }),
  "throttle.peek": (random) => policies(random),
  "throttle.block": (random) => ({
    duration: String(1 + random.below(random.pick([500, 3000, 100_000]))),
    ...(random.chance(0.7) ? { call: `block-${random.below(9)}` } : {}),
  }),
};
const cases: Case[] = throttleTransitions.map((transition) => ({
  transition,
  input: inputs[transition.name]!,
}));
// A history that is blocked most of the time shows little else.
const often: Case[] = [...Array(2).fill(cases[0]), ...cases];

const ENDS = "1900000000000";
const DAMAGES: readonly Fields[] = [
  { v: "a value" },
  { recordEnds: "1e3" },
  { recordEnds: "9999999999999999" },
  { recordEnds: ENDS, blockedUntil: "soon" },
  { recordEnds: ENDS, "gcra:1000:10:10:default": "5:5:5" },
  { recordEnds: ENDS, "gcra:1000:10:10:default": "5" },
  { recordEnds: ENDS, "fixed:1000:default": "5" },
  { recordEnds: ENDS, "fixed:1000:default": "5::5" },
  { recordEnds: ENDS, "sliding:1000:default": "1:2" },
  { recordEnds: ENDS, "sliding:1000:default": "1:2:9999999999999999" },
  { recordEnds: ENDS, "sliding:1000:default": "" },
];

/** Records that could be a throttle's, with a counter that no policy of this time could have made. */
const absurd = (random: Random, now: number): Fields => {
  const line = random.pick(POLICIES);
  const kind = line.split(":")[0];
  const since = random.pick([0, 1, now - 500, now + 500, now + 1001, now + 90_000_000, 999_999_999_999_999]);
  const used = random.pick([0, 1, 12, 1_000_000_001, 999_999_999_999_999]);
  const text = [since, used, ...(kind === "sliding" ? [random.pick([0, 3, 999_999_999_999_999])] : [])];
  const others: Fields[] = [
    {},
    { "fixed:100": "1:1" },
    { "unknown:1:1:1:x": "1:1" },
    { "gcra:1:0:1:x": "1:1" },
    { "fixed:999999999999999:x": `${now}:1` },
    { "sliding:5000:other": `${now - now % 5000}:3:3` },
    { "gcra:60000:9:9:other": `${now - 500}:7` },
  ];
  const recordEnds = String(random.pick([now + 1, now + 20_000, 90_000_000_000_000]));
  return { recordEnds, [fieldOf(line)]: text.join(":"), ...random.pick(others) };
};
/** Stores an impossible record with its deadline, as every record of a throttle has one. */
const absurdScript = (name: string) =>
  name === "test.absurd" ? storing("tonumber(i.recordEnds)") : damaging(name);
const impossible: Case = {
  transition: {
    name: "test.absurd",
    apply: (_record, input) => ({
      output: {},
      write: { record: input, expiresAt: Number(input.recordEnds) },
    }),
  },
  input: (random, _record, now) => absurd(random, now),
};
const damage = (input: Case["input"]): Case => ({
  transition: { name: "test.damage", apply: (_record, input) => ({ output: {}, write: { record: input } }) },
  input,
});

Deno.test("differential: throttle: Lua and TypeScript agree on every step", async () => {
  assert(await compare(often, { stride: 400 }) >= 10_000 * cases.length);
});

Deno.test("differential: throttle: they agree on records that are not a throttle's", async () => {
  const broken = damage((random) => random.pick(DAMAGES));
  await compare([...often, broken], { steps: 1000, script: damaging });
});

Deno.test("differential: throttle: they agree on counters that no policy could have made", async () => {
  await compare([...often, impossible], { steps: 3000, script: absurdScript });
});

Deno.test("differential: throttle: a planted difference is caught", async () => {
  for (
    const [from, to] of [
      ["if used <= back then since", "if used < back then since"],
      ["since == start - b and used", "since == start - b and earlier"],
      ["and x <= now + longest", "and x <= now + 2 * longest"],
    ] as const
  ) {
    const script = planted(from, to);
    const error = await assertRejects(async () => {
      // A random history misses the rarest of them in one of three cases.
      for (let history = 0; history < 15; history++) {
        await compare([...often, impossible], {
          fastOnly: true,
          script: (name) => name === "test.absurd" ? absurdScript(name) : script(name),
        });
      }
    });
    assertMatch(error.message, /differs: SEED=\d+: throttle\./);
  }
});
