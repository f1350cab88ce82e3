/**
 * The real packages against our structural types, for tsc with Cloudflare's own types and our package as npm gets it: in Deno's
 * check every import from `@cloudflare/workers-types` is silently `any` and its globals leak into all other files. Compiled,
 * never run.
 */
import { Redis } from "@upstash/redis";
import { Redis as WorkersRedis } from "@upstash/redis/cloudflare";
import { Hono } from "hono";
import { Cluster as IoCluster, Redis as IoRedis } from "ioredis";
import { createClient, createClientPool, createCluster } from "redis";
import { createClient as createLibsql } from "@libsql/client";
import { neon } from "@neondatabase/serverless";
import { MongoClient } from "mongodb";
import pg from "pg";
import postgres from "postgres";
import { AwsClient } from "aws4fetch";
import { Resend } from "resend";
import { connect } from "cloudflare:sockets";
import { z } from "zod";
import {
  durableObjectStore,
  type HoldfastNamespace,
  type HoldfastStub,
  type Transacted,
  type Watched,
} from "@holdfast/edge/durable-objects";
import { type DurableState, HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { idempotency, lock, session, type SessionVariables, throttle } from "@holdfast/edge/hono";
import { type MongodbCollection, mongodbStore } from "@holdfast/edge/mongodb";
import { type PostgresListen, type PostgresQuery, postgresStore } from "@holdfast/edge/postgres";
import { type IoRedisClient, type NodeRedisClient, redisStore } from "@holdfast/edge/redis";
import { type D1Binding, d1Store, type LibsqlClient, libsqlStore } from "@holdfast/edge/sqlite";
import { type ResendClient, resendMailer } from "@holdfast/edge/resend";
import { type SesClient, sesMailer } from "@holdfast/edge/ses";
import { type CloudflareConnect, cloudflareConnector, smtpMailer } from "@holdfast/edge/smtp";
import { type RedisScripts, upstashStore } from "@holdfast/edge/upstash";
import { type KvNamespace, workersKvStore } from "@holdfast/edge/workers-kv";
import { type AtomicStore, createLocks, createSessions } from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { type Mailer, memoryMailer, type Message, type MailOutbox, outbox } from "@holdfast/edge/mail";

/** Fails to compile when `T` is `any`, which satisfies everything and proves nothing. */
type Real<T> = 0 extends 1 & T ? never : T;
const real = <T>(_value: Real<T>): void => {};

// Workers KV
declare const kv: KVNamespace;
real<KVNamespace>(kv);
real<KvNamespace>(kv);
const cache = workersKvStore(kv, { cacheTtl: "5m" });
// @ts-expect-error a KVNamespace is no number
const kvIsReal: number = kv;
// @ts-expect-error Workers KV changes nothing atomically: no locks on it
createLocks(cache);
// @ts-expect-error nor is a cache a store's binding
workersKvStore(caches.default);

// Durable Objects
declare const objects: DurableObjectNamespace<HoldfastObject>;
declare const others: DurableObjectNamespace<SeatObject>;
real<DurableObjectNamespace<HoldfastObject>>(objects);
real<HoldfastNamespace>(objects);
const store: AtomicStore = durableObjectStore(objects, { locationHint: "weur" });
durableObjectStore(objects.jurisdiction("eu"));
durableObjectStore(others, { shards: 8 });
// @ts-expect-error an object of another class has none of the methods
durableObjectStore({} as DurableObjectNamespace<Other>);
// @ts-expect-error a place that does not exist
durableObjectStore(objects, { locationHint: "moon" });

class Other {
  declare [Rpc.__DURABLE_OBJECT_BRAND]: never;
  fetch(): Response {
    return new Response();
  }
}

// The class takes the arguments that the runtime hands to its constructor.
declare const state: DurableObjectState;
real<DurableState>(state);
new HoldfastObject(state, {});

const reserve: Transition = { name: "seat.reserve", apply: () => ({ output: {} }) };
export class SeatObject extends HoldfastObject {
  override readonly transitions = [reserve];
  seats(): number {
    return 7;
  }
}

// Calls to a stub are typed, our own methods and a user's.
export async function rpc(): Promise<void> {
  const stub = others.getByName("hall");
  real<HoldfastStub>(objects.getByName("hall"));
  const seats: number = await stub.seats();
  const answer: string = await stub.transact("value.get", "key", "{}");
  // @ts-expect-error the input travels as JSON
  await stub.transact("value.get", "key", {});
  const done: Transacted = JSON.parse(answer);
  if ("output" in done) {
    const version: number = done.version;
    const { v }: Readonly<Record<string, string>> = done.output;
    // @ts-expect-error a version is no text
    const text: string = done.version;
    void [version, v, text];
  }
  const watched: Watched = await stub.watch("key", undefined, 1000);
  // @ts-expect-error a count of seats is no text
  const wrong: string = await stub.seats();
  // @ts-expect-error no such method
  await stub.sell();
  void [seats, watched, wrong];
}

// Upstash
const redis = Redis.fromEnv();
real<Redis>(redis);
real<RedisScripts>(redis);
upstashStore(redis);
upstashStore(WorkersRedis.fromEnv({ UPSTASH_REDIS_REST_URL: "", UPSTASH_REDIS_REST_TOKEN: "" }));
// @ts-expect-error Redis is real
const redisIsReal: number = redis;
// @ts-expect-error a URL alone is no connection
upstashStore({ url: "https://example.upstash.io" });

// Other Redis clients, as the documentation fits them
const ioredis = new IoRedis();
real<IoRedis>(ioredis);
upstashStore({
  evalsha: (sha, keys, args) => ioredis.evalsha(sha, keys.length, ...keys, ...args),
  eval: (script, keys, args) => ioredis.eval(script, keys.length, ...keys, ...args),
});
const nodeRedis = createClient();
real<typeof nodeRedis>(nodeRedis);
upstashStore({
  evalsha: (sha, keys, args) => nodeRedis.evalSha(sha, { keys, arguments: args }),
  eval: (script, keys, args) => nodeRedis.eval(script, { keys, arguments: args }),
});
// @ts-expect-error as it comes, its arguments are others
upstashStore(ioredis);
// @ts-expect-error it says evalSha
upstashStore(nodeRedis);
// Redis, as it comes
real<IoRedisClient>(ioredis);
redisStore(ioredis);
const ioCluster = new IoCluster([]);
real<IoCluster>(ioCluster);
redisStore(ioCluster);
real<NodeRedisClient>(nodeRedis);
redisStore(nodeRedis);
const nodePool = createClientPool();
real<typeof nodePool>(nodePool);
redisStore(nodePool);
const nodeCluster = createCluster({ rootNodes: [] });
real<typeof nodeCluster>(nodeCluster);
redisStore(nodeCluster);
// @ts-expect-error a URL is no client
redisStore("redis://localhost");

// Postgres
const pool = new pg.Pool();
real<pg.Pool>(pool);
const byPg: PostgresQuery = (text, values) => pool.query(text, values);
postgresStore(byPg);
const sql = postgres("postgres://localhost");
real<typeof sql>(sql);
const listen: PostgresListen = (channel, notify) => sql.listen(channel, notify);
postgresStore((text, values) => sql.unsafe(text, values), { listen });
const http = neon("postgres://localhost");
real<typeof http>(http);
postgresStore((text, values) => http.query(text, values));
// @ts-expect-error a pool is no function
postgresStore(pool);

// SQLite
declare const d1: D1Database;
real<D1Database>(d1);
real<D1Binding>(d1);
d1Store(d1);
const libsql = createLibsql({ url: "file:x.db" });
real<typeof libsql>(libsql);
real<LibsqlClient>(libsql);
libsqlStore(libsql);
// @ts-expect-error a namespace is no database
d1Store(kv);

// MongoDB
const collection = new MongoClient("mongodb://localhost").db("app").collection("holdfast");
real<typeof collection>(collection);
real<MongodbCollection>(collection);
mongodbStore(collection);
// @ts-expect-error a database is no collection
mongodbStore(new MongoClient("mongodb://localhost").db("app"));

// @ts-expect-error neither a client nor a key
resendMailer({});

// Hono, zod and the bindings of a request
const Visitor = z.object({ userId: z.string().optional(), cart: z.array(z.string()).default([]) });
interface Env {
  readonly HOLDFAST: DurableObjectNamespace<HoldfastObject>;
}
const app = new Hono<{ Bindings: Env; Variables: SessionVariables<typeof Visitor> }>();
const perRequest = (c: { env: Env }) => durableObjectStore(c.env.HOLDFAST);
app.use(session({ store: perRequest, schema: Visitor }));
app.use("/api/*", throttle({ store: perRequest, name: "api", limit: 100, window: "1m" }));
app.post("/pay/:order", lock({ store, key: () => "pay", ttl: "5s" }), idempotency({ store, scope: () => "shop" }), async (c) => {
  const cart = await c.var.session.get("cart");
  real<string[]>(cart);
  // @ts-expect-error a cart is no number
  const wrong: number = cart;
  // @ts-expect-error a visitor has no such field
  await c.var.session.get("basket");
  const order: string = c.req.param("order");
  void wrong;
  return c.json({ order });
});
const sessions = createSessions(store, { schema: Visitor });
// @ts-expect-error what a session holds is what its schema says
sessions.open(null).set("cart", [1]);

// Mail
const resend = new Resend("re_123");
real<Resend>(resend);
real<ResendClient>(resend);
resendMailer(resend);
// @ts-expect-error Resend is real
const resendIsReal: number = resend;
// @ts-expect-error a part of the client is not the client
resendMailer(resend.emails);
const aws = new AwsClient({ accessKeyId: "", secretAccessKey: "" });
real<AwsClient>(aws);
real<SesClient>(aws);
sesMailer({ region: "eu-central-1", client: aws });
sesMailer({ region: "eu-central-1", client: () => Promise.resolve(aws) });
// @ts-expect-error credentials do not sign
sesMailer({ region: "eu-central-1", client: { accessKeyId: "", secretAccessKey: "" } });
real<typeof connect>(connect);
real<CloudflareConnect>(connect);
smtpMailer({ host: "smtp.example.com", connector: cloudflareConnector(connect) });
// @ts-expect-error nobody to be from
const nobody: Message = { to: "jane@example.com", subject: "Hello", text: "Hello" };

// An outbox is drained by an object's alarm, or behind the answer to a request.
interface MailEnv extends Env {
  readonly RESEND_KEY: string;
}
const outboxOf = (env: MailEnv): MailOutbox =>
  outbox(resendMailer({ apiKey: env.RESEND_KEY }), durableObjectStore(env.HOLDFAST));
export class Postman implements DurableObject {
  constructor(readonly ctx: DurableObjectState, readonly env: MailEnv) {}

  async fetch(): Promise<Response> {
    await this.ctx.storage.setAlarm(Date.now());
    return new Response();
  }

  async alarm(): Promise<void> {
    const { nextAfter } = await outboxOf(this.env).drain({ limit: 100 });
    if (nextAfter !== undefined) await this.ctx.storage.setAlarm(Date.now() + nextAfter);
  }
}
export const worker: ExportedHandler<MailEnv> = {
  async fetch(_request, env, ctx) {
    const mail = outboxOf(env);
    const queueing: Mailer = mail;
    await queueing.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
    ctx.waitUntil(mail.drain());
    return new Response();
  },
  async scheduled(_controller, env) {
    await outboxOf(env).drain();
  },
};

export { app, kvIsReal, nobody, redisIsReal, resendIsReal, Other };
