import { systemClock } from "../../src/clock.ts";
import { withTimeout } from "../../src/deadline.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import { mistakeOf } from "../../src/mistake.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import type { SqlBackend, SqlOperations, SqlRow } from "../../src/store/sql_engine.ts";
import { purging, SqlEngine } from "../../src/store/sql_engine.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import { checkFunction, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { checkPrefix } from "../../src/store/prefix.ts";
import { type SqliteStatements, sqliteStatements } from "./sqlite_statements.ts";

/**
 * Options of every store on SQLite.
 *
 * @category Stores
 */
export interface SqliteStoreOptions {
  /**
   * The table: letters, digits and underscores.
   * @default {"holdfast"}
   */
  readonly table?: string | undefined;
  /**
   * A name for this store's keys in the table; stores with different prefixes never meet.
   * @default {""}
   */
  readonly prefix?: string | undefined;
  /**
   * The time that one statement may take, its repetitions included. A call takes several only where it reads
   * first, or while others change its record.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
  /** A virtual time in place of the database's, for tests of the engine itself. */
  readonly virtualTime?: (() => number) | undefined;
}

/**
 * A store on SQLite, with what its table needs.
 *
 * @category Stores
 */
export interface SqliteStore extends AtomicStore {
  /** Makes the table and its index where they are missing. Run it once, before the first call. */
  migrate(): Promise<void>;
  /**
   * Deletes expired records, at most `limit` in one statement, and answers how many. Reads never see them;
   * this only frees their space.
   */
  purge(options?: { readonly limit?: number | undefined }): Promise<number>;
}

/** One statement with its values by position. */
export interface SqliteStatement {
  /** The text, with `?1`, `?2` … */
  readonly sql: string;
  /** The values. */
  readonly values: readonly (string | number | null)[];
}

/** A way to run statements on one database. */
export interface SqliteDriver {
  /** The engine's name for events and tables. */
  readonly name: string;
  /** The longest record in UTF-16 code units. */
  readonly maxValueLength: number;
  /** The client that was handed in. */
  readonly binding: object;
  /** Runs the statements in one transaction and one trip, and answers the rows of each. */
  run(statements: readonly SqliteStatement[]): Promise<readonly (readonly SqlRow[])[]>;
  /**
   * The meaning of an error of the client; `busy` when another writer had the database and nothing happened.
   */
  fault(error: unknown, writes: boolean): HoldfastError | "busy";
}

const OPTIONS: OptionNames<SqliteStoreOptions> = {
  table: true,
  prefix: true,
  timeout: true,
  virtualTime: true,
};

/** Makes a store of a driver. */
export function sqliteStore(driver: SqliteDriver, options: SqliteStoreOptions = {}): SqliteStore {
  const task = `make a store on ${driver.name}`;
  checkOptionNames(task, options, OPTIONS);
  const { table = "holdfast", prefix = "", timeout = "10s", virtualTime } = options;
  if (typeof table !== "string" || !/^[A-Za-z_]\w{0,50}$/.test(table)) {
    throw new TypeError(`Cannot ${task} as 'table' must be a name of letters, digits and underscores`);
  }
  checkFunction(task, "virtualTime", virtualTime);
  checkPrefix(prefix);
  const backend = new SqliteBackend(driver, table, prefix, toMilliseconds(timeout, "timeout"), virtualTime);
  return Object.assign(storeFromEngine(new SqlEngine(backend, { prefix, virtualTime, alone: true })), {
    migrate: () => backend.migrate(),
    purge: purging(backend),
  });
}

/** Attempts while other processes write; each waits up to 100 ms. */
const BUSY_ATTEMPTS = 100;

class SqliteBackend implements SqlBackend {
  readonly name: string;
  readonly limits: { readonly maxKeyBytes: number; readonly maxValueLength: number };
  readonly binding: object;
  readonly scope: string;
  readonly #driver: SqliteDriver;
  readonly #statements: () => SqliteStatements;
  readonly #timeout: number;

  constructor(
    driver: SqliteDriver,
    table: string,
    prefix: string,
    timeout: number,
    virtualTime: (() => number) | undefined,
  ) {
    this.name = driver.name;
    this.limits = { maxKeyBytes: 1024, maxValueLength: driver.maxValueLength };
    this.binding = driver.binding;
    this.scope = JSON.stringify([table, prefix]);
    this.#driver = driver;
    const quoted = `"${table}"`;
    const statements = sqliteStatements(quoted);
    this.#statements = virtualTime ? () => sqliteStatements(quoted, String(virtualTime())) : () => statements;
    this.#timeout = timeout;
  }

  async run(
    operation: keyof SqlOperations,
    values: unknown[],
    writes: boolean,
    signal: AbortSignal | undefined,
  ): Promise<readonly SqlRow[]> {
    const statements = this.#statements();
    const statement = { sql: statements[operation], values: values as (string | number | null)[] };
    if (operation !== "insert" && operation !== "update" && operation !== "remove") {
      return (await this.#send([statement], writes, signal))[0]!;
    }
    // The present state travels with the answer: a write that finds another version needs no trip to read it.
    const load = { sql: statements.load, values: statement.values.slice(0, 2) };
    const [written, state] = await this.#send([statement, load], writes, signal);
    return [{ ...state![0], done: written!.length }];
  }

  async migrate(): Promise<void> {
    for (const sql of this.#statements().migrate) await this.#send([{ sql, values: [] }], true, undefined);
  }

  async purge(limit: number): Promise<number> {
    const [rows] = await this.#send([{ sql: this.#statements().purge, values: [limit] }], true, undefined);
    return rows!.length;
  }

  async #send(
    statements: readonly SqliteStatement[],
    writes: boolean,
    signal: AbortSignal | undefined,
  ): Promise<readonly (readonly SqlRow[])[]> {
    const ends = systemClock.monotonic() + this.#timeout;
    for (let attempt = 1;; attempt++) {
      try {
        const left = Math.max(1, ends - systemClock.monotonic());
        return await withTimeout(this.#driver.run(statements), left, signal, () => this.#late(writes));
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (error instanceof HoldfastError) throw error;
        const fault = mistakeOf(this.name, error) ?? this.#driver.fault(error, writes);
        if (fault !== "busy") throw fault;
        if (attempt === BUSY_ATTEMPTS || systemClock.monotonic() >= ends) throw this.#late(false);
        await systemClock.sleep(Math.random() * Math.min(2 ** attempt, 100), signal);
      }
    }
  }

  #late(ambiguous: boolean): HoldfastError {
    return new HoldfastError("timeout", `Cannot use ${this.name} as it did not answer in time`, {
      retryable: true,
      ambiguous,
    });
  }
}

/** The fault for the words that SQLite uses; they never quote a value. */
export function sqliteFault(name: string, message: string, writes: boolean): HoldfastError | "busy" {
  if (/^(SQLITE_BUSY|SQLITE_LOCKED)\b|^database (table )?is locked/.test(message)) return "busy";
  if (/^no such (table|column)|^table \S+ has no column/.test(message)) {
    return new HoldfastError(
      "misconfigured",
      `Cannot use ${name} as its table is missing or of another version: run migrate() once`,
    );
  }
  // The statements are right, so the table is another program's, or the file is damaged.
  if (/^(ON CONFLICT|cannot modify|datatype mismatch|[A-Z ]+ constraint failed)/.test(message)) {
    return new HoldfastError(
      "misconfigured",
      `Cannot use ${name} as its table is not one that migrate() made`,
    );
  }
  if (/^(file is not a database|database disk image is malformed)/.test(message)) {
    return new HoldfastError("misconfigured", `Cannot use ${name} as its file is damaged or no database`);
  }
  // libSQL's driver leaves a refused `begin` open: from then on its connection commits nothing.
  if (/^cannot commit transaction - SQL statements in progress/.test(message)) {
    return new HoldfastError(
      "misconfigured",
      `Cannot use ${name} as its client does not wait for other processes: set 'timeout' on the client`,
    );
  }
  if (/^cannot start a transaction within a transaction/.test(message)) {
    return new HoldfastError(
      "misconfigured",
      `Cannot use ${name} as its connection is in a transaction of the application: give the store one of its own`,
    );
  }
  if (/^attempt to write a readonly database/.test(message)) {
    return new HoldfastError("read-only", `Cannot use ${name} as it takes no writes`);
  }
  if (/^database or disk is full/.test(message)) {
    return new HoldfastError("quota-exceeded", `Cannot use ${name} as its disk or quota is full`);
  }
  if (/^(string or blob too big|too big)/.test(message)) {
    return new HoldfastError("value-too-large", `Cannot use ${name} as it refuses a record so large`);
  }
  return new HoldfastError("backend-unavailable", `Cannot use ${name} as the call failed`, {
    retryable: true,
    ambiguous: writes,
  });
}
