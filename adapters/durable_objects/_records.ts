/**
 * What an object does, without Cloudflare's class around it: records in one SQL table, transitions run on them
 * synchronously, so that nothing can come in between, and one alarm that takes the expired away.
 */
import type { ListPage } from "../../src/store/key_value_store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";
import { getValue, setValue } from "../../src/store/value_transitions.ts";
import type { Refusal, Transacted, Watched } from "./rpc.ts";

/** What we use of a Durable Object's storage, by shape. It must be SQLite-backed. */
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

/** What one reply may hold; Workers RPC takes 32 MiB. */
const MOST_REPLY_LENGTH = 8_000_000;

/** The longest that one call waits: less than the grace of a deployment, or of a proxy. */
const MOST_WAIT = 20_000;

/**
 * The most waits at a time, of one key and of all keys of an object: each holds a request open and some memory. One more is
 * refused, and its caller asks again about once a second.
 */
const MOST_WAITING_PER_KEY = 1024;
const MOST_WAITING = 8192;

/** Between two purges, so that a table of short-lived records is not searched again and again. */
const PURGE_INTERVAL = 60_000;

interface Row {
  readonly record: Fields;
  readonly version: number;
}

export class ObjectRecords {
  readonly #storage: DurableStorage;
  readonly #find: (name: string) => Transition | undefined;
  readonly #now: () => number;
  // All of this may be lost at any time: the table and the alarm are the truth.
  readonly #waiting = new Map<string, Set<(version: number, record: Fields | undefined) => void>>();
  #waits = 0;
  #table: boolean | undefined;
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
    const { output, write } = transition.apply(row?.record, input, now);
    if (write === undefined) return { output, version: row?.version ?? 0 };
    const version = this.#write(key, write);
    return version === undefined ? { refused: "value-too-large" } : { output, version };
  }

  getMany(keys: readonly string[]): (string | undefined)[] {
    const now = this.#now();
    const values: (string | undefined)[] = [];
    let length = 0;
    for (const key of keys) {
      const { v } = getValue.apply(this.#read(key, now)?.record, {}, now).output;
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
      if (this.#write(key, write!) === undefined) return "value-too-large";
    }
    return undefined;
  }

  deleteMany(keys: readonly string[]): number {
    const now = this.#now();
    let deleted = 0;
    for (const key of keys) {
      if (this.#read(key, now) === undefined) continue;
      this.#write(key, { record: undefined });
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
    const before = field === undefined ? undefined : row?.record[field];
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

  /** The alarm: takes away what has expired, and comes again when the next one does. */
  purge(): void {
    this.#alarm = Infinity;
    this.#purged = this.#now();
    if (!this.#hasTable()) return;
    this.#storage.sql.exec("DELETE FROM records WHERE expires <= ?", this.#purged);
    const next = this.#firstExpiry();
    if (next !== null) this.#wakeAt(next);
    else if (this.#isEmpty()) this.#vanish();
  }

  #read(key: string, now: number): Row | undefined {
    if (!this.#hasTable()) return undefined;
    const [row] = this.#storage.sql.exec(
      "SELECT record, version FROM records WHERE key = ? AND (expires IS NULL OR expires > ?)",
      key,
      now,
    ).toArray();
    return row && { record: JSON.parse(row.record as string), version: row.version as number };
  }

  /** The record's new version; `undefined` when it is too large. */
  #write(key: string, { record, expiresAt }: Write): number | undefined {
    let version = 0;
    if (record === undefined) {
      if (!this.#hasTable()) return version;
      this.#storage.sql.exec("DELETE FROM records WHERE key = ?", key);
      if (this.#isEmpty()) this.#vanish();
    } else {
      const text = JSON.stringify(record);
      if (bytes(key) + bytes(text) > MOST_RECORD_BYTES) return undefined;
      this.#makeTable();
      // Above every version before a restart too, as it is seeded with the clock in microseconds.
      version = this.#version = Math.max(this.#version + 1, this.#now() * 1000);
      this.#storage.sql.exec(
        "INSERT OR REPLACE INTO records (key, record, expires, version) VALUES (?, ?, ?, ?)",
        key,
        text,
        expiresAt ?? null,
        version,
      );
      if (expiresAt !== undefined) this.#wakeAt(expiresAt);
    }
    for (const wake of [...this.#waiting.get(key) ?? []]) wake(version, record);
    return version;
  }

  /** Nothing here is awaited: the runtime holds every reply back until all that was written is on disk. */
  #wakeAt(time: number): void {
    // After a restart an alarm may be set for an earlier one: it must not be put off.
    const first = this.#alarm === undefined ? this.#firstExpiry()! : time;
    const due = Math.max(first, this.#purged + PURGE_INTERVAL);
    if (due >= (this.#alarm ?? Infinity)) return;
    this.#alarm = due;
    this.#storage.setAlarm(Date.now() + due - this.#now()); // the runtime's clock rings it
  }

  #firstExpiry(): number | null {
    return this.#storage.sql.exec("SELECT MIN(expires) AS first FROM records").toArray()[0]!.first as
      | number
      | null;
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

  /** An object without storage and alarm costs nothing and is forgotten. */
  #vanish(): void {
    this.#table = false;
    this.#alarm = Infinity;
    this.#storage.deleteAlarm(); // deleteAll() takes it along only since compatibility date 2026-02-24
    this.#storage.deleteAll();
  }
}

const encoder = new TextEncoder();

function bytes(text: string): number {
  return text.length * 3 <= MOST_RECORD_BYTES / 2 ? text.length : encoder.encode(text).length;
}
