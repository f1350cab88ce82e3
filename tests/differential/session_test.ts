import { type Fields, sessionTransitions } from "@holdfast/edge/engine";
import type { Random } from "../support/random.ts";
import { type Case, compare } from "./_differential.ts";
import { report } from "../support/report.ts";

const FIELDS = ["d:a", "d:b", "f:a", "d:__proto__", "d:\u{1F600}", "d:unset:d:a"];
const some = (random: Random, chance: number) => FIELDS.filter(() => random.chance(chance));
const handle = (random: Random) => random.pick(["h1", "h2", "h3", "undefined"]);
const keep = (random: Random) => ({ keep: String(1 + random.below(3000)) });
const values = (random: Random): Fields =>
  Object.fromEntries(some(random, 0.3).map((field) => [field, random.pick(["", "1", "\t[]", "~"])]));
const maybe = (random: Random, fields: Fields): Fields => random.chance(0.4) ? fields : {};
const around = (random: Random, now: number) => String(now + random.below(9000) - 3000);

function commit(random: Random): Fields {
  return {
    ...keep(random),
    ...values(random),
    ...Object.fromEntries(some(random, 0.2).map((field) => [`unset:${field}`, ""])),
    ...maybe(random, { schema: String(1 + random.below(3)) }),
    ...maybe(random, { writer: String(1 + random.below(3)) }),
    ...maybe(random, { checked: "1" }),
  };
}

/** Histories of sessions, of users, and of sealed families; the record of one means nothing to the others. */
const sessions: Record<string, Case["input"]> = {
  "session.load": () => ({}),
  "session.create": (random, _record, now) => ({
    ...keep(random),
    ...values(random),
    handle: handle(random),
    idle: String(1 + random.below(5000)),
    schema: String(1 + random.below(3)),
    ...(random.chance(0.5)
      ? { life: String(1 + random.below(9000)) }
      : { ends: around(random, now), created: around(random, now) }),
    ...maybe(random, { born: around(random, now) }),
    ...maybe(random, { user: "ada" }),
    ...maybe(random, { login: random.chance(0.5) ? "now" : around(random, now) }),
  }),
  "session.commit": commit,
  "session.replace": (random, record) => ({
    ...commit(random),
    expected: random.chance(0.7) ? record?.version ?? "1" : String(random.below(5)),
  }),
  "session.end": (random) => ({
    ...keep(random),
    why: random.pick(["rotated", "revoked"]),
    ...maybe(random, { bury: "1" }),
    ...maybe(random, { lasting: "1" }),
    ...maybe(random, { next: "key-of-another" }),
    ...(random.chance(0.2) ? { forget: "1" } : {}),
  }),
  "session.put": (random, record, now) => ({
    ...keep(random),
    ...values(random),
    handle: handle(random),
    version: String(Number(record?.version ?? 1) + random.below(3) - 1),
    created: around(random, now),
    touched: around(random, now),
    checked: around(random, now),
    born: around(random, now),
    idle: String(1 + random.below(5000)),
    ends: around(random, now),
    schema: "1",
    ...maybe(random, { expected: random.chance(0.7) ? record?.version ?? "1" : "2" }),
  }),
};

const users: Record<string, Case["input"]> = {
  "session.user.read": () => ({}),
  "session.user.add": (random, record, now) => ({
    handle: handle(random),
    key: "key",
    ends: around(random, now),
    ...maybe(random, { limit: String(1 + random.below(3)) }),
    ...maybe(random, {
      born: random.chance(0.5) && record?.epoch !== undefined
        ? String(Number(record.epoch) + random.below(3) - 1)
        : around(random, now),
      ...maybe(random, { from: handle(random) }),
    }),
  }),
  "session.user.remove": (random) => ({ handle: handle(random) }),
  "session.user.revoke": (random, record, now) => ({
    remember: String(1 + random.below(5000)),
    ...maybe(random, { except: handle(random) }),
    ...maybe(random, { epoch: random.pick([record?.epoch ?? "7", String(now - 5 + random.below(10))]) }),
  }),
};

const claim = (random: Random): Fields => ({
  ...keep(random),
  from: handle(random),
  ...maybe(random, { first: "1" }),
});
const sealed: Record<string, Case["input"]> = {
  "session.sealed.read": () => ({}),
  "session.sealed.rotate": (random, record) => ({
    ...claim(random),
    ...(record?.current !== undefined && maybe(random, { from: record.current })),
    to: handle(random),
  }),
  "session.sealed.touch": (random, record) => ({
    ...claim(random),
    ...(record?.current !== undefined && maybe(random, { from: record.current })),
  }),
  "session.sealed.end": (random) => ({ ...keep(random), why: random.pick(["rotated", "revoked"]) }),
};

const byName = new Map(sessionTransitions.map((transition) => [transition.name, transition]));
for (const [what, inputs] of Object.entries({ sessions, users, sealed })) {
  const cases = Object.entries(inputs).map(([name, input]) => ({ transition: byName.get(name)!, input }));
  Deno.test(`differential: ${what}: Lua and TypeScript agree on every step`, async () => {
    report(`${what}: ${await compare(cases)} steps`);
  });
}
