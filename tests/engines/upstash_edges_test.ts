/**
 * The edges of the Upstash engine: cold and plain servers, proxies, prefixes, clients with settings of their
 * own, bounds.
 */
import { Redis as SdkRedis } from "@upstash/redis";
import { Redis as IoRedis } from "ioredis";
import { createClient, RESP_TYPES } from "redis";
import { type AtomicStore, createIdempotency, createLocks, HoldfastError } from "@holdfast/edge";
import { type RedisScripts, type UpstashConnection, upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { type RedisServer, startRedis } from "../support/redis_server.ts";
import { startUpstash, type UpstashServer } from "../support/upstash_server.ts";

const decoder = new TextDecoder();

async function plainRedis(
  run: (proxy: UpstashServer, redis: RedisServer) => Promise<void>,
): Promise<void> {
  await using redis = await startRedis();
  await using proxy = await startUpstash(redis.port, { mode: "plain" });
  await run(proxy, redis);
}

/** 30 calls of ten kinds. */
const firstCalls = (store: AtomicStore) =>
  Array.from({ length: 3 }, (_, i) => [
    store.set(`key-${i}`, i),
    store.get(`key-${i}`),
    store.increment("counter"),
    store.compareAndSet(`other-${i}`, undefined, 1),
    store.setMany([[`many-${i}`, 1]]),
    store.getMany([`many-${i}`]),
    store.listPage(),
    store.deleteMany([`many-${i}`]),
    createLocks(store).acquire(`lock-${i}`, { ttl: "1m" }),
    createIdempotency(store).begin(`begin-${i}`),
  ]).flat();

Deno.test("Upstash, cold: 30 first calls in one tick all succeed on plain Redis behind a proxy", async () => {
  await plainRedis(async (proxy, redis) => {
    const store = upstashStore(proxy);
    for (let round = 0; round < 3; round++) {
      proxy.requests();
      const results = await Promise.allSettled(firstCalls(store));
      const failed = results.filter(({ status }) => status === "rejected");
      assertEquals(failed, []);
      // Locks think first: one request for them, one for the rest; after a flush each of the two may be sent again.
      const most = [3, 2, 4][round]!;
      const made = proxy.requests().length;
      assert(made <= most, `${made} requests in round ${round}, at most ${most}`);
      if (round === 1) await redis.send("SCRIPT", "FLUSH");
    }
    assertEquals(await store.get("counter"), 9);
  });
});

Deno.test("Upstash, cold: a store made anew for each request asks for Upstash's own line once", async () => {
  await plainRedis(async (proxy) => {
    const { url, token } = proxy;
    await upstashStore({ url, token }).set("key", 1);
    proxy.requests();
    await upstashStore({ url, token }).set("key", 2);
    assertEquals(proxy.requests().length, 1);
  });
});

Deno.test({
  name: "Upstash, cold: 30 first calls in one tick all succeed through @upstash/redis on plain Redis",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await plainRedis(async ({ url, token }) => {
      const store = upstashStore(new SdkRedis({ url, token, enableTelemetry: false }));
      await Promise.all(firstCalls(store));
      assertEquals(await store.get("counter"), 3);
    });
  },
});

Deno.test("Upstash: a text with NOSCRIPT, shebang or WRONGTYPE in it decides nothing", async () => {
  const words = "NOSCRIPT shebang compiling script WRONGTYPE WRONGPASS";
  await plainRedis(async (proxy) => {
    const store = upstashStore(proxy);
    await store.set(words, words);
    assertEquals(await store.get(words), words);
    let calls = 0;
    const quoting: RedisScripts = {
      evalsha: () => {
        calls++;
        return Promise.reject(new Error(`the socket closed while it sent ${words}`));
      },
      eval: () => {
        calls++;
        return Promise.reject(new Error("it was sent by text"));
      },
    };
    const error = await assertRejects(() => upstashStore(quoting).set(words, words), HoldfastError);
    assertEquals([error.code, error.retryable, error.ambiguous, calls], [
      "backend-unavailable",
      true,
      true,
      1,
    ]);
  });
});

Deno.test("Upstash: texts travel as they are, at any length and in any script", async () => {
  await plainRedis(async (proxy) => {
    const store = upstashStore(proxy);
    for (
      const value of ["", "abcd", "~", "=", "YWJjZA==", "\u{1F600}é\u0000", "x".repeat(100_000), {
        a: [1, "ü"],
      }]
    ) {
      await store.set("key", value);
      assertEquals(await store.get("key"), value);
      assertEquals(await store.getMany(["key", "none"]), [value, undefined]);
    }
    const lock = await createLocks(store).acquire("key", { ttl: "1m" });
    assert(await lock!.release());
  });
});

/** A connection whose every request is answered by `reply`. */
const answering = (reply: () => Response): UpstashConnection => ({
  url: "https://example.upstash.test",
  token: "token",
  fetch: () => Promise.resolve(reply()),
});

Deno.test("Upstash: an unreadable reply settles the call with a typed error, and its body is read or cancelled", async () => {
  const bodies: Record<string, string> = {
    "no text of ours": '{"result":"!!!"}',
    "text of another script": '{"result":"hello world"}',
    "a nested object": '{"result":[{"a":1}]}',
    "a boolean": '{"result":true}',
    "no result": "{}",
    "no object": "7",
    "nothing": "",
  };
  for (const [name, body] of Object.entries(bodies)) {
    for (const many of [1, 3]) {
      const response = new Response(many === 1 ? body : `[${Array(many).fill(body)}]`);
      const store = upstashStore(answering(() => response), { timeout: "10s" });
      const results = await Promise.allSettled(Array.from({ length: many }, () => store.increment("key")));
      for (const result of results) {
        assert(result.status === "rejected" && result.reason instanceof HoldfastError, name);
        assertEquals([result.reason.code, result.reason.ambiguous], ["backend-unavailable", true], name);
      }
      assert(response.bodyUsed, `${name}: the body was read`);
    }
  }
});

Deno.test("Upstash: a reply is read up to 64 MiB, however small it is compressed, and the rest is cancelled", async () => {
  let sent = 0;
  let cancelled = false;
  const endless = () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          sent += 1_048_576;
          controller.enqueue(new Uint8Array(1_048_576));
        },
        cancel() {
          cancelled = true;
        },
      }),
    );
  const error = await assertRejects(() => upstashStore(answering(endless)).set("key", 1), HoldfastError);
  assertEquals([error.code, error.retryable, error.ambiguous], ["value-too-large", false, true]);
  assert(cancelled && sent <= 66 * 1_048_576);
});

Deno.test("Upstash: Retry-After is bounded by a day", async () => {
  const refusing = () => new Response("{}", { status: 429, headers: { "retry-after": "999999999" } });
  const error = await assertRejects(() => upstashStore(answering(refusing)).get("key"), HoldfastError);
  assertEquals([error.code, error.retryAfter], ["rate-limited", 86_400_000]);
});

Deno.test("Upstash: a reply of 800 KB outside ASCII is read as it is, without a step for each byte", async () => {
  const value = "é".repeat(400_000);
  const store = upstashStore(answering(() => Response.json({ result: ["v", value] })));
  await store.get("key"); // the scripts are hashed
  let callbacks = 0;
  const from = Uint8Array.from;
  Uint8Array.from = function (this: unknown, source: Iterable<number>, map?: (value: number) => number) {
    callbacks += map ? 1 : 0;
    return from.call(Uint8Array, source);
  } as typeof from;
  try {
    assertEquals(await store.get("key"), value);
  } finally {
    Uint8Array.from = from;
  }
  assertEquals(callbacks, 0);
});

/** Keys of a store, sorted. */
async function listed(store: AtomicStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.list()) keys.push(key);
  return keys.sort();
}

const PREFIXES = [
  "tenant-1",
  "tenant-10",
  "tenant-1:",
  "tenant-1:0",
  "tenant-1%3A",
  "",
  ":",
  "/",
  "%",
  "{tenant}",
  "a*b?",
  "é",
];
const KEYS = ["key", "0:key", ":key", "0", "/key", "%", "{key}", "a*b?"];

Deno.test("Upstash: prefixes never meet: no store reads, lists, deletes or clears another's keys", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const stores = PREFIXES.map((prefix) => upstashStore(server, { prefix }));
  for (const [i, store] of stores.entries()) {
    for (const key of KEYS) {
      assertEquals(await store.get(key), undefined, `${PREFIXES[i]} reads ${key} of another`);
      await store.set(key, PREFIXES[i]);
      await store.namespace("inner").set(key, PREFIXES[i]);
    }
    assertEquals(await listed(store), [...KEYS].sort());
  }
  for (const [i, store] of stores.entries()) {
    assertEquals(await store.getMany(KEYS), KEYS.map(() => PREFIXES[i]));
    assertEquals((await store.clear()).deleted, 2 * KEYS.length, `${PREFIXES[i]} clears its own keys alone`);
    for (const other of stores.slice(i + 1)) assertEquals(await listed(other), [...KEYS].sort());
  }
});

Deno.test("Upstash: options are checked before any I/O, and may be undefined", () => {
  const connection = { url: "https://example.upstash.test", token: "token" };
  const names = ["prefix", "timeout", "attemptTimeout", "maxValueLength", "virtualTime"] as const;
  upstashStore(connection, Object.fromEntries(names.map((name) => [name, undefined])));
  const wrong: [unknown, typeof TypeError | typeof RangeError][] = [
    [{ timeOut: 5 }, TypeError],
    [{ prefix: 7 }, TypeError],
    [{ prefix: "\ud800" }, TypeError],
    [{ prefix: "x".repeat(257) }, RangeError],
    [{ timeout: -1 }, RangeError],
    [{ attemptTimeout: Infinity }, RangeError],
    [{ maxValueLength: 0 }, RangeError],
    [{ virtualTime: 7 }, TypeError],
  ];
  for (const [options, type] of wrong) assertThrows(() => upstashStore(connection, options as never), type);
  for (const token of ["a b", "a\nb", "é", ""]) {
    assertThrows(() => upstashStore({ ...connection, token }), TypeError);
  }
  const urls = ["https://", "https://a b", "http://[", "redis://x"];
  for (const url of [...urls, "https://me:secret@a", "https://a/?_token=secret", "https://a/#b"]) {
    assertThrows(() => upstashStore({ ...connection, url }), TypeError);
  }
  for (const fetch of [3, null]) {
    assertThrows(() => upstashStore({ ...connection, fetch } as never), TypeError);
  }
});

Deno.test("Upstash: a cursor that no page gave is a TypeError before any I/O", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const store = upstashStore(server);
  await store.setMany(Array.from({ length: 50 }, (_, i) => [`key-${i}`, i]));
  server.requests();
  const bad = [
    "",
    "x",
    "{",
    "{}",
    "[]",
    "[1]",
    '["x",null]',
    '["0",0]',
    '["0"]',
    '["0",null,7]',
    '["",null]',
    "null",
  ];
  for (const cursor of bad) await assertRejects(() => store.listPage({ cursor }), TypeError);
  assertEquals(server.requests(), []);
  const first = await store.listPage({ limit: 10 });
  assertEquals((await store.listPage({ limit: 10, cursor: first.cursor! })).keys.length <= 10, true);
});

/** The calls that a client with settings of its own must be able to make. */
async function uses(store: AtomicStore): Promise<void> {
  for (const value of ["123", "\u{1F600}", "", new Uint8Array([0, 255]), { a: [] }]) {
    await store.set("key", value);
    assertEquals(await store.get("key"), value);
  }
  await store.setMany([["a", 1], ["b", 2]], { ttl: "1m" });
  assertEquals(await store.getMany(["a", "b", "c"]), [1, 2, undefined]);
  const lock = await createLocks(store).acquire("lock", { ttl: "1m" });
  assert(await lock!.extend("2m"));
  assertEquals(await createLocks(store).acquire("lock", { ttl: "1m" }), undefined);
  assert(await lock!.release());
  const begun = await createIdempotency(store).begin("payment");
  assert(begun.state === "new");
  assertEquals((await createIdempotency(store).complete(begun.claim, "done")).state, "stored");
  assertEquals((await store.increment("counter")).value, 1);
  const keys = await listed(store);
  for (const key of ["a", "b", "counter", "key"]) assert(keys.includes(key), `it lists ${key}`);
  assert((await store.clear()).deleted > keys.length, "the namespaces inside are cleared too");
  assertEquals([await store.get("a"), await listed(store)], [undefined, []]);
}

Deno.test({
  name: "Upstash: clients set to string numbers, byte replies or a key prefix of their own are right",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using redis = await startRedis();
    for (
      const options of [{ stringNumbers: true }, { keyPrefix: "theirs:*" }, {
        stringNumbers: true,
        keyPrefix: "x",
      }]
    ) {
      await t.step(`ioredis ${JSON.stringify(options)}`, async () => {
        const client = new IoRedis(redis.port, "127.0.0.1", options);
        using _ = { [Symbol.dispose]: () => client.disconnect() };
        await uses(upstashStore({
          evalsha: (sha, keys, args) => client.evalsha(sha, keys.length, ...keys, ...args),
          eval: (script, keys, args) => client.eval(script, keys.length, ...keys, ...args),
        }));
      });
    }
    await t.step("ioredis that answers buffers", async () => {
      const client = new IoRedis(redis.port, "127.0.0.1");
      using _ = { [Symbol.dispose]: () => client.disconnect() };
      await uses(upstashStore({
        evalsha: (sha, keys, args) => client.callBuffer("evalsha", sha, keys.length, ...keys, ...args),
        eval: (script, keys, args) => client.callBuffer("eval", script, keys.length, ...keys, ...args),
      }));
    });
    for (const RESP of [2, 3] as const) {
      for (const NUMBER of [String, Number]) {
        for (const BLOB_STRING of [String, Buffer]) {
          await t.step(`node-redis, RESP ${RESP}, ${NUMBER.name} and ${BLOB_STRING.name}`, async () => {
            const base = createClient({ url: `redis://127.0.0.1:${redis.port}`, RESP });
            await base.connect();
            using _ = { [Symbol.dispose]: () => base.destroy() };
            const client = base.withTypeMapping({
              [RESP_TYPES.NUMBER]: NUMBER as NumberConstructor,
              [RESP_TYPES.BLOB_STRING]: BLOB_STRING as BufferConstructor,
            });
            await uses(upstashStore({
              evalsha: (sha, keys, args) => client.evalSha(sha, { keys, arguments: args }),
              eval: (script, keys, args) => client.eval(script, { keys, arguments: args }),
            }));
          });
        }
      }
    }
  },
});

Deno.test({
  name: "Upstash: an ioredis client that is not wrapped is refused with the way to wrap it",
  sanitizeOps: false,
  fn() {
    const client = new IoRedis({ lazyConnect: true });
    assertThrows(() => upstashStore(client as never), TypeError);
    client.disconnect();
  },
});

/** A fetch that never answers, and how many requests it took. */
function silent(ending = 0): { connection: UpstashConnection; requests: () => number } {
  let requests = 0;
  return {
    connection: {
      url: "https://example.upstash.test",
      token: "token",
      fetch: (_url, init) => {
        requests++;
        return new Promise((_, reject) => {
          const end = () => reject(init!.signal!.reason);
          init!.signal!.addEventListener("abort", () => ending === 0 ? end() : setTimeout(end, ending));
        });
      },
    },
    requests: () => requests,
  };
}

Deno.test("Upstash: at most 10,000 calls or 64 MiB wait for replies, the next is refused before anything is sent", async () => {
  const { connection } = silent();
  const store = upstashStore(connection, { timeout: 300 });
  const many = Array.from({ length: 10_001 }, () => store.get("key"));
  const results = await Promise.allSettled(many);
  const codes = results.map((result) => (result as PromiseRejectedResult).reason as HoldfastError);
  assertEquals(codes.at(-1)!.code, "queue-full");
  assertEquals([codes.at(-1)!.retryable, codes.at(-1)!.ambiguous], [true, false]);
  assertEquals(codes.slice(0, -1).filter(({ code }) => code === "timeout").length, 10_000);
  const value = "x".repeat(800_000);
  const large = await Promise.allSettled(Array.from({ length: 90 }, () => store.set("key", value)));
  const full = large.filter((result) => (result as PromiseRejectedResult).reason.code === "queue-full");
  assertEquals(full.length, 90 - Math.floor(64 * 1024 * 1024 / 800_100));
  const again = await assertRejects(() => store.get("key"), HoldfastError);
  assertEquals(again.code, "timeout", "there is room again");
});

Deno.test("Upstash: timeout bounds the whole call, attemptTimeout one request; an unsent call is not ambiguous", async () => {
  // A request takes its time to end, so that the timers of both calls below fire before it has.
  const { connection, requests } = silent(200);
  const store = upstashStore(connection, { timeout: "1m", attemptTimeout: 50 });
  const error = await assertRejects(() => store.increment("key"), HoldfastError);
  assertEquals([error.code, error.ambiguous, error.message.includes("50 ms")], ["timeout", true, true]);
  // Two requests of one tick: the second one waits for the first and is never sent.
  const value = "x".repeat(800_000);
  const slow = upstashStore(connection, { timeout: 1500, attemptTimeout: "1m" });
  await slow.get("key").catch(() => {});
  const before = requests();
  const results = await Promise.allSettled([slow.set("a", value), slow.set("b", value)]);
  const reasons = results.map((result) => (result as PromiseRejectedResult).reason as HoldfastError);
  assertEquals(reasons.map(({ code, ambiguous }) => [code, ambiguous]), [["timeout", true], [
    "timeout",
    false,
  ]]);
  assertEquals(requests() - before, 1);
  await new Promise((resolve) => setTimeout(resolve, 250)); // the requests end
});

Deno.test("Upstash: a client that always answers NOSCRIPT ends at the timeout of the call", async () => {
  const slow = (error: string) => async () => {
    await new Promise((resolve) => setTimeout(resolve, 40));
    throw Object.assign(new Error(error), { name: "ReplyError" });
  };
  const store = upstashStore({
    evalsha: slow("NOSCRIPT No matching script."),
    eval: slow("ERR Unexpected flag in script shebang: allow-key-locking"),
  }, { timeout: 100 });
  const error = await assertRejects(() => store.set("key", 1), HoldfastError);
  assertEquals(error.code, "timeout");
  await new Promise((resolve) => setTimeout(resolve, 50)); // the client's own answer comes later
});

Deno.test("Upstash: every method rejects with the reason of its signal, before and during the call", async () => {
  const methods: Record<string, (store: AtomicStore, signal: AbortSignal) => Promise<unknown>> = {
    get: (store, signal) => store.get("key", { signal }),
    set: (store, signal) => store.set("key", 1, { signal }),
    delete: (store, signal) => store.delete("key", { signal }),
    exists: (store, signal) => store.exists("key", { signal }),
    touch: (store, signal) => store.touch("key", "1m", { signal }),
    getMany: (store, signal) => store.getMany(["key"], { signal }),
    setMany: (store, signal) => store.setMany([["key", 1]], { signal }),
    deleteMany: (store, signal) => store.deleteMany(["key"], { signal }),
    listPage: (store, signal) => store.listPage({ signal }),
    clear: (store, signal) => store.clear({ signal }),
    increment: (store, signal) => store.increment("key", { signal }),
    compareAndSet: (store, signal) => store.compareAndSet("key", 1, 2, { signal }),
    setIfAbsent: (store, signal) => store.setIfAbsent("key", 1, { signal }),
    compareAndDelete: (store, signal) => store.compareAndDelete("key", 1, { signal }),
    getAndDelete: (store, signal) => store.getAndDelete("key", { signal }),
  };
  const { connection } = silent();
  const hanging: RedisScripts = { evalsha: () => new Promise(() => {}), eval: () => new Promise(() => {}) };
  for (const client of [connection, hanging]) {
    const store = upstashStore(client, { timeout: 500 });
    for (const [name, call] of Object.entries(methods)) {
      const early = await assertRejects(() => call(store, AbortSignal.abort(new Error("early"))));
      assertEquals((early as Error).message, "early", name);
      const controller = new AbortController();
      const during = call(store, controller.signal);
      setTimeout(() => controller.abort(new Error("during")), 5);
      assertEquals((await assertRejects(() => during) as Error).message, "during", name);
    }
  }
});

Deno.test("Upstash: clear() deletes 20,000 keys by scripts of at most 500 keys each", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const store = upstashStore(server);
  for (let at = 0; at < 20_000; at += 5000) {
    await store.setMany(Array.from({ length: 5000 }, (_, i) => [`key-${at + i}`, i]));
  }
  server.requests();
  assertEquals(await store.clear(), { deleted: 20_000, done: true });
  const commands = server.requests().flatMap(({ command }) =>
    Array.isArray((command as unknown[])?.[0]) ? command as string[][] : [command as string[]]
  );
  assert(commands.length > 20_000 / 500);
  for (const [, , keys] of commands) {
    assert(Number(keys) <= 501, "500 keys and what is remembered of the call");
  }
});

Deno.test({
  name: "Upstash: many keys are one command through our transport and through @upstash/redis",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using redis = await startRedis();
    await using server = await startUpstash(redis.port);
    const { url, token } = server;
    const keys = Array.from({ length: 100 }, (_, i) => `key-${i}`);
    for (const client of [{ url, token }, new SdkRedis({ url, token, enableTelemetry: false })]) {
      const store = upstashStore(client);
      const all = async () => {
        await store.setMany(keys.map((key) => [key, key]));
        assertEquals(await store.getMany(keys), keys);
        assertEquals(await store.deleteMany(keys), 100);
        await store.listPage();
      };
      await all();
      server.requests();
      await all();
      const commands = server.requests().map(({ path, command }) =>
        path === "pipeline" ? command : [command]
      );
      assertEquals(commands.map((list) => (list as unknown[]).length), [1, 1, 1, 1]);
    }
  },
});

Deno.test("Upstash: the remembered reply of a call is kept for a minute, under the store's prefix", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const tcp = new IoRedis(redis.port, "127.0.0.1", { lazyConnect: true });
  await tcp.connect();
  for (
    const client of [server, {
      evalsha: (sha: string, keys: string[], args: string[]) =>
        tcp.evalsha(sha, keys.length, ...keys, ...args),
      eval: (script: string, keys: string[], args: string[]) =>
        tcp.eval(script, keys.length, ...keys, ...args),
    }]
  ) {
    await redis.send("FLUSHALL");
    await upstashStore(client, { prefix: "shop" }).set("key", 1);
    const keys = (await redis.send("KEYS", "*") as Uint8Array[]).map((key) => decoder.decode(key)).sort();
    assertEquals(keys.length, 2);
    assert(keys[0]!.startsWith("shop://") && keys[1] === "shop:key");
    const left = Number(await redis.send("PTTL", keys[0]!));
    assert(left > 50_000 && left <= 60_000);
  }
  const ended = new Promise((resolve) => tcp.once("end", resolve));
  tcp.disconnect();
  await ended;
});
