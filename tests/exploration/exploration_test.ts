/**
 * No history of a small world breaks a promise of a contract, and mutants of its transitions do. The short form is for every
 * run; `deno task explore` goes deeper, and runs every mutant in Lua, too.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { report } from "../support/report.ts";
import { RespConnection } from "../support/resp.ts";
import { cache } from "./_cache.ts";
import {
  type Executor,
  explore,
  inLua,
  inTypeScript,
  mutant,
  mutantScripts,
  shippedScripts,
} from "./_explore.ts";
import { idempotency } from "./_idempotency.ts";
import { lock } from "./_lock.ts";
import { outbox } from "./_outbox.ts";
import { session } from "./_session.ts";
import type { Subject } from "./_subject.ts";
import { throttles } from "./_throttle.ts";

const LONG = Deno.env.get("EXPLORE_DEPTH");
const DEPTH = Number(LONG ?? 5);
/** The least depth at which mutants are looked for: the deepest one shows itself there. */
const MUTANT_DEPTH = Math.max(DEPTH, 9);

// deno-lint-ignore no-explicit-any
const SUBJECTS: readonly Subject<any>[] = [lock, idempotency, ...throttles, session, cache, outbox];

async function onRedis(run: (connection: RespConnection) => Promise<void>): Promise<void> {
  await using redis = await startRedis();
  const connection = await RespConnection.open(redis.port);
  try {
    await run(connection);
  } finally {
    connection.close();
  }
}

for (const { name, transitions, scenario, path, mutants } of SUBJECTS) {
  const holds = async (form: string, run: Executor) => {
    const { states, steps, depth, breach } = await explore(run, scenario, DEPTH);
    assertEquals(breach, undefined);
    assert(states > 500, `${states} states`);
    report(`${name}, ${form}: ${states} states, ${steps} steps, depth ${depth}`);
  };
  const breaks = async (from: string, run: Executor) => {
    const { breach, states } = await explore(run, scenario, MUTANT_DEPTH);
    assert(breach !== undefined, `not caught in ${states} states: ${from}`);
    report(breach);
  };

  Deno.test(`explore: ${name}: no history of three callers breaks a promise`, async () => {
    await holds("TypeScript", inTypeScript(transitions));
    await onRedis((connection) => holds("Lua", inLua(connection, shippedScripts, transitions)));
  });

  Deno.test(`explore: ${name}: every mutant is caught, at its shortest history`, async () => {
    for (const [from, to] of mutants) await breaks(from, inTypeScript(await mutant(path, from, to)));
    const some = LONG === undefined ? mutants.slice(0, 1) : mutants;
    await onRedis(async (connection) => {
      for (const [from, to] of some) {
        await breaks(from, inLua(connection, await mutantScripts(path, from, to), transitions));
      }
    });
  });
}
