/**
 * Faults between a client and Upstash: each is reported, no call is executed twice, no message shows a
 * secret.
 */
import { Redis } from "@upstash/redis";
import {
  type AtomicStore,
  type Claim,
  createIdempotency,
  createThrottle,
  HoldfastError,
  type HoldfastErrorCode,
} from "@holdfast/edge";
import { atomicSessionStore } from "@holdfast/edge/sessions";
import { acquireLock, extendLock, releaseLock } from "../../src/lock/lock_transitions.ts";
import { takeValue } from "../../src/store/value_transitions.ts";
import { repeatable } from "../../src/store/call_id.ts";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { type Fault, startUpstash, type UpstashServer } from "../support/upstash_server.ts";

const KEY = "secret-key";
const OWNER = "secret-owner";

/** An operation, what it needs beforehand, and how to see whether it took effect. */
interface Operation {
  readonly prepare?: (store: AtomicStore) => Promise<unknown>;
  readonly run: (store: AtomicStore, prepared?: unknown) => Promise<unknown>;
  /** The answer of the same call when it is made once more after a fault. */
  readonly again?: unknown;
  /** Whether the contract repeats the call by itself, as it may. */
  readonly repeats?: true;
  readonly effect?: (store: AtomicStore) => Promise<number>;
}

const acquire = { owner: OWNER, ttl: "60000" };
const session = {
  type: "create",
  handle: "secret-handle",
  idleTimeout: 60_000,
  absoluteTimeout: 60_000,
  schemaVersion: 1,
  values: {},
} as const;
const throttle = (store: AtomicStore) =>
  createThrottle(store, {
    name: "secret-throttle",
    limit: 9,
    window: "1d",
    algorithm: "fixed-window",
    whenUnavailable: "throw",
    timeout: "1m",
  });
const begin = (store: AtomicStore) =>
  createIdempotency(store).begin(KEY, { owner: OWNER, fingerprint: "secret-print" });
const count = async (store: AtomicStore) => await store.get<number>(KEY) ?? 0;
const there = async (store: AtomicStore) => Number(await store.exists(KEY));

const operations: Record<string, Operation> = {
  get: { prepare: (store) => store.set(KEY, "secret-value"), run: (store) => store.get(KEY) },
  set: { run: (store) => store.set(KEY, "secret-value"), effect: there },
  delete: {
    prepare: (store) => store.set(KEY, 1),
    run: (store) => store.delete(KEY),
    effect: async (store) => 1 - await there(store),
  },
  setMany: { run: (store) => store.setMany([[KEY, "secret-value"]]), effect: there },
  increment: { run: (store) => store.increment(KEY), effect: count },
  setIfAbsent: { run: (store) => store.setIfAbsent(KEY, "secret-value"), effect: there },
  getAndDelete: {
    prepare: (store) => store.set(KEY, "secret-value"),
    run: (store) => store.getAndDelete(KEY),
    effect: async (store) => 1 - await there(store),
  },
  "a transition without a twin": {
    run: (store) =>
      store.transact(
        {
          name: "test.add",
          apply: (record, _input, _now) => {
            const n = String(Number(record?.v?.slice(1) ?? 0) + 1);
            return { output: { n }, write: { record: { v: "\t" + n } } };
          },
        },
        KEY,
        {},
      ),
    effect: count,
  },
  "lock.acquire": {
    run: async (store) => Number((await store.transact(acquireLock, KEY, acquire)).fence) > 0,
    again: true,
  },
  "lock.extend": {
    prepare: (store) => store.transact(acquireLock, KEY, acquire),
    run: async (store) => (await store.transact(extendLock, KEY, acquire)).until !== undefined,
    again: true,
  },
  "lock.release": {
    prepare: async (store) => (await store.transact(acquireLock, KEY, acquire)).fence,
    run: async (store, fence = "1") =>
      (await store.transact(releaseLock, KEY, { owner: OWNER, fence: String(fence) })).result,
  },
  "idempotency.begin": { repeats: true, run: async (store) => (await begin(store)).state, again: "new" },
  "idempotency.complete": {
    repeats: true,
    prepare: async (store) => {
      const begun = await begin(store);
      return begun.state === "new" && begun.claim;
    },
    run: async (store, claim) =>
      claim && (await createIdempotency(store).complete(claim as Claim, "secret-response")).state,
    again: "stored",
  },
  "throttle.check": {
    run: async (store) => (await throttle(store).check(KEY)).remaining,
    effect: async (store) => 9 - (await throttle(store).peek(KEY)).remaining,
  },
  "session.create": {
    run: async (store) => (await atomicSessionStore(store).save(KEY, session)).state,
    again: "saved",
  },
};

/** A fault, what the caller is told, and whether the call ran all the same. */
interface Case {
  readonly fault: Fault;
  readonly code: HoldfastErrorCode;
  readonly retryable: boolean;
  /** Of a write. */
  readonly ambiguous: boolean;
  readonly executed: boolean;
  readonly retryAfter?: number;
}

const faults: Record<string, Case> = {
  "the reply is lost": {
    fault: { cut: "after" },
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    executed: true,
  },
  "the connection closes instead of a reply": {
    fault: { drop: "after" },
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    executed: true,
  },
  "the request is lost": {
    fault: { cut: "before" },
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    executed: false,
  },
  "a 429 with Retry-After": {
    fault: { status: 429, body: '{"error":"too many"}', headers: { "retry-after": "2" } },
    code: "rate-limited",
    retryable: true,
    ambiguous: true, // a runtime's fetch may have sent it before, and that copy was executed

    executed: false,
    retryAfter: 2000,
  },
  "a 500": {
    fault: { status: 500, body: '{"error":"internal"}', execute: true },
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    executed: true,
  },
  "malformed JSON": {
    fault: { status: 200, body: '{"result":', execute: true },
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    executed: true,
  },
  "a hang": { fault: { delay: 30_000 }, code: "timeout", retryable: true, ambiguous: true, executed: false },
};

/** Breaks requests that run a script, until told to stop. */
function broken(server: UpstashServer, fault: Fault): Disposable {
  server.fault = () => fault;
  return { [Symbol.dispose]: () => void (server.fault = undefined) };
}

function assertDiscreet(error: unknown, token: string): void {
  const shown = Deno.inspect(error, { depth: 20 });
  for (const secret of ["secret-", token]) assert(!shown.includes(secret), `it shows ${secret}: ${shown}`);
}

Deno.test("Upstash, own transport: each operation under each fault", async (t) => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const sound = upstashStore(server);
  for (const [name, { prepare, run, again, effect, repeats }] of Object.entries(operations)) {
    for (
      const [what, { fault, code, retryable, ambiguous, executed, retryAfter }] of Object.entries(faults)
    ) {
      await t.step(`${name}: ${what}`, async () => {
        const room = crypto.randomUUID();
        // Only what hangs may be over its time, however slow the machine is.
        const timeout = what === "a hang" ? 250 : "20s";
        const store = upstashStore(server, { timeout }).namespace(room);
        const checking = sound.namespace(room);
        const prepared = await prepare?.(checking);
        const warm = sound.namespace(crypto.randomUUID());
        await run(warm, await prepare?.(warm)); // the server knows the script
        server.requests();
        const error = await (async () => {
          using _ = broken(server, fault);
          return await assertRejects(() => run(store, prepared), HoldfastError);
        })();
        // We resend nothing; Deno's own fetch does, once, when a reused connection breaks before the reply.
        if (!repeats) assert(server.requests().length <= ("drop" in fault ? 2 : 1), "nothing was resent");
        const writes = name !== "get" && name !== "a transition without a twin"; // that one broke while it read
        assertEquals(
          [error.code, error.retryable, error.ambiguous, error.retryAfter],
          [code, retryable, ambiguous && writes, retryAfter],
        );
        assertDiscreet(error, server.token);
        if (effect) assertEquals(await effect(checking), Number(executed && writes), "how often it happened");
        if (again !== undefined) {
          assertEquals(await run(checking, prepared), again, "the same call once more");
        }
      });
    }
  }
});

Deno.test({
  name:
    "Upstash, @upstash/redis with its own retries: each operation is executed once and answers as without a fault",
  sanitizeOps: false,
  sanitizeResources: false, // the SDK reads no body of a reply that broke
  async fn(t) {
    await using redis = await startRedis();
    await using server = await startUpstash(redis.port);
    const { url, token } = server;
    const sdk = new Redis({ url, token, enableTelemetry: false, retry: { retries: 3, backoff: () => 5 } });
    const sound = upstashStore(server);
    const store = upstashStore(sdk, { timeout: "20s" });
    for (const [name, { prepare, run, effect }] of Object.entries(operations)) {
      for (const drop of ["before", "after"] as const) {
        await t.step(`${name}: the ${drop === "after" ? "reply" : "request"} is lost, twice`, async () => {
          const [expected, actual] = [crypto.randomUUID(), crypto.randomUUID()];
          const answer = await run(sound.namespace(expected), await prepare?.(sound.namespace(expected)));
          const prepared = await prepare?.(sound.namespace(actual));
          let left = 2;
          server.fault = () => left-- > 0 ? { drop } : undefined;
          assertEquals(await run(store.namespace(actual), prepared), answer);
          server.fault = undefined;
          assert(left < 0, "both faults struck");
          if (effect) assertEquals(await effect(sound.namespace(actual)), 1, "how often it happened");
        });
      }
      for (const [what, { fault }] of Object.entries(faults)) {
        if ("drop" in fault) continue;
        await t.step(`${name}: ${what}`, async () => {
          const room = crypto.randomUUID();
          const prepared = await prepare?.(sound.namespace(room));
          const store = upstashStore(sdk, { timeout: 250 }).namespace(room);
          server.fault = () => fault;
          const error = await assertRejects(() => run(store, prepared), HoldfastError);
          server.fault = undefined;
          assertEquals([error.retryable, error.ambiguous], [
            true,
            name !== "get" && !name.includes("without"),
          ]);
          assertDiscreet(error, token);
        });
      }
    }
    await server[Symbol.asyncDispose](); // ends what still hangs, before the next test begins
    await new Promise((resolve) => setTimeout(resolve, 100));
  },
});

Deno.test("Upstash: a call that its contract repeats under one name is executed once and answers the same", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const store = upstashStore(server);
  await store.transact(takeValue, KEY, {}); // the server knows the script
  await store.set(KEY, "first");
  const call = repeatable();
  server.fault = () => ({ cut: "after" });
  const lost = await assertRejects(() => store.transact(takeValue, KEY, {}, call), HoldfastError);
  server.fault = undefined;
  assert(lost.ambiguous);
  await store.set(KEY, "second");
  assertEquals(await store.transact(takeValue, KEY, {}, call), { v: "first" }, "the first answer");
  assertEquals(await store.get(KEY), "second", "what was stored since stays");
  assertEquals(await store.transact(takeValue, KEY, {}, repeatable()), { v: "second" }, "another call");
});

Deno.test("Upstash: a write that Deno's fetch sent twice is ambiguous when the second copy is refused", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const store = upstashStore(server);
  await store.set("warm", 1); // the connection is a reused one from now on
  for (const body of ['{"error":"slow down"}', '{"error":"ERR max requests limit exceeded. Limit: 1"}']) {
    for (const status of [429, 400]) {
      await store.delete(KEY);
      server.requests();
      let request = 0;
      server.fault = () => request++ === 0 ? { drop: "after" } : { status, body };
      const error = await assertRejects(() => store.set(KEY, status), HoldfastError);
      server.fault = undefined;
      assertEquals(server.requests().length, 2, "the runtime sent it again");
      assertEquals(await store.get(KEY), status, "it was executed");
      assert(error.ambiguous, error.message);
    }
  }
});

/** A connection that keeps each request, to send it once more. */
function copying(
  server: UpstashServer,
): { store: AtomicStore; copy: () => Promise<void>; forget: () => void } {
  let sent: [RequestInfo | URL, RequestInit][] = [];
  const store = upstashStore({
    url: server.url,
    token: server.token,
    fetch: (url, init) => {
      const { signal: _, ...kept } = init!;
      sent.push([url as string, kept]);
      return fetch(url, init);
    },
  });
  return {
    store,
    async copy() {
      for (const [url, init] of sent) await (await fetch(url, init)).text();
    },
    forget: () => void (sent = []),
  };
}

Deno.test("Upstash: a copy of an acknowledged write that arrives after another write changes nothing", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const other = upstashStore(server);
  const { store, copy, forget } = copying(server);
  const read = async () => [await other.get("a"), await other.get("b"), await other.exists("c")];
  const writes: Record<string, () => Promise<unknown>> = {
    set: () => store.set("a", 1),
    setMany: () => store.setMany([["a", 1], ["b", 1]]),
    delete: () => store.delete("a"),
    deleteMany: () => store.deleteMany(["a", "b"]),
    touch: () => store.touch("a", 1),
    getAndDelete: () => store.getAndDelete("a"),
    increment: () => store.increment("c"),
    compareAndDelete: () => store.compareAndDelete("a", 2),
  };
  for (const [name, write] of Object.entries(writes)) {
    await other.setMany([["a", 2], ["b", 2]]);
    await write(); // the server knows the script
    await other.setMany([["a", 2], ["b", 2]]);
    forget();
    await write();
    await other.setMany([["a", 2], ["b", 2]]);
    await other.delete("c");
    await copy();
    assertEquals(await read(), [2, 2, false], name);
  }
});

Deno.test("Upstash: a copy of acquire that arrives after the release is not granted", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const { store, copy } = copying(server);
  const granted = await store.transact(acquireLock, KEY, acquire);
  await upstashStore(server).transact(releaseLock, KEY, { owner: OWNER, fence: granted.fence! });
  await copy();
  const next = await upstashStore(server).transact(acquireLock, KEY, { ...acquire, owner: "another" });
  assert(Number(next.fence) > Number(granted.fence), "the lock is free");
});

Deno.test("Upstash: SCRIPT FLUSH costs one more request and nothing else", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const store = upstashStore(server);
  await store.increment(KEY);
  await redis.send("SCRIPT", "FLUSH");
  server.requests();
  assertEquals((await store.increment(KEY)).value, 2);
  assertEquals(server.requests().length, 2);
  assertEquals((await store.increment(KEY)).value, 3);
  assertEquals(server.requests().length, 1);
  await redis.send("SCRIPT", "FLUSH");
  const values = await Promise.all(Array.from({ length: 50 }, () => store.increment(KEY)));
  assertEquals(
    values.map(({ value }) => value),
    Array.from({ length: 50 }, (_, i) => i + 4),
    "in order, each once",
  );
});

Deno.test("Upstash: a killed server is a typed error; after its restart the store goes on", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const store = upstashStore(server);
  const before = await store.transact(acquireLock, KEY, acquire);
  await redis.kill();
  const error = await assertRejects(() => store.transact(acquireLock, KEY, acquire), HoldfastError);
  assertEquals([error.code, error.retryable, error.ambiguous], ["backend-unavailable", true, true]);
  assertDiscreet(error, server.token);
  await redis.start(); // empty: it kept nothing
  const after = await store.transact(acquireLock, KEY, { ...acquire, owner: "another" });
  assert(Number(after.fence) > Number(before.fence), "the fence goes on above every earlier one");
});

Deno.test("Upstash: a wrong token is `unauthorized` and not shown", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  for (
    const client of [
      { url: server.url, token: "secret-wrong" },
      new Redis({ url: server.url, token: "secret-wrong" }),
    ]
  ) {
    const error = await assertRejects(() => upstashStore(client).set(KEY, 1), HoldfastError);
    assertEquals([error.code, error.retryable, error.ambiguous], ["unauthorized", false, false]);
    assert(error.message.endsWith("Unauthorized"), "the message names the server's own word");
    assertDiscreet(error, "secret-wrong");
  }
});
