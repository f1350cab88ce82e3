import { type Fields, idempotencyTransitions } from "@holdfast/edge/engine";
import { assert, assertMatch, assertRejects } from "../support/assert.ts";
import type { Random } from "../support/random.ts";
import { type Case, compare, damaging, planted } from "./_differential.ts";

const OWNERS = ["ada", "bob", "\u{1F600}\u0000", "~"];
const RESPONSES = ["", "a", '\t{"n":1}', "\u0001AAEC", "\u0003", "~"];

/** Mostly the current owner, so that histories go on. */
const owner = (random: Random, record: Fields | undefined) =>
  random.chance(0.5) && record?.owner !== undefined ? record.owner : random.pick(OWNERS);
/** Mostly the current claim, so that abandoning works. */
const claim = (random: Random, record: Fields | undefined) =>
  random.chance(0.7) && record?.claim !== undefined ? record.claim : random.pick(["1", "2", "\u{1F600}"]);
const print = (random: Random): { fingerprint?: string } =>
  random.chance(0.8) ? {} : { fingerprint: random.pick(["", "f"]) };
const lease = (random: Random) => String(1 + random.below(random.pick([100, 4000, 200_000_000])));

const inputs: Record<string, Case["input"]> = {
  "idempotency.begin": (random, record) => ({
    owner: owner(random, record),
    claim: claim(random, record),
    ...print(random),
    lease: lease(random),
    retention: lease(random),
  }),
  "idempotency.complete": (random, record) => ({
    owner: owner(random, record),
    claim: claim(random, record),
    ...print(random),
    ...(random.chance(0.8) ? { response: random.pick(RESPONSES) } : {}),
    attempt: record?.attempt ?? "1",
    retention: lease(random),
  }),
  "idempotency.abandon": (random, record) => ({
    owner: owner(random, record),
    claim: claim(random, record),
  }),
  "idempotency.extend": (random, record) => ({ owner: owner(random, record), lease: lease(random) }),
  "idempotency.read": () => ({}),
};
const cases: Case[] = idempotencyTransitions.map((transition) => ({
  transition,
  input: inputs[transition.name]!,
}));

const PENDING = {
  state: "pending",
  owner: "ada",
  claim: "1",
  fingerprint: "",
  leaseEnds: "1",
  attempt: "1",
  retentionEnds: "1800000000000",
};
/** Records that another program, or another version, may have left under the key. */
const DAMAGES: readonly Fields[] = [
  { v: "a value" },
  { ...PENDING, leaseEnds: "1e3" },
  { ...PENDING, leaseEnds: "" },
  { ...PENDING, attempt: "" },
  { ...PENDING, state: "open" },
  { ...PENDING, state: "done", retentionEnds: "99999999999999999" },
  { state: "done", owner: "ada", claim: "1", attempt: "1", retentionEnds: "1800000000000" },
  { state: "done", owner: "ada", fingerprint: "", attempt: "1", retentionEnds: "1800000000000" },
  { state: "abandoned", owner: "ada", retentionEnds: "1800000000000" },
  { state: "abandoned", owner: "ada", claim: "1", retentionEnds: "soon" },
  { ...PENDING, another: "field" },
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

Deno.test("differential: idempotency: they agree on corrupt records", async () => {
  await compare([...cases, damage], { steps: 1000, script: damaging });
});

Deno.test("differential: idempotency: a planted difference is caught", async () => {
  const error = await assertRejects(() =>
    compare(cases, { fastOnly: true, script: planted("if ends < leaseEnds then ends = leaseEnds end", "") })
  );
  assertMatch(error.message, /differs: SEED=\d+: idempotency\./);
});
