import { valueTransitions } from "@holdfast/edge/engine";
import { assertMatch, assertRejects } from "../support/assert.ts";
import type { Random } from "../support/random.ts";
import { report } from "../support/report.ts";
import { type Case, compare, planted } from "./_differential.ts";

const TEXTS = ["", "a", "\t1", "\t-41", "\t9007199254740991", "\t1.5", "\u0001AAEC", "\u{1F600}\u0000", "~"];
const text = (random: Random) => random.pick(TEXTS);
const ttl = (random: Random) => random.chance(0.5) ? {} : { ttl: String(1 + random.below(5000)) };

const inputs: Record<string, Case["input"]> = {
  "value.get": () => ({}),
  "value.set": (random) => ({ v: text(random), ...ttl(random) }),
  "value.take": () => ({}),
  "value.touch": (random) => ({ ttl: String(1 + random.below(5000)) }),
  "value.replace": (random, record) => ({
    v: text(random),
    ...ttl(random),
    ...(random.chance(0.3) ? {} : { expected: random.chance(0.5) ? record?.v ?? "a" : text(random) }),
  }),
  "value.remove": (random, record) => ({ expected: random.chance(0.5) ? record?.v ?? "a" : text(random) }),
  "value.increment": (random) => ({
    by: String(random.pick([1, 1, -1, 40, 2 ** 52, -(2 ** 53 - 1)])),
    ...ttl(random),
  }),
};
const cases = valueTransitions.map((transition) => ({ transition, input: inputs[transition.name]! }));

Deno.test("differential: values: Lua and TypeScript agree on every step", async () => {
  report(`values: ${await compare(cases)} steps`);
});

Deno.test("differential: a planted difference is caught", async () => {
  const error = await assertRejects(() =>
    compare(cases, { steps: 100, fastOnly: true, script: planted("now + ttl", "now + ttl + 1") })
  );
  assertMatch(error.message, /differs: SEED=\d+: value\./);
});
