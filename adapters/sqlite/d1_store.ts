import { sqliteFault, type SqliteStore, sqliteStore, type SqliteStoreOptions } from "./sqlite_backend.ts";

/**
 * The part of a prepared statement of D1 that the store uses, by shape.
 *
 * @category Stores
 */
export interface D1Statement {
  /** Binds values by position. */
  // deno-lint-ignore no-explicit-any
  bind(...values: any[]): D1Statement;
}

/**
 * The part of a `D1Database` that the store uses, by shape: the binding from `env`.
 *
 * @category Stores
 */
export interface D1Binding {
  /** Prepares a statement. */
  prepare(sql: string): D1Statement;
  /** Runs statements as one transaction in one trip. */
  // deno-lint-ignore no-explicit-any
  batch(statements: any[]): Promise<{ readonly results?: readonly any[] | undefined }[]>;
}

/**
 * A store on Cloudflare D1. Every call is one `batch()`, the only atomic unit that D1 has.
 *
 * @throws {TypeError} when the first argument is no binding of D1
 * @throws {RangeError} when the prefix is longer than 256 bytes
 * @category Stores
 * @example
 * ```ts ignore
 * import { createThrottle } from "@holdfast/edge";
 * import { d1Store } from "@holdfast/edge/sqlite";
 *
 * const store = d1Store(env.DB);
 * await store.migrate(); // once; or copy the statements into a migration of wrangler's
 * const { allowed } = await createThrottle(store, { name: "api", limit: 100, window: "1m" }).check("visitor");
 * ```
 */
export function d1Store(database: D1Binding, options: SqliteStoreOptions = {}): SqliteStore {
  if (typeof database?.batch !== "function" || typeof database.prepare !== "function") {
    throw new TypeError("Cannot make a store on D1 as it needs the binding of a D1 database");
  }
  return sqliteStore({
    name: "d1",
    // D1 takes rows and values of 2 MB; a text may need three bytes a unit, a record has more than its value.
    maxValueLength: 600_000,
    binding: database,
    async run(statements) {
      const prepared = statements.map(({ sql, values }) => database.prepare(sql).bind(...values));
      return (await database.batch(prepared)).map(({ results }) => results ?? []);
    },
    fault(error, writes) {
      // "D1_ERROR: no such table: holdfast: SQLITE_ERROR"; D1 gives no code beside its message.
      const message = error instanceof Error ? error.message.replace(/^D1_\w+: /, "") : "";
      return sqliteFault("D1", message, writes);
    },
  }, options);
}
