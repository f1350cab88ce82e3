/** Idempotency under faults, judged by a checker that is itself judged on planted violations. */
import { type AtomicStore, createIdempotency, memoryStore } from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { beginClaim, completeClaim } from "../../src/idempotency/idempotency_transitions.ts";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals } from "../support/assert.ts";
import { Random } from "../support/random.ts";
import { startRedis } from "../support/redis_server.ts";
import { RespConnection } from "../support/resp.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { type CallEvent, idempotencyViolations } from "./idempotency_history.ts";
import { idempotencyWorkload } from "./idempotency_workload.ts";
import { engines, steadily } from "./engines.ts";

const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
/** The factor of the length: `CHECKS=10 deno test tests/checks`. */
const scale = Number(Deno.env.get("CHECKS") ?? 1);
const quiet = { sanitizeOps: false, sanitizeResources: false }; // requests that a fault cut off end when they end

for (const [engine, open] of Object.entries(engines)) {
  Deno.test({
    name: `${engine}: 100 concurrent callers under 30 % faults: 1 execution, 1 answer`,
    ...quiet,
    async fn() {
      for (let round = 0; round < 2 * scale; round++) {
        const random = new Random(seed + round);
        const { store, close } = await open(random, 0.3);
        try {
          let executions = 0;
          const unstored: unknown[] = [];
          const answers = await Promise.all(Array.from({ length: 100 }, () => {
            const mine = createIdempotency(store(), {
              onFault: (error) => unstored.push(error),
              lease: "1m",
            });
            return mine.run("order", async () => {
              executions++;
              await new Promise((resolve) => setTimeout(resolve, 20));
              return { receipt: random.next() };
            }, { wait: "4m" });
          }));
          const where = `SEED=${seed + round}`;
          assertEquals(new Set(answers.map(({ receipt }) => receipt)).size, 1, `answers, ${where}`);
          assertEquals([executions, unstored.length], [1, 0], `executions, ${where}`);
        } finally {
          await close();
        }
      }
    },
  });

  Deno.test({
    name: `${engine}: crashes, late completers, giving up and a wipe under 20 % faults break no promise`,
    ...quiet,
    async fn() {
      const run = async () => {
        const random = new Random(seed);
        const { store, close, servers } = await open(random, 0.2);
        const wipe = async () => {
          if (!servers) return await store().clear();
          const connection = await RespConnection.open(servers.redis.port);
          await connection.send(["FLUSHALL"]);
          connection.close();
        };
        try {
          const options = { clients: 12, rounds: 15 * scale, keys: 5 * scale, lease: 120, wipe };
          return await idempotencyWorkload(store, random, options);
        } finally {
          await close();
        }
      };
      const events = await steadily(run, (events) => idempotencyViolations(events).length === 0);
      assertEquals(idempotencyViolations(events), [], `SEED=${seed}`);
      const count = (test: (event: CallEvent) => boolean) => events.filter(test).length;
      const attempts = events.map((event) => event.op === "begin" ? event.attempt ?? 0 : 0);
      assert(Math.max(...attempts) > 1, "a claim was taken over");
      assert(
        count((event) => event.op === "begin" && event.state === "completed") > 0,
        "a caller got a stored answer",
      );
      assert(count((event) => event.op === "wipe") === 1, "it was wiped");
    },
  });
}

Deno.test("Upstash: FLUSHALL between begin and complete: replayed, no second run", async () => {
  await using redis = await startRedis();
  await using upstash = await startUpstash(redis.port);
  const idempotency = createIdempotency(upstashStore({ url: upstash.url, token: upstash.token }));
  const connection = await RespConnection.open(redis.port);
  let runs = 0;
  const work = async () => {
    runs++;
    await connection.send(["FLUSHALL"]);
    return { receipt: runs };
  };
  assertEquals(await idempotency.run("order", work), { receipt: 1 });
  assertEquals(await idempotency.run("order", work), { receipt: 1 });
  assertEquals(runs, 1);
  connection.close();
});

/** The store with a transition done wrong. */
function mutant(store: AtomicStore, wrong: Transition): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return (path: string) => mutant(target.namespace(path), wrong);
      if (name === "transact") {
        return (...[transition, ...rest]: Parameters<AtomicStore["transact"]>) =>
          target.transact(transition.name === wrong.name ? wrong : transition, ...rest);
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const mutants: Record<string, { wrong: Transition; caught: RegExp }> = {
  "completes without being the owner": {
    wrong: {
      name: "idempotency.complete",
      apply: (record, input, now) =>
        completeClaim.apply(
          record && { ...record, state: "pending", leaseEnds: record.leaseEnds ?? "0", owner: input.owner! },
          input,
          now,
        ),
    },
    caught: /different answers/,
  },
  "takes over at once": {
    wrong: {
      name: "idempotency.begin",
      apply: (record, input, now) =>
        beginClaim.apply(record?.state === "pending" ? { ...record, leaseEnds: "0" } : record, input, now),
    },
    caught: /before its lease was over/,
  },
  "gives a takeover the same attempt": {
    wrong: {
      name: "idempotency.begin",
      apply: (record, input, now) =>
        beginClaim.apply(record?.state === "pending" ? { ...record, attempt: "0" } : record, input, now),
    },
    caught: /no later attempt/,
  },
};
for (const [name, { wrong, caught }] of Object.entries(mutants)) {
  Deno.test(`the checker catches an engine that ${name}`, async () => {
    let said = "";
    for (let round = 0; round < 10; round++) { // each history has a good chance to meet it
      const store = mutant(memoryStore(), wrong);
      const options = { clients: 12, rounds: 20, keys: 10, lease: 40 };
      const events = await idempotencyWorkload(() => store, new Random(seed + round), options);
      const violations = idempotencyViolations(events);
      if (violations.some((sentence) => caught.test(sentence))) return;
      said += violations.join();
    }
    throw new Error(`it said: ${said || "nothing"}, SEED=${seed}`);
  });
}

Deno.test("the checker catches each violation in a history made by hand, and none in a good one", () => {
  const call = (owner: string, from: number) => ({ key: "k", owner, from, to: from + 1 });
  const claim = (owner: string, from: number, attempt = 1): CallEvent => ({
    ...call(owner, from),
    op: "begin",
    lease: 100,
    state: "new",
    attempt,
  });
  const told = (from: number, response: unknown): CallEvent => ({
    ...call("x", from),
    op: "begin",
    lease: 100,
    state: "completed",
    response,
  });
  const work = (owner: string, from: number): CallEvent => ({ ...call(owner, from), op: "work" });
  const complete = (owner: string, from: number, state = "stored"): CallEvent => ({
    ...call(owner, from),
    op: "complete",
    response: owner,
    state,
  });
  const good = [
    claim("a", 0),
    work("a", 5),
    claim("b", 101, 2),
    work("b", 105),
    complete("b", 110),
    complete("a", 120, "superseded"),
    told(130, "b"),
  ];
  assertEquals(idempotencyViolations(good), []);
  const extend: CallEvent = { ...call("a", 90), op: "extend", lease: 100, state: "held" };
  const bad: Record<string, CallEvent[]> = {
    "one claim was worked on twice": [claim("a", 0), work("a", 1), work("a", 5)],
    "a caller worked without a claim": [work("a", 1)],
    "a claim was taken over before its lease was over": [claim("a", 0), claim("b", 50, 2)],
    "a takeover was no later attempt": [claim("a", 0), claim("b", 150, 1)],
    "callers got different answers": [...good, told(140, "a")],
    "callers got an answer that no work gave": [told(1, "z")],
  };
  for (const [sentence, events] of Object.entries(bad)) {
    assertEquals(idempotencyViolations(events), [`k: ${sentence}`]);
  }
  const extended = [claim("a", 0), extend, claim("b", 150, 2)];
  assertEquals(idempotencyViolations(extended), ["k: a claim was taken over before its lease was over"]);
  const abandoned: CallEvent[] = [
    claim("a", 0),
    { ...call("a", 10), op: "abandon", state: "true" },
    claim("b", 20),
  ];
  assertEquals(idempotencyViolations(abandoned), []);
  const wiped: CallEvent[] = [
    claim("a", 0),
    complete("a", 5),
    { op: "wipe", from: 10, to: 11 },
    claim("b", 20),
    complete("b", 25),
  ];
  assertEquals(idempotencyViolations(wiped), []);
});
