/** Every statement that the engine sends; `SqlOperations` has the order of their values. */

import { sha256 } from "../../src/secret.ts";
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

/**
 * The time at which the statement began, which is when its snapshot was taken. A conditional write may wait
 * for another transaction and then answers the row of that snapshot: judged by a later time, a lease that was
 * extended meanwhile would seem to have ended.
 */
const SNAPSHOT_TIME = "floor(extract(epoch from statement_timestamp()) * 1000)::bigint";

/** The SQL statements. */
export interface StatementOptions {
  /** A constant time in place of the server's, for tests. */
  readonly now?: string | undefined;
  /** The channel that is notified of every changed row. */
  readonly channel?: string | undefined;
}

/**
 * Notifies a channel of a changed row. Every user of a database may listen to every channel, so the key
 * travels as a hash; `topicOf` makes the same.
 */
function notify(channel: string | undefined): string {
  if (channel === undefined) return "1";
  const digest = "sha256(convert_to(prefix || chr(1) || chr(3) || key, 'UTF8'))";
  return `pg_notify('${channel}', translate(encode(${digest}, 'base64'), '+/=', '-_'))`;
}

/** The payload that tells of a row; no escaped key or prefix has U+0003 behind U+0001. */
export function topicOf(prefix: string, key: string): Promise<string> {
  return sha256(`${prefix}\u0001\u0003${key}`);
}

/** `table` is checked and quoted already. */
export function postgresStatements(table: string, options: StatementOptions = {}): PostgresStatements {
  const { now = NOW } = options;
  const [snapshot, told] = [options.now ?? SNAPSHOT_TIME, notify(options.channel)];
  const live = `(expires_at is null or expires_at > ${now})`;
  const replace = `on conflict (prefix, key) do update
set record = excluded.record, version = excluded.version, expires_at = excluded.expires_at returning ${told}`;
  /** Answers a conditional write: whether it was done, and otherwise what is there. */
  const answer =
    `select ${snapshot} as now, (select count(*) from written) as done, r.record, r.version, r.expires_at as expires
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
    load: `select ${now} as now, r.record, r.version, r.expires_at as expires
from (select 1) one left join ${table} r on r.prefix = $1 and r.key = $2`,
    insert: `with written as (
  insert into ${table} (prefix, key, record, version, expires_at) values ($1, $2, $3, $4, $5::bigint)
  on conflict (prefix, key) do nothing returning ${told}
) ${answer}`,
    update: `with written as (
  update ${table} set record = $3, version = $4, expires_at = $5::bigint
  where prefix = $1 and key = $2 and version = $6 returning ${told}
) ${answer}`,
    remove: `with written as (
  delete from ${table} where prefix = $1 and key = $2 and version = $3 returning ${told}
) ${answer}`,
    get: `select record from ${table} where prefix = $1 and key = $2 and ${live}`,
    set: `insert into ${table} (prefix, key, record, version, expires_at)
values ($1, $2, $3, $4, ${now} + $5::bigint) ${replace}`,
    delete: `delete from ${table} where prefix = $1 and key = $2 returning ${live} as live, ${told}`,
    touch: `update ${table} set expires_at = ${now} + $3::bigint, version = $4
where prefix = $1 and key = $2 and ${live} returning ${told}`,
    getMany: `select key, record from ${table}
where prefix = $1 and key in (select jsonb_array_elements_text($2::text::jsonb)) and ${live}`,
    setMany: `insert into ${table} (prefix, key, record, version, expires_at)
select $1, item ->> 0, item ->> 1, $3, ${now} + $4::bigint from jsonb_array_elements($2::text::jsonb) item ${replace}`,
    deleteMany: `delete from ${table}
where prefix = $1 and key in (select jsonb_array_elements_text($2::text::jsonb)) returning ${live} as live, ${told}`,
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
