/**
 * The effect of a second copy of a request, for every transition: at once, late, and after other calls.
 * Clients send a request again when a connection breaks, and so does a runtime's own fetch.
 *
 * Hardly any transition answers the same and changes nothing more by itself, as the printed table shows. On
 * Redis the engine remembers the reply of each call that may write: every script is sent to a real one again
 * and again, with other calls between.
 */
import type { Fields, Transition } from "@holdfast/edge/engine";
import { inputArgs, luaScript } from "../../adapters/upstash/_lua.ts";
import { fromPairs, outputOf } from "../../adapters/upstash/_replies.ts";
import { inVirtualTime } from "../../adapters/upstash/_virtual_time.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { Random } from "../support/random.ts";
import { startRedis } from "../support/redis_server.ts";
import { report } from "../support/report.ts";
import { RedisError, type Reply, RespConnection } from "../support/resp.ts";
import { type Case, collectCases, scripts } from "./_differential.ts";

const CONTRACTS: readonly (() => Promise<unknown>)[] = [
  () => import("./value_test.ts"),
  () => import("./lock_test.ts"),
  () => import("./idempotency_test.ts"),
  () => import("./throttle_test.ts"),
  () => import("./session_test.ts"),
  () => import("./outbox_test.ts"),
  () => import("./better_auth_test.ts"),
  () => import("./cache_test.ts"),
];

/** Cases that share a record, collected once; each transition is in one list. */
let groups: Promise<Case[][]> | undefined;

function caseGroups(): Promise<Case[][]> {
  return groups ??= (async () => {
    const seen = new Set<string>();
    const all: Case[][] = [];
    for (const load of CONTRACTS) {
      for (const cases of await collectCases(load)) {
        const byName = new Map(cases.map((one) => [one.transition.name, one]));
        const group = [...byName.values()].filter(({ transition }) => !transition.name.startsWith("test."));
        if (group.some(({ transition }) => !seen.has(transition.name))) all.push(group);
        for (const { transition } of group) seen.add(transition.name);
      }
    }
    return all;
  })();
}

/** A record and its deadline. */
interface State {
  readonly record: Fields | undefined;
  readonly deadline: number | undefined;
}

function live({ record, deadline }: State, now: number): Fields | undefined {
  return deadline !== undefined && now >= deadline ? undefined : record;
}

function apply(
  transition: Transition,
  state: State,
  input: Fields,
  now: number,
): [output: Fields, next: State] {
  const { output, write } = transition.apply(live(state, now), { ...input }, now);
  if (write === undefined) return [output, state];
  return [output, { record: write.record, deadline: write.record && write.expiresAt }];
}

function same(a: Fields | undefined, b: Fields | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

const MOMENTS = ["at once", "late", "after others"] as const;
type Moment = typeof MOMENTS[number];

/** The number of copies that answered otherwise or changed something, by the moment they arrived. */
type Failures = Record<Moment, { answers: number; changes: number }>;

function repeated(own: Case, others: readonly Case[], seed: number, rounds: number): Failures {
  const random = new Random(seed);
  const failures: Failures = {
    "at once": { answers: 0, changes: 0 },
    "late": { answers: 0, changes: 0 },
    "after others": { answers: 0, changes: 0 },
  };
  let now = 1_700_000_000_000;
  let state: State = { record: undefined, deadline: undefined };
  const step = () => {
    const { transition, input } = random.pick(others);
    [, state] = apply(transition, state, input(random, live(state, now), now), now);
    now += random.pick([0, 1, random.below(500), random.below(5000)]);
  };
  for (let round = 0; round < rounds; round++) {
    if (random.chance(0.05)) state = { record: undefined, deadline: undefined };
    for (let n = random.below(4); n > 0; n--) step();
    const input = own.input(random, live(state, now), now);
    const [output, after] = apply(own.transition, state, input, now);
    state = after;
    const judge = (moment: Moment) => {
      const before = live(state, now);
      const [again, next] = apply(own.transition, state, input, now);
      if (!same(again, output)) failures[moment].answers++;
      const ends = next.record === undefined || next.deadline === state.deadline;
      if (!same(live(next, now), before) || !ends) failures[moment].changes++;
    };
    judge("at once");
    now += 1 + random.below(2000);
    judge("late");
    for (let n = 1 + random.below(3); n > 0; n--) step();
    judge("after others");
  }
  return failures;
}

function failed(failures: Failures): string[] {
  return MOMENTS.filter((moment) => failures[moment].answers + failures[moment].changes > 0).map((moment) => {
    const { answers, changes } = failures[moment];
    return `${moment} (${
      [answers && "answers otherwise", changes && "changes more"].filter(Boolean).join(", ")
    })`;
  });
}

Deno.test("repetition: every script has inputs", async () => {
  const names = (await caseGroups()).flat().map(({ transition }) => transition.name);
  assertEquals([...scripts.keys()].filter((name) => !names.includes(name)), []);
});

Deno.test("repetition: reads change nothing; the effect of repeating other transitions is printed", async () => {
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  const table: string[] = [];
  const wrong: string[] = [];
  for (const cases of await caseGroups()) {
    for (const own of cases) {
      const { name } = own.transition;
      const failures = repeated(own, cases, seed, 1000);
      if (scripts.get(name)?.kind === "write") {
        table.push(`${name}: ${failed(failures).join("; ") || "harmless by itself"}`);
      } else if (MOMENTS.some((moment) => failures[moment].changes > 0)) wrong.push(name);
    }
  }
  report(`a copy of a call that was not remembered, SEED=${seed}:\n${table.join("\n")}`);
  assertEquals(wrong, [], `SEED=${seed}`);
});

const decoder = new TextDecoder();

function shown(reply: Reply): unknown {
  if (reply instanceof RedisError) throw new Error(reply.message);
  if (reply instanceof Uint8Array) return decoder.decode(reply);
  return Array.isArray(reply) ? reply.map(shown) : reply;
}

const sorted = (fields: Fields) => Object.entries(fields).sort(([a], [b]) => a < b ? -1 : 1);

/**
 * Sends every writing script of a contract again and again. Answers how many copies were sent, and those that
 * did more.
 */
async function copiesOnRedis(
  connection: RespConnection,
  cases: readonly Case[],
  random: Random,
  remembered: boolean,
): Promise<{ copies: number; wrong: string[] }> {
  const wrong = new Set<string>();
  let copies = 0;
  let calls = 0;
  const others = cases.filter(({ transition }) => scripts.has(transition.name));
  for (const own of cases) {
    if (scripts.get(own.transition.name)?.kind !== "write") continue;
    let now = 1_700_000_000_000;
    let state: State = { record: undefined, deadline: undefined };
    await connection.send(["DEL", "key"]);
    const run = async ({ transition, input }: Case, memory: string[], given?: Fields) => {
      const values = given ?? input(random, live(state, now), now);
      if (given === undefined) [, state] = apply(transition, state, values, now);
      const script = scripts.get(transition.name)!;
      const args = [String(now), ...inputArgs(values, script.fields)];
      const keys = ["key", ...memory];
      const [reply] = await connection.send([
        "EVAL",
        luaScript(script, inVirtualTime),
        String(keys.length),
        ...keys,
        ...args,
      ]);
      return { values, answer: sorted(outputOf(shown(reply!), script.kind)) };
    };
    // A hash answers its fields in any order, and in another one after it has grown.
    const stored = async () => {
      const flat = shown((await connection.send(["HGETALL", "key"]))[0]!) as string[];
      return JSON.stringify(sorted(fromPairs(flat)));
    };
    for (let round = 0; round < 40; round++) {
      const memory = remembered ? [`memory-${calls++}-${own.transition.name}`] : [];
      const { values, answer } = await run(own, memory);
      for (const moment of MOMENTS) {
        const before = await stored();
        const copy = await run(own, memory, values);
        copies++;
        if (JSON.stringify(copy.answer) !== JSON.stringify(answer)) {
          wrong.add(`${own.transition.name} answers otherwise`);
        }
        if (await stored() !== before) wrong.add(`${own.transition.name} changes more`);
        now += 1 + random.below(2000);
        if (moment !== "late") continue;
        for (let n = 1 + random.below(3); n > 0; n--) await run(random.pick(others), []);
      }
    }
  }
  return { copies, wrong: [...wrong] };
}

Deno.test("repetition: on Redis a copy answers the same and changes nothing more, at once, late and after others", async () => {
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  const random = new Random(seed);
  await using redis = await startRedis();
  const connection = await RespConnection.open(redis.port);
  try {
    let copies = 0;
    for (const cases of await caseGroups()) {
      const done = await copiesOnRedis(connection, cases, random, true);
      assertEquals(done.wrong, [], `SEED=${seed}`);
      copies += done.copies;
    }
    report(`repetition on Redis: ${copies} copies, none did more`);
    const forgetful = await copiesOnRedis(connection, (await caseGroups())[0]!, random, false);
    assert(forgetful.wrong.length > 0, "without the memory, copies do more");
  } finally {
    connection.close();
  }
});
