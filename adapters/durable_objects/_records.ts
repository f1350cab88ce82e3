/**
 * The work of an object, without Cloudflare's class around it: records in one SQL table, transitions that run
 * on them synchronously, so that no other call comes in between, and one alarm that deletes the expired ones.
 */
import type { ListPage } from "../../src/store/key_value_store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";
import { getValue, setValue } from "../../src/store/value_transitions.ts";
import type { Refusal, Transacted, Watched } from "./rpc.ts";

/**
 * The used part of a Durable Object's storage, by shape. It must be SQLite-backed.
 *
 * @category Stores
 */
export interface DurableStorage {
  /** Its SQL database. */
  readonly sql: {
    /** Runs a statement. */
    exec(query: string, ...bindings: (string | number | null)[]): {
      /** All rows. */
      toArray(): Record<string, unknown>[];
    };
  };
  /** Sets the one alarm, in milliseconds since the epoch. */
  setAlarm(time: number): Promise<void>;
  /** Takes the alarm back. */
  deleteAlarm(): Promise<void>;
  /** Deletes everything, the database itself too. */
  deleteAll(): Promise<void>;
}

/** A row's key and record together; SQLite there takes 2 MB. */
const MOST_RECORD_BYTES = 2_000_000;

/** The maximum length of one reply; Workers RPC takes 32 MiB. */
const MOST_REPLY_LENGTH = 8_000_000;

/** The longest that one call waits: less than the grace of a deployment, or of a proxy. */
const MOST_WAIT = 20_000;

/**
 * The most waits at a time, of one key and of all keys of an object: each holds a request open and some
 * memory. One more is refused, and its caller asks again about once a second.
 */
const MOST_WAITING_PER_KEY = 1024;
const MOST_WAITING = 8192;

/** The minimum time between two purges, so that short-lived records do not each cost an alarm. */
const PURGE_INTERVAL = 60_000;

/**
 * The longest time until an alarm, in milliseconds: the runtime refuses one after the year 2189. What ends
 * later is looked at again then.
 */
const LONGEST_ALARM = 365 * 86_400_000;

/**
 * The maximum number of records that one purge deletes; with more it runs again at once, and other calls come
 * in between.
 */
const PURGE_SLICE = 1000;

/** The longest record that is kept in memory: objects of many keys share the memory of one isolate. */
const MOST_KEPT_LENGTH = 4096;

/** A record as it is stored. */
interface Row {
  readonly key: string;
  /** The record as JSON. */
  readonly record: string;
  readonly version: number;
  readonly expires: number | null;
}

export class ObjectRecords {
  readonly #storage: DurableStorage;
  readonly #find: (name: string) => Transition | undefined;
  readonly #now: () => number;
  // All of this may be lost at any time; only the table and the alarm last.
  readonly #waiting = new Map<string, Set<(version: number, record: Fields | undefined) => void>>();
  #waits = 0;
  /**
   * The row that was read or written last, if it is a short one: nothing else writes the table, and a write
   * that does not reach the disk resets the object. It is kept as text, so that no transition can change it
   * by mistake.
   */
  #last: Row | undefined;
  #table: boolean | undefined;
  #index: boolean | undefined;
  #version = 0;
  #alarm: number | undefined;
  #purged = 0;

  constructor(storage: DurableStorage, find: (name: string) => Transition | undefined, now: () => number) {
    this.#storage = storage;
    this.#find = find;
    this.#now = now;
  }

  transact(name: string, key: string, input: Fields): Transacted {
    const transition = this.#find(name);
    if (transition === undefined) return { refused: "transition-unknown" };
    const now = this.#now();
    const row = this.#read(key, now);
    const { output, write } = transition.apply(recordOf(row), input, now);
    if (write === undefined) return { output, version: row?.version ?? 0 };
    const version = this.#write(key, write, row);
    return version === undefined ? { refused: "value-too-large" } : { output, version };
  }

  getMany(keys: readonly string[]): (string | undefined)[] {
    const now = this.#now();
    const values: (string | undefined)[] = [];
    let length = 0;
    for (const key of keys) {
      const { v } = getValue.apply(recordOf(this.#read(key, now)), {}, now).output;
      length += v?.length ?? 0;
      if (length > MOST_REPLY_LENGTH && values.length > 0) break;
      values.push(v);
    }
    return values;
  }

  setMany(entries: readonly (readonly [string, string])[], ttl: number | undefined): Refusal | undefined {
    const now = this.#now();
    for (const [key, v] of entries) {
      const input = ttl === undefined ? { v } : { v, ttl: String(ttl) };
      const { write } = setValue.apply(undefined, input, now);
      if (this.#write(key, write!, undefined) === undefined) return "value-too-large";
    }
    return undefined;
  }

  deleteMany(keys: readonly string[]): number {
    const now = this.#now();
    let deleted = 0;
    for (const key of keys) {
      if (this.#read(key, now) === undefined) continue;
      this.#write(key, { record: undefined }, undefined);
      deleted++;
    }
    return deleted;
  }

  list(prefix: string, cursor: string | undefined, limit: number): ListPage {
    if (!this.#hasTable()) return { keys: [] };
    // SQLite orders text by its UTF-8 bytes: what begins with the prefix stands together.
    const found = this.#storage.sql.exec(
      `SELECT key FROM records WHERE key ${cursor === undefined ? ">=" : ">"} ?
         AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?`,
      cursor ?? prefix,
      this.#now(),
      limit,
    ).toArray().map(({ key }) => key as string);
    const keys = found.filter((key) => key.startsWith(prefix));
    return keys.length < limit ? { keys } : { keys, cursor: keys.at(-1)! };
  }

  watch(key: string, seen: number | undefined, milliseconds: number, field?: string): Promise<Watched> {
    const row = this.#read(key, this.#now());
    const version = row?.version ?? 0;
    const before = field === undefined ? undefined : recordOf(row)?.[field];
    if (seen !== undefined && version !== seen) return Promise.resolve({ changed: true, version });
    const waiting = this.#waiting.get(key) ?? new Set();
    if (waiting.size >= MOST_WAITING_PER_KEY || this.#waits >= MOST_WAITING) {
      return Promise.resolve({ changed: false, version, refused: true });
    }
    return new Promise((resolve) => {
      this.#waiting.set(key, waiting);
      this.#waits++;
      const end = (watched: Watched) => {
        clearTimeout(timer);
        if (waiting.delete(wake)) this.#waits--;
        if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key);
        resolve(watched);
      };
      const wake = (version: number, record: Fields | undefined) => {
        if (field === undefined || record?.[field] !== before) end({ changed: true, version });
      };
      const timer = setTimeout(() => end({ changed: false, version }), Math.min(milliseconds, MOST_WAIT));
      waiting.add(wake);
    });
  }

  /**
   * The alarm: deletes what has expired, a slice at a time, and sets itself for the next one. Through the
   * index it reads expired records alone.
   */
  purge(): void {
    this.#alarm = Infinity;
    const now = this.#now();
    if (!this.#hasTable()) return void (this.#purged = now);
    const expired = this.#storage.sql.exec(
      "SELECT key FROM records WHERE expires <= ? ORDER BY expires LIMIT ?",
      now,
      PURGE_SLICE,
    ).toArray();
    for (const { key } of expired) {
      this.#storage.sql.exec("DELETE FROM records WHERE key = ?", key as string);
    }
    this.#last = undefined;
    if (expired.length === PURGE_SLICE) {
      this.#alarm = now;
      return void this.#storage.setAlarm(Date.now());
    }
    this.#purged = now;
    const next = this.#firstExpiry();
    if (next !== null) this.#wakeAt(next);
    else if (this.#isEmpty()) this.#vanish();
  }

  /** The live row of a key. */
  #read(key: string, now: number): Row | undefined {
    const row = this.#last?.key === key ? this.#last : this.#select(key);
    return row === undefined || (row.expires !== null && row.expires <= now) ? undefined : row;
  }

  #select(key: string): Row | undefined {
    if (!this.#hasTable()) return undefined;
    const query = "SELECT key, record, version, expires FROM records WHERE key = ?";
    const row = this.#storage.sql.exec(query, key).toArray()[0] as unknown as Row | undefined;
    this.#keep(row);
    return row;
  }

  #keep(row: Row | undefined): void {
    this.#last = row !== undefined && row.record.length <= MOST_KEPT_LENGTH ? row : undefined;
  }

  /** The record's new version; `undefined` when it is too large. `row` is the live one, if it was read. */
  #write(key: string, { record, expiresAt }: Write, row: Row | undefined): number | undefined {
    const text = record && JSON.stringify(record);
    if (text !== undefined && bytes(key) + bytes(text) > MOST_RECORD_BYTES) return undefined;
    const expires = expiresAt ?? null;
    this.#last = undefined; // until the statement has succeeded
    const version = text === undefined ? this.#remove(key) : this.#store(key, text, expires, row);
    if (text !== undefined) this.#keep({ key, record: text, version, expires });
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) { for (const wake of [...waiting]) wake(version, record); }
    return version;
  }

  #remove(key: string): number {
    if (!this.#hasTable()) return 0;
    this.#storage.sql.exec("DELETE FROM records WHERE key = ?", key);
    if (this.#isEmpty()) this.#vanish();
    return 0;
  }

  #store(key: string, text: string, expires: number | null, row: Row | undefined): number {
    this.#makeTable();
    // Above every version before a restart too, as it is seeded with the clock in microseconds.
    const version = this.#version = Math.max(this.#version + 1, this.#now() * 1000);
    if (row?.expires === expires) {
      // A statement that names the deadline would write its index again.
      this.#storage.sql.exec("UPDATE records SET record = ?, version = ? WHERE key = ?", text, version, key);
      return version;
    }
    if (row === undefined) this.#makeIndex(key);
    this.#storage.sql.exec(
      "INSERT OR REPLACE INTO records (key, record, expires, version) VALUES (?, ?, ?, ?)",
      key,
      text,
      expires,
      version,
    );
    if (expires !== null) this.#wakeAt(expires);
    return version;
  }

  /** Nothing here is awaited: the runtime holds every reply back until all that was written is on disk. */
  #wakeAt(time: number): void {
    // After a restart an alarm may be set for an earlier one: it must not be put off.
    const first = this.#alarm === undefined ? this.#firstExpiry()! : time;
    const due = Math.min(Math.max(first, this.#purged + PURGE_INTERVAL), this.#now() + LONGEST_ALARM);
    if (due >= (this.#alarm ?? Infinity)) return;
    this.#alarm = due;
    this.#storage.setAlarm(Date.now() + due - this.#now()); // the runtime's clock rings it
  }

  #firstExpiry(): number | null {
    const query = "SELECT MIN(expires) AS first FROM records WHERE expires IS NOT NULL";
    return this.#storage.sql.exec(query).toArray()[0]!.first as number | null;
  }

  #isEmpty(): boolean {
    return this.#storage.sql.exec("SELECT 1 FROM records LIMIT 1").toArray().length === 0;
  }

  #hasTable(): boolean {
    return this.#table ??= this.#storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'records'")
      .toArray().length > 0;
  }

  #makeTable(): void {
    if (this.#table) return;
    this.#storage.sql.exec(
      `CREATE TABLE IF NOT EXISTS records
         (key TEXT PRIMARY KEY, record TEXT NOT NULL, expires INTEGER, version INTEGER NOT NULL) WITHOUT ROWID`,
    );
    this.#table = true;
  }

  /**
   * The index of deadlines, made with the second record: an object of one key, the default, would pay a row
   * written with every write for it and gain nothing. It is partial, so records without a deadline cost
   * nothing either.
   */
  #makeIndex(key: string): void {
    this.#index ??= this.#storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'records_by_deadline'")
      .toArray().length > 0;
    if (this.#index) return;
    const others = this.#storage.sql.exec("SELECT 1 FROM records WHERE key <> ? LIMIT 1", key).toArray();
    if (others.length === 0) return;
    this.#storage.sql.exec(
      "CREATE INDEX records_by_deadline ON records (expires) WHERE expires IS NOT NULL",
    );
    this.#index = true;
  }

  /** An object without storage and alarm costs nothing and is forgotten. */
  #vanish(): void {
    this.#table = this.#index = false;
    this.#alarm = Infinity;
    this.#storage.deleteAlarm(); // deleteAll() takes it along only since compatibility date 2026-02-24
    this.#storage.deleteAll();
  }
}

function recordOf(row: Row | undefined): Fields | undefined {
  return row && JSON.parse(row.record);
}

const encoder = new TextEncoder();

function bytes(text: string): number {
  return text.length * 3 <= MOST_RECORD_BYTES / 2 ? text.length : encoder.encode(text).length;
}
