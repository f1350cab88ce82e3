import { HoldfastError } from "../../src/errors.ts";
import { sqliteFault, type SqliteStore, sqliteStore, type SqliteStoreOptions } from "./sqlite_backend.ts";

/**
 * The part of a libSQL client that the store uses, by shape: `createClient()` of `@libsql/client`, on any of
 * its import paths.
 *
 * @category Stores
 */
export interface LibsqlClient {
  /** Runs statements as one transaction in one trip. */
  batch(
    // deno-lint-ignore no-explicit-any
    statements: { sql: string; args: any[] }[],
    mode: "read" | "write",
    // deno-lint-ignore no-explicit-any
  ): Promise<{ readonly rows: readonly any[] }[]>;
}

/** Statuses that a setting must change, by the code of the fault. */
const BY_CODE: Readonly<Record<string, "unauthorized" | "misconfigured" | "read-only" | "quota-exceeded">> = {
  SERVER_ERROR_401: "unauthorized",
  SERVER_ERROR_403: "unauthorized",
  SERVER_ERROR_404: "misconfigured",
  SERVER_ERROR_402: "quota-exceeded",
  URL_INVALID: "misconfigured",
  URL_SCHEME_NOT_SUPPORTED: "misconfigured",
  SQLITE_READONLY: "read-only",
  SQLITE_FULL: "quota-exceeded",
  BLOCKED: "quota-exceeded", // Turso, when the plan is used up
};

/**
 * A store on libSQL: Turso over HTTP, or a local file. For a file that several processes share, set `timeout`
 * on the client, in milliseconds: without it the client does not wait for the others, and its connection
 * breaks.
 *
 * @throws {TypeError} when the first argument is no client
 * @throws {RangeError} when the prefix is longer than 256 bytes
 * @category Stores
 * @example
 * ```ts ignore
 * import { createClient } from "@libsql/client";
 * import { createLocks } from "@holdfast/edge";
 * import { libsqlStore } from "@holdfast/edge/sqlite";
 *
 * const store = libsqlStore(createClient({ url, authToken }));
 * await store.migrate();
 * await using lock = await createLocks(store).acquire("job:nightly", { ttl: "30s" });
 * ```
 */
export function libsqlStore(client: LibsqlClient, options: SqliteStoreOptions = {}): SqliteStore {
  if (typeof client?.batch !== "function" || "prepare" in client) {
    throw new TypeError(
      "Cannot make a store on libSQL as it needs a client of @libsql/client; d1Store() takes a binding of D1",
    );
  }
  return sqliteStore({
    name: "libsql",
    maxValueLength: 16_000_000,
    binding: client,
    async run(statements) {
      const reads = statements.every(({ sql }) => sql.startsWith("select"));
      const batch = statements.map(({ sql, values }) => ({ sql, args: [...values] }));
      return (await client.batch(batch, reads ? "read" : "write")).map(({ rows }) => rows);
    },
    fault(error, writes) {
      const { code = "", message = "", cause } = error as {
        code?: string;
        message?: string;
        cause?: { status?: number };
      };
      const name = BY_CODE[code === "SERVER_ERROR" ? `SERVER_ERROR_${cause?.status}` : code];
      if (name) return new HoldfastError(name, `Cannot use libSQL as it answered ${code}`);
      // "SQLITE_BUSY: database is locked". In a batch the client writes the code twice, and Turso adds words of
      // its own: "SQL_INPUT_ERROR: SQLite input error: no such table: holdfast (at offset 14)".
      const words = message.replace(/^(SQL\w*_\w+: )*(SQL(ite)? (input )?error: )?/, "");
      return sqliteFault("libSQL", code === "SQLITE_BUSY" ? code : words, writes);
    },
  }, options);
}
