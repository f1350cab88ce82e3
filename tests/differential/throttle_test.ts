import { type Fields, throttleTransitions } from "@holdfast/edge";
import { assert, assertMatch, assertRejects } from "../support/assert.ts";
import type { Random } from "../support/random.ts";
import { type Case, compare, damaging, planted } from "./_differential.ts";

/** Few and repeated, so that policies of several throttles meet in one record. */
const POLICIES = [
  "g:100000:10:default",
  "g:333334:3:default",
  "g:1:40000:fine",
  "g:86400000000:2:daily",
  "f:5:1000:default",
  "f:3:86400000:a:b",
  "f:1:7:tiny",
  "s:5:1000:default",
  "s:40:977:odd",
  "s:3:3600000:hourly",
];
const policies = (random: Random): Record<string, string> => {
  const from = random.below(POLICIES.length);
  const count = 1 + random.below(3);
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`p${i}`, POLICIES[(from + i) % POLICIES.length]!]),
  );
};

const inputs: Record<string, Case["input"]> = {
  "throttle.check": (random) => ({
    c: String(random.pick([1, 1, 1, 1, 2, 3, 5, 11, 50_000, -1, -2, -100, 0])),
    ...(random.chance(0.7)
      ? { i: random.pick(["a", "b", "ab", "a-long-one-of-many-letters-" + random.below(40)]) }
      : {}),
    ...policies(random),
  }),
  "throttle.peek": (random) => policies(random),
  "throttle.block": (random) => ({ ms: String(1 + random.below(random.pick([500, 3000, 100_000]))) }),
};
const cases: Case[] = throttleTransitions.map((transition) => ({
  transition,
  input: inputs[transition.name]!,
}));
// A history that is blocked most of the time shows little else.
const often: Case[] = [...Array(2).fill(cases[0]), ...cases];

const DAMAGES: readonly Fields[] = [
  { v: "a value" },
  { x: "1e3" },
  { x: "1900000000000", b: "soon" },
  { x: "1900000000000", "g:default": "5:5" },
  { x: "1900000000000", "f:default": "5" },
  { x: "1900000000000", "f:default": "5::5" },
  { x: "1900000000000", "s:default": "1:2" },
  { x: "1900000000000", "s:default": "1:2:99999999999999999" },
  { x: "1900000000000", "s:default": "" },
];
const damage: Case = {
  transition: { name: "test.damage", apply: (_record, input) => ({ output: {}, write: { record: input } }) },
  input: (random) => random.pick(DAMAGES),
};

Deno.test("differential: throttle: Lua and TypeScript agree on every step", async () => {
  assert(await compare(often, { stride: 400 }) >= 10_000 * cases.length);
});

Deno.test("differential: throttle: they agree on records that are none of theirs", async () => {
  await compare([...often, damage], { steps: 1000, twin: damaging });
});

Deno.test("differential: throttle: a planted difference is caught", async () => {
  const error = await assertRejects(() =>
    compare(often, { twin: planted("or ceil(over / 1000)", "or floor(over / 1000)") })
  );
  assertMatch(error.message, /differs: SEED=\d+: throttle\./);
});
