/**
 * Wrong arguments, as callers without types give them: each must be refused by a `TypeError` or `RangeError`
 * whose message begins with the task ("Cannot …") and tells what to give, never by an error of the engine.
 */
import { Hono } from "hono";
import * as root from "../../mod.ts";
import * as mail from "../../src/mail/mod.ts";
import * as sessions from "../../src/session/mod.ts";
import * as engine from "../../src/store/mod.ts";
import * as durableObjects from "../../adapters/durable_objects/mod.ts";
import * as hono from "../../adapters/hono/mod.ts";
import { betterAuthStorage } from "../../adapters/better_auth/mod.ts";
import { denoKvStore } from "../../adapters/deno_kv/mod.ts";
import { mailgunMailer } from "../../adapters/mailgun/mod.ts";
import { mongodbStore } from "../../adapters/mongodb/mod.ts";
import { postgresStore } from "../../adapters/postgres/mod.ts";
import { redisStore } from "../../adapters/redis/mod.ts";
import { resendMailer } from "../../adapters/resend/mod.ts";
import { sendgridMailer } from "../../adapters/sendgrid/mod.ts";
import { sesMailer } from "../../adapters/ses/mod.ts";
import { cloudflareConnector, denoConnector, nodeConnector, smtpMailer } from "../../adapters/smtp/mod.ts";
import { d1Store, libsqlStore, nodeSqliteStore } from "../../adapters/sqlite/mod.ts";
import { upstashStore } from "../../adapters/upstash/mod.ts";
import { workersKvStore } from "../../adapters/workers_kv/mod.ts";
import { createCache } from "../../src/cache/mod.ts";
import { withCache } from "../../src/http/mod.ts";
import { assert, assertEquals, assertStringIncludes } from "../support/assert.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const holdfast = { ...root, ...mail, ...sessions, ...engine };

/** The same functions as a caller without types sees them. */
const js = holdfast as unknown as Record<string, (...args: Any[]) => Any>;
const web = hono as unknown as Record<string, (...args: Any[]) => Any>;

const store = holdfast.memoryStore();
const mailer = holdfast.memoryMailer();
const locks = holdfast.createLocks(store) as Any;
const idempotency = holdfast.createIdempotency(store) as Any;
const throttle = holdfast.createThrottle(store, { name: "misuse", limit: 100, window: "1m" }) as Any;
const cacheOf = (createCache as Any)(store, { name: "misuse" });
const box = holdfast.outbox(mailer, store) as Any;
const observedStore = holdfast.observedStore(store, { onOperation() {} }) as Any;
const kv = workersKvStore({ get() {}, getWithMetadata() {}, put() {}, delete() {}, list() {} } as Any);
const message = { from: "a@example.com", to: "b@example.com", subject: "Hello", text: "Hello" };
const rule = { name: "misuse", limit: 1, window: "1m" };
const scope = "public";
const key = () => "k";
const claim = async () => (await idempotency.begin(crypto.randomUUID())).claim;
const held = () => locks.acquire(crypto.randomUUID(), { ttl: "1m" });
const sealed = (options: Any) =>
  js.createSealedSessions!({ keys: [{ id: "1", secret: new Uint8Array(32) }], ...options });
/** Values that a caller may take for a signal. */
const SIGNALS = [{}, 5, new AbortController()];

/** A misuse: the words that its message must hold, and the call. */
type Misuse = readonly [says: string, call: () => unknown, args?: unknown];

function calls(says: string, call: (...args: Any[]) => unknown, ...wrong: unknown[][]): Misuse[] {
  return wrong.map((args) => [says, () => call(...args), args] as const);
}

/** Options of a given name that hold something wrong. */
function withOption(
  name: string,
  call: (options: Any) => unknown,
  wrong: readonly unknown[],
  rest = {},
): Misuse[] {
  return wrong.map((value) => [`'${name}'`, () => call({ ...rest, [name]: value }), value] as const);
}

/** The arguments of a method besides its key. */
const REST: Readonly<Record<string, unknown[]>> = { touch: ["1s"], set: [1], compareAndSet: [1, 2] };

const NOT_A_STORE = [undefined, null, 5, "redis", {}, () => undefined, kv];
const NOT_OPTIONS = [null, 5, "x", [], () => {}];
const DURATIONS = ["30", "30 s", "1m30s", "1w", "", -1, 0, NaN, Infinity, {}, true, null, 5n];

const TABLE: Readonly<Record<string, readonly Misuse[]>> = {
  durations: [
    ...calls('"30s"', js.toMilliseconds!, [undefined], ...DURATIONS.map((one) => [one])),
    ...calls("is missing", js.toMilliseconds!, [undefined]),
    ...DURATIONS.slice(0, 5).map((ttl) => ['"30s"', () => locks.acquire("k", { ttl })] as const),
    ["'ttl'", () => locks.acquire("k", {})],
    ["is missing", () => locks.acquire("k", {})],
    ["'window'", () => js.createThrottle!(store, { name: "n", limit: 1 })],
  ],
  memoryStore: [
    ...calls("options", js.memoryStore!, ...NOT_OPTIONS.map((one) => [one])),
    ...withOption("clock", js.memoryStore!, [{}, 5, null]),
  ],
  memoryMailer: calls("options", js.memoryMailer!, ...NOT_OPTIONS.map((one) => [one])),
  keys: ["get", "set", "delete", "exists", "touch", "increment", "getAndDelete", "compareAndSet"].flatMap(
    (name) =>
      [undefined, 5, null, {}, ""].map((key) =>
        ["key", () => (store as Any)[name](key, ...(REST[name] ?? []))] as const
      ),
  ),
  stores: [store, observedStore].flatMap((one: Any) => [
    ...calls("array of keys", (keys) => one.getMany(keys), ["abc"], [5], [undefined], [{}]),
    ...calls("array of keys", (keys) => one.deleteMany(keys), ["abc"], [5], [undefined], [{}]),
    ...calls("pairs", (entries) => one.setMany(entries), ["abc"], [5], [undefined], [{ a: 1 }], [["ab"]], [[
      5,
    ]]),
    ...calls("prefix", (options) => one.listPage(options), [{ prefix: 5 }]),
    ...calls("options", (options) => one.listPage(options), [5], [null]),
    ...calls("options", (options) => one.list(options), [5], [null]),
    ...calls("options", (options) => one.clear(options), [5], [null]),
    ...calls("options", (options) => one.get("k", options), [5], [null], ["x"], [[]]),
    ...calls("options", (options) => one.set("k", 1, options), [5], [null], ["1s"], [[]]),
    ...calls("options", (options) => one.delete("k", options), [5], [null], ["1s"]),
    ...withOption("signal", (options) => one.get("k", options), SIGNALS),
    ...withOption("signal", (options) => one.set("k", 1, options), SIGNALS),
    ...withOption("schema", (options) => one.get("k", options), [{}, 5, () => true]),
    ...withOption("schema", (options) => one.getMany(["k"], options), [{}, 5, () => true]),
    ...calls("namespace", (name) => one.namespace(name), [undefined], [5], [""]),
  ]),
  atomicCalls: [
    ...calls("'ttl'", (ttl) => store.touch("k", ttl), [undefined]),
    ...calls("options", (options) => store.increment("k", options), [5], [null]),
    ...calls("options", (options) => (store as Any).watch("k", options), [undefined], [5], [null]),
    ...calls("transition", (one) => store.transact(one, "k", {}), [undefined], [{}], ["lock.acquire"]),
    ...calls("input", (input) => store.transact(holdfast.valueTransitions[0]!, "k", input), [undefined], [5]),
    ...withOption("signal", (options) => store.increment("k", options), SIGNALS),
    ...withOption("signal", (options) => store.setIfAbsent("k", 1, options), SIGNALS),
    ...withOption("signal", (options) => store.compareAndDelete("k", 1, options), SIGNALS),
    ...withOption("signal", (options) => store.getAndDelete("k", options), SIGNALS),
  ],
  storesFromEngines: [
    ...calls("engine", js.storeFromEngine!, [], [null], [{}], [5]),
    ...calls("engine", js.keyValueStoreFromEngine!, [], [null], [{}], [5]),
    ...calls("KeyValueStore", (one) => js.observedStore!(one, { onOperation() {} }), [], [null], [{}], [5]),
    ...calls("options", (options) => js.observedStore!(store, options), [], [null], [5]),
  ],
  createLocks: [
    ...calls("AtomicStore", js.createLocks!, ...NOT_A_STORE.map((one) => [one])),
    ...calls("options", (options) => js.createLocks!(store, options), ...NOT_OPTIONS.map((one) => [one])),
    ...withOption("clock", (options) => js.createLocks!(store, options), [{}, 5]),
    ...withOption("timeout", (options) => js.createLocks!(store, options), DURATIONS),
  ],
  locks: [
    ...calls("options", (options) => locks.acquire("k", options), [], [null], [5], ["10s"]),
    ...calls("options", (options) => locks.acquireAll(["k"], options), [], [null], [5]),
    ...calls("options", (options) => locks.withLock("k", options, () => {}), [], [null], [5]),
    ...calls("function", (fn) => locks.withLock("misuse:fn", { ttl: "1m" }, fn), [], [null], [5]),
    ...calls("function", () => locks.withLock("k", () => {}), []),
    ...calls("array of keys", (keys) => locks.acquireAll(keys, { ttl: "1m" }), ["order:17"], [5], [], [{}]),
    ...calls("key", (key) => locks.acquireAll([key], { ttl: "1m" }), [5], [undefined]),
    ...calls("handle", (handle) => locks.resume(handle, { ttl: "1m" }), [], [null], ["x"], [{}]),
    ...calls("options", (options) => locks.resume({ key: "k", owner: "o" }, options), [], [null]),
    ...calls("options", (options) => locks.inspect("k", options), [5], [null]),
    ...calls("options", (options) => locks.forceRelease("k", options), [5], [null]),
    ...withOption("signal", (options) => locks.acquire("k", options), SIGNALS, { ttl: "1m" }),
    ...withOption("signal", (options) => locks.inspect("k", options), SIGNALS),
    ...withOption("signal", (options) => locks.forceRelease("k", options), SIGNALS),
    ...calls("options", async (options) => (await held()).release(options), [5], [null]),
    ...calls("options", async (options) => (await held()).extend("1m", options), [5], [null]),
  ],
  createIdempotency: [
    ...calls("AtomicStore", js.createIdempotency!, ...NOT_A_STORE.map((one) => [one])),
    ...calls(
      "options",
      (options) => js.createIdempotency!(store, options),
      ...NOT_OPTIONS.map((one) => [one]),
    ),
    ...withOption("clock", (options) => js.createIdempotency!(store, options), [{}, 5]),
    ...withOption("lease", (options) => js.createIdempotency!(store, options), DURATIONS),
  ],
  idempotency: [
    ...calls("function", (fn) => idempotency.run("misuse:fn", fn), [], [null], [5]),
    ...calls("options", (options) => idempotency.run("k", () => {}, options), [5], [null], ["x"]),
    ...calls("options", (options) => idempotency.begin("k", options), [5], [null], ["x"]),
    ...withOption("signal", (options) => idempotency.begin("k", options), SIGNALS),
    ...withOption("signal", (options) => idempotency.get("k", options), SIGNALS),
    ...withOption("retain", async (options) => idempotency.complete(await claim(), 1, options), [
      "no",
      0,
      null,
    ]),
    ...["complete", "abandon", "extend", "hold"].flatMap((name) =>
      calls("claim", (claim) => idempotency[name](claim), [], [null], [{}], ["k"])
    ),
  ],
  cache: [
    ...calls("a store", (one) => (createCache as Any)(one, { name: "c" }), [], [null], [5], [{}]),
    ...calls("options", (options) => (createCache as Any)(store, options), [], [null], [5], [[]]),
    ...calls("Cannot", withCache as Any, [], [null], [5], [{}]),
    ...calls("options", (...rest) => cacheOf.set("a", 1, ...rest), [], [null], [5]),
    ...calls("options", (...rest) => cacheOf.get("a", () => 1, ...rest), [], [null], [5]),
    ...calls("'fill' must be a function", (fill) => cacheOf.get("a", fill, { ttl: 1 }), [], [null], [5]),
    ...calls("array of keys", (keys) => cacheOf.getMany(keys, () => [], { ttl: 1 }), [], ["ab"], [null], [5]),
    ...calls("array of keys", (keys) => cacheOf.invalidate(keys), [], [null], [5], [{}]),
  ],
  createThrottle: [
    ...calls("AtomicStore", (one) => js.createThrottle!(one, rule), ...NOT_A_STORE.map((one) => [one])),
    ...calls(
      "options",
      (options) => js.createThrottle!(store, options),
      [undefined],
      ...NOT_OPTIONS.map((one) => [one]),
    ),
    ...withOption("clock", (options) => js.createThrottle!(store, options), [{}, 5], rule),
  ],
  throttle: [
    ...calls("options", (options) => throttle.check("k", options), [5], [null], ["x"]),
    ...calls("'Cost'", (options) => throttle.check("k", options), [{ Cost: 5 }]),
    ...calls("options", (options) => throttle.peek("k", options), [5], [null]),
    ...calls("'cost'", (options) => throttle.peek("k", options), [{ cost: 5 }]),
    ...calls("options", (options) => throttle.refund("k", 1, options), [5], [null]),
    ...calls("'x'", (options) => throttle.refund("k", 1, options), [{ x: 5 }]),
    ...calls("options", (options) => throttle.block("k", "1s", options), [5], [null]),
    ...calls("'x'", (options) => throttle.block("k", "1s", options), [{ x: 5 }]),
    ...calls("options", (options) => throttle.reset("k", options), [5], [null]),
    ...calls("'x'", (options) => throttle.reset("k", options), [{ x: 5 }]),
    ...withOption("signal", (options) => throttle.check("k", options), SIGNALS),
    ...withOption("signal", (options) => throttle.peek("k", options), SIGNALS),
    ...calls("key", (key) => throttle.check(key), [], [5], [""]),
  ],
  honoMiddleware: [
    ...["throttle", "lock", "idempotency"].flatMap((name) => [
      ...calls("options", web[name]!, [undefined], ...NOT_OPTIONS.map((one) => [one])),
    ]),
    ...calls("AtomicStore", (store) => web.throttle!({ ...rule, store }), [undefined], [5], [{}], [kv]),
    ...calls("AtomicStore", (store) => web.lock!({ store, key }), [undefined], [5], [{}], [kv]),
    ...calls("AtomicStore", (store) => web.idempotency!({ store, scope }), [undefined], [5], [{}], [kv]),
    ...withOption("methods", web.idempotency!, [[], "POST", [5], null], { store, scope }),
    ...withOption("required", web.idempotency!, ["false", 0, null], { store, scope }),
    ...withOption("strict", web.idempotency!, ["false", 0, null], { store, scope }),
  ],
  honoGuards: [
    ...calls('"30s"', web.requireFresh!, [], [null], ["30"], [{}]),
    ...calls("options", (options) => web.requireFresh!("5m", options), [null], [5]),
    ...calls("options", web.requireCsrfToken!, [null], [5], ["x"]),
  ],
  honoStoreFunctions: [undefined, null, {}, Promise.resolve(store), kv].flatMap((one) => [
    ["AtomicStore", () => request(web.throttle!({ ...rule, key, store: () => one }))] as const,
    ["AtomicStore", () => request(web.lock!({ key, store: () => one }))] as const,
    ["AtomicStore", () => request(web.idempotency!({ scope, store: () => one }))] as const,
  ]),
  sessionOptions: [js.createSessions!.bind(js, holdfast.atomicSessionStore(store)), sealed].flatMap((
    make,
  ) => [
    ...withOption("schema", make, [{}, 5, "zod", () => {}]),
    ...withOption("idleTimeout", make, ["13h", "30"]),
    ...withOption("idleTimeout", make, ["2h"], { absoluteTimeout: "1h" }),
    ...withOption("clock", make, [{}, 5]),
  ]),
  mailers: [
    ...["retrying", "idempotent", "rateLimited", "observed", "outbox"].flatMap((name) =>
      calls("mailer", (one) => js[name]!(one, store, {}), [], [null], [{}], [5])
    ),
    ...calls("options", (options) => js.retrying!(mailer, options), ...NOT_OPTIONS.map((one) => [one])),
    ...calls("options", (options) => js.observed!(mailer, options), [], [null]),
    ...calls("array of mailers", js.failover!, [], [null], [mailer], [mailer, mailer], ["ab"], [5]),
    ...calls("array of mailers", js.failover!, [[]], [[5]], [[undefined]], [[{}]]),
    ...calls("weights", (options) => js.failover!([mailer], options), [{ weights: 5 }]),
    ...calls("createIdempotency", (one) => js.idempotent!(mailer, one), [], [store], [null], [{}]),
    ...calls("createThrottle", (one) => js.rateLimited!(mailer, one), [], [store], [null], [{}]),
    ...calls("AtomicStore", (one) => js.outbox!(mailer, one), ...NOT_A_STORE.map((one) => [one])),
    ...calls("mailer", (one) => js.sendBulk!(one, []), [], [null], [{}]),
    ...calls("KeyValueStore", (one) => js.suppressing!(mailer, one), [], [null], [{}], [5]),
    ...calls("renders", (one) => js.rendering!(mailer, one), [], [null], [{}]),
    ...calls("'url'", (one) => js.oneClick!(one), [{}]),
    ...calls("provider", (one) => js.httpMailer!(one), []),
    ...calls("iterable", (messages) => js.sendBulk!(mailer, messages), [], [message], ["abc"]),
    ...withOption("signal", (options) => mailer.send(message, options), SIGNALS),
    ...withOption("signal", (options) => js.sendBulk!(mailer, [message], options), SIGNALS),
    ...calls("options", (options) => mailer.send(message, options), [5], [null]),
    ...calls("options", (options) => box.drain(options), [5], [null]),
    ...withOption("signal", (options) => box.drain(options), SIGNALS),
    ...calls("options", (options) => box.list(options).next(), [5], [null]),
  ],
  messages: [
    ...calls("message", (one) => mailer.send(one), [], [null], [5], ["x"], [[]]),
    ...withOption("text", (one) => mailer.send(one), [5, {}, true], message).map(
      ([, call]) => ["must be a string", call] as const,
    ),
    ...withOption("from", (one) => mailer.send(one), [undefined, null, 5, []], message),
    ["quotes", () => holdfast.parseAddress("Doe, Jane <a@b.example>")],
    ...calls("address", js.parseAddress!, [], [null], [5], [[]], [{}]),
    ...calls("'attachments'", (attachments) => js.prepareMessage!({ ...message, attachments }), [5], ["x"], [
      {},
    ]),
    ...calls("'attachments", (attachments) => js.prepareMessage!({ ...message, attachments }), [[5]], [[
      null,
    ]]),
    ...calls("'tags'", (tags) => js.prepareMessage!({ ...message, tags }), [5], ["x"], [[5]]),
    ...calls("'headers'", (headers) => js.prepareMessage!({ ...message, headers }), [5], ["x"], [[]]),
    ...calls("'metadata'", (metadata) => js.prepareMessage!({ ...message, metadata }), [5], ["x"], [{
      a: 5,
    }]),
    ...calls("'unsubscribe", (unsubscribe) => js.prepareMessage!({ ...message, unsubscribe }), [5], ["x"], [
      {},
    ]),
    ...calls("'calendar", (calendar) => js.prepareMessage!({ ...message, calendar }), [5], ["x"], [{}]),
    ...calls("message", (one) => js.buildMime!(one), [], [null], [5]),
    ...calls("options", (options) => js.buildMime!(message, options), [5], [null]),
  ],
  providers: [
    ...calls("options", mailgunMailer as Any, [], [null], [5]),
    ...calls("options", sendgridMailer as Any, [], [null], [5]),
    ...calls("options", sesMailer as Any, [], [null], [5]),
    ...calls("'apiKey'", resendMailer as Any, [], [null], [5], [{}]),
    ...calls("options", smtpMailer as Any, [], [null], [5]),
    ...withOption("auth", smtpMailer as Any, [{ user: "a", pass: "b" }, 5, {}], {
      connector: denoConnector(),
      host: "smtp.example.com",
    }),
    ...calls("connect", cloudflareConnector as Any, [], [null], [{}]),
    ...calls("options", nodeConnector as Any, [null], [5]),
    ...calls("options", denoConnector as Any, [null], [5]),
  ],
  engines: [
    ...calls("'url'", upstashStore as Any, [], [null], [5], ["https://x.upstash.io"], [{}]),
    ...calls("'prefix'", upstashStore as Any, [{ url: "https://x.upstash.io", token: "t", prefix: "shop" }]),
    ...calls("node-redis", upstashStore as Any, [{ evalSha() {}, eval() {}, connect() {} }]),
    ...([
      redisStore,
      denoKvStore,
      workersKvStore,
      postgresStore,
      mongodbStore,
      d1Store,
      libsqlStore,
      nodeSqliteStore,
      betterAuthStorage,
      durableObjects.durableObjectStore,
    ] as Any[]).flatMap((make) => calls("Cannot make a ", make, [], [null], [5], [{}])),
    ...calls("options", (options) => betterAuthStorage(store, options), [null], [5]),
    ...calls("'secret'", (options) => betterAuthStorage(store, options), [], [{}]),
  ],
};

/** Errors of the engine, which name no task and nothing to give. */
const RAW =
  /Cannot (read|set) propert|is not a function$|is not iterable|Cannot destructure|Cannot use 'in'|in operator|undefined is not|not a constructor|Cannot convert|Receiver must be|is not an (object|Object)/;

/** The fault of an answer to a misuse; `undefined` for a good refusal. */
async function flaw([says, call]: Misuse): Promise<string | undefined> {
  let error: unknown;
  try {
    const answer = await call() as Any;
    // A generator checks when it is read.
    if (typeof answer?.next === "function") await answer.next();
    return `is accepted: it must be refused with ${says}`;
  } catch (thrown) {
    error = thrown;
  }
  if (!(error instanceof TypeError || error instanceof RangeError)) return `throws ${error}`;
  if (!error.message.startsWith("Cannot ") || RAW.test(error.message)) return `says '${error.message}'`;
  return error.message.includes(says) ? undefined : `does not say ${says}: '${error.message}'`;
}

/** Serves one request by the middleware, and throws what it throws. */
async function request(middleware: Any): Promise<Response> {
  const app = new Hono();
  app.onError((error) => {
    throw error;
  });
  app.post("/", middleware, (c) => c.text("served"));
  const headers = { "idempotency-key": '"k"' };
  return await app.request("/", { method: "POST", headers });
}

for (const [name, misuses] of Object.entries(TABLE)) {
  Deno.test(`misuse of ${name} is refused in words`, async () => {
    assert(misuses.length > 0);
    const flaws: string[] = [];
    for (const misuse of misuses) {
      const found = await flaw(misuse);
      if (found) {
        flaws.push(
          `${Deno.inspect(misuse[2] ?? misuse[1].toString(), { compact: true }).slice(0, 90)} ${found}`,
        );
      }
    }
    assertEquals(flaws, []);
  });
}

Deno.test("the wording of a bad duration names the option and the forms", async () => {
  const { message } = await locks.acquire("k", { ttl: "30" }).catch((error: Error) => error);
  assertStringIncludes(message, `'ttl' must be milliseconds or a text like "30s", "5m"`);
  assertStringIncludes(message, `current value is "30"`);
});
