import { betterAuthTransitions } from "@holdfast/edge/better-auth";
import type { Random } from "../support/random.ts";
import { report } from "../support/report.ts";
import { type Case, compare } from "./_differential.ts";

const token = (random: Random) => random.pick(["a", "b", "c"]);
const around = (random: Random, now: number) => String(now - 2000 + random.below(8000));
const keep = (random: Random) => ({ keep: String(1 + random.below(5000)) });

const tokens: Record<string, Case["input"]> = {
  "better-auth.token.get": () => ({}),
  "better-auth.token.set": (random) => ({
    value: random.pick(["", "{}", "\u{1F600}"]),
    ...(random.chance(0.7) ? { ttl: String(1 + random.below(5000)) } : {}),
  }),
  "better-auth.token.end": keep,
};
const indexes: Record<string, Case["input"]> = {
  "better-auth.index.read": () => ({}),
  "better-auth.index.merge": (random, _record, now) =>
    Object.fromEntries(
      ["a", "b", "c"].filter(() => random.chance(0.5)).map((
        name,
      ) => [`in:${name}`, `${around(random, now)}${random.pick(["", ":sealed", ":a:b"])}`]),
    ),
  "better-auth.index.remove": (random) => ({ token: token(random), ...keep(random) }),
};

const byName = new Map(betterAuthTransitions.map((transition) => [transition.name, transition]));
for (const [what, inputs] of Object.entries({ tokens, indexes })) {
  const cases = Object.entries(inputs).map(([name, input]) => ({ transition: byName.get(name)!, input }));
  Deno.test(`differential: better-auth, ${what}: Lua and TypeScript agree on every step`, async () => {
    report(`better-auth, ${what}: ${await compare(cases)} steps`);
  });
}
