/**
 * What a store keeps of a session, and how it becomes flat strings: `{ h, n, c, t, k, b, i, x, s, u?, a?,
 * d:*, f:* }`: public handle, number of the write, created, last touched, last checked against the epochs,
 * born, idle timeout, absolute end, schema version, user, authenticated, data and flash values. Of a session
 * that was ended only `{ h, n, g }` stays for a while, where `g` says why.
 */
import type { Fields } from "../store/transition.ts";

/** A live session as a store keeps it. Times are milliseconds since the epoch, by the store's clock. */
export interface SessionRecord {
  /** A random public name, safe in lists and logs. */
  readonly handle: string;
  /** Grows by one with every write: of two copies the larger one is newer. */
  readonly version: number;
  /** When it was created, or its user logged in. Rotation keeps it. */
  readonly createdAt: number;
  /** When it was last written. */
  readonly touchedAt: number;
  /** When it was last held against the epochs. */
  readonly checkedAt: number;
  /**
   * What the epochs are compared with: when its user logged in, or when it was created. Rotation keeps it.
   */
  readonly bornAt: number;
  /** How long it lives without being touched, in milliseconds. */
  readonly idleTimeout: number;
  /** When it ends, whatever happens. */
  readonly endsAt: number;
  /** The version of the schema its data was written with. */
  readonly schemaVersion: number;
  /** The user who is logged in. */
  readonly userId?: string;
  /** When they logged in. */
  readonly authenticatedAt?: number;
  /** Data as `d:<name>` and flash values as `f:<name>`, encoded. */
  readonly values: Fields;
}

/**
 * The time at which a session expires unless it is touched, in milliseconds since the epoch. A `SessionStore` keeps a
 * record until then.
 *
 * @example
 * ```ts
 * import { sessionExpiry, type SessionRecord } from "@holdfast/edge/sessions";
 * const timeToLive = (record: SessionRecord) => Math.max(0, sessionExpiry(record) - Date.now());
 * ```
 */
export function sessionExpiry(record: SessionRecord): number {
  return Math.min(record.touchedAt + record.idleTimeout, record.endsAt);
}

/** The record as flat strings. */
export function sessionFields(record: SessionRecord): Fields {
  return {
    ...record.values,
    h: record.handle,
    n: String(record.version),
    c: String(record.createdAt),
    t: String(record.touchedAt),
    k: String(record.checkedAt),
    b: String(record.bornAt),
    i: String(record.idleTimeout),
    x: String(record.endsAt),
    s: String(record.schemaVersion),
    ...(record.userId !== undefined && { u: record.userId }),
    ...(record.authenticatedAt !== undefined && { a: String(record.authenticatedAt) }),
  };
}

/** The record that flat strings stand for. */
export function sessionRecord(fields: Fields): SessionRecord {
  return {
    handle: fields.h ?? "",
    version: Number(fields.n),
    createdAt: Number(fields.c),
    touchedAt: Number(fields.t),
    checkedAt: Number(fields.k),
    bornAt: Number(fields.b),
    idleTimeout: Number(fields.i),
    endsAt: Number(fields.x),
    schemaVersion: Number(fields.s),
    ...(fields.u !== undefined && { userId: fields.u }),
    ...(fields.a !== undefined && { authenticatedAt: Number(fields.a) }),
    values: sessionValues(fields),
  };
}

/** Data and flash values alone. */
export function sessionValues(fields: Fields): Fields {
  const values: Record<string, string> = {};
  for (const field in fields) {
    if (field.charCodeAt(1) === 58 && (field[0] === "d" || field[0] === "f")) values[field] = fields[field]!;
  }
  return values;
}
