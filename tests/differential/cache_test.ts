/** A cache says the same in Lua and in TypeScript. */
import type { Fields } from "@holdfast/edge/engine";
import { cacheTransitions } from "@holdfast/edge/cache";
import type { Random } from "../support/random.ts";
import { assertRejects } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { type Case, compare, planted } from "./_differential.ts";

const FILLERS = ["a", "b", "c"];

function maybe(random: Random, fields: Fields): Fields {
  return random.chance(0.5) ? fields : {};
}

/** The value that a fill stores. */
function content(random: Random): Fields {
  return {
    ...maybe(random, { value: random.pick(["", "text", '\t{"a":1}', "Grüße"]) }),
    ttl: String(1 + random.below(5000)),
    stale: String(random.below(3000)),
    grace: String(random.below(3000)),
    took: String(random.below(500)),
    tags: random.pick(["", '[["t","1:x"]]']),
    schema: random.pick(["", "2"]),
  };
}

/** Names the present grant, or another one. */
function grantOf(random: Random, record: Fields | undefined): Fields {
  const known = record?.filler !== undefined && random.chance(0.7);
  return known
    ? { filler: record.filler!, grant: record.grant! }
    : { filler: random.pick(FILLERS), grant: String(1_700_000_000_000 + random.below(1000)) };
}

const inputs: Record<string, Case["input"]> = {
  "cache.read": (random) => ({
    schema: random.pick(["", "", "2"]),
    ...maybe(random, { filler: random.pick(FILLERS), lease: String(1 + random.below(3000)) }),
    ...(random.chance(0.2) && { early: String(random.below(5000)) }),
    ...(random.chance(0.2) && { refresh: String(random.below(5000)) }),
    ...(random.chance(0.2) && { outdated: random.pick(["", '[["t","1:x"]]']) }),
  }),
  "cache.fill": (random, record) => ({ ...grantOf(random, record), ...content(random) }),
  "cache.extend": (random, record) => ({ ...grantOf(random, record), lease: String(1 + random.below(3000)) }),
  "cache.abandon": (random, record) => grantOf(random, record),
  "cache.put": (random) => ({ id: random.pick(FILLERS), ...content(random) }),
  "cache.invalidate": () => ({}),
  "cache.expire": () => ({}),
};

const records: Case[] = cacheTransitions.filter(({ name }) => name in inputs)
  .map((transition) => ({ transition, input: inputs[transition.name]! }));
const tags: Case[] = cacheTransitions.filter(({ name }) => name === "cache.tag")
  .map((transition) => ({ transition, input: (random) => ({ id: random.pick(FILLERS), ttl: "60000" }) }));

for (const [what, cases] of Object.entries({ records, tags })) {
  Deno.test(`differential: a cache's ${what}: Lua and TypeScript agree on every step`, async () => {
    report(`a cache's ${what}: ${await compare(cases)} steps\n`);
  });
}

Deno.test("differential: a planted difference in a cache is caught", async () => {
  await assertRejects(() => compare(records, { steps: 2000, script: planted("math.max", "math.min") }));
});
