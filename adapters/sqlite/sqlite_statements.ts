import type { SqlOperations } from "../../src/store/sql_engine.ts";

/** The statements for one table; `SqlOperations` has the order of their values. */
export interface SqliteStatements extends SqlOperations {
  /** Makes the table and its index. */
  readonly migrate: readonly string[];
  /** `limit` → a row for each expired record that it deleted. */
  readonly purge: string;
}

/**
 * Milliseconds since the epoch by the database's clock, rounded down: SQLite counts days from noon on 24
 * November 4714 BC.
 */
const NOW = "cast((julianday('now') - 2440587.5) * 86400000 as integer)";

/** `table` is checked and quoted already; `now` is SQL, another one in tests. */
export function sqliteStatements(table: string, now: string = NOW): SqliteStatements {
  const live = `(expires_at is null or expires_at > ${now})`;
  const columns = `insert into ${table} (prefix, key, record, version, expires_at)`;
  const replace = `on conflict (prefix, key) do update
set record = excluded.record, version = excluded.version, expires_at = excluded.expires_at`;
  return {
    migrate: [
      `create table if not exists ${table} (
  prefix text not null,
  key text not null,
  record text not null,
  version text not null,
  expires_at integer,
  primary key (prefix, key)
) without rowid`,
      `create index if not exists ${table.replace(/"$/, '_expires_at"')} on ${table} (expires_at)
where expires_at is not null`,
    ],
    // At most the largest safe integer: clients refuse to read a larger one.
    load: `select ${now} as now, r.record, r.version, min(r.expires_at, 9007199254740991) as expires
from (select 1) one left join ${table} r on r.prefix = ?1 and r.key = ?2`,
    insert: `${columns} values (?1, ?2, ?3, ?4, ?5) on conflict (prefix, key) do nothing returning 1`,
    update: `update ${table} set record = ?3, version = ?4, expires_at = ?5
where prefix = ?1 and key = ?2 and version = ?6 returning 1`,
    remove: `delete from ${table} where prefix = ?1 and key = ?2 and version = ?3 returning 1`,
    get: `select record from ${table} where prefix = ?1 and key = ?2 and ${live}`,
    set: `${columns} values (?1, ?2, ?3, ?4, ${now} + ?5) ${replace}`,
    delete: `delete from ${table} where prefix = ?1 and key = ?2 returning ${live} as live`,
    touch: `update ${table} set expires_at = ${now} + ?3, version = ?4
where prefix = ?1 and key = ?2 and ${live} returning 1`,
    getMany: `select key, record from ${table}
where prefix = ?1 and key in (select value from json_each(?2)) and ${live}`,
    // Without `where true` the parser would read `on` as a join's.
    setMany: `${columns} select ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), ?3, ${now} + ?4
from json_each(?2) where true ${replace}`,
    deleteMany: `delete from ${table}
where prefix = ?1 and key in (select value from json_each(?2)) returning ${live} as live`,
    // `?4` null: no key begins beyond the prefix.
    list: `select key from ${table}
where prefix = ?1 and key >= ?2 and key > ?3 and (?4 is null or key < ?4) and ${live}
order by key limit ?5`,
    purge: `delete from ${table} where (prefix, key) in (
  select prefix, key from ${table} where expires_at <= ${now} order by expires_at limit ?1
) returning 1`,
  };
}
