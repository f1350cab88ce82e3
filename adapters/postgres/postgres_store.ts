import { systemClock } from "../../src/clock.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { withTimeout } from "../../src/deadline.ts";
import { HoldfastError } from "../../src/errors.ts";
import { randomToken } from "../../src/secret.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions } from "../../src/store/engine.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import { atomicStore } from "../../src/store/store.ts";
import type { Fields, Transition } from "../../src/store/transition.ts";
import {
  type CommitReply,
  type StoredRecord,
  type VersionedBackend,
  VersionedTransactions,
} from "../../src/store/versioned_engine.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { isConflict, postgresFault } from "./postgres_faults.ts";
import { type PostgresStatements, postgresStatements } from "./postgres_statements.ts";

/** A row, by column. */
export type PostgresRow = Readonly<Record<string, unknown>>;

/**
 * Runs one statement with `$1`, `$2` … and answers its rows.
 *
 * ```ts ignore
 * postgresStore((text, values) => pool.query(text, values)); // pg, Neon's Pool, Hyperdrive with pg
 * postgresStore((text, values) => sql.unsafe(text, values)); // postgres.js
 * postgresStore((text, values) => sql.query(text, values)); // neon() over HTTP
 * ```
 */
export type PostgresQuery = (
  text: string,
  // deno-lint-ignore no-explicit-any
  values: any[],
) => PromiseLike<readonly PostgresRow[] | { readonly rows: readonly PostgresRow[] }>;

/** Options of {@linkcode postgresStore}. */
export interface PostgresStoreOptions {
  /**
   * The table, perhaps with its schema: `"holdfast"` or `"app.holdfast"`. Letters, digits and underscores.
   * @default {"holdfast"}
   */
  readonly table?: string | undefined;
  /**
   * A name for this store's keys in the table; stores with different prefixes never meet.
   * @default {""}
   */
  readonly prefix?: string | undefined;
  /**
   * The time that one call may take, its retries included.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
  /** A virtual time in place of the server's, for tests of the engine itself. */
  readonly virtualTime?: (() => number) | undefined;
}

/** A store on Postgres, with what its table needs. */
export interface PostgresStore extends AtomicStore {
  /** Makes the table and its index where they are missing. Run it once, before the first call. */
  migrate(): Promise<void>;
  /**
   * Deletes expired records, at most `limit` in one statement, and answers how many. Reads never see them; this only
   * frees their space.
   */
  purge(options?: { readonly limit?: number | undefined }): Promise<number>;
  /**
   * The same store inside a transaction of yours: what it writes commits or is rolled back with your own statements.
   * Hand in the transaction's query function; use the store no longer than the transaction.
   */
  within(query: PostgresQuery): AtomicStore;
}

const OPTIONS: OptionNames<PostgresStoreOptions> = {
  table: true,
  prefix: true,
  timeout: true,
  virtualTime: true,
};

/**
 * A store in one table of Postgres 12 or later, on the server's clock.
 *
 * @throws {TypeError} when the first argument is no function, or the table's name has other characters
 * @example
 * ```ts ignore
 * import pg from "pg";
 * import { createLocks } from "@holdfast/edge";
 * import { postgresStore } from "@holdfast/edge/postgres";
 *
 * const pool = new pg.Pool({ connectionString });
 * const store = postgresStore((text, values) => pool.query(text, values));
 * await store.migrate(); // once, as you run your other migrations
 * await using lock = await createLocks(store).acquire("job:nightly", { ttl: "30s" });
 * ```
 */
export function postgresStore(query: PostgresQuery, options: PostgresStoreOptions = {}): PostgresStore {
  const task = "make a Postgres store";
  if (typeof query !== "function") {
    throw new TypeError(
      `Cannot ${task} as it needs a function that runs a query: current type is ${typeof query}`,
    );
  }
  checkOptionNames(task, options, OPTIONS);
  const { table = "holdfast", prefix = "" } = options;
  const parts = String(table).split(".");
  if (parts.length > 2 || !parts.every((part) => /^[A-Za-z_][A-Za-z0-9_]{0,50}$/.test(part))) {
    throw new TypeError(`Cannot ${task} as 'table' must be a name of letters, digits and underscores`);
  }
  if (typeof prefix !== "string" || !prefix.isWellFormed()) {
    throw new TypeError(`Cannot ${task} as 'prefix' must be a well-formed string`);
  }
  const name = parts.map((part) => `"${part}"`).join(".");
  const engine = new PostgresEngine(query, name, options, true);
  return Object.assign(atomicStore(engine), {
    migrate: () => engine.migrate(),
    purge: ({ limit = 1000 }: { readonly limit?: number | undefined } = {}) =>
      engine.purge(checkInteger("purge", "limit", limit)),
    within: (query: PostgresQuery) => atomicStore(new PostgresEngine(query, name, options, false)),
  });
}

/** Attempts of a statement that Postgres rolled back as it met another. */
const CONFLICT_ATTEMPTS = 10;

class PostgresEngine implements AtomicEngine {
  readonly name = "postgres";
  // A key is part of an index entry, which takes 2,704 bytes. A text takes 1 GB; a record of that size is a mistake.
  readonly limits = { maxKeyBytes: 1024, maxValueLength: 16_000_000 };
  readonly scope: string;
  readonly #query: PostgresQuery;
  readonly #statements: () => PostgresStatements;
  readonly #prefix: string;
  readonly #timeout: number;
  readonly #transactions: VersionedTransactions;
  /** Whether each statement is a transaction of its own, and may be sent again after a conflict. */
  readonly #alone: boolean;

  constructor(query: PostgresQuery, table: string, options: PostgresStoreOptions, alone: boolean) {
    const { prefix = "", timeout = "10s", virtualTime } = options;
    this.#query = query;
    const statements = postgresStatements(table);
    this.#statements = virtualTime
      ? () => postgresStatements(table, `${virtualTime()}::bigint`)
      : () => statements;
    this.#prefix = escaped(prefix);
    this.#timeout = toMilliseconds(timeout, "timeout");
    this.#alone = alone;
    this.scope = JSON.stringify([table, prefix]);
    this.#transactions = new VersionedTransactions(this.#backend, {
      virtualTime,
      // On Workers no request may wait for another's; within a transaction there is one caller.
      coalesce: alone && !isWorkers(),
      remember: alone,
    });
  }

  transact(transition: Transition, key: string, input: Fields, options?: CallOptions): Promise<Fields> {
    return this.#transactions.transact(transition, key, input, options);
  }

  readonly #backend: VersionedBackend = {
    load: async (key, signal) => {
      const [row] = await this.#run("load", [escaped(key)], false, signal);
      return stored(row!);
    },
    commit: async (key, expected, version, { record, expiresAt }, signal): Promise<CommitReply> => {
      const next = [record && JSON.stringify(record), version, expiresAt ?? null];
      const [row] = record === undefined
        ? await this.#run("remove", [escaped(key), expected], true, signal)
        : expected === undefined
        ? await this.#run("insert", [escaped(key), ...next], true, signal)
        : await this.#run("update", [escaped(key), ...next, expected], true, signal);
      const state = stored(row!);
      return Number(row!.done) > 0 ? { done: true, now: state.now } : { done: false, ...state };
    },
  };

  async get(key: string, options?: CallOptions): Promise<string | undefined> {
    const [row] = await this.#run("get", [escaped(key)], false, options?.signal);
    return row && textOf(row.record);
  }

  async set(key: string, value: string, ttl: number | undefined, options?: CallOptions): Promise<void> {
    this.#transactions.forget(key);
    await this.#run(
      "set",
      [escaped(key), valueRecord(value), randomToken(12), ttl ?? null],
      true,
      options?.signal,
    );
  }

  async delete(key: string, options?: CallOptions): Promise<boolean> {
    this.#transactions.forget(key);
    const [row] = await this.#run("delete", [escaped(key)], true, options?.signal);
    return row?.live === true;
  }

  async touch(key: string, ttl: number, options?: CallOptions): Promise<boolean> {
    this.#transactions.forget(key);
    const rows = await this.#run("touch", [escaped(key), ttl, randomToken(12)], true, options?.signal);
    return rows.length > 0;
  }

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    const rows = await this.#run("getMany", [JSON.stringify(keys.map(escaped))], false, options?.signal);
    const texts = new Map(rows.map(({ key, record }) => [key, textOf(record)]));
    return keys.map((key) => texts.get(escaped(key)));
  }

  async setMany(
    entries: readonly (readonly [string, string])[],
    ttl: number | undefined,
    options?: CallOptions,
  ): Promise<void> {
    // One statement may write a row once: the last entry of a key counts.
    const records = new Map(entries.map(([key, value]) => [escaped(key), valueRecord(value)]));
    for (const [key] of entries) this.#transactions.forget(key);
    const values = [JSON.stringify([...records]), randomToken(12), ttl ?? null];
    await this.#run("setMany", values, true, options?.signal);
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    for (const key of keys) this.#transactions.forget(key);
    const rows = await this.#run("deleteMany", [JSON.stringify(keys.map(escaped))], true, options?.signal);
    return rows.filter(({ live }) => live === true).length;
  }

  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const from = escaped(prefix);
    const values = [from, cursor === undefined ? "" : escaped(cursor), successor(from), limit];
    const rows = await this.#run("list", values, false, signal);
    const keys = rows.map(({ key }) => unescaped(key as string));
    return keys.length < limit ? { keys } : { keys, cursor: keys.at(-1)! };
  }

  async migrate(): Promise<void> {
    for (const statement of this.#statements().migrate) await this.#send(statement, [], true, undefined);
  }

  async purge(limit: number): Promise<number> {
    return (await this.#send(this.#statements().purge, [limit], true, undefined)).length;
  }

  #run(
    name: Exclude<keyof PostgresStatements, "migrate" | "purge">,
    values: unknown[],
    writes: boolean,
    signal: AbortSignal | undefined,
  ): Promise<readonly PostgresRow[]> {
    return this.#send(this.#statements()[name], [this.#prefix, ...values], writes, signal);
  }

  /** Sends one statement; a conflict, after which it certainly had no effect, is met with another attempt. */
  async #send(
    text: string,
    values: unknown[],
    writes: boolean,
    signal: AbortSignal | undefined,
  ): Promise<readonly PostgresRow[]> {
    for (let attempt = 1;; attempt++) {
      try {
        const work = Promise.resolve(this.#query(text, values));
        const reply = await withTimeout(work, this.#timeout, signal, () => late(writes));
        return "rows" in reply ? reply.rows : reply;
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (!this.#alone || !isConflict(error) || attempt === CONFLICT_ATTEMPTS) {
          throw postgresFault(error, writes);
        }
        await systemClock.sleep(Math.random() * Math.min(2 ** attempt, 100), signal);
      }
    }
  }
}

function late(writes: boolean): HoldfastError {
  return new HoldfastError("timeout", "Cannot use Postgres as it did not answer in time", {
    retryable: true,
    ambiguous: writes,
  });
}

function isWorkers(): boolean {
  return globalThis.navigator?.userAgent === "Cloudflare-Workers";
}

/** A row that a left join answers: every column is null where the key is absent. */
function stored({ record, version, expires_at, now }: PostgresRow): StoredRecord {
  const expiresAt = expires_at === null || expires_at === undefined ? undefined : Number(expires_at);
  if (typeof record !== "string") {
    return { record: undefined, expiresAt: undefined, version: undefined, now: Number(now) };
  }
  const fields = JSON.parse(record) as Record<string, string>;
  // `set` and `touch` know the deadline of a value only in the server: the column is the truth.
  if (fields.v !== undefined && expiresAt !== undefined) fields.e = String(expiresAt);
  return { record: fields, expiresAt, version: version as string, now: Number(now) };
}

function valueRecord(value: string): string {
  return JSON.stringify({ v: value });
}

/** The value in a record; a record that is no value reads as a text that the codec never writes. */
function textOf(record: unknown): string {
  return (JSON.parse(record as string) as Fields).v ?? "\0";
}

/** Postgres holds no NUL in a text: it is written as two U+0001, and U+0001 as U+0001 U+0002. The order of keys stays. */
function escaped(key: string): string {
  // deno-lint-ignore no-control-regex
  return /[\0\u0001]/.test(key)
    ? key.replaceAll("\u0001", "\u0001\u0002").replaceAll("\0", "\u0001\u0001")
    : key;
}

function unescaped(key: string): string {
  // deno-lint-ignore no-control-regex
  return key.replace(/\u0001([\u0001\u0002])/g, (_, mark) => mark === "\u0001" ? "\0" : "\u0001");
}

/** The least text beyond every text that begins with `prefix`, by code points; null when there is none. */
function successor(prefix: string): string | null {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  if (last === undefined) return null;
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}
