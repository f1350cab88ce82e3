import { systemClock } from "../../src/clock.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { withTimeout } from "../../src/deadline.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import type { SqlBackend, SqlOperations, SqlRow } from "../../src/store/sql_engine.ts";
import { purging, SqlEngine } from "../../src/store/sql_engine.ts";
import { checkPrefix } from "../../src/store/prefix.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import { checkFunction, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { PostgresChanges, type PostgresListen } from "./postgres_changes.ts";
import { fault, isConflict, postgresFault } from "./postgres_faults.ts";
import { type PostgresStatements, postgresStatements } from "./postgres_statements.ts";

/**
 * Runs one statement with `$1`, `$2` … and answers its rows.
 *
 * ```ts ignore
 * postgresStore((text, values) => pool.query(text, values)); // pg, Neon's Pool, Hyperdrive with pg
 * postgresStore((text, values) => sql.unsafe(text, values)); // postgres.js
 * postgresStore((text, values) => sql.query(text, values)); // neon() over HTTP
 * ```
 *
 * @category Stores
 */
export type PostgresQuery = (
  text: string,
  // deno-lint-ignore no-explicit-any
  values: any[],
) => PromiseLike<readonly SqlRow[] | { readonly rows: readonly SqlRow[] }>;

/**
 * Options of {@linkcode postgresStore}.
 *
 * @category Stores
 */
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
   * The time that one statement may take, its repetitions included. A call takes several only where it reads
   * first, or while others change its record.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * Listens on a connection that stays: waiters for a lock or a result then learn of a change at once,
   * without asking again and again. Every write of this store notifies; give the option to all stores of a
   * table, or their waiters see the writes of the others only every two seconds. A notification takes a lock
   * of the whole database while its transaction commits: leave the option away where thousands of writes a
   * second matter more than short waits.
   * @default {waiters ask again after a delay}
   */
  readonly listen?: PostgresListen | undefined;
  /** A virtual time in place of the server's, for tests of the engine itself. */
  readonly virtualTime?: (() => number) | undefined;
}

/**
 * A store on Postgres, with what its table needs.
 *
 * @category Stores
 */
export interface PostgresStore extends AtomicStore {
  /** Makes the table and its index where they are missing. Run it once, before the first call. */
  migrate(): Promise<void>;
  /**
   * Deletes expired records, at most `limit` in one statement, and answers how many. Reads never see them;
   * this only frees their space.
   */
  purge(options?: { readonly limit?: number | undefined }): Promise<number>;
  /**
   * The same store inside a transaction of yours: what it writes commits or is rolled back with your own
   * statements. Hand in the transaction's query function; use the store no longer than the transaction.
   */
  within(query: PostgresQuery): AtomicStore;
}

const OPTIONS = {
  table: true,
  prefix: true,
  timeout: true,
  listen: true,
  virtualTime: true,
} satisfies OptionNames<PostgresStoreOptions>;

/**
 * A store in one table of Postgres 12 or later, on the server's clock.
 *
 * @throws {TypeError} when the first argument is no function, or the table's name has other characters
 * @throws {RangeError} when the prefix is longer than 256 bytes
 * @category Stores
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
  for (const name of ["listen", "virtualTime"] as const) checkFunction(task, name, options[name]);
  const { table = "holdfast", prefix = "" } = options;
  if (typeof table !== "string" || !/^[A-Za-z_]\w{0,50}(\.[A-Za-z_]\w{0,50})?$/.test(table)) {
    throw new TypeError(`Cannot ${task} as 'table' must be a name of letters, digits and underscores`);
  }
  checkPrefix(prefix);
  const name = `"${table.replace(".", '"."')}"`;
  const backend = new PostgresBackend(query, name, options, true);
  const store = (backend: PostgresBackend, alone: boolean) =>
    storeFromEngine(new SqlEngine(backend, { prefix, virtualTime: options.virtualTime, alone }));
  return Object.assign(store(backend, true), {
    migrate: () => backend.migrate(),
    purge: purging(backend),
    within: (query: PostgresQuery) => store(new PostgresBackend(query, name, options, false), false),
  });
}

/** Attempts of a statement that Postgres rolled back as it met another. */
const CONFLICT_ATTEMPTS = 10;

class PostgresBackend implements SqlBackend {
  readonly name = "postgres";
  // A key is part of an index entry, which takes 2,704 bytes. A text takes 1 GB; a record of that size is a
  // mistake.
  readonly limits = { maxKeyBytes: 1024, maxValueLength: 16_000_000 };
  readonly binding: PostgresQuery;
  readonly scope: string;
  readonly #statements: () => PostgresStatements;
  readonly changes: PostgresChanges | undefined;
  readonly #timeout: number;
  /** Whether each statement is a transaction of its own, and may be sent again after a conflict. */
  readonly #alone: boolean;

  constructor(query: PostgresQuery, table: string, options: PostgresStoreOptions, alone: boolean) {
    const { prefix = "", timeout = "10s", virtualTime, listen } = options;
    const channel = listen && channelOf(table);
    const statements = postgresStatements(table, { channel });
    // A transaction sees no change of others that it may wait for.
    if (listen && alone) this.changes = new PostgresChanges(listen, channel!);
    this.binding = query;
    this.scope = JSON.stringify([table, prefix]);
    this.#statements = virtualTime
      ? () => postgresStatements(table, { now: `${virtualTime()}::bigint`, channel })
      : () => statements;
    this.#timeout = toMilliseconds(timeout, "timeout");
    this.#alone = alone;
  }

  run(
    operation: keyof SqlOperations,
    values: unknown[],
    writes: boolean,
    signal: AbortSignal | undefined,
  ): Promise<readonly SqlRow[]> {
    return this.#send(this.#statements()[operation], values, writes, signal);
  }

  async migrate(): Promise<void> {
    for (const statement of this.#statements().migrate) await this.#send(statement, [], true, undefined);
  }

  async purge(limit: number): Promise<number> {
    return (await this.#send(this.#statements().purge, [limit], true, undefined)).length;
  }

  /** Sends one statement; a conflict, after which it certainly had no effect, is met with another attempt. */
  async #send(
    text: string,
    values: unknown[],
    writes: boolean,
    signal: AbortSignal | undefined,
  ): Promise<readonly SqlRow[]> {
    const late = () => fault("timeout", "it did not answer in time", { retryable: true, ambiguous: writes });
    const ends = systemClock.monotonic() + this.#timeout;
    for (let attempt = 1, left = this.#timeout;; attempt++) {
      try {
        const work = Promise.resolve(this.binding(text, values));
        return rowsOf(await withTimeout(work, left, signal, late));
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        const delay = Math.random() * Math.min(2 ** attempt, 100);
        left = ends - systemClock.monotonic() - delay;
        if (!this.#alone || !isConflict(error) || attempt === CONFLICT_ATTEMPTS || left <= 0) {
          throw postgresFault(error, writes);
        }
        await systemClock.sleep(delay, signal);
      }
    }
  }
}

/** The rows of what the query function answers. */
function rowsOf(reply: readonly SqlRow[] | { readonly rows: readonly SqlRow[] }): readonly SqlRow[] {
  const rows = Array.isArray(reply) ? reply : (Object(reply) as { readonly rows?: unknown }).rows;
  if (Array.isArray(rows)) return rows;
  throw fault("misconfigured", "the query function must return the rows, or an object with 'rows'");
}

/**
 * `"app"."Jobs"` → `holdfast_app_jobs`: a name that needs no quotes, of the 63 bytes that Postgres takes at
 * most.
 */
function channelOf(table: string): string {
  return `holdfast_${table.replaceAll('"', "").replace(".", "_").toLowerCase()}`.slice(0, 63);
}
