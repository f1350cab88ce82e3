import { lockTransitions } from "@holdfast/edge/engine";
import { assert, assertMatch, assertRejects } from "../support/assert.ts";
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
  "lock.look": (random, record) => ({ owner: owner(random, record) }),
  "lock.inspect": () => ({}),
};
const cases = lockTransitions.map((transition) => ({ transition, input: inputs[transition.name]! }));

const joins: Case["input"] = (random) => ({
  owner: `o${random.below(2000)}`,
  ttl: "100000",
  wait: "100000",
  limit: random.chance(0.99) ? "256" : "1",
});
/** Many holders and a full queue. */
const crowd = cases.map(({ transition, input }) => ({
  transition,
  input: transition.name === "lock.acquire" ? joins : input,
})).filter(({ transition }) => transition.name === "lock.acquire" || transition.name === "lock.extend");
// Enough acquisitions for 256 holders and a queue of 256, before the first of them ends.
const CROWDED = { stride: 8, history: 1300, jumps: false };

/** An owner that holds the lock, if there is one. */
function holder(random: Random, record: Record): string {
  const held = Object.entries(record ?? {}).flatMap(([name, value]) =>
    value.startsWith("h ") && name.startsWith("by:") ? [name.slice(3)] : []
  );
  return held.length > 0 && random.chance(0.7) ? random.pick(held) : owner(random, record);
}
/** Queues that move on, while nothing is due. */
const moving = cases.map(({ transition, input }): Case => ({
  transition,
  input(random, record, now) {
    const long = { ttl: "100000", wait: "100000", limit: random.chance(0.8) ? "1" : "2" };
    if (transition.name === "lock.acquire") return { owner: `o${random.below(2000)}`, ...long };
    return transition.name === "lock.release"
      ? { owner: holder(random, record), fence: "1" }
      : input(random, record, now);
  },
})).filter(({ transition }) => transition.name !== "lock.force");
const MOVING = { stride: 10, history: 300, jumps: false };

/** The owner at the head of the queue, if there is one. */
function head(record: Record): string | undefined {
  const number = record?.lock?.split(" ")[8];
  return record?.[`at:${number}`];
}
/** Queues that stand still, in which waiters look and renew their tickets, or die. `owners`: how many there are. */
const standing = (owners: number) =>
  cases.filter(({ transition }) => /acquire|look/.test(transition.name)).map(({ transition }): Case => ({
    transition,
    input(random, record) {
      const first = random.chance(0.1) ? head(record) : undefined;
      const one = first ?? `o${random.below(owners)}`;
      if (transition.name === "lock.look") return { owner: one };
      return { owner: one, ttl: "100000000", wait: random.pick(["8000", "100000"]) };
    },
  }));
const STANDING = { stride: 1500, history: 120, jumps: false };
const FULL = { stride: 60, history: 1800, jumps: false };

Deno.test("differential: locks: Lua and TypeScript agree on every step", async () => {
  report(`locks: ${await compare(cases)} steps`);
});

Deno.test("differential: locks: full queues and full sets of holders agree too", async () => {
  report(`crowded locks: ${await compare(crowd, { ...CROWDED, steps: 600 })} steps`);
});

Deno.test("differential: locks: queues that move on agree too", async () => {
  report(`moving queues: ${await compare(moving, { ...MOVING, steps: 2000 })} steps`);
});

Deno.test("differential: locks: queues that stand still agree too, short and full ones", async () => {
  report(`short queues: ${await compare(standing(30), { ...STANDING, steps: 2000 })} steps`);
  report(`full queues: ${await compare(standing(400), { ...FULL, steps: 800 })} steps`);
});

Deno.test("differential: locks: a planted difference is caught", async () => {
  for (
    const [from, to] of [
      ["now + 1000, fence", "now + 1001, fence"],
      ["waiting - 1, first + 1\n", "waiting - 1, first + 2\n"],
      ["format('q %s %s %s 1'", "format('q %s %s %s 0'"],
      ["'^" + "[^,]*,".repeat(7), "'^" + "[^,]*,".repeat(6)],
      ["if not wait or waiting >= 256", "if not wait or waiting >= 255"],
      ["      if waiting >= 256 then break end", ""],
      ["15000 + ahead * 200) or 0", "15000 + ahead * 201) or 0"],
      ["local till = now + math.min(wait, 15000 + ahead * 200)", "local till = now + math.min(wait, 15000)"],
      ["due - now, math.min(number - first, waiting - 1)", "due - now, number - first"],
    ] as const
  ) {
    const [some, options] = from === "      if waiting >= 256 then break end"
      ? [standing(400), { ...FULL, steps: 2000 }]
      : from.includes("256")
      ? [crowd, CROWDED]
      : /ahead|first, waiting - 1/.test(from)
      ? [standing(30), STANDING]
      : [moving, MOVING];
    const error = await assertRejects(
      () => compare(some, { steps: 600, ...options, fastOnly: true, script: planted(from, to) }),
      Error,
    ).catch(() => assert(false, `not caught: ${from}`)) as Error;
    assertMatch(error.message, /differs: SEED=\d+: lock\./, from);
  }
});
