/**
 * Mistakes in the code between a store and its database: a method without its object, a function that returns nothing, a
 * password that was forgotten. They stay until the code is changed, so they are thrown and never open a throttle.
 */
import pg from "pg";
import postgres from "postgres";
import { type AtomicStore, createThrottle, HoldfastError, type KeyValueStore } from "@holdfast/edge";
import { mongodbStore } from "@holdfast/edge/mongodb";
import { type PostgresQuery, postgresStore } from "@holdfast/edge/postgres";
import { libsqlStore } from "@holdfast/edge/sqlite";
import { upstashStore } from "@holdfast/edge/upstash";
import { workersKvStore } from "@holdfast/edge/workers-kv";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

/** The error of a method that lost its object. */
function unbound(): Any {
  return (undefined as Any).connection;
}

const nothing = () => Promise.resolve();
const later = () => Promise.resolve().then(unbound);

/** The error of the pg client without a password, made by the client's own code. */
async function withoutPassword(): Promise<unknown> {
  const { default: sasl } = await import("pg/lib/crypto/sasl.js" as string);
  return sasl.continueSession(sasl.startSession(["SCRAM-SHA-256"]), undefined, "r=x");
}

const fails = (error: () => Promise<unknown>) => postgresStore(error as PostgresQuery);
const collection = { findOneAndUpdate: unbound, findOne: unbound, find: unbound, deleteMany: unbound };
const methods = ["updateOne", "deleteOne", "insertOne", "createIndex", "countDocuments", "aggregate"];

const mistakes: Record<string, [code: string, store: () => KeyValueStore]> = {
  "Postgres, a method without its object": ["misconfigured", () => fails(later)],
  "Postgres, a pool's own query function": [
    "misconfigured",
    () => fails(new pg.Pool({ host: "127.0.0.1", port: 9 }).query as Any),
  ],
  "Postgres, nothing is returned": ["misconfigured", () => fails(nothing)],
  "Postgres, something else is returned": ["misconfigured", () => fails(() => Promise.resolve({ row: [] }))],
  "Postgres, a tag of postgres.js": [
    "misconfigured",
    () => fails(postgres({ host: "127.0.0.1", port: 9 }) as Any),
  ],
  "Postgres, no password": ["unauthorized", () => fails(withoutPassword)],
  "libSQL": ["misconfigured", () => libsqlStore({ execute: unbound, batch: unbound } as Any)],
  "Redis, a method without its object": [
    "misconfigured",
    () => upstashStore({ evalsha: later, eval: later }),
  ],
  "MongoDB": [
    "misconfigured",
    () =>
      mongodbStore({ ...collection, ...Object.fromEntries(methods.map((name) => [name, unbound])) } as Any),
  ],
  "Workers KV": [
    "misconfigured",
    () =>
      workersKvStore(
        { get: unbound, put: unbound, delete: unbound, list: unbound, getWithMetadata: unbound } as Any,
      ),
  ],
};

for (const [name, [code, open]] of Object.entries(mistakes)) {
  Deno.test({
    name: `a mistake in the code is no outage: ${name}`,
    sanitizeResources: false, // clients keep timers of their own
    sanitizeOps: false,
    async fn() {
      const store = open();
      for (const call of [() => store.get("a"), () => store.set("a", 1)]) {
        const error = await assertRejects(call);
        assert(error instanceof HoldfastError, String(error));
        assertEquals([error.code, error.retryable], [code, false], error.message);
      }
      if (!("transact" in store)) return;
      const heard: unknown[] = [];
      const onFault = (error: unknown) => heard.push(error);
      const throttle = createThrottle(store as AtomicStore, { name: "a", limit: 1, window: "1m", onFault });
      const error = await assertRejects(() => throttle.check("a"));
      assertEquals([(error as HoldfastError).code, heard.length], [code, 1]);
    },
  });
}

Deno.test("a fetch that failed is an outage, although it is a TypeError", async () => {
  const query = async () => {
    await fetch("http://127.0.0.1:9/");
    return [];
  };
  const error = await assertRejects(() => postgresStore(query).get("a")) as HoldfastError;
  assertEquals([error.code, error.retryable], ["backend-unavailable", true]);
});
