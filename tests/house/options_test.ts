/**
 * Options, of every public function and method that takes some: a name that it does not know is refused
 * before any I/O, and an optional option may be `undefined`.
 */
import {
  createIdempotency,
  createLocks,
  createSessions,
  createThrottle,
  memoryStore,
  systemClock,
} from "@holdfast/edge";
import { brevoMailer } from "@holdfast/edge/brevo";
import { cloudflareMailer } from "@holdfast/edge/cloudflare-email";
import { betterAuthStorage } from "@holdfast/edge/better-auth";
import { createCache } from "@holdfast/edge/cache";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { dkimSigned } from "@holdfast/edge/dkim";
import { durableObjectStore } from "@holdfast/edge/durable-objects";
import { observedStore, transactByCompareAndSet, VersionedTransactions } from "@holdfast/edge/engine";
import * as hono from "@holdfast/edge/hono";
import * as http from "@holdfast/edge/http";
import * as mail from "@holdfast/edge/mail";
import { mailgunMailer } from "@holdfast/edge/mailgun";
import { mongodbStore } from "@holdfast/edge/mongodb";
import { postmarkMailer } from "@holdfast/edge/postmark";
import { createOutbox } from "@holdfast/edge/outbox";
import { otelMailer, otelStore } from "@holdfast/edge/otel";
import { postgresStore } from "@holdfast/edge/postgres";
import { createRedisStore, redisStore } from "@holdfast/edge/redis";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { sesMailer, snsWebhook } from "@holdfast/edge/ses";
import * as sessionsModule from "@holdfast/edge/sessions";
import { denoConnector, nodeConnector, smtpMailer, verifySmtp } from "@holdfast/edge/smtp";
import { d1Store, libsqlStore, nodeSqliteStore } from "@holdfast/edge/sqlite";
import { manualClock } from "@holdfast/edge/testing";
import * as webhooks from "@holdfast/edge/webhooks";
import { createUpstashStore, upstashStore } from "@holdfast/edge/upstash";
import { workersKvStore } from "@holdfast/edge/workers-kv";
import { assert, assertEquals } from "../support/assert.ts";
import { readSurface } from "./exports.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

interface Case {
  /** Calls the function with these options. */
  call(options: Any): unknown;
  /** The options that it must have. */
  readonly required?: Record<string, unknown>;
}

/** A stand-in for a client: it has every method, and none of them is ever called. */
function client(...methods: string[]): Any {
  return Object.fromEntries(methods.map((name) => [name, () => {
    throw new Error(`I/O: ${name}() was called`);
  }]));
}

const store = memoryStore();
const locks = createLocks(store);
const idempotency = createIdempotency(store);
const throttle = createThrottle(store, { name: "options", limit: 1000, window: "1m" });
const sessions = createSessions(store);
const mailer = mail.memoryMailer();
const outbox = mail.outbox(mailer, store);
const suppressing = mail.suppressing(mailer, store);
const events = createOutbox(store, { name: "options", handle: () => {} });
const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
const sessionStore = () => sessionsModule.atomicSessionStore(memoryStore());
const keys = [{ id: "a", secret: new Uint8Array(32) }];
const transition = { name: "options.nothing", apply: () => ({ output: {} }) };
const dkimKey =
  (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]) as CryptoKeyPair).privateKey;
let count = 0;
const key = () => `key-${count++}`;
const fill = { fetch: () => Promise.resolve(new Response("{}")) };

/** By subpath and name; methods stand under their contract. */
const cases: Record<string, Case> = {
  ". createIdempotency": { call: (options) => createIdempotency(store, options) },
  ". createLocks": { call: (options) => createLocks(store, options) },
  ". createSessions": { call: (options) => createSessions(store, options) },
  ". createThrottle": {
    call: (options) => createThrottle(store, options),
    required: { name: "a", limit: 1, window: "1m" },
  },
  ". memoryStore": { call: (options) => memoryStore(options) },
  "./better-auth betterAuthStorage": {
    call: (options) => betterAuthStorage(store, options),
    required: { secret: "s".repeat(32) },
  },
  "./cache createCache": { call: (options) => createCache(store, options), required: { name: "a" } },
  "./deno-kv denoKvStore": { call: (options) => denoKvStore(client("atomic"), options) },
  "./dkim dkimSigned": {
    call: (options) => dkimSigned(mail.buildMime, options),
    required: { keys: [{ domain: "example.com", selector: "a", privateKey: dkimKey }] },
  },
  "./durable-objects durableObjectStore": {
    call: (options) => durableObjectStore(client("getByName"), options),
  },
  "./engine observedStore": {
    call: (options) => observedStore(store, options),
    required: { onOperation: () => {} },
  },
  "./engine transactByCompareAndSet": {
    call: (options) => {
      const backend = {
        load: () => Promise.resolve({ record: undefined, version: 0 }),
        commit: () => Promise.resolve(true),
      };
      return transactByCompareAndSet(backend, transition, "key", {}, options);
    },
    required: { clock: systemClock },
  },
  "./engine VersionedTransactions": {
    call: (options) => new VersionedTransactions(client("read", "commit"), options),
  },
  "./hono cache": { call: (options) => hono.cache(options), required: { store } },
  "./hono idempotency": {
    call: (options) => hono.idempotency(options),
    required: { store, scope: "public" },
  },
  "./hono lock": { call: (options) => hono.lock(options), required: { store, key: () => "a" } },
  "./hono problem": { call: (options) => hono.problem(409, "Conflict", options) },
  "./hono requireCsrfToken": { call: (options) => hono.requireCsrfToken(options) },
  "./hono requireFresh": { call: (options) => hono.requireFresh("5m", options) },
  "./hono session": { call: (options) => hono.session(options), required: { store } },
  "./hono throttle": {
    call: (options) => hono.throttle(options),
    required: { store, name: "a", limit: 1, window: "1m" },
  },
  "./hono webhook": {
    call: (options) => hono.webhook(options),
    required: { store, name: "a", verify: client, handle: client },
  },
  "./mail buildMime": { call: (options) => mail.buildMime(message, options) },
  "./mail failover": { call: (options) => mail.failover([mailer], options) },
  "./mail httpMailer": {
    call: (options) => mail.httpMailer(options),
    required: {
      name: "a",
      maxBytes: 1000,
      maxRecipients: 1,
      success: [200],
      ...client("exchange", "request", "id"),
    },
  },
  "./mail idempotent": { call: (options) => mail.idempotent(mailer, idempotency, options) },
  "./mail memoryMailer": { call: (options) => mail.memoryMailer(options) },
  "./mail observed": {
    call: (options) => mail.observed(mailer, options),
    required: { onOperation: () => {} },
  },
  "./outbox createOutbox": {
    call: (options) => createOutbox(store, options),
    required: { name: "a", handle: () => {} },
  },
  "./mail outbox": { call: (options) => mail.outbox(mailer, store, options) },
  "./mail prepareMessage": { call: (options) => mail.prepareMessage(options), required: message },
  "./mail rateLimited": { call: (options) => mail.rateLimited(mailer, throttle, options) },
  "./mail retrying": { call: (options) => mail.retrying(mailer, options) },
  "./mail sendBulk": { call: (options) => mail.sendBulk(mailer, [], options) },
  "./mail oneClick": {
    call: (options) => mail.oneClick(options),
    required: { url: "https://example.com/leave", secret: "s".repeat(32), unsubscribe: () => {} },
  },
  "./mail suppressing": { call: (options) => mail.suppressing(mailer, store, options) },
  "./http clientAddress": {
    call: (options) => http.clientAddress(new Request("https://a.test/"), {}, options),
  },
  "./http idempotentFetch": { call: (options) => http.idempotentFetch(fetch, options) },
  "./http problem": { call: (options) => http.problem(409, "Conflict", options) },
  "./http withIdempotency": {
    call: (options) => http.withIdempotency(() => new Response(), options),
    required: { store, scope: "public" },
  },
  "./http withLock": {
    call: (options) => http.withLock(() => new Response(), options),
    required: { store, key: () => "a" },
  },
  "./http withSession": {
    call: (options) => http.withSession(() => new Response(), options),
    required: { store },
  },
  "./http withThrottle": {
    call: (options) => http.withThrottle(() => new Response(), options),
    required: { store, name: "a", limit: 1, window: "1m" },
  },
  "./http withCache": {
    call: (options) => http.withCache(() => new Response(), options),
    required: { store },
  },
  "./mailgun mailgunMailer": {
    call: (options) => mailgunMailer(options),
    required: { apiKey: "key", domain: "mg.example.com" },
  },
  "./brevo brevoMailer": { call: (options) => brevoMailer(options), required: { apiKey: "key", ...fill } },
  "./cloudflare-email cloudflareMailer": { call: (options) => cloudflareMailer(client("send"), options) },
  "./postmark postmarkMailer": {
    call: (options) => postmarkMailer(options),
    required: { serverToken: "token", ...fill },
  },
  "./mongodb mongodbStore": {
    call: (options) => mongodbStore(client("updateOne", "createIndex"), options),
  },
  "./otel otelMailer": { call: (options) => otelMailer(mailer, options), required: { meter: undefined } },
  "./otel otelStore": { call: (options) => otelStore(store, options), required: { meter: undefined } },
  "./postgres postgresStore": { call: (options) => postgresStore(client("query").query, options) },
  "./redis createRedisStore": {
    call: (options) => createRedisStore(client("evalSha", "eval"), options),
    required: { scripts: [] },
  },
  "./redis redisStore": { call: (options) => redisStore(client("evalSha", "eval"), options) },
  "./resend resendMailer": {
    call: (options) => resendMailer(options),
    required: { apiKey: "re_1", ...fill },
  },
  "./sendgrid sendgridMailer": {
    call: (options) => sendgridMailer(options),
    required: { apiKey: "SG.1", ...fill },
  },
  "./ses sesMailer": {
    call: (options) => sesMailer(options),
    required: { region: "eu-central-1", client: client("fetch", "sign") },
  },
  "./ses snsWebhook": { call: (options) => snsWebhook(options), required: { topics: ["arn:aws:sns:a:1:b"] } },
  "./sessions atomicSessionStore": {
    call: (options) => sessionsModule.atomicSessionStore(store, options),
  },
  "./sessions copySessions": {
    call: (options) => sessionsModule.copySessions(sessionStore(), sessionStore(), options),
  },
  "./sessions createSealedSessions": {
    call: (options) => sessionsModule.createSealedSessions(options),
    required: { keys },
  },
  "./sessions keyValueSessionStore": {
    call: (options) => sessionsModule.keyValueSessionStore(store, options),
  },
  "./sessions replicatedSessions": {
    call: (options) => sessionsModule.replicatedSessions(sessionStore(), sessionStore(), options),
  },
  "./sessions sweepSessions": { call: (options) => sessionsModule.sweepSessions(sessionStore(), options) },
  "./smtp denoConnector": { call: (options) => denoConnector(options) },
  "./smtp nodeConnector": { call: (options) => nodeConnector(options) },
  "./smtp smtpMailer": {
    call: (options) => smtpMailer(options),
    required: { host: "localhost", connector: { perRequest: false, ...client("connect") } },
  },
  "./smtp verifySmtp": {
    // Its connector fails: what counts is that the options were taken.
    call: async (options) => {
      const connector: Any = { perRequest: false, connect: () => Promise.reject(new Error("no network")) };
      try {
        await verifySmtp({ host: "localhost", connector }, options);
      } catch (error) {
        if (!(error instanceof mail.MailError)) throw error;
      }
    },
  },
  "./sqlite d1Store": { call: (options) => d1Store(client("batch", "prepare"), options) },
  "./sqlite libsqlStore": { call: (options) => libsqlStore(client("batch", "execute"), options) },
  "./sqlite nodeSqliteStore": {
    call: (options) => nodeSqliteStore(client("prepare", "exec"), options),
  },
  "./testing manualClock": { call: (options) => manualClock(options) },
  "./upstash createUpstashStore": {
    call: (options) => createUpstashStore({ url: "https://example.upstash.io", token: "secret" }, options),
    required: { scripts: [] },
  },
  "./upstash upstashStore": {
    call: (options) => upstashStore({ url: "https://example.upstash.io", token: "secret" }, options),
  },
  "./webhooks github": { call: (options) => webhooks.github(options), required: { secret: "a" } },
  "./webhooks mailgun": { call: (options) => webhooks.mailgun(options), required: { secret: "a" } },
  "./webhooks sendgrid": {
    call: (options) => webhooks.sendgrid(options),
    required: { publicKey: "A".repeat(100) },
  },
  "./webhooks signedWebhook": {
    call: (options) => webhooks.signedWebhook(options),
    required: { secret: "a", signature: "x-signature", id: () => "1" },
  },
  "./webhooks slack": { call: (options) => webhooks.slack(options), required: { secret: "a" } },
  "./webhooks standardWebhooks": {
    call: (options) => webhooks.standardWebhooks(options),
    required: { secret: "A".repeat(32) },
  },
  "./webhooks stripe": { call: (options) => webhooks.stripe(options), required: { secret: "a" } },
  "./webhooks svix": { call: (options) => webhooks.svix(options), required: { secret: "A".repeat(32) } },
  "./webhooks webhook": {
    call: (options) => webhooks.webhook(options),
    required: { store, name: "a", verify: client, handle: client },
  },
  "./workers-kv workersKvStore": {
    call: (options) => workersKvStore(client("getWithMetadata", "get", "put", "delete", "list"), options),
  },

  "KeyValueStore get": { call: (options) => store.get(key(), options) },
  "KeyValueStore set": { call: (options) => store.set(key(), 1, options) },
  "KeyValueStore delete": { call: (options) => store.delete(key(), options) },
  "KeyValueStore exists": { call: (options) => store.exists(key(), options) },
  "KeyValueStore touch": { call: (options) => store.touch(key(), "1m", options) },
  "KeyValueStore getMany": { call: (options) => store.getMany([key()], options) },
  "KeyValueStore setMany": { call: (options) => store.setMany([[key(), 1]], options) },
  "KeyValueStore deleteMany": { call: (options) => store.deleteMany([key()], options) },
  "KeyValueStore list": { call: (options) => store.list(options) },
  "KeyValueStore listPage": { call: (options) => store.listPage(options) },
  "KeyValueStore clear": { call: (options) => store.namespace("cleared").clear(options) },
  "AtomicStore increment": { call: (options) => store.increment(key(), options) },
  "AtomicStore setIfAbsent": { call: (options) => store.setIfAbsent(key(), 1, options) },
  "AtomicStore compareAndSet": { call: (options) => store.compareAndSet(key(), 1, 2, options) },
  "AtomicStore compareAndDelete": { call: (options) => store.compareAndDelete(key(), 1, options) },
  "AtomicStore getAndDelete": { call: (options) => store.getAndDelete(key(), options) },
  "Locks acquire": {
    call: async (options) => await (await locks.acquire(key(), options))?.release(),
    required: { ttl: "1s" },
  },
  "Locks acquireAll": {
    call: async (options) => await (await locks.acquireAll([key()], options))?.release(),
    required: { ttl: "1s" },
  },
  "Locks withLock": { call: (options) => locks.withLock(key(), options, () => {}), required: { ttl: "1s" } },
  "Locks inspect": { call: (options) => locks.inspect(key(), options) },
  "Locks forceRelease": { call: (options) => locks.forceRelease(key(), options) },
  "Lock extend": {
    call: async (options) => {
      const lock = await locks.acquire(key(), { ttl: "1s" });
      try {
        return await lock!.extend("1s", options);
      } finally {
        await lock!.release();
      }
    },
  },
  "Lock release": {
    call: async (options) => {
      const lock = await locks.acquire(key(), { ttl: "1s" });
      try {
        return await lock!.release(options);
      } finally {
        await lock!.release();
      }
    },
  },
  "Idempotency begin": { call: (options) => idempotency.begin(key(), options) },
  "Idempotency run": { call: (options) => idempotency.run(key(), () => 1, options) },
  "Idempotency get": { call: (options) => idempotency.get(key(), options) },
  "Idempotency complete": { call: async (options) => idempotency.complete(await claim(), 1, options) },
  "Idempotency extend": { call: async (options) => idempotency.extend(await claim(), options) },
  "Idempotency abandon": { call: async (options) => idempotency.abandon(await claim(), options) },
  "Throttle check": { call: (options) => throttle.check(key(), options) },
  "Throttle peek": { call: (options) => throttle.peek(key(), options) },
  "Throttle refund": { call: (options) => throttle.refund(key(), 1, options) },
  "Throttle block": { call: (options) => throttle.block(key(), "1m", options) },
  "Throttle reset": { call: (options) => throttle.reset(key(), options) },
  "Sessions commit": { call: (options) => sessions.commit(sessions.open(null), options) },
  "Sessions revokeUser": { call: (options) => sessions.revokeUser("ada", options) },
  "SuppressingMailer suppress": { call: (options) => suppressing.suppress([], options) },
  "SuppressingMailer find": { call: (options) => suppressing.find("a@example.com", options) },
  "SuppressingMailer allow": { call: (options) => suppressing.allow("a@example.com", options) },
  "SuppressingMailer list": { call: (options) => collect(suppressing.list(options)) },
  "Mailer send": { call: (options) => mailer.send(message, options) },
  "Outbox add": { call: (options) => events.add(1, options) },
  "Outbox drain": { call: (options) => events.drain(options) },
  "Outbox list": { call: (options) => collect(events.list(options)) },
  "Outbox read": { call: (options) => events.read("id", options) },
  "Outbox requeue": { call: (options) => events.requeue("id", options) },
  "Outbox discard": { call: (options) => events.discard("id", options) },
  "MailOutbox send": { call: (options) => outbox.send(message, options) },
  "MailOutbox drain": { call: (options) => outbox.drain(options) },
  "MailOutbox list": { call: (options) => collect(outbox.list(options)) },
  "MailOutbox read": { call: (options) => outbox.read("id", options) },
  "MailOutbox requeue": { call: (options) => outbox.requeue("id", options) },
  "MailOutbox discard": { call: (options) => outbox.discard("id", options) },
};

/** Exported functions without an options object. */
const WITHOUT_OPTIONS = [
  "./dkim importDkimKey",
  "./engine keyValueStoreFromEngine",
  "./engine storeFromEngine",
  "./engine toMilliseconds",
  "./mail fetchExchange",
  "./mail formatAddress",
  "./mail jsonRequest",
  "./mail parseAddress",
  "./mail rendering",
  "./mail wireFiles",
  "./mail wireHeaders",
  "./mailgun mailgunFeedback",
  "./postmark postmarkFeedback",
  "./resend resendFeedback",
  "./sendgrid sendgridFeedback",
  "./ses sesFeedback",
  "./sessions sessionExpiry",
  "./otel workersTracer",
  "./smtp cloudflareConnector",
  "./testing faultyMailer",
  "./testing faultyStore",
  "./testing linksOf",
  "./smtp verpAddress",
  "./smtp verpRecipient",
];

async function claim(): Promise<Any> {
  const begun = await idempotency.begin(key());
  assert(begun.state === "new");
  return begun.claim;
}

async function collect(entries: AsyncIterable<unknown>): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const entry of entries) found.push(entry);
  return found;
}

async function failure(work: () => unknown): Promise<unknown> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return error;
  }
}

Deno.test("options: every exported function is in this file's tables", async () => {
  const functions = [...await readSurface()].flatMap(([subpath, symbols]) =>
    symbols.filter(({ isFunction }) => isFunction).map(({ name }) => `${subpath} ${name}`)
  );
  const known = [...Object.keys(cases), ...WITHOUT_OPTIONS];
  assertEquals(functions.filter((name) => !known.includes(name)), []);
});

for (const [name, { call, required = {} }] of Object.entries(cases)) {
  Deno.test(`options: ${name} refuses an unknown one, and accepts undefined for every optional one`, async () => {
    const error = await failure(() => call({ ...required, unheardOf: 1 }));
    assert(error instanceof TypeError, `no TypeError: ${error}`);
    assert(error.message.includes("unheardOf"), error.message);
    const known = /known are (.*)$/.exec(error.message)?.[1]?.split(", ") ?? [];
    const absent = Object.fromEntries(known.map((option) => [option, undefined]));
    const result = await failure(() => call({ ...absent, ...required }));
    assertEquals(result, undefined, `with ${known.join(", ")} undefined`);
  });

  if (Object.values(required).every((value) => value === undefined)) continue;
  Deno.test(`options: ${name} without the options that it needs says what to give`, async () => {
    for (const options of [undefined, null, {}]) {
      const error = await failure(() => call(options as never));
      assert(error instanceof TypeError || error instanceof RangeError, `${options}: no TypeError: ${error}`);
      assert(
        error.message.startsWith("Cannot ") && !/reading|destructure/.test(error.message),
        error.message,
      );
    }
  });
}

Deno.test("options: every optional property of an exported options interface includes undefined", async () => {
  const missing: string[] = [];
  for (const [subpath, symbols] of await readSurface()) {
    for (const { name, strict } of symbols) {
      if (/(Options|Access|Connection)$/.test(name)) {
        missing.push(...strict.map((at) => `${subpath} ${name}.${at}`));
      }
    }
  }
  assertEquals(missing, []);
});
