import { sqliteFault, type SqliteStore, sqliteStore, type SqliteStoreOptions } from "./sqlite_backend.ts";

/**
 * The part of a `DatabaseSync` of `node:sqlite` that the store uses, by shape; Deno has it too.
 *
 * @category Stores
 */
export interface NodeSqliteDatabase {
  /** Runs statements without values. */
  exec(sql: string): void;
  /** Prepares a statement. */
  prepare(sql: string): {
    /** Runs it and answers its rows. */
    // deno-lint-ignore no-explicit-any
    all(...values: any[]): any[];
  };
}

/**
 * A store on SQLite in this process, through `node:sqlite` of Node 22.5 and later, or of Deno. Other
 * processes may use the same file: set `PRAGMA journal_mode = wal` on it once.
 *
 * @throws {TypeError} when the first argument is no open database
 * @throws {RangeError} when the prefix is longer than 256 bytes
 * @category Stores
 * @example
 * ```ts
 * import { DatabaseSync } from "node:sqlite";
 * import { nodeSqliteStore } from "@holdfast/edge/sqlite";
 *
 * const store = nodeSqliteStore(new DatabaseSync(":memory:"));
 * await store.migrate();
 * const { value } = await store.increment("visits", { ttl: "1m" });
 * if (value !== 1) throw new Error("unexpected");
 * ```
 */
export function nodeSqliteStore(database: NodeSqliteDatabase, options: SqliteStoreOptions = {}): SqliteStore {
  if (typeof database?.prepare !== "function" || typeof database.exec !== "function" || "batch" in database) {
    throw new TypeError(
      "Cannot make a store on SQLite as it needs an open database of node:sqlite; d1Store() takes a binding of D1",
    );
  }
  const prepared = new Map<string, ReturnType<NodeSqliteDatabase["prepare"]>>();
  const statement = (sql: string) => {
    let known = prepared.get(sql);
    if (known === undefined) {
      if (prepared.size >= 100) prepared.clear(); // a virtual time makes new texts
      prepared.set(sql, known = database.prepare(sql));
    }
    return known;
  };
  return sqliteStore({
    name: "sqlite",
    maxValueLength: 16_000_000,
    binding: database,
    // deno-lint-ignore require-await
    async run(statements) {
      if (statements.length === 1) {
        return [statement(statements[0]!.sql).all(...statements[0]!.values)];
      }
      database.exec("begin immediate");
      try {
        const rows = statements.map(({ sql, values }) => statement(sql).all(...values));
        database.exec("commit");
        return rows;
      } catch (error) {
        database.exec("rollback");
        throw error;
      }
    },
    fault: (error, writes) => sqliteFault("SQLite", error instanceof Error ? error.message : "", writes),
  }, options);
}
