/**
 * Holdfast on Postgres: one table, the server's clock, one trip for the usual call. Takes a function that
 * runs a query, so `pg`, postgres.js, Neon and Hyperdrive all fit.
 *
 * ```ts ignore
 * import pg from "pg";
 * import { createIdempotency } from "@holdfast/edge";
 * import { postgresStore } from "@holdfast/edge/postgres";
 *
 * const pool = new pg.Pool({ connectionString });
 * const store = postgresStore((text, values) => pool.query(text, values));
 * await store.migrate();
 * const receipt = await createIdempotency(store).run("order:17", () => charge());
 * ```
 *
 * **Guarantees.** Atomic per key; durable as the server is (`synchronous_commit`). Reads and writes go to the
 * primary.
 *
 * @module
 */

export type { PostgresListen } from "./postgres_changes.ts";
export type { SqlRow } from "../../src/store/sql_engine.ts";
export {
  type PostgresQuery,
  type PostgresStore,
  postgresStore,
  type PostgresStoreOptions,
} from "./postgres_store.ts";
