import { type Fields, idempotencyTransitions } from "@holdfast/edge";
import { assert, assertMatch, assertRejects } from "../support/assert.ts";
import type { Random } from "../support/random.ts";
import { type Case, compare, damaging, planted } from "./_differential.ts";

const OWNERS = ["ada", "bob", "\u{1F600}\u0000", "~"];
const RESPONSES = ["", "a", '\t{"n":1}', "\u0001AAEC", "\u0003", "~"];

/** Mostly the one that is at it, so that histories go on. */
const owner = (random: Random, record: Fields | undefined) =>
  random.chance(0.5) && record?.o !== undefined ? record.o : random.pick(OWNERS);
const print = (random: Random): { fp?: string } => random.chance(0.8) ? {} : { fp: random.pick(["", "f"]) };
const lease = (random: Random) => String(1 + random.below(random.pick([100, 4000, 200_000_000])));

const inputs: Record<string, Case["input"]> = {
  "idempotency.begin": (random, record) => ({
    o: owner(random, record),
    ...print(random),
    l: lease(random),
    t: lease(random),
  }),
  "idempotency.complete": (random, record) => ({
    o: owner(random, record),
    ...print(random),
    ...(random.chance(0.8) ? { r: random.pick(RESPONSES) } : {}),
    a: record?.a ?? "1",
    t: lease(random),
  }),
  "idempotency.abandon": (random, record) => ({ o: owner(random, record) }),
  "idempotency.extend": (random, record) => ({ o: owner(random, record), l: lease(random) }),
  "idempotency.read": () => ({}),
};
const cases: Case[] = idempotencyTransitions.map((transition) => ({
  transition,
  input: inputs[transition.name]!,
}));

/** What somebody else, or another version, may have left under the key. */
const DAMAGES: readonly Fields[] = [
  { v: "a value" },
  { s: "p", o: "ada", fp: "", l: "1e3", a: "1", x: "1800000000000" },
  { s: "p", o: "ada", fp: "", a: "1", x: "1800000000000" },
  { s: "c", o: "ada", fp: "", a: "", x: "1800000000000" },
  { s: "q", o: "ada", fp: "", l: "1", a: "1", x: "1800000000000" },
  { s: "c", o: "ada", a: "1", x: "99999999999999999" },
];
const damage: Case = {
  transition: {
    name: "test.damage",
    apply: (_record, input) => ({ output: {}, write: { record: input } }),
  },
  input: (random) => random.pick(DAMAGES),
};

Deno.test("differential: idempotency: Lua and TypeScript agree on every step", async () => {
  assert(await compare(cases) >= 10_000 * cases.length);
});

Deno.test("differential: idempotency: they agree on records that are none of theirs", async () => {
  await compare([...cases, damage], { steps: 1000, twin: damaging });
});

Deno.test("differential: idempotency: a planted difference is caught", async () => {
  const error = await assertRejects(() => compare(cases, { twin: planted("r.o == i.o and 0 or 1", "1") }));
  assertMatch(error.message, /differs: SEED=\d+: idempotency\./);
});
