/**
 * The record of a session, and its form as flat strings: `session_transitions.ts` has the table of the
 * fields.
 */
import type { Fields } from "../store/transition.ts";

/**
 * A live session as a store keeps it. Times are milliseconds since the epoch, by the store's clock.
 *
 * @category Session stores
 */
export interface SessionRecord {
  /** The public name: random, safe in lists and logs. */
  readonly handle: string;
  /** The number of the write, from 1. Of two copies the one with the larger number is newer. */
  readonly version: number;
  /** The time of the creation or the login. A rotation keeps it. */
  readonly createdAt: number;
  /** The time of the last write. */
  readonly touchedAt: number;
  /** The time of the last comparison with the epochs. */
  readonly checkedAt: number;
  /**
   * The time that is compared with the epochs: of the login or the creation, not before the epoch of that
   * time. A rotation keeps it.
   */
  readonly bornAt: number;
  /** The time that it lives without being touched, in milliseconds. */
  readonly idleTimeout: number;
  /** The absolute end. */
  readonly endsAt: number;
  /** The schema version of its data. */
  readonly schemaVersion: number;
  /** The user who is logged in. */
  readonly userId?: string;
  /** The time of the login. */
  readonly authenticatedAt?: number;
  /** Data as `d:<name>` and flash values as `f:<name>`, encoded. */
  readonly values: Fields;
}

/**
 * The time at which a session expires unless it is touched, in milliseconds since the epoch. A `SessionStore`
 * keeps a record until then.
 *
 * @category Session stores
 * @example
 * ```ts
 * import { sessionExpiry, type SessionRecord } from "@holdfast/edge/sessions";
 * const timeToLive = (record: SessionRecord) => Math.max(0, sessionExpiry(record) - Date.now());
 * ```
 */
export function sessionExpiry(record: SessionRecord): number {
  return Math.min(record.touchedAt + record.idleTimeout, record.endsAt);
}

/** Converts a record to flat strings. */
export function sessionFields(record: SessionRecord): Fields {
  return {
    ...record.values,
    handle: record.handle,
    version: String(record.version),
    created: String(record.createdAt),
    touched: String(record.touchedAt),
    checked: String(record.checkedAt),
    born: String(record.bornAt),
    idle: String(record.idleTimeout),
    ends: String(record.endsAt),
    schema: String(record.schemaVersion),
    ...(record.userId !== undefined && { user: record.userId }),
    ...(record.authenticatedAt !== undefined && { login: String(record.authenticatedAt) }),
  };
}

/** Converts flat strings to a record. */
export function sessionRecord(fields: Fields): SessionRecord {
  const record: { -readonly [Name in keyof SessionRecord]: SessionRecord[Name] } = {
    handle: fields.handle ?? "",
    version: Number(fields.version),
    createdAt: Number(fields.created),
    touchedAt: Number(fields.touched),
    checkedAt: Number(fields.checked),
    bornAt: Number(fields.born),
    idleTimeout: Number(fields.idle),
    endsAt: Number(fields.ends),
    schemaVersion: Number(fields.schema),
    values: sessionValues(fields),
  };
  if (fields.user !== undefined) record.userId = fields.user;
  if (fields.login !== undefined) record.authenticatedAt = Number(fields.login);
  return record;
}

/** Selects the data and the flash values. */
function sessionValues(fields: Fields): Fields {
  const values: Record<string, string> = {};
  for (const field in fields) {
    if (field.charCodeAt(1) === 58 && (field[0] === "d" || field[0] === "f")) values[field] = fields[field]!;
  }
  return values;
}
