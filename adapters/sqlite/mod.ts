/**
 * Holdfast on SQLite: Cloudflare D1, libSQL and Turso, and `node:sqlite`. One table, the database's clock,
 * one trip for the usual call.
 *
 * ```ts ignore
 * import { createThrottle } from "@holdfast/edge";
 * import { d1Store } from "@holdfast/edge/sqlite";
 *
 * const store = d1Store(env.DB);
 * await store.migrate();
 * const { allowed } = await createThrottle(store, { name: "api", limit: 100, window: "1m" }).check("visitor");
 * ```
 *
 * **Guarantees.** Atomic per key. D1 and Turso have one primary that takes the writes; use no read replica
 * for a store.
 *
 * @module
 */

export { type D1Binding, type D1Statement, d1Store } from "./d1_store.ts";
export { type LibsqlClient, libsqlStore } from "./libsql_store.ts";
export { type NodeSqliteDatabase, nodeSqliteStore } from "./node_sqlite_store.ts";
export type { SqliteStore, SqliteStoreOptions } from "./sqlite_backend.ts";
