/**
 * Random histories of parallel requests over a store whose calls take random turns and now and then fail, before or after they
 * took effect. `SEEDS=2000 deno test -A tests/session/random_test.ts` runs more, `SEED=7` one again.
 */
import { createSessions, HoldfastError, memoryStore } from "@holdfast/edge";
import { type Atomic, atomicSessionStore, type IndexedSessionStore } from "@holdfast/edge/sessions";
import { assert } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { Random } from "../support/random.ts";

/** Every call waits for some turns before and after, and may lose its way or its answer. */
function unsteady<T extends object>(target: T, random: Random, faults: { rate: number }): T {
  const turns = async () => {
    for (let i = random.below(6); i > 0; i--) await Promise.resolve();
  };
  const lose = () => {
    if (!random.chance(faults.rate)) return;
    throw new HoldfastError("backend-unavailable", "Cannot reach the store", {
      retryable: true,
      ambiguous: true,
    });
  };
  return new Proxy(target, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value === "object" && value !== null) return unsteady(value, random, faults);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        await turns();
        lose();
        const answer = await value.apply(target, args);
        await turns();
        lose();
        return answer;
      };
    },
  });
}

async function history(seed: number): Promise<void> {
  const random = new Random(seed);
  const clock = new ManualClock();
  const steady: Atomic<IndexedSessionStore> = atomicSessionStore(memoryStore({ clock }));
  const faults = { rate: random.pick([0, 0, 0.05]) };
  const shaky = unsteady(steady, random, faults);
  const calm = createSessions(steady, { clock });
  const tokens: string[] = []; // every cookie ever handed out
  const dead = new Set<string>(); // seen ended, or ended with success
  const written = new Map<string, string>(); // acknowledged value → cookie it was written with
  const successor = new Map<string, string>();
  let count = 0;

  const isAlive = async (cookie: string) => !await calm.open(cookie).isNew();

  async function request(): Promise<void> {
    const cookie = tokens.length > 0 && random.chance(0.85) ? random.pick(tokens) : null;
    const kind = random.pick(["read", "write", "write", "blind", "rotate", "login", "logout", "revoke"]);
    const key = `k${count++}`;
    const knownDead = cookie !== null && dead.has(cookie);
    let dropped = false;
    const sessions = createSessions(shaky, { clock, onEvent: ({ type }) => dropped ||= type === "conflict" });
    const session = sessions.open(cookie);
    let lived = false;
    try {
      if (kind === "revoke") return void await sessions.revokeUser("ada");
      if (kind !== "blind") {
        lived = !await session.isNew();
        assert(!(knownDead && lived), "what was dead is read again");
      }
      if (kind === "write" || kind === "blind") session.set(key, key);
      if (kind === "rotate") session.rotate();
      if (kind === "login") session.login("ada");
      if (kind === "logout") session.revoke();
      const answer = (await sessions.commit(session))?.split(";")[0];
      if (kind === "logout" && cookie !== null) dead.add(cookie);
      if (answer === undefined || answer.endsWith("=")) {
        if (kind === "write" && lived && !dropped) written.set(key, cookie!);
        return;
      }
      tokens.push(answer);
      if (cookie !== null && lived && (kind === "rotate" || kind === "login")) {
        dead.add(cookie);
        if (kind === "login") return;
        assert(!successor.has(cookie), "two that rotated at once both won");
        successor.set(cookie, answer);
      }
    } catch (error) {
      assert(error instanceof HoldfastError && error.retryable, `an unexpected error: ${error}`);
    }
  }

  for (let round = 0; round < 6; round++) {
    await Promise.all(Array.from({ length: 2 + random.below(6) }, request));
    for (const cookie of tokens) {
      const alive = await isAlive(cookie);
      assert(!(alive && dead.has(cookie)), "what was dead lives again");
      if (!alive) dead.add(cookie);
    }
    if (random.chance(0.3)) await clock.advance(1 + random.below(90_000));
  }
  // Each write not reported as dropped is there, if the session lives, itself or rotated.
  if (faults.rate === 0) {
    for (const [key, cookie] of written) {
      let last = cookie;
      while (successor.has(last)) last = successor.get(last)!;
      if (await isAlive(last)) {
        assert(await calm.open(last).get(key) === key, "an acknowledged write is lost");
      }
    }
  }
  // Every living session of the user is listed, and nothing else. A revocation that failed half-way has raised the epoch: what
  // it did not get at any more ends when it is next held against it.
  await clock.advance(61_000);
  const users = [];
  for (const cookie of tokens) {
    const session = calm.open(cookie);
    if (await session.userId() === "ada") users.push(await session.handle());
  }
  const listed = (await calm.listSessions("ada")).map(({ handle }) => handle);
  for (const handle of users) assert(listed.includes(handle), "a living session is not listed");
  if (faults.rate === 0) assert(listed.length === users.length, "what is listed lives");
}

Deno.test("random histories: ended sessions stay ended, no acknowledged write is lost, every live session is listed", async () => {
  const only = Deno.env.get("SEED");
  const seeds = Number(Deno.env.get("SEEDS") ?? 200);
  const first = Math.floor(Math.random() * 2 ** 30);
  for (let i = 0; i < (only === undefined ? seeds : 1); i++) {
    const seed = only === undefined ? first + i : Number(only);
    try {
      await history(seed);
    } catch (error) {
      throw new Error(`SEED=${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});
