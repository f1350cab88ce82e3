import { type Fields, outboxTransitions } from "@holdfast/edge/engine";
import type { Random } from "../support/random.ts";
import { report } from "../support/report.ts";
import { type Case, compare } from "./_differential.ts";

const IDS = ["Zm9v_a", "-bar", "0", "zz"];
const OWNERS = ["ann", "bob", "cy"];
const flag = (random: Random) => random.pick(["0", "1"]);
const some = (random: Random, most: number) => String(random.below(most));
const due = (random: Random, now: number) => ({
  due: String(random.pick([0, now, now + random.below(5000)])),
  ...(random.chance(0.5) && { delay: String(random.below(5000)) }),
  keep: String(1 + random.below(100_000_000)),
});

/** A bucket's transitions on one record, with ids that meet. */
const bucketInputs: Record<string, Case["input"]> = {
  "outbox.add": (random, _record, now) => ({
    id: random.pick(IDS),
    most: String(1 + random.below(4)),
    ...due(random, now),
  }),
  "outbox.claim": (random) => ({
    owner: random.pick(OWNERS),
    limit: String(1 + random.below(3)),
    lease: String(1 + random.below(5000)),
  }),
  "outbox.extend": (random) => ({ owner: random.pick(OWNERS), lease: String(1 + random.below(5000)) }),
  "outbox.settle": (random) => ({
    id: random.pick(IDS),
    owner: random.pick(OWNERS),
    to: random.pick(["gone", "w", "w", "d", "x"]),
    delay: some(random, 3000),
    code: random.pick(["", "rate-limited"]),
    known: random.pick(["0", "1", "back"]),
  }),
  "outbox.resolve": (random) => ({ id: random.pick(IDS), to: random.pick(["w", "gone"]) }),
  "outbox.read": () => ({}),
};

/** A message's. */
const mailInputs: Record<string, Case["input"]> = {
  "outbox.put": (random, _record, now) => ({
    fingerprint: random.pick(["one", "two"]),
    key: "order-17",
    body: '{"text":"Grüße 😀"}',
    ...(random.chance(0.5) && { file0: "AAEC" }),
    ...due(random, now),
  }),
  "outbox.begin": (random, record) => ({
    owner: random.pick(OWNERS),
    attempt: String(Math.max(1, Number(record?.attempt ?? 0) + random.below(4) - 1)),
    known: some(random, 4),
    hold: flag(random),
  }),
  "outbox.defer": (random, record) => ({
    owner: random.pick([record?.owner ?? "ann", random.pick(OWNERS)]),
    attempt: random.pick([record?.attempt ?? "1", some(random, 4)]),
    left: random.pick(['["jane@example.com"]', '["jane@example.com","j\u00f6rg@example.com"]']),
  }),
  "outbox.sent": (random) => ({
    fingerprint: random.pick(["one", "two"]),
    remember: String(1 + random.below(5000)),
  }),
  "outbox.read": () => ({}),
};

function cases(
  inputs: Record<string, (random: Random, record: Fields | undefined, now: number) => Fields>,
): Case[] {
  return outboxTransitions.flatMap((transition) => {
    const input = inputs[transition.name];
    return input ? [{ transition, input }] : [];
  });
}

Deno.test("differential: outbox: Lua and TypeScript agree on every step", async () => {
  report(`outbox, buckets: ${await compare(cases(bucketInputs))} steps`);
  report(`outbox, messages: ${await compare(cases(mailInputs))} steps`);
});
