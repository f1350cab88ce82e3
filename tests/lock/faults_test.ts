/** Locks over stores that are silent, lose replies or reset; bad input; and what must not be printed. */
import { inspect } from "node:util";
import { type AtomicStore, createLocks, HoldfastError, type LockHandle, memoryStore } from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import { outputOf } from "../../adapters/upstash/_replies.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { eventually, soonerThan } from "../support/eventually.ts";
import { startRedis } from "../support/redis_server.ts";
import { RespConnection } from "../support/resp.ts";
import { startUpstash } from "../support/upstash_server.ts";

type Call = (run: () => Promise<Record<string, string>>, name: string) => Promise<Record<string, string>>;

/** A store whose transitions pass through `call`. */
function through(store: AtomicStore, call: Call): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return (space: string) => through(target.namespace(space), call);
      if (name === "transact") {
        return (...args: Parameters<AtomicStore["transact"]>) =>
          call(async () => ({ ...await target.transact(...args) }), args[0].name);
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const TTL = { ttl: "1m" } as const;

Deno.test("timeout bounds every call on a store that does not answer, retries included", async () => {
  let silent = false;
  const store = through(memoryStore(), (run) => silent ? new Promise(() => {}) : run());
  const locks = createLocks(store, { timeout: 50 });
  const [lock, other] = [(await locks.acquire("key", TTL))!, (await locks.acquire("other", TTL))!];
  silent = true;
  const calls: Record<string, () => Promise<unknown>> = {
    acquire: () => locks.acquire("third", TTL),
    acquireAll: () => locks.acquireAll(["third", "fourth"], TTL),
    withLock: () => locks.withLock("third", TTL, () => {}),
    extend: () => lock.extend(),
    resume: () => locks.resume(lock.handle(), TTL),
    inspect: () => locks.inspect("key"),
    forceRelease: () => locks.forceRelease("key"),
  };
  for (const [name, call] of Object.entries(calls)) {
    // The default is 10 s.
    const error = await soonerThan(9000, () => assertRejects(call, HoldfastError), `${name} ends in time`);
    assertEquals([error.code, error.retryable], ["timeout", true], name);
  }
  assertEquals([await lock.release(), await other.release({ timeout: 20 })], ["unconfirmed", "unconfirmed"]);
});

Deno.test("a call's own timeout goes before that of its Locks, and one that waits may take both", async () => {
  const store = through(memoryStore(), () => new Promise(() => {}));
  const locks = createLocks(store, { timeout: "1m" });
  const work = () => locks.acquire("key", { ...TTL, wait: 100, timeout: 50 });
  const error = await soonerThan(9000, () => assertRejects(work, HoldfastError));
  assertEquals(error.code, "timeout");
});

Deno.test("an acquisition that waits goes on over any outage, also one that is not marked as retryable", async () => {
  // The error of a Durable Object's reset.
  let faults = 3;
  const store = through(memoryStore(), async (run) => {
    if (faults-- > 0) throw new HoldfastError("backend-unavailable", "Cannot use the object as it was reset");
    return await run();
  });
  const locks = createLocks(store);
  const lock = await locks.acquire("key", { ...TTL, wait: "10s" });
  assertEquals(await lock?.release(), "released");
  faults = 1;
  assertEquals(
    (await assertRejects(() => locks.acquire("key", TTL), HoldfastError)).code,
    "backend-unavailable",
  );
});

Deno.test("a misconfiguration ends a wait at once", async () => {
  const store = through(memoryStore(), () => {
    throw new HoldfastError("unauthorized", "Cannot use the store as its token is wrong");
  });
  const error = await assertRejects(
    () => createLocks(store).acquire("key", { ...TTL, wait: "1m" }),
    HoldfastError,
  );
  assertEquals(error.code, "unauthorized");
});

Deno.test("a resumption whose replies were lost leaves the giver's lock locked for the giver's lease", async () => {
  let lost = false;
  const memory = memoryStore();
  const store = through(memory, async (run) => {
    const output = await run();
    if (!lost) return output;
    throw new HoldfastError("backend-unavailable", "the reply was lost", {
      retryable: true,
      ambiguous: true,
    });
  });
  const locks = createLocks(store);
  const giver = (await locks.acquire("key", TTL))!;
  lost = true;
  const error = await assertRejects(() => locks.resume(giver.handle(), { ttl: 100 }), HoldfastError);
  assertEquals(error.ambiguous, true);
  lost = false;
  await new Promise((resolve) => setTimeout(resolve, 150));
  giver.assertHeld(); // nothing told it otherwise yet
  assertEquals(await locks.acquire("key", TTL), undefined, "no other holder beside it");
});

Deno.test("a release of an orphaned acquisition is handed to waitUntil", async () => {
  const work: Promise<unknown>[] = [];
  const memory = memoryStore();
  let answer = Promise.withResolvers<void>();
  const store = through(memory, async (run, name) => {
    const output = await run();
    if (name === "lock.acquire") await answer.promise;
    return output;
  });
  const controller = new AbortController();
  const acquiring = createLocks(store).acquire("key", {
    ...TTL,
    signal: controller.signal,
    waitUntil: (promise) => work.push(promise),
  });
  await eventually(async () => (await createLocks(memory).inspect("key")).held, "it is acquired");
  controller.abort(new Error("enough"));
  await assertRejects(() => acquiring);
  const locks = createLocks(memory);
  assertEquals([work.length, (await locks.inspect("key")).held], [1, true]);
  answer.resolve();
  await Promise.all(work);
  assertEquals((await locks.inspect("key")).held, false);
  answer = Promise.withResolvers();
});

Deno.test("withLock(): the caller's signal aborts the lock's and ends its renewal; acquire()'s does not", async () => {
  const locks = createLocks(memoryStore());
  const controller = new AbortController();
  const options = { ttl: "1m", renew: true, signal: controller.signal } as const;
  const kept = (await locks.acquire("kept", options))!;
  const reason = new Error("enough");
  const seen = await locks.withLock("key", options, (lock) => {
    controller.abort(reason);
    return [lock.signal.aborted, lock.signal.reason];
  });
  assertEquals(seen, [true, reason]);
  assertEquals(kept.signal.aborted, false);
  await kept.release();
});

Deno.test("unknown options, invalid handles and invalid ids are refused", async () => {
  const locks = createLocks(memoryStore());
  const odd = { timeOut: 1 };
  assertThrows(() => createLocks(memoryStore(), odd as never), TypeError);
  const lock = (await locks.acquire("key", TTL))!;
  const calls: Record<string, () => Promise<unknown>> = {
    acquire: () => locks.acquire("a", { ...TTL, ...odd } as never),
    "acquire, fenced": () => locks.acquire("a", { ...TTL, fenced: false } as never),
    acquireAll: () => locks.acquireAll(["a"], { ...TTL, ...odd } as never),
    withLock: () => locks.withLock("a", { ...TTL, ...odd } as never, () => {}),
    resume: () => locks.resume(lock.handle(), { ...TTL, ...odd } as never),
    "resume with a wait": () => locks.resume(lock.handle(), { ...TTL, wait: 1 } as never),
    inspect: () => locks.inspect("a", odd as never),
    forceRelease: () => locks.forceRelease("a", odd as never),
    "forceRelease, id": () => locks.forceRelease("a", { id: "a=b,c" }),
    "renew: 1": () => locks.acquire("a", { ...TTL, renew: 1 } as never),
    "fair: yes": () => locks.acquire("a", { ...TTL, fair: "yes" } as never),
    "waitUntil: true": () => locks.acquire("a", { ...TTL, waitUntil: true } as never),
    "no handle": () => locks.resume({ key: "key" } as LockHandle, TTL),
  };
  for (const [name, call] of Object.entries(calls)) {
    assert(await call().then(() => false, (error) => error instanceof TypeError), name);
  }
  await assertRejects(() => locks.resume(lock.handle(), {} as never), RangeError);
  // Every optional option takes undefined.
  const none = undefined;
  const all = {
    wait: none,
    fair: none,
    permits: none,
    mode: none,
    lockDelay: none,
    renew: none,
    maxHold: none,
  };
  const one = await locks.acquire("b", { ...TTL, ...all, signal: none, timeout: none, waitUntil: none });
  assertEquals(await one?.release({ signal: none, timeout: none }), "released");
});

Deno.test("a lock prints no secret: neither its owner nor anything that opens it", async () => {
  const locks = createLocks(memoryStore());
  const lock = (await locks.acquire("key", TTL))!;
  const set = (await locks.acquireAll(["a", "b"], TTL))!;
  const secrets = [lock, ...set.locks].map((lock) => lock.handle().owner);
  const shown = [lock, set, locks, { lock }, [set]].flatMap((value) => [
    Deno.inspect(value, { depth: 10, showHidden: true }),
    inspect(value, { depth: 10, showHidden: true }),
    JSON.stringify(value) ?? "",
    String(value),
    JSON.stringify(Object.assign({}, value)),
  ]);
  for (const secret of secrets) {
    assert(secret.length >= 20, "a canary");
    for (const text of shown) assert(!text.includes(secret), text);
  }
  assert(JSON.stringify(lock.handle()).includes(secrets[0]!), "the handle is there for those who ask");
  await lock.release();
  await set.release();
});

Deno.test({
  name: "Upstash: fencing tokens strictly increase over flushes within one millisecond",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using redis = await startRedis();
    await using upstash = await startUpstash(redis.port);
    const store = upstashStore(upstash).namespace("lock");
    const connection = await RespConnection.open(redis.port);
    const { lockTransitions } = await import("@holdfast/edge/engine");
    const acquire = lockTransitions.find(({ name }) => name === "lock.acquire")!;
    await store.transact(acquire, "key", { owner: "a", ttl: "1000" });
    // The engine's command, again and again with a flush between, in one pipeline: many fall into one
    // millisecond.
    const [command, script, ...rest] = upstash.requests().at(-1)!.command as string[];
    // Plain Redis does not know Upstash's first line.
    const sent = [command!, script!.replace(/^#!.*\n/, ""), ...rest];
    const commands = Array.from({ length: 300 }, () => [["FLUSHALL"], sent.map(String)]).flat();
    const replies = await connection.send(...commands);
    connection.close();
    const granted = replies.filter((reply) => reply instanceof Uint8Array);
    const tokens = granted.map((reply) => Number(outputOf(reply, "write").fence));
    assertEquals(tokens.length, 300);
    for (let i = 1; i < tokens.length; i++) {
      assert(tokens[i]! > tokens[i - 1]!, `${tokens[i - 1]} ${tokens[i]}`);
    }
  },
});
