/**
 * The transitions of idempotency in a small world, explored whole: two callers that claim, work, complete,
 * give back, crash and come again under the same name, messages that are lost, late and doubled, and a clock
 * that moves between any two steps.
 */
import type { Fields, Transition } from "@holdfast/edge/engine";
import { abandonClaim, beginClaim, completeClaim } from "../../src/idempotency/idempotency_transitions.ts";
import { assert, assertMatch } from "../support/assert.ts";

const LEASE = 2;
const LAST_TICK = 2;
const RETENTION = "1000000";
/** The number of times that each caller begins. */
const BEGINS = [2, 1];

interface Message {
  readonly kind: "begin" | "complete" | "abandon";
  readonly caller: number;
  readonly claim: string;
  /** The number of times that it may still arrive: the message and a copy. */
  readonly left: number;
}

interface Caller {
  readonly phase: "idle" | "asking" | "holding" | "completing" | "over";
  readonly begun: number;
  readonly claim: string;
  readonly sentAt: number;
}

interface World {
  readonly now: number;
  readonly record: Fields | null;
  readonly callers: readonly Caller[];
  readonly messages: readonly Message[];
  /** The response that a caller was given as stored. */
  readonly stored: string | null;
}

interface Semantics {
  readonly begin: Transition;
  readonly complete: Transition;
  readonly abandon: Transition;
}

const REAL: Semantics = { begin: beginClaim, complete: completeClaim, abandon: abandonClaim };

function inputOf({ kind, caller, claim }: Message): Fields {
  const owner = `owner ${caller}`;
  if (kind === "begin") return { owner, claim, lease: String(LEASE), retention: RETENTION };
  if (kind === "abandon") return { owner, claim };
  return { owner, claim, attempt: "1", response: claim, retention: RETENTION };
}

/** Every world that may follow, with the promise that a step broke, if it did. */
function* next(world: World, semantics: Semantics): Generator<World> {
  const { now, callers, messages } = world;
  if (now < LAST_TICK) yield { ...world, now: now + 1 };
  for (const [n, caller] of callers.entries()) {
    const become = (change: Partial<Caller>, message?: Omit<Message, "caller" | "left">): World => ({
      ...world,
      callers: callers.map((it, i) => i === n ? { ...it, ...change } : it),
      messages: message === undefined ? messages : [...messages, { ...message, caller: n, left: 2 }],
    });
    const { phase, begun, claim } = caller;
    if (phase === "idle" && begun < BEGINS[n]!) {
      const claim = `${n}.${begun}`;
      yield become({ phase: "asking", begun: begun + 1, claim, sentAt: now }, { kind: "begin", claim });
    }
    if (phase === "asking") yield become({ phase: "idle" }); // it gives up, and may begin again
    if (phase === "holding") {
      yield become({ phase: "completing" }, { kind: "complete", claim });
      yield become({ phase: "idle" }, { kind: "abandon", claim });
    }
  }
  for (const [n, message] of messages.entries()) {
    if (message.left === 0) continue;
    const input = inputOf(message);
    const { output, write } = semantics[message.kind].apply(world.record ?? undefined, input, now);
    const arrived: World = {
      ...world,
      record: write ? write.record ?? null : world.record,
      messages: messages.map((it, i) => i === n ? { ...it, left: it.left - 1 } : it),
    };
    yield arrived; // its reply is lost, or no one waits for it
    const caller = callers[message.caller]!;
    if (caller.claim !== message.claim) continue;
    const told = (change: Partial<Caller>, stored = world.stored): World => ({
      ...arrived,
      callers: callers.map((it, i) => i === message.caller ? { ...it, ...change } : it),
      stored,
    });
    if (message.kind === "begin" && caller.phase === "asking") {
      if (output.state === "new") {
        if (world.stored !== null) throw new Error("a claim was granted although the work was done");
        yield told({ phase: "holding" });
      } else if (output.state === "done") {
        if (world.stored !== null && output.response !== world.stored) {
          throw new Error("another answer was given");
        }
        yield told({ phase: "over" }, output.response);
      } else yield told({ phase: "idle" });
    }
    if (message.kind === "complete" && caller.phase === "completing") {
      const response = output.state === "stored" ? message.claim : output.response;
      if (
        response !== undefined && world.stored !== null && response !== world.stored &&
        !sameOwner(response, world)
      ) {
        throw new Error("another answer was stored");
      }
      yield told({ phase: "over" }, world.stored ?? response ?? null);
    }
  }
}

/** Two claims of one owner are one claimant: its first result stays. */
function sameOwner(response: string, { stored }: World): boolean {
  return response.split(".")[0] === stored!.split(".")[0];
}

/** Visits every world; throws at the first that breaks a promise, and returns how many there are. */
function explore(semantics: Semantics): number {
  const caller: Caller = { phase: "idle", begun: 0, claim: "", sentAt: 0 };
  const first: World = { now: 0, record: null, callers: [caller, caller], messages: [], stored: null };
  const seen = new Set<string>();
  const stack = [first];
  for (let world = stack.pop(); world !== undefined; world = stack.pop()) {
    const working = world.callers.filter(({ phase, sentAt }) =>
      phase === "holding" && world!.now < sentAt + LEASE
    );
    if (working.length > 1) throw new Error("two callers work under live leases");
    for (const then of next(world, semantics)) {
      // Messages that have arrived for good, and their order, change nothing.
      const messages = then.messages.filter(({ left }) => left > 0)
        .sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
      // A time is of no use to a caller that no longer looks at it.
      const callers = then.callers.map((it) =>
        it.phase === "asking" || it.phase === "holding" ? it : { ...it, sentAt: 0 }
      );
      const world = { ...then, messages, callers };
      const key = JSON.stringify(world);
      if (seen.has(key)) continue;
      seen.add(key);
      stack.push(world);
    }
  }
  return seen.size;
}

Deno.test("small world: with doubled, late and lost messages never two callers work at once, and never two answers exist", () => {
  const count = explore(REAL);
  assert(count > 10_000, `explored ${count} worlds`);
});

const MUTANTS: Record<string, { semantics: Partial<Semantics>; caught: RegExp }> = {
  "an abandon that names the owner alone": {
    semantics: {
      abandon: {
        ...abandonClaim,
        apply: (record, input, now) =>
          abandonClaim.apply(record, { ...input, claim: record?.claim ?? input.claim! }, now),
      },
    },
    caught: /two callers work/,
  },
  "a late begin that makes its claim the current one": {
    semantics: {
      begin: {
        ...beginClaim,
        apply: (record, input, now) => beginClaim.apply(record && { ...record, claim: "" }, input, now),
      },
    },
    caught: /two callers work/,
  },
  "a begin that takes over at once": {
    semantics: {
      begin: {
        ...beginClaim,
        apply: (record, input, now) =>
          beginClaim.apply(record?.leaseEnds ? { ...record, leaseEnds: "0" } : record, input, now),
      },
    },
    caught: /two callers work/,
  },
  "a lease that is a tick too short": {
    semantics: {
      begin: {
        ...beginClaim,
        apply: (record, input, now) => beginClaim.apply(record, { ...input, lease: String(LEASE - 1) }, now),
      },
    },
    caught: /two callers work/,
  },
  "a complete that does not ask who has the claim": {
    semantics: {
      complete: {
        ...completeClaim,
        apply: (record, input, now) =>
          completeClaim.apply(
            record &&
              {
                ...record,
                state: "pending",
                leaseEnds: "0",
                attempt: "1",
                fingerprint: "",
                owner: input.owner!,
              },
            input,
            now,
          ),
      },
    },
    caught: /another answer/,
  },
  "a begin that forgets what is done": {
    semantics: {
      begin: {
        ...beginClaim,
        apply: (record, input, now) =>
          beginClaim.apply(record?.state === "done" ? undefined : record, input, now),
      },
    },
    caught: /although the work was done/,
  },
};

for (const [name, { semantics, caught }] of Object.entries(MUTANTS)) {
  Deno.test(`the small world catches ${name}`, () => {
    let said = "nothing";
    try {
      explore({ ...REAL, ...semantics });
    } catch (error) {
      said = (error as Error).message;
    }
    assertMatch(said, caught);
  });
}
