/** The database: one store in it, the app's own table, and transactions that cover both. */
import pg from "pg";
import { postgresStore } from "@holdfast/edge/postgres";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 2 });

export const store = postgresStore((text, values) => pool.query(text, values));
export const close = () => pool.end();

/** Makes the tables; run it with your other migrations. */
export async function migrate() {
  await store.migrate();
  await pool.query("create table if not exists orders (id text primary key, cents integer not null)");
}

/** Runs the work in one transaction: `query` and `store` are inside it. */
export async function transaction(work) {
  const client = await pool.connect();
  const query = (text, values) => client.query(text, values);
  try {
    await query("begin");
    const result = await work(query, store.within(query));
    await query("commit");
    return result;
  } catch (error) {
    await query("rollback");
    throw error;
  } finally {
    client.release();
  }
}
