import { lockTransitions } from "@holdfast/edge";
import { assertMatch, assertRejects } from "../support/assert.ts";
import { report } from "../support/report.ts";
import type { Random } from "../support/random.ts";
import { type Case, compare, planted } from "./_differential.ts";

const NAMES = ["a", "b", "c", "d", "e", "f", "g h", ":*{}", "\u{1F600}"];
const ttl = (random: Random) => String(random.pick([1, 50, 1 + random.below(5000), 100_000, 2_000_000_000]));
type Record = Readonly<globalThis.Record<string, string>> | undefined;

/** A holder or a waiter, an owner that has ended, or another one: there are more names than ended owners are remembered. */
function owner(random: Random, record: Record): string {
  const known = Object.keys(record ?? {}).flatMap((name) => name.startsWith("by:") ? [name.slice(3)] : []);
  if (known.length > 0 && random.chance(0.5)) return random.pick(known);
  return random.pick(NAMES) + random.below(4);
}

/** A token that was handed out, its neighbours, or none that ever was. */
function fence(random: Random, record: Record): string {
  const known = Object.entries(record ?? {}).flatMap(([name, value]) =>
    name === "lock" ? value.split(" ").slice(0, 2) : value.startsWith("h ") ? [value.split(" ")[2]!] : []
  );
  if (known.length === 0 || random.chance(0.1)) return String(random.below(2 ** 40));
  return String(Number(random.pick(known)) + random.pick([0, 0, 0, 1, -1]));
}

const inputs: globalThis.Record<string, Case["input"]> = {
  "lock.acquire": (random, record) => ({
    owner: owner(random, record),
    ttl: ttl(random),
    ...(random.chance(0.4) ? { limit: String(random.pick([1, 2, 3, 256])) } : {}),
    ...(random.chance(0.3) ? { delay: String(random.pick([0, 1, 500, 20_000])) } : {}),
    ...(random.chance(0.6) ? { wait: String(random.pick([1, 300, 5000, 40_000])) } : {}),
    ...(record && random.chance(0.1) ? { from: owner(random, record) } : {}),
  }),
  "lock.extend": (random, record) => ({ owner: owner(random, record), ttl: ttl(random) }),
  "lock.release": (random, record) => ({
    owner: owner(random, record),
    ...(random.chance(0.8) ? { fence: fence(random, record) } : {}),
  }),
  "lock.force": (random, record) => ({
    fence: fence(random, record),
    ...(random.chance(0.9) ? { id: `id${random.below(3)}` } : {}),
  }),
  "lock.inspect": () => ({}),
};
const cases = lockTransitions.map((transition) => ({ transition, input: inputs[transition.name]! }));

Deno.test("differential: locks: Lua and TypeScript agree on every step", async () => {
  report(`locks: ${await compare(cases)} steps`);
});

Deno.test("differential: locks: a full queue and a full house agree too", async () => {
  const crowd: Case["input"] = (random) => ({
    owner: `o${random.below(2000)}`,
    ttl: "100000",
    wait: "100000",
    limit: random.chance(0.99) ? "256" : "1",
  });
  const some = cases.map(({ transition, input }) => ({
    transition,
    input: transition.name === "lock.acquire" ? crowd : input,
  })).filter(({ transition }) => transition.name !== "lock.release" && transition.name !== "lock.force");
  report(`crowded locks: ${await compare(some, { steps: 2000, stride: 20, history: 1200 })} steps`);
});

Deno.test("differential: locks: a planted difference is caught", async () => {
  const error = await assertRejects(() =>
    compare(cases, { steps: 500, twin: planted("now + 1000,", "now + 1001,") })
  );
  assertMatch(error.message, /differs: SEED=\d+: lock\./);
});
