import { idempotencyTransitions, lockTransitions, type Transition } from "@holdfast/edge/engine";
import { assert, assertEquals } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { explore, type Message, mutant, type Scenario } from "./_explore.ts";

/** How deep: the short form is for every run, `deno task explore` goes further. */
const DEPTH = Number(Deno.env.get("EXPLORE_DEPTH") ?? 6);
const TTL = 10;
const OWNERS = ["a", "b", "c"];

interface LockKnowledge {
  /** Per owner: the token it was granted, and until when it may count on the lock. */
  readonly held: Readonly<Record<string, readonly [fence: number, until: number]>>;
  /** Owners whose release was executed. */
  readonly ended: readonly string[];
  readonly highest: number;
}

const lockScenario: Scenario<LockKnowledge> = {
  messages: Object.fromEntries(OWNERS.flatMap((owner): [string, Message][] => [
    [`acquire ${owner}`, { transition: "lock.acquire", input: { owner, ttl: String(TTL) } }],
    [`release ${owner}`, { transition: "lock.release", input: { owner } }],
  ])),
  begin: { held: {}, ended: [], highest: 0 },
  maySend: (name, { sent }) =>
    name.startsWith("acquire") || sent.includes(name.replace("release", "acquire")),
  steps: [5, 10, -3],
  learn(name, output, received, { known, now, sent }) {
    const owner = name.split(" ")[1]!;
    if (name.startsWith("release")) return { ...known, ended: [...new Set([...known.ended, owner])].sort() };
    if (output.fence === undefined) return known;
    const [fence, until] = [Number(output.fence), Number(output.until)];
    if (known.ended.includes(owner)) throw new Error("An owner that released is never granted again");
    const before = known.held[owner];
    if (before === undefined && fence <= known.highest) {
      throw new Error("Tokens strictly increase from holder to holder");
    }
    for (const other of OWNERS) {
      const its = known.held[other];
      if (other !== owner && its && now < its[1] && !sent.includes(`release ${other}`)) {
        throw new Error("While a holder's lease lasts no other is granted");
      }
    }
    // Without the reply the caller counts on nothing, but the token was handed out. What others held has ended: a clock
    // that steps back gives nothing back.
    const counts = received ? Math.max(before?.[1] ?? 0, until) : before?.[1] ?? 0;
    return { ...known, held: { [owner]: [fence, counts] }, highest: Math.max(known.highest, fence) };
  },
};

const LOCK = "src/lock/lock_transitions.ts";
const LOCK_MUTANTS: readonly (readonly [from: string, to: string])[] = [
  [`if (isDone(state, owner)) return { output: { done: "1" } };`, ""],
  ["Math.max(state.fence + 1, microseconds(now))", "microseconds(now)"],
  ["(known || input.fence === undefined) && finish(state, owner)", "false"],
  ["if (state.queue.length > 0 || !fits(state, limit)) return undefined;", ""],
  [
    "mine.until = Math.max(mine.until, now + Number(input.ttl));\n      if",
    "mine.until = now + Number(input.ttl);\n      if",
  ],
  [
    "    const mine = find(state.holders, owner);\n    const ticket",
    "    const mine = state.holders[0];\n    const ticket",
  ],
];

interface ClaimKnowledge {
  /** Owners that were granted a claim. */
  readonly claimants: readonly string[];
  /** Of the latest claimant: until when its lease lasts. */
  readonly leases: Readonly<Record<string, number>>;
  readonly abandoned: readonly string[];
  readonly stored: string;
}

const idempotencyScenario: Scenario<ClaimKnowledge> = {
  messages: Object.fromEntries(OWNERS.flatMap((owner): [string, Message][] => {
    const claim = { owner, claim: `1${owner}` };
    return [
      [`begin ${owner}`, {
        transition: "idempotency.begin",
        input: { ...claim, lease: String(TTL), retention: "7" },
      }],
      [`complete ${owner}`, {
        transition: "idempotency.complete",
        input: { ...claim, response: owner, attempt: "1", retention: "1000" },
      }],
      [`abandon ${owner}`, { transition: "idempotency.abandon", input: claim }],
    ];
  })),
  begin: { claimants: [], leases: {}, abandoned: [], stored: "" },
  maySend(name, { known, sent }) {
    const [verb, owner] = name.split(" ") as [string, string];
    if (verb === "begin") return true;
    // A claimant either completes or gives up.
    const other = verb === "complete" ? "abandon" : "complete";
    return known.claimants.includes(owner) && !sent.includes(`${other} ${owner}`);
  },
  steps: [5, 10, -3],
  learn(name, output, received, { known, now, sent }) {
    const [verb, owner] = name.split(" ") as [string, string];
    if (output.state === "done" || output.state === "superseded") {
      if (known.stored === "") throw new Error("An answer was stored by someone");
      if (output.response !== known.stored) throw new Error("A stored answer never changes");
      return known;
    }
    if (verb === "complete" && output.state === "stored") {
      if (known.stored !== "" && known.stored !== owner) throw new Error("One answer is stored");
      return { ...known, stored: owner };
    }
    if (verb === "abandon" && output.state === "free") {
      if (known.stored !== "") throw new Error("A stored answer is never given up");
      return { ...known, abandoned: [...new Set([...known.abandoned, owner])].sort() };
    }
    if (verb !== "begin" || output.state !== "new") return known;
    if (known.stored !== "") throw new Error("After an answer was stored no claim is granted");
    const others = OWNERS.filter((other) => other !== owner && !sent.includes(`abandon ${other}`));
    if (others.some((other) => now < (known.leases[other] ?? 0))) {
      throw new Error("While a claimant's lease lasts no other claim is granted");
    }
    // A late copy after another claimant came and went may be granted, to a caller that listens no more; see the file.
    if (
      known.abandoned.at(-1) === owner && known.abandoned.length === 1 &&
      known.claimants.length === 1
    ) {
      throw new Error("A claim that was given up is not granted to its own late copy");
    }
    const lease = received ? Math.max(known.leases[owner] ?? 0, now + TTL) : known.leases[owner] ?? 0;
    return {
      ...known,
      claimants: [...new Set([...known.claimants, owner])].sort(),
      leases: { [owner]: lease },
    };
  },
};

const IDEMPOTENCY = "src/idempotency/idempotency_transitions.ts";
const IDEMPOTENCY_MUTANTS: readonly (readonly [from: string, to: string])[] = [
  [
    "if (record.owner !== owner && now < leaseEnds) {",
    "if (record.owner !== owner && now < leaseEnds - 5) {",
  ],
  [`if (record.state === "done") return { output: done(record) };\n      const leaseEnds`, "const leaseEnds"],
  [
    `      if (record.owner === owner && record.claim === claim) return { output: { state: "abandoned" } };`,
    "",
  ],
  ["if (retentionEnds < leaseEnds) retentionEnds = leaseEnds;", ""],
  ["retentionEnds: String(now + Number(retention)),", "retentionEnds: String(now),"],
  [`        if (record.state === "pending") return { output: { state: "overtaken" } };`, ""],
];

function explored<Knowledge>(
  name: string,
  shipped: readonly Transition[],
  scenario: Scenario<Knowledge>,
  path: string,
  mutants: readonly (readonly [string, string])[],
): void {
  Deno.test(`explore: ${name}: no history of three callers breaks a promise`, () => {
    const { states, steps, depth, breach } = explore(shipped, scenario, DEPTH);
    report(`${name}: ${states} states, ${steps} steps, depth ${depth}`);
    assertEquals(breach, undefined);
    assert(states > 1000);
  });
  for (const [from, to] of mutants) {
    Deno.test(`explore: ${name}: a mutant is caught: ${from.trim()}`, async () => {
      const { breach, states } = explore(await mutant(path, from, to), scenario, Math.max(DEPTH, 8));
      assert(breach !== undefined, `not caught in ${states} states`);
      report(breach);
    });
  }
}

explored("lock", lockTransitions, lockScenario, LOCK, LOCK_MUTANTS);
explored("idempotency", idempotencyTransitions, idempotencyScenario, IDEMPOTENCY, IDEMPOTENCY_MUTANTS);
