/**
 * The faults of Postgres, SQLite (D1, libSQL, `node:sqlite`) and MongoDB: each with its code, its class,
 * whether the call may be repeated, whether a write may have happened, and a word of the message that names
 * the cause. The errors have the codes and texts that the servers and clients document; those that only a
 * real server makes are in `tests/postgres`, `tests/sqlite` and `tests/mongodb`.
 */
import { createThrottle, HoldfastError, type KeyValueStore } from "@holdfast/edge";
import { type MongodbCollection, mongodbStore } from "@holdfast/edge/mongodb";
import { postgresStore } from "@holdfast/edge/postgres";
import { type D1Binding, d1Store, libsqlStore, nodeSqliteStore } from "@holdfast/edge/sqlite";
import { createClient } from "@libsql/client";
import { DatabaseSync } from "node:sqlite";
import { type FaultClass, faultClass } from "../../src/fault_class.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";

/** Code, class, retryable, ambiguous. */
type Row = readonly [code: string, kind: FaultClass, retryable: boolean, ambiguous: boolean];

interface Fault {
  /** Makes the store whose calls fail; `secret` is what was sent. */
  readonly open: () => KeyValueStore;
  readonly write: Row;
  /** The same for a read. */
  readonly read: Row;
  /** A word of the message that names the cause. */
  readonly names: RegExp;
}

const TIMEOUT = 30;
const failed = (properties: object, message = "secret") => Object.assign(new Error(message), properties);
const pg = (code: string, properties: object = {}) =>
  postgresStore(() => Promise.reject(failed({ code, ...properties })), { timeout: TIMEOUT });
const d1 = (message: string) => {
  const statement = { bind: () => statement };
  const binding: D1Binding = { prepare: () => statement, batch: () => Promise.reject(new Error(message)) };
  return d1Store(binding, { timeout: TIMEOUT });
};
const libsql = (code: string, message = `${code}: secret`, properties: object = {}) =>
  libsqlStore({ batch: () => Promise.reject(failed({ code, ...properties }, message)) }, {
    timeout: TIMEOUT,
  });
/** A database of a real client in which another program made the table, by that statement. */
const memory = (sql: string) => {
  const database = new DatabaseSync(":memory:");
  database.exec(sql);
  return nodeSqliteStore(database);
};
const libsqlMemory = (sql: string) => {
  const client = createClient({ url: ":memory:" });
  const made = client.execute(sql);
  return libsqlStore({ batch: async (...all) => (await made, await client.batch(...all)) });
};
const OTHER_TABLE = "create table holdfast (id integer, name text)";
const NO_KEY = "create table holdfast (prefix text, key text, record text, version text, expires_at integer)";
const mongodb = (properties: object) => {
  const fail = () => Promise.reject(failed(properties));
  const collection: MongodbCollection = {
    namespace: "app.records",
    findOne: fail,
    find: () => ({ toArray: fail }),
    insertOne: fail,
    updateOne: fail,
    deleteOne: fail,
    deleteMany: fail,
    bulkWrite: fail,
    createIndex: fail,
  };
  return mongodbStore(collection, { timeout: TIMEOUT });
};
const never = () => new Promise<never>(() => {});

const both = (code: string, kind: FaultClass, retryable = false) => {
  const row: Row = [code, kind, retryable, false];
  return { write: row, read: row };
};
const wrong = (code: string) => both(code, "misconfiguration");
const lost = {
  write: ["backend-unavailable", "outage", true, true],
  read: ["backend-unavailable", "outage", true, false],
} as const;
const late = {
  write: ["timeout", "outage", true, true],
  read: ["timeout", "outage", true, false],
} as const;
const server = { name: "MongoServerError" };

const FAULTS: Readonly<Record<string, Fault>> = {
  "postgres: silent": { open: () => postgresStore(never, { timeout: TIMEOUT }), ...late, names: /in time/ },
  "postgres: no table": { open: () => pg("42P01"), ...wrong("misconfigured"), names: /migrate\(\).*/ },
  "postgres: wrong password": { open: () => pg("28P01"), ...wrong("unauthorized"), names: /28P01/ },
  "postgres: no such database": { open: () => pg("3D000"), ...wrong("misconfigured"), names: /3D000/ },
  "postgres: no rights": { open: () => pg("42501"), ...wrong("misconfigured"), names: /42501/ },
  "postgres: a standby": { open: () => pg("25006"), ...wrong("read-only"), names: /25006/ },
  "postgres: disk full": { open: () => pg("53100"), ...wrong("quota-exceeded"), names: /53100/ },
  "postgres: too large": { open: () => pg("54000"), ...both("value-too-large", "other"), names: /54000/ },
  "postgres: serialization": {
    open: () => pg("40001"),
    ...both("contention", "outage", true),
    names: /40001/,
  },
  "postgres: statement cancelled": {
    open: () => pg("57014"),
    ...both("timeout", "outage", true),
    names: /57014/,
  },
  "postgres: too many connections": {
    open: () => pg("53300"),
    ...both("backend-unavailable", "outage", true),
    names: /53300/,
  },
  "postgres: connection refused, as a cause": {
    open: () => pg("", { cause: failed({ code: "ECONNREFUSED" }) }),
    ...both("backend-unavailable", "outage", true),
    names: /ECONNREFUSED/,
  },
  "postgres: shut down": { open: () => pg("57P01"), ...lost, names: /57P01/ },
  "postgres: connection lost": { open: () => pg("ECONNRESET"), ...lost, names: /connection failed/ },
  "d1: no table": {
    open: () => d1("D1_ERROR: no such table: holdfast: SQLITE_ERROR"),
    ...wrong("misconfigured"),
    names: /migrate\(\)/,
  },
  "d1: another version of the table": {
    open: () => d1("D1_ERROR: table holdfast has no column named prefix: SQLITE_ERROR"),
    ...wrong("misconfigured"),
    names: /migrate\(\)/,
  },
  "d1: another program's table": {
    open: () => d1("D1_ERROR: NOT NULL constraint failed: holdfast.name: SQLITE_CONSTRAINT"),
    ...wrong("misconfigured"),
    names: /migrate\(\)/,
  },
  "d1: lost": { open: () => d1("D1_ERROR: Network connection lost."), ...lost, names: /call failed/ },
  "d1: too big": {
    open: () => d1("D1_ERROR: string or blob too big: SQLITE_TOOBIG"),
    ...both("value-too-large", "other"),
    names: /large/,
  },
  "libsql: wrong token": {
    open: () => libsql("SERVER_ERROR", "Server returned HTTP status 401", { cause: { status: 401 } }),
    ...wrong("unauthorized"),
    names: /SERVER_ERROR/,
  },
  "libsql: plan used up": {
    open: () => libsql("SERVER_ERROR", "Server returned HTTP status 402", { cause: { status: 402 } }),
    ...wrong("quota-exceeded"),
    names: /SERVER_ERROR/,
  },
  "libsql: plan used up, as Turso blocks a database": {
    open: () => libsql("BLOCKED", "BLOCKED: Operation was blocked: SQL write operations are forbidden"),
    ...wrong("quota-exceeded"),
    names: /BLOCKED/,
  },
  "libsql: no table": {
    open: () => libsqlStore(createClient({ url: ":memory:" })),
    ...wrong("misconfigured"),
    names: /run migrate\(\) once/,
  },
  "libsql: no table, on Turso": {
    open: () =>
      libsql(
        "SQL_INPUT_ERROR",
        "SQL_INPUT_ERROR: SQLite input error: no such table: holdfast (at offset 14)",
      ),
    ...wrong("misconfigured"),
    names: /run migrate\(\) once/,
  },
  "libsql: no table, on Turso, in a batch": {
    open: () =>
      libsql("SQLITE_UNKNOWN", "SQLITE_UNKNOWN: SQLITE_UNKNOWN: SQLite error: no such table: main.holdfast"),
    ...wrong("misconfigured"),
    names: /run migrate\(\) once/,
  },
  "libsql: another version of the table": {
    open: () => libsqlMemory(OTHER_TABLE),
    ...wrong("misconfigured"),
    names: /run migrate\(\) once/,
  },
  "libsql: read-only": { open: () => libsql("SQLITE_READONLY"), ...wrong("read-only"), names: /READONLY/ },
  "libsql: busy for too long": {
    open: () => libsql("SQLITE_BUSY"),
    ...both("timeout", "outage", true),
    names: /in time/,
  },
  "libsql: 502": {
    open: () => libsql("SERVER_ERROR", "Server returned HTTP status 502", { cause: { status: 502 } }),
    ...lost,
    names: /call failed/,
  },
  "node:sqlite: no table": {
    open: () => nodeSqliteStore(new DatabaseSync(":memory:")),
    ...wrong("misconfigured"),
    names: /migrate\(\)/,
  },
  "node:sqlite: another version of the table": {
    open: () => memory(OTHER_TABLE),
    ...wrong("misconfigured"),
    names: /run migrate\(\) once/,
  },
  "node:sqlite: a file that is no database": {
    open: () => {
      const path = Deno.makeTempFileSync();
      Deno.writeTextFileSync(path, "no database".repeat(100));
      const database = new DatabaseSync(path);
      Deno.removeSync(path); // the open file lives on
      return nodeSqliteStore(database);
    },
    ...wrong("misconfigured"),
    names: /no database/,
  },
  "mongodb: no server": {
    open: () => mongodb({ name: "MongoServerSelectionError" }),
    ...both("backend-unavailable", "outage", true),
    names: /no server/,
  },
  "mongodb: wrong password": {
    open: () => mongodb({ ...server, code: 18 }),
    ...wrong("unauthorized"),
    names: /18/,
  },
  "mongodb: stepped down": {
    open: () => mongodb({ ...server, code: 189 }),
    ...lost,
    names: /connection failed/,
  },
  "mongodb: connection lost": {
    open: () => mongodb({ name: "MongoNetworkError" }),
    ...lost,
    names: /connection failed/,
  },
  "mongodb: too large": {
    open: () => mongodb({ ...server, code: 10334 }),
    ...both("value-too-large", "other"),
    names: /10334/,
  },
  "mongodb: a command that is refused": {
    open: () => mongodb({ ...server, code: 2 }),
    ...wrong("misconfigured"),
    names: /\(2\)/,
  },
};

for (const [fault, { open, write, read, names }] of Object.entries(FAULTS)) {
  Deno.test(`faults: ${fault}`, async () => {
    const store = open();
    const seen = async (call: () => Promise<unknown>): Promise<Row> => {
      const error = await assertRejects(call, HoldfastError);
      assert(names.test(error.message), error.message);
      assert(!Deno.inspect(error, { depth: 20 }).includes("secret"), "nothing of what was sent is shown");
      return [error.code, faultClass(error), error.retryable, error.ambiguous];
    };
    assertEquals(await seen(() => store.set("secret", "secret")), write);
    assertEquals(await seen(() => store.get("secret")), read);
  });
}

Deno.test("faults: a table without its primary key refuses writes and opens no throttle, on SQLite and libSQL", async () => {
  for (
    const store of [
      memory(NO_KEY),
      libsqlMemory(NO_KEY),
      memory(`${NO_KEY.slice(0, -1)}, name text not null)`),
    ]
  ) {
    const error = await assertRejects(() => store.set("secret", "secret"), HoldfastError);
    assertEquals([error.code, error.ambiguous], ["misconfigured", false]);
    const throttle = createThrottle(store, { name: "door", limit: 1, window: "1m" });
    assertEquals((await assertRejects(() => throttle.check("ada"), HoldfastError)).code, "misconfigured");
  }
});

Deno.test("faults: a store on a connection that is in the application's own transaction says so, and opens no throttle", async () => {
  using database = new DatabaseSync(":memory:");
  const store = nodeSqliteStore(database);
  await store.migrate();
  const throttle = createThrottle(store, { name: "door", limit: 1, window: "1m" });
  database.exec("begin");
  for (const call of [() => store.increment("n"), () => throttle.check("ada")]) {
    const error = await assertRejects(call, HoldfastError);
    assertEquals([error.code, error.ambiguous], ["misconfigured", false]);
    assert(/transaction of the application/.test(error.message), error.message);
  }
  database.exec("commit");
  assertEquals((await throttle.check("ada")).allowed, true);
});

Deno.test("faults: a write whose reply was lost is sent once: the caller decides about repeating it", async () => {
  let sent = 0;
  const store = postgresStore(() => (sent++, Promise.reject(failed({ code: "ECONNRESET" }))));
  for (const call of [() => store.set("a", 1), () => store.delete("a"), () => store.setMany([["a", 1]])]) {
    sent = 0;
    const error = await assertRejects(call, HoldfastError);
    assertEquals([sent, error.ambiguous], [1, true]);
  }
});
