/**
 * An engine over one SQL table, written once for every database: a row is a record, with its key, its fields
 * as JSON, a version and a deadline. A database brings its statements and a way to run them.
 */
import type {
  AtomicEngine,
  Awaitable,
  EngineLimits,
  EngineListOptions,
  EngineWatchOptions,
} from "./engine.ts";
import type { TransactOptions } from "./atomic_store.ts";
import { systemClock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";
import type { CallOptions, ListPage } from "./key_value_store.ts";
import { randomToken } from "../secret.ts";
import { checkInteger, checkOptionNames } from "../validate.ts";
import { escapeKey, successor, unescapeKey } from "./key_text.ts";
import { readRecord, readValue } from "./record_text.ts";
import type { Fields, Transition } from "./transition.ts";
import {
  ABSENT_VERSION,
  type CommitReply,
  type StoredRecord,
  type VersionedBackend,
  VersionedTransactions,
} from "./versioned_engine.ts";

/**
 * A row, by column.
 *
 * @category Engines
 */
export type SqlRow = Readonly<Record<string, unknown>>;

/**
 * The statements that a database is asked, with the values of each statement in order. Every key and prefix
 * is escaped.
 *
 * A conditional write (`insert`, `update`, `remove`) answers one row: `done`, above 0 when it wrote, and the
 * columns of `load`: `now`, and `record`, `version`, `expires` or null where the key is absent. Every column
 * has a name of one word: clients can be set to rename the others (`expires_at` to `expiresAt`).
 */
export interface SqlOperations {
  /** `prefix, key` → the row, an expired one included. */
  readonly load: string;
  /** `prefix, key, record, version, expires_at`: writes where the key is absent. */
  readonly insert: string;
  /** `prefix, key, record, version, expires_at, expected`: writes where the version is the expected one. */
  readonly update: string;
  /** `prefix, key, expected`: deletes where the version is the expected one. */
  readonly remove: string;
  /** `prefix, key` → `record` where it lives. */
  readonly get: string;
  /** `prefix, key, record, version, ttl`: writes whatever is there. */
  readonly set: string;
  /** `prefix, key` → `live`. */
  readonly delete: string;
  /** `prefix, key, ttl, version` → a row where it lives. */
  readonly touch: string;
  /** `prefix, keys as JSON` → `key, record` of those that live. */
  readonly getMany: string;
  /** `prefix, [key, record][] as JSON, version, ttl`. */
  readonly setMany: string;
  /** `prefix, keys as JSON` → `live` of each. */
  readonly deleteMany: string;
  /** `prefix, least key, key before, key beyond or null, limit` → `key` in order. */
  readonly list: string;
}

/** Notifications that a database sends about changed rows. */
export interface SqlChanges {
  /** Begins to wait for changes of a row; the waiting ends with `Symbol.dispose`. */
  wait(prefix: string, key: string): Promise<SqlChangeWait>;
}

/** A wait for changes of one row. */
export interface SqlChangeWait extends Disposable {
  /**
   * Waits for a change (`true`), at most so many milliseconds; a change since the wait began ends it at once.
   */
  next(milliseconds: number, signal: AbortSignal | undefined): Promise<boolean>;
}

/**
 * The time for which a waiter trusts notifications before it reads the row itself, in milliseconds: a
 * connection may be lost in silence.
 */
const READ_INTERVAL = 2000;

/** Runs the operations of one database. */
export interface SqlBackend {
  /** A short name for events and tables. */
  readonly name: string;
  /** The limits of a key and a record. */
  readonly limits: EngineLimits;
  /** The client that was handed in. */
  readonly binding: object;
  /** The table and the prefix. */
  readonly scope: string;
  /** Tells of changed rows; absent where the database or the client cannot. */
  readonly changes?: SqlChanges | undefined;
  /** Runs one operation in one trip; rejects with a fault. */
  run(
    operation: keyof SqlOperations,
    values: unknown[],
    writes: boolean,
    signal: AbortSignal | undefined,
  ): Awaitable<readonly SqlRow[]>;
}

/** Options of {@linkcode SqlEngine}. */
export interface SqlEngineOptions {
  /** The name of this store's keys in the table. */
  readonly prefix: string;
  /** A virtual time in place of the server's, for tests. */
  readonly virtualTime?: (() => number) | undefined;
  /** Whether each call is a transaction of its own; `false` within one of the caller's. */
  readonly alone: boolean;
}

/** The engine. */
export class SqlEngine implements AtomicEngine {
  readonly name: string;
  readonly limits: EngineLimits;
  readonly binding: object;
  readonly scope: string;
  readonly #sql: SqlBackend;
  readonly #prefix: string;
  readonly #transactions: VersionedTransactions;
  readonly watch?: (key: string, options: EngineWatchOptions) => Promise<boolean>;

  /** Sends nothing yet. */
  constructor(backend: SqlBackend, { prefix, virtualTime, alone }: SqlEngineOptions) {
    this.name = backend.name;
    this.limits = backend.limits;
    this.binding = backend.binding;
    this.scope = backend.scope;
    this.#sql = backend;
    this.#prefix = escapeKey(prefix);
    // The caller's transaction may roll back: no state that it saw is remembered.
    const options = { virtualTime, coalesce: alone, remember: alone };
    this.#transactions = new VersionedTransactions(this.#versioned, options);
    const { changes } = backend;
    if (changes) this.watch = (key, options) => this.#watch(changes, key, options);
  }

  transact(transition: Transition, key: string, input: Fields, options?: TransactOptions): Promise<Fields> {
    return this.#transactions.transact(transition, key, input, options);
  }

  readonly #versioned: VersionedBackend = {
    load: async (key, signal) => {
      const [row] = await this.#run("load", [escapeKey(key)], false, signal);
      return stored(row);
    },
    commit: async (key, expected, version, { record, expiresAt }, signal): Promise<CommitReply> => {
      const next = [record && JSON.stringify(record), version, expiresAt ?? null];
      const [row] = record === undefined
        ? await this.#run("remove", [escapeKey(key), expected], true, signal)
        : expected === undefined
        ? await this.#run("insert", [escapeKey(key), ...next], true, signal)
        : await this.#run("update", [escapeKey(key), ...next, expected], true, signal);
      const state = stored(row);
      return Number(column(row, "done")) > 0 ? { done: true, now: state.now } : { done: false, ...state };
    },
  };

  /**
   * The wait begins before the row is read: a change after the reading notifies, one before it shows in the
   * version.
   */
  async #watch(
    changes: SqlChanges,
    key: string,
    { timeout, since, signal }: EngineWatchOptions,
  ): Promise<boolean> {
    const ends = systemClock.monotonic() + timeout;
    // Without `using`, for which bundlers add a helper of half a kilobyte.
    const wait = await changes.wait(this.#prefix, escapeKey(key));
    try {
      for (let seen = since;;) {
        const { version = ABSENT_VERSION } = await this.#versioned.load(key, signal);
        seen ??= version;
        if (version !== seen) return true;
        const left = ends - systemClock.monotonic();
        if (left <= 0) return false;
        if (await wait.next(Math.min(left, READ_INTERVAL), signal)) return true;
      }
    } finally {
      wait[Symbol.dispose]();
    }
  }

  async get(key: string, options?: CallOptions): Promise<string | undefined> {
    const [row] = await this.#run("get", [escapeKey(key)], false, options?.signal);
    return row && readValue(column(row, "record"));
  }

  async set(key: string, value: string, ttl: number | undefined, options?: CallOptions): Promise<void> {
    this.#transactions.forget(key);
    const values = [escapeKey(key), valueRecord(value), randomToken(12), ttl ?? null];
    await this.#run("set", values, true, options?.signal);
  }

  async delete(key: string, options?: CallOptions): Promise<boolean> {
    this.#transactions.forget(key);
    const [row] = await this.#run("delete", [escapeKey(key)], true, options?.signal);
    return row !== undefined && Boolean(column(row, "live"));
  }

  async touch(key: string, ttl: number, options?: CallOptions): Promise<boolean> {
    this.#transactions.forget(key);
    const rows = await this.#run("touch", [escapeKey(key), ttl, randomToken(12)], true, options?.signal);
    return rows.length > 0;
  }

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    const rows = await this.#run("getMany", [JSON.stringify(keys.map(escapeKey))], false, options?.signal);
    const texts = new Map(rows.map((row) => [column(row, "key"), readValue(column(row, "record"))]));
    return keys.map((key) => texts.get(escapeKey(key)));
  }

  async setMany(
    entries: readonly (readonly [string, string])[],
    ttl: number | undefined,
    options?: CallOptions,
  ): Promise<void> {
    // One statement may write a row once: the last entry of a key counts.
    const records = new Map(entries.map(([key, value]) => [escapeKey(key), valueRecord(value)]));
    for (const [key] of entries) this.#transactions.forget(key);
    const values = [JSON.stringify([...records]), randomToken(12), ttl ?? null];
    await this.#run("setMany", values, true, options?.signal);
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    for (const key of keys) this.#transactions.forget(key);
    const rows = await this.#run("deleteMany", [JSON.stringify(keys.map(escapeKey))], true, options?.signal);
    return rows.filter((row) => Boolean(column(row, "live"))).length;
  }

  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const from = escapeKey(prefix);
    const values = [from, cursor === undefined ? "" : escapeKey(cursor), successor(from), limit];
    const rows = await this.#run("list", values, false, signal);
    const keys = rows.map((row) => unescapeKey(column(row, "key") as string));
    return keys.length < limit ? { keys } : { keys, cursor: keys.at(-1)! };
  }

  async #run(
    operation: keyof SqlOperations,
    values: unknown[],
    writes: boolean,
    signal: AbortSignal | undefined,
  ): Promise<readonly SqlRow[]> {
    return await this.#sql.run(operation, [this.#prefix, ...values], writes, signal);
  }
}

/**
 * A column of a row. Without this check a client that returns rows as arrays, or renames columns, would turn
 * an expired record into one that never expires.
 *
 * @throws {HoldfastError} `misconfigured` when the row has no such column
 */
function column(row: SqlRow | undefined, name: string): unknown {
  const value = row?.[name];
  if (value !== undefined) return value;
  throw new HoldfastError(
    "misconfigured",
    `Cannot use the database as its client answers a row without '${name}': rows must be objects, by the names of ` +
      "the columns",
  );
}

/** A row that a left join answers: every column is null where the key is absent. */
function stored(row: SqlRow | undefined): StoredRecord {
  const [now, record, version, expires] = ["now", "record", "version", "expires"].map((name) =>
    column(row, name)
  );
  const expiresAt = expires === null ? undefined : Number(expires);
  if (typeof record !== "string") {
    return { record: undefined, expiresAt: undefined, version: undefined, now: Number(now) };
  }
  const fields = readRecord(record);
  // `set` and `touch` know the deadline of a value only in the server: the column is the truth.
  if (fields.v !== undefined && expiresAt !== undefined) fields.e = String(expiresAt);
  return { record: fields, expiresAt, version: version as string, now: Number(now) };
}

function valueRecord(value: string): string {
  return JSON.stringify({ v: value });
}

/** The `purge` of a store on SQL; it rejects for an unknown option, and a limit that is no positive integer. */
export function purging(
  backend: { purge(limit: number): Promise<number> },
): (options?: { readonly limit?: number | undefined }) => Promise<number> {
  return async (options = {}) => {
    checkOptionNames("purge", options, { limit: true });
    return await backend.purge(checkInteger("purge", "limit", options.limit ?? 1000));
  };
}
