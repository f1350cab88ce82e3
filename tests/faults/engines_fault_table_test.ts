/**
 * The faults of the engines memory, Durable Objects, Workers KV and Deno KV: each with its code, its class, whether the call may be
 * repeated, whether a write may have happened, and a word of the message that names the cause. Faults that only the real engine
 * makes are made by it; the others are errors as the runtime documents or throws them.
 */
import { type AtomicStore, HoldfastError, type KeyValueStore, memoryStore } from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { type DenoKv, denoKvStore } from "@holdfast/edge/deno-kv";
import { durableObjectStore, type HoldfastStub } from "@holdfast/edge/durable-objects";
import { type KvNamespace, workersKvStore } from "@holdfast/edge/workers-kv";
import { type FaultClass, faultClass } from "../../src/fault_class.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";

/** Code, class, retryable, ambiguous. */
type Row = readonly [code: string, kind: FaultClass, retryable: boolean, ambiguous: boolean];

interface Fault {
  /** Makes the store whose calls fail. */
  readonly open: () => KeyValueStore | Promise<KeyValueStore>;
  readonly write: Row;
  /** The same for a read; absent where reads do not fail. */
  readonly read?: Row;
  /** A word of the message that names the cause. */
  readonly names: RegExp;
}

const hold: Transition = {
  name: "test.hold",
  apply: () => ({ output: {}, write: { record: { a: "1" }, retention: "protected" } }),
};

const objects = (error: unknown) =>
  durableObjectStore({ getByName: () => failingStub(() => Promise.reject(error)) }, {
    timeout: 20,
    shards: 1,
  });

function failingStub(call: () => Promise<never>): HoldfastStub {
  return { transact: call, getMany: call, setMany: call, deleteMany: call, list: call, watch: call };
}

const kvFailing = (error: unknown): KvNamespace => {
  const fail = () => Promise.reject(error);
  return { getWithMetadata: fail, put: fail, delete: fail, list: fail };
};

const deno = (error: unknown, timeout = 1000) => {
  const fail = () => Promise.reject(error);
  const kv = { get: fail, getMany: fail, set: fail, atomic: () => ({}), watch: fail, list: fail };
  return denoKvStore(kv as unknown as DenoKv, { timeout });
};

const named = (name: string, message: string) => Object.assign(new Error(message), { name });
const never = () => new Promise<never>(() => {});
const lost: Row = ["backend-unavailable", "outage", true, true];
const lostRead: Row = ["backend-unavailable", "outage", true, false];
const late: Row = ["timeout", "outage", true, true];
const lateRead: Row = ["timeout", "outage", true, false];
const wrong = (code: string): Row => [code, "misconfiguration", false, false];

const FAULTS: Readonly<Record<string, Fault>> = {
  "memory: full of protected records": {
    open: async () => {
      const store = memoryStore({ maxEntries: 1 });
      await store.transact(hold, "held", {});
      return store;
    },
    write: ["store-full", "outage", true, false],
    names: /'maxEntries'/,
  },
  "objects: silent": {
    open: () => durableObjectStore({ getByName: () => failingStub(never) }, { timeout: 20 }),
    write: late,
    read: lateRead,
    names: /in time/,
  },
  "objects: connection lost": {
    open: () => objects(Object.assign(new Error("Network connection lost."), { retryable: true })),
    write: lost,
    read: lostRead,
    names: /call to it failed/,
  },
  "objects: reset": {
    open: () => objects(Object.assign(new Error("reset"), { durableObjectReset: true })),
    write: lost,
    read: lostRead,
    names: /was reset/,
  },
  "objects: overloaded": {
    open: () => objects(Object.assign(new Error("overloaded"), { overloaded: true })),
    write: ["backend-unavailable", "outage", true, false],
    read: lostRead,
    names: /overloaded/,
  },
  "objects: an error inside": {
    open: () => objects(Object.assign(new Error("x"), { remote: true })),
    write: ["backend-unavailable", "outage", false, true],
    read: ["backend-unavailable", "outage", false, false],
    names: /failed/,
  },
  "objects: old compatibility date": {
    open: () => durableObjectStore({ getByName: () => ({}) as HoldfastStub }),
    write: wrong("misconfigured"),
    read: wrong("misconfigured"),
    names: /compatibility_date.*2024-04-03/,
  },
  "objects: another class": {
    open: () => objects(new TypeError('The RPC receiver does not implement the method "transact".')),
    write: wrong("misconfigured"),
    read: wrong("misconfigured"),
    names: /HoldfastObject/,
  },
  "objects: unknown transition": {
    open: () =>
      durableObjectStore({
        getByName: () => ({
          ...failingStub(never),
          transact: () => Promise.resolve(JSON.stringify({ refused: "transition-unknown" })),
        }),
      }),
    write: wrong("transition-unknown"),
    read: wrong("transition-unknown"),
    names: /'transitions'/,
  },
  "workers-kv: silent": {
    open: () => workersKvStore({ ...kvFailing(0), getWithMetadata: never, put: never }, { timeout: 20 }),
    write: late,
    read: lateRead,
    names: /in time/,
  },
  "workers-kv: 500": {
    open: () => workersKvStore(kvFailing(new Error("KV PUT failed: 500 Internal Server Error"))),
    write: lost,
    read: lostRead,
    names: /500/,
  },
  "workers-kv: 429": {
    open: () => workersKvStore(kvFailing(new Error("KV PUT failed: 429 Too Many Requests"))),
    write: ["rate-limited", "outage", true, false],
    read: ["rate-limited", "outage", true, false],
    names: /429/,
  },
  "workers-kv: 401": {
    open: () => workersKvStore(kvFailing(new Error("KV PUT failed: 401 Unauthorized"))),
    write: wrong("unauthorized"),
    read: wrong("unauthorized"),
    names: /401/,
  },
  "workers-kv: namespace deleted": {
    open: () => workersKvStore(kvFailing(new Error("KV GET failed: 404 Not Found"))),
    write: wrong("misconfigured"),
    read: wrong("misconfigured"),
    names: /404/,
  },
  "workers-kv: daily limit": {
    open: () => workersKvStore(kvFailing(new Error("KV put() limit exceeded for the day."))),
    write: wrong("quota-exceeded"),
    read: wrong("quota-exceeded"),
    names: /day/,
  },
  "workers-kv: too many operations": {
    open: () => workersKvStore(kvFailing(new Error("Too many API requests by single worker invocation."))),
    write: wrong("quota-exceeded"),
    read: wrong("quota-exceeded"),
    names: /one request/,
  },
  "workers-kv: connection lost, with a status in what follows": {
    open: () => workersKvStore(kvFailing(new Error("Network connection lost. KV PUT failed: 401"))),
    write: lost,
    read: lostRead,
    names: /operation failed/,
  },
  "deno-kv: silent": {
    open: () => {
      const kv = { get: never, set: never, getMany: never, atomic: () => ({}) };
      return denoKvStore(kv as unknown as DenoKv, { timeout: 20 });
    },
    write: late,
    read: lateRead,
    names: /in time/,
  },
  "deno-kv: connection lost": {
    open: () => deno(new Error("error sending request")),
    write: lost,
    read: lostRead,
    names: /operation failed/,
  },
  "deno-kv: locked by another process": {
    open: () => deno(new TypeError("database is locked"), 30),
    write: ["contention", "outage", true, false],
    read: ["contention", "outage", true, false],
    names: /locked/,
  },
  "deno-kv: closed": {
    open: async () => {
      const kv = await Deno.openKv(":memory:");
      kv.close();
      return denoKvStore(kv);
    },
    write: wrong("misconfigured"),
    read: wrong("misconfigured"),
    names: /closed/,
  },
  "deno-kv: permission denied": {
    open: () => deno(named("NotCapable", "Requires net access")),
    write: wrong("unauthorized"),
    read: wrong("unauthorized"),
    names: /denies/,
  },
  "deno-kv: beyond a limit": {
    open: () => deno(new TypeError("Value too large (max 65536 bytes)")),
    write: ["value-too-large", "other", false, false],
    read: ["value-too-large", "other", false, false],
    names: /limits/,
  },
};

for (const [fault, { open, write, read, names }] of Object.entries(FAULTS)) {
  Deno.test(`faults: ${fault}`, async () => {
    const store = await open();
    const seen = async (call: () => Promise<unknown>): Promise<Row> => {
      const error = await assertRejects(call, HoldfastError);
      assert(names.test(error.message), error.message);
      assert(!/secret/.test(error.message), "the message holds no key and no value");
      return [error.code, faultClass(error), error.retryable, error.ambiguous];
    };
    const writing = fault.startsWith("memory")
      ? () => (store as AtomicStore).transact(hold, "secret", {})
      : () => store.set("secret", "secret");
    assertEquals(await seen(writing), write);
    if (read !== undefined) assertEquals(await seen(() => store.get("secret")), read);
  });
}

Deno.test("faults: a write whose reply was lost is sent once: the caller decides about repeating it", async () => {
  const sent: string[] = [];
  const reset = Object.assign(new Error("reset"), { durableObjectReset: true, retryable: true });
  const count = (name: string) => () => (sent.push(name), Promise.reject(reset));
  const stub = failingStub(count("call"));
  const store = durableObjectStore({ getByName: () => stub }, { shards: 1 });
  const calls: Record<string, () => Promise<unknown>> = {
    set: () => store.set("key", 1),
    increment: () => store.increment("key"),
    compareAndSet: () => store.compareAndSet("key", 1, 2),
    compareAndDelete: () => store.compareAndDelete("key", 1),
    getAndDelete: () => store.getAndDelete("key"),
    touch: () => store.touch("key", "1m"),
    delete: () => store.delete("key"),
    deleteMany: () => store.deleteMany(["key"]),
    setMany: () => store.setMany([["key", 1]]),
  };
  for (const [name, call] of Object.entries(calls)) {
    sent.length = 0;
    const error = await assertRejects(call, HoldfastError);
    assertEquals([name, sent.length, error.ambiguous], [name, 1, true]);
  }
});
