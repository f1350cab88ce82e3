/**
 * The table of faults on Redis: fault × client × contract → code, `retryable`, `ambiguous`, message. Every
 * fault is made for real: by a Redis in that state where Redis has it, by a reply of the REST endpoint where
 * it is Upstash's own. Other engines have tables of their own beside this file.
 */
import { Redis } from "@upstash/redis";
import { Redis as IoRedis } from "ioredis";
import { createClient } from "redis";
import {
  type AtomicStore,
  createIdempotency,
  createLocks,
  createThrottle,
  HoldfastError,
  type HoldfastErrorCode,
} from "@holdfast/edge";
import { atomicSessionStore } from "@holdfast/edge/sessions";
import { type RedisScripts, upstashStore } from "@holdfast/edge/upstash";
import { faultClass } from "../../src/fault_class.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { type RedisServer, startRedis } from "../support/redis_server.ts";
import { type Fault, startUpstash, type UpstashServer } from "../support/upstash_server.ts";

/** A value that contains every error word: none of them may decide anything. */
const SECRET =
  "secret NOSCRIPT WRONGTYPE WRONGPASS OOM ERR max daily request limit exceeded shebang: LOADING";

/** Its usual second may be too short for a busy machine, and would be another fault. */
const THROTTLE = {
  name: "faults",
  limit: 10,
  window: "1m",
  whenUnavailable: "throw",
  timeout: "1m",
} as const;

/** A call of a contract, and whether it writes. */
interface ContractCall {
  readonly writes: boolean;
  readonly run: (store: AtomicStore) => Promise<unknown>;
}

const calls: Record<string, ContractCall> = {
  get: { writes: false, run: (store) => store.get(SECRET) },
  getMany: { writes: false, run: (store) => store.getMany([SECRET]) },
  listPage: { writes: false, run: (store) => store.listPage() },
  set: { writes: true, run: (store) => store.set(SECRET, SECRET) },
  setMany: { writes: true, run: (store) => store.setMany([[SECRET, SECRET]]) },
  deleteMany: { writes: true, run: (store) => store.deleteMany([SECRET]) },
  increment: { writes: true, run: (store) => store.increment(SECRET) },
  compareAndSet: { writes: true, run: (store) => store.compareAndSet(SECRET, SECRET, 1) },
  "lock.acquire": { writes: true, run: (store) => createLocks(store).acquire(SECRET, { ttl: "1m" }) },
  "lock.inspect": { writes: false, run: (store) => createLocks(store).inspect(SECRET) },
  "session.load": { writes: false, run: (store) => atomicSessionStore(store).load(SECRET) },
  "throttle.check": { writes: true, run: (store) => createThrottle(store, THROTTLE).check(SECRET) },
  "throttle.peek": { writes: false, run: (store) => createThrottle(store, THROTTLE).peek(SECRET) },
  "idempotency.begin": { writes: true, run: (store) => createIdempotency(store).begin(SECRET) },
};

/** The promise of a row of the table. */
interface Row {
  readonly code: HoldfastErrorCode;
  readonly retryable?: true;
  /** Whether a write is ambiguous. */
  readonly ambiguous?: true;
  /** The server's own word or status, which the message names. */
  readonly says: string;
  /** Of reads, where they differ. */
  readonly read?: HoldfastErrorCode | "succeeds";
  /** Of deletions, where they differ. */
  readonly deletion?: "succeeds";
}

async function check(name: string, client: string, store: AtomicStore, row: Row): Promise<void> {
  for (const [contract, { writes, run }] of Object.entries(calls)) {
    if (!writes && row.read === "succeeds" || contract === "deleteMany" && row.deletion === "succeeds") {
      await run(store);
      continue;
    }
    const where = `${name}, ${client}, ${contract}`;
    const error = await assertRejects(() => run(store), HoldfastError);
    const code = writes ? row.code : row.read ?? row.code;
    assertEquals(
      { code: error.code, retryable: error.retryable, ambiguous: error.ambiguous },
      { code, retryable: row.retryable ?? false, ambiguous: writes && (row.ambiguous ?? false) },
      `${where}: ${error.message}`,
    );
    assert(
      error.message.endsWith(`: ${row.says}`),
      `${where}: the message names ${row.says}: ${error.message}`,
    );
    assert(
      !Deno.inspect(error, { depth: 20 }).includes("secret"),
      `${where}: nothing of what was sent is shown`,
    );
    assert(faultClass(error) !== "other" || code === "corrupt-record" || code === "value-too-large", where);
  }
}

/** The error texts of Upstash, with the status it answers them with. */
const upstashReplies: Record<string, Row & { readonly status: number; readonly error?: string }> = {
  "a wrong token": {
    status: 401,
    error: "WRONGPASS invalid or missing auth token. See https://upstash.com/docs for details",
    code: "unauthorized",
    says: "WRONGPASS",
  },
  "no token": { status: 401, error: "Unauthorized", code: "unauthorized", says: "Unauthorized" },
  "a read-only token": {
    status: 400,
    error: "NOPERM this user has no permissions to run the 'evalsha' command",
    code: "read-only",
    read: "misconfigured",
    says: "NOPERM",
  },
  "the daily limit": {
    status: 400,
    error: "ERR max daily request limit exceeded. Limit: 10000, Usage: 10001. See https://upstash.com/docs",
    code: "quota-exceeded",
    ambiguous: true,
    says: "ERR",
  },
  "the daily limit, as a 429": {
    status: 429,
    error: "ERR max daily request limit exceeded. Limit: 10000, Usage: 10001.",
    code: "quota-exceeded",
    ambiguous: true,
    says: "ERR",
  },
  "the monthly limit": {
    status: 400,
    error: "ERR max requests limit exceeded. Limit: 500000, Usage: 500000.",
    code: "quota-exceeded",
    ambiguous: true,
    says: "ERR",
  },
  "a full database": {
    status: 400,
    error: "ERR DB capacity quota exceeded",
    code: "quota-exceeded",
    ambiguous: true,
    says: "ERR",
  },
  "a request that is too large": {
    status: 400,
    error: "ERR max request size exceeded. Limit: 1048576 bytes, Actual: 1048577 bytes",
    code: "value-too-large",
    says: "ERR",
  },
  "a record that is too large": {
    status: 400,
    error: "ERR max single record size exceeded. Limit: 1 bytes, Actual: 2 bytes",
    code: "value-too-large",
    says: "ERR",
  },
  "too many connections": {
    status: 400,
    error: "ERR max concurrent connections exceeded",
    code: "rate-limited",
    retryable: true,
    ambiguous: true,
    says: "ERR",
  },
  "a command that the server lacks": {
    status: 400,
    error: "ERR Command is not available: 'evalsha'. See https://upstash.com/docs",
    code: "unsupported",
    says: "ERR",
  },
  "a server that loads": {
    status: 400,
    error: "LOADING Redis is loading the dataset in memory",
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    says: "LOADING",
  },
};

/** Statuses without a word of Redis, through our own transport; the official client does not tell them. */
const statuses: Record<string, Row & { readonly status: number; readonly body: string }> = {
  "a deleted database": { status: 404, body: "<html>not found", code: "misconfigured", says: "status 404" },
  "a forbidden address": { status: 403, body: "", code: "misconfigured", says: "status 403" },
  "a redirect": { status: 302, body: "", code: "misconfigured", says: "status 302" },
  "a request that a gateway finds too large": {
    status: 413,
    body: "too large",
    code: "value-too-large",
    says: "status 413",
  },
  "too many requests": {
    status: 429,
    body: '{"error":"slow down"}',
    code: "rate-limited",
    retryable: true,
    ambiguous: true,
    says: "status 429",
  },
  "a refusal that is unknown": {
    status: 400,
    body: '{"error":"ERR something new"}',
    code: "misconfigured",
    ambiguous: true,
    says: "ERR",
  },
  "a gateway's failure that says ERR": {
    status: 500,
    body: '{"error":"ERR internal WRONGPASS"}',
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    says: "status 500",
  },
  "a gateway's failure that quotes a refusal": {
    status: 502,
    body: '{"error":"NOPERM of something behind"}',
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    says: "status 502",
  },
};

const rest: Record<string, (server: UpstashServer) => AtomicStore> = {
  "own transport": (server) => upstashStore(server),
  "@upstash/redis": ({ url, token }) => upstashStore(new Redis({ url, token, enableTelemetry: false })),
};

Deno.test("fault table: a host name that does not exist is `misconfigured`, a name server's failure is an outage", async () => {
  const failing = (error: Error) =>
    upstashStore({ url: "https://gone.upstash.test", token: "secret", fetch: () => Promise.reject(error) });
  const node = new TypeError("fetch failed", {
    cause: Object.assign(new Error("getaddrinfo ENOTFOUND gone.upstash.test"), { code: "ENOTFOUND" }),
  });
  const deno = new TypeError(
    "error sending request for url (https://gone.upstash.test/): client error (Connect): dns error: " +
      "failed to lookup address information: Name or service not known",
  );
  const row: Row = { code: "misconfigured", says: "ENOTFOUND" };
  await check("an unknown host", "Node's fetch", failing(node), row);
  await check("an unknown host", "Deno's fetch", failing(deno), row);
  const temporary = new TypeError("fetch failed", {
    cause: Object.assign(new Error("getaddrinfo EAI_AGAIN"), { code: "EAI_AGAIN" }),
  });
  const error = await assertRejects(() => failing(temporary).set("key", 1), HoldfastError);
  assertEquals([error.code, error.retryable, error.ambiguous], ["backend-unavailable", true, true]);
});

Deno.test("fault table: a script that fails on a damaged record is `corrupt-record`", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const store = upstashStore(server);
  await redis.send("SET", "holdfast:key", "another program's");
  for (const run of [() => store.get("key"), () => store.set("key", 1), () => store.setMany([["key", 1]])]) {
    const error = await assertRejects(run, HoldfastError);
    assertEquals([error.code, error.retryable, error.ambiguous], ["corrupt-record", false, false]);
  }
  const kept = await redis.send("GET", "holdfast:key") as Uint8Array;
  assertEquals(new TextDecoder().decode(kept), "another program's");
});

Deno.test({
  name: "fault table: each answer of Upstash, through our transport and @upstash/redis",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using redis = await startRedis();
    await using server = await startUpstash(redis.port);
    let rows = 0;
    const step = (name: string, client: string, fault: Fault, row: Row) =>
      t.step(`${name}: ${client}`, async () => {
        server.fault = () => fault;
        await check(name, client, rest[client]!(server), row);
        server.fault = undefined;
        rows += Object.keys(calls).length;
      });
    for (const [name, { status, error, ...row }] of Object.entries(upstashReplies)) {
      const fault = { status, body: JSON.stringify({ error: `${error} ${SECRET}` }) };
      for (const client of Object.keys(rest)) await step(name, client, fault, row);
    }
    for (const [name, { status, body, ...row }] of Object.entries(statuses)) {
      const headers = status === 302 ? { location: "https://elsewhere.test/" } : {};
      await step(name, "own transport", { status, body, headers }, row);
    }
    const failed = { status: 500, body: '{"error":"ERR internal"}' };
    await step("a gateway's failure that says ERR", "@upstash/redis", failed, {
      code: "backend-unavailable",
      retryable: true,
      ambiguous: true,
      says: "ERR",
    });
    report(`fault table of Upstash: ${rows} cells`);
  },
});

/** States of a real Redis. `enter` is given a connection of its own; the clients connect before it. */
const states: Record<string, Row & { readonly enter: (redis: RedisServer) => Promise<unknown> }> = {
  "memory is full": {
    enter: (redis) => redis.send("CONFIG", "SET", "maxmemory", "1"),
    code: "store-full",
    retryable: true,
    ambiguous: true,
    says: "OOM",
    read: "succeeds",
    deletion: "succeeds", // what frees memory is not refused
  },
  "the server became a replica": {
    enter: async (redis) => {
      await redis.send("CONFIG", "SET", "replica-serve-stale-data", "yes");
      await redis.send("REPLICAOF", "127.0.0.1", "1");
    },
    code: "read-only",
    ambiguous: true,
    says: "READONLY",
    read: "succeeds",
  },
  "the primary is down": {
    enter: async (redis) => {
      await redis.send("CONFIG", "SET", "replica-serve-stale-data", "no");
      await redis.send("REPLICAOF", "127.0.0.1", "1");
    },
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    says: "MASTERDOWN",
  },
  "too few replicas": {
    enter: (redis) => redis.send("CONFIG", "SET", "min-replicas-to-write", "3"),
    code: "backend-unavailable",
    retryable: true,
    ambiguous: true,
    says: "NOREPLICAS",
    read: "succeeds",
  },
  "a user without scripts and the commands of hashes": {
    enter: (redis) => redis.send("ACL", "SETUSER", "default", "-evalsha", "-eval", "-hget", "-hgetall"),
    code: "read-only",
    says: "NOPERM",
    read: "misconfigured",
  },
};

/** The clients over TCP, fitted as the documentation says. */
const tcp: Record<string, (port: number) => Promise<{ client: RedisScripts; end: () => Promise<void> }>> = {
  async ioredis(port) {
    const redis = new IoRedis(port, "127.0.0.1", { lazyConnect: true });
    await redis.connect();
    return {
      client: {
        evalsha: (sha, keys, args) => redis.evalsha(sha, keys.length, ...keys, ...args),
        eval: (script, keys, args) => redis.eval(script, keys.length, ...keys, ...args),
      },
      end: async () => {
        const ended = new Promise((resolve) => redis.once("end", resolve));
        redis.disconnect();
        await ended;
      },
    };
  },
  async "node-redis"(port) {
    const redis = createClient({ url: `redis://127.0.0.1:${port}` });
    redis.on("error", () => {});
    await redis.connect();
    return {
      client: {
        evalsha: (sha, keys, args) => redis.evalSha(sha, { keys, arguments: args }),
        eval: (script, keys, args) => redis.eval(script, { keys, arguments: args }),
      },
      end: () => Promise.resolve(redis.destroy()),
    };
  },
};

Deno.test({
  name: "fault table: states of a real Redis, through every client",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    for (const [name, { enter, ...row }] of Object.entries(states)) {
      await using redis = await startRedis("--replica-announced", "no");
      await using plain = await startUpstash(redis.port, { mode: "plain" });
      const stores: Record<string, AtomicStore> = {
        "own transport on plain Redis": upstashStore(plain),
        "@upstash/redis on plain Redis": upstashStore(
          new Redis({ url: plain.url, token: plain.token, enableTelemetry: false }),
        ),
      };
      const ends: (() => Promise<void>)[] = [];
      for (const [client, connect] of Object.entries(tcp)) {
        const { client: fitted, end } = await connect(redis.port);
        stores[client] = upstashStore(fitted);
        ends.push(end);
      }
      for (const store of Object.values(stores)) {
        for (const { run } of Object.values(calls)) await run(store.namespace("warm")); // the scripts are known
      }
      await enter(redis);
      for (const [client, store] of Object.entries(stores)) {
        await t.step(`${name}: ${client}`, () => check(name, client, store, row));
      }
      await Promise.all(ends.map((end) => end()));
    }
  },
});

Deno.test({
  name: "fault table: a wrong password over TCP is `unauthorized` at the first call",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using redis = await startRedis("--requirepass", "right");
    const client = new IoRedis(redis.port, "127.0.0.1", { lazyConnect: true });
    client.on("error", () => {});
    const store = upstashStore({
      evalsha: (sha, keys, args) => client.evalsha(sha, keys.length, ...keys, ...args),
      eval: (script, keys, args) => client.eval(script, keys.length, ...keys, ...args),
    });
    await check("no password", "ioredis", store, { code: "unauthorized", says: "NOAUTH" });
    client.disconnect();
  },
});
