/** Every statement that the engine sends; `SqlOperations` has the order of their values. */

import type { SqlOperations } from "../../src/store/sql_engine.ts";

/** The statements for one table. */
export interface PostgresStatements extends SqlOperations {
  /** Makes the table and its index. */
  readonly migrate: readonly string[];
  /** `limit` → a row for each expired record that it deleted. */
  readonly purge: string;
}

/** Milliseconds since the epoch by the server's clock, rounded down; it moves on within a transaction. */
const NOW = "floor(extract(epoch from clock_timestamp()) * 1000)::bigint";

/** `table` is checked and quoted already; `now` is SQL, another one in tests. */
export function postgresStatements(table: string, now: string = NOW): PostgresStatements {
  const live = `(expires_at is null or expires_at > ${now})`;
  /** Answers a conditional write: whether it was done, and otherwise what is there. */
  const answer =
    `select ${now} as now, (select count(*) from written) as done, r.record, r.version, r.expires_at
from (select 1) one left join ${table} r on r.prefix = $1 and r.key = $2`;
  return {
    migrate: [
      // The collation "C" orders keys by their bytes: the same order for every database.
      `create table if not exists ${table} (
  prefix text collate "C" not null,
  key text collate "C" not null,
  record text not null,
  version text not null,
  expires_at bigint,
  primary key (prefix, key)
)`,
      `create index if not exists ${indexOf(table)} on ${table} (expires_at) where expires_at is not null`,
    ],
    load: `select ${now} as now, r.record, r.version, r.expires_at
from (select 1) one left join ${table} r on r.prefix = $1 and r.key = $2`,
    insert: `with written as (
  insert into ${table} (prefix, key, record, version, expires_at) values ($1, $2, $3, $4, $5::bigint)
  on conflict (prefix, key) do nothing returning 1
) ${answer}`,
    update: `with written as (
  update ${table} set record = $3, version = $4, expires_at = $5::bigint
  where prefix = $1 and key = $2 and version = $6 returning 1
) ${answer}`,
    remove: `with written as (
  delete from ${table} where prefix = $1 and key = $2 and version = $3 returning 1
) ${answer}`,
    get: `select record, expires_at from ${table} where prefix = $1 and key = $2 and ${live}`,
    set: `insert into ${table} (prefix, key, record, version, expires_at)
values ($1, $2, $3, $4, ${now} + $5::bigint)
on conflict (prefix, key) do update
set record = excluded.record, version = excluded.version, expires_at = excluded.expires_at`,
    delete: `delete from ${table} where prefix = $1 and key = $2 returning ${live} as live`,
    touch: `update ${table} set expires_at = ${now} + $3::bigint, version = $4
where prefix = $1 and key = $2 and ${live} returning 1`,
    getMany: `select key, record, expires_at from ${table}
where prefix = $1 and key in (select jsonb_array_elements_text($2::text::jsonb)) and ${live}`,
    setMany: `insert into ${table} (prefix, key, record, version, expires_at)
select $1, item ->> 0, item ->> 1, $3, ${now} + $4::bigint from jsonb_array_elements($2::text::jsonb) item
on conflict (prefix, key) do update
set record = excluded.record, version = excluded.version, expires_at = excluded.expires_at`,
    deleteMany: `delete from ${table}
where prefix = $1 and key in (select jsonb_array_elements_text($2::text::jsonb)) returning ${live} as live`,
    // `$4` null: no key begins beyond the prefix.
    list: `select key from ${table}
where prefix = $1 and key >= $2 and key > $3 and ($4::text is null or key < $4) and ${live}
order by key limit $5::int`,
    purge: `delete from ${table} where (prefix, key) in (
  select prefix, key from ${table} where expires_at <= ${now} order by expires_at limit $1::int
  for update skip locked
) returning 1`,
  };
}

/** `"holdfast"` → `"holdfast_expires_at"`, in the schema of its table. */
function indexOf(table: string): string {
  return table.split(".").at(-1)!.replace(/"$/, '_expires_at"');
}
