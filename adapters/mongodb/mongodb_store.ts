import { type Clock, systemClock } from "../../src/clock.ts";
import { withTimeout } from "../../src/deadline.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import { randomToken } from "../../src/secret.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions } from "../../src/store/engine.ts";
import { escapeKey, successor, unescapeKey } from "../../src/store/key_text.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import { readRecord, readValue } from "../../src/store/record_text.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";
import {
  type CommitReply,
  type StoredRecord,
  type VersionedBackend,
  VersionedTransactions,
} from "../../src/store/versioned_engine.ts";
import { checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { checkPrefix } from "../../src/store/prefix.ts";
import { isDuplicateKey, mongodbFault } from "./mongodb_faults.ts";

/**
 * The part of a `Collection` of the official driver that the store uses, by shape.
 *
 * @category Stores
 */
export interface MongodbCollection {
  /** The name of the database and of the collection, with a dot between them. */
  readonly namespace: string;
  /** Its write concern, or that of its database or client. */
  // deno-lint-ignore no-explicit-any
  readonly writeConcern?: { readonly w?: any } | undefined;
  /** Reads one document. */
  // deno-lint-ignore no-explicit-any
  findOne(filter: any, options?: any): Promise<any>;
  /** Reads documents. */
  // deno-lint-ignore no-explicit-any
  find(filter: any, options?: any): { toArray(): Promise<any[]> };
  /** Writes one document that does not exist. */
  // deno-lint-ignore no-explicit-any
  insertOne(document: any): Promise<unknown>;
  /** Changes one document. */
  // deno-lint-ignore no-explicit-any
  updateOne(filter: any, update: any, options?: any): Promise<{ readonly matchedCount: number }>;
  /** Deletes one document. */
  // deno-lint-ignore no-explicit-any
  deleteOne(filter: any): Promise<{ readonly deletedCount: number }>;
  /** Deletes documents. */
  // deno-lint-ignore no-explicit-any
  deleteMany(filter: any): Promise<{ readonly deletedCount: number }>;
  /** Runs many writes in one trip. */
  // deno-lint-ignore no-explicit-any
  bulkWrite(operations: any, options?: any): Promise<unknown>;
  /** Makes an index. */
  // deno-lint-ignore no-explicit-any
  createIndex(keys: any, options?: any): Promise<unknown>;
}

/**
 * Options of {@linkcode mongodbStore}.
 *
 * @category Stores
 */
export interface MongodbStoreOptions {
  /**
   * A name for this store's keys in the collection; stores with different prefixes never meet.
   * @default {""}
   */
  readonly prefix?: string | undefined;
  /**
   * The time that one command may take, its repetitions included. A call takes several only where it reads
   * first, or while others change its record.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The clock that decides about deadlines: a conditional write has no time of the server's.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * A store on MongoDB, with what its collection needs.
 *
 * @category Stores
 */
export interface MongodbStore extends AtomicStore {
  /** Makes the index by which MongoDB deletes expired records. Run it once. */
  migrate(): Promise<void>;
}

const OPTIONS: OptionNames<MongodbStoreOptions> = { prefix: true, timeout: true, clock: true };

/**
 * A store in one collection of MongoDB. Reads and writes go to the primary with the write concern of the
 * collection that is handed in: give it `{ writeConcern: { w: "majority" } }`, or a failover may forget what
 * was acknowledged.
 *
 * @throws {TypeError} when the first argument is no collection, or one whose writes are not acknowledged
 * @throws {RangeError} when the prefix is longer than 256 bytes
 * @category Stores
 * @example
 * ```ts ignore
 * import { MongoClient } from "mongodb";
 * import { createLocks } from "@holdfast/edge";
 * import { mongodbStore } from "@holdfast/edge/mongodb";
 *
 * const client = await MongoClient.connect(url);
 * const store = mongodbStore(client.db("app").collection("holdfast", { writeConcern: { w: "majority" } }));
 * await store.migrate();
 * await using lock = await createLocks(store).acquire("job:nightly", { ttl: "30s" });
 * ```
 */
export function mongodbStore(collection: MongodbCollection, options: MongodbStoreOptions = {}): MongodbStore {
  const task = "make a MongoDB store";
  if (typeof collection?.updateOne !== "function" || typeof collection.createIndex !== "function") {
    throw new TypeError(`Cannot ${task} as it needs a collection of the official driver`);
  }
  if (collection.writeConcern?.w === 0) {
    // Two inserts of one id would both succeed, and two callers would hold one lock.
    throw new TypeError(
      `Cannot ${task} as writes must be acknowledged: current write concern is { w: 0 }, use { w: "majority" }`,
    );
  }
  checkOptionNames(task, options, OPTIONS);
  const { prefix = "" } = options;
  checkPrefix(prefix);
  const engine = new MongodbEngine(collection, prefix, options);
  return Object.assign(storeFromEngine(engine), { migrate: () => engine.migrate() });
}

/** A record as a document; `_id` is the prefix, its length before it, and the key. */
interface RecordDocument {
  readonly _id: string;
  /** The fields as JSON: a field's name may hold a dot, a dollar sign or NUL. */
  readonly record: string;
  /** A random text that every write replaces. */
  readonly version: string;
  /** The deadline in milliseconds since the epoch; null when there is none. */
  readonly expiresAt: number | null;
  /** The time at which MongoDB may delete the document. */
  readonly deleteAt: Date | null;
}

/**
 * The server's clock may be ahead of the callers': it deletes a record this long after the deadline, in
 * milliseconds.
 */
const DELETE_MARGIN = 3_600_000;
/** Attempts of an upsert that met another one of the same key. */
const UPSERT_ATTEMPTS = 10;

class MongodbEngine implements AtomicEngine {
  readonly name = "mongodb";
  // A document takes 16 MiB, and a text up to three bytes a unit.
  readonly limits = { maxKeyBytes: 512, maxValueLength: 4_000_000 };
  readonly binding: MongodbCollection;
  readonly scope: string;
  readonly #idPrefix: string;
  readonly #timeout: number;
  readonly #clock: Clock;
  readonly #transactions: VersionedTransactions;

  constructor(collection: MongodbCollection, prefix: string, options: MongodbStoreOptions) {
    this.binding = collection;
    this.scope = JSON.stringify([collection.namespace, prefix]);
    const escaped = escapeKey(prefix);
    this.#idPrefix = `${escaped.length}:${escaped}:`; // no prefix is the beginning of another
    this.#timeout = toMilliseconds(options.timeout ?? "10s", "timeout");
    this.#clock = options.clock ?? systemClock;
    this.#transactions = new VersionedTransactions(this.#backend, {
      virtualTime: () => this.#clock.now(),
    });
  }

  transact(transition: Transition, key: string, input: Fields, options?: CallOptions): Promise<Fields> {
    return this.#transactions.transact(transition, key, input, options);
  }

  readonly #backend: VersionedBackend = {
    load: (key, signal) => this.#load(key, signal),
    commit: async (key, expected, version, write, signal): Promise<CommitReply> => {
      if (await this.#conditional(key, expected, version, write, signal)) {
        return { done: true, now: this.#clock.now() };
      }
      return { done: false, ...await this.#load(key, signal) };
    },
  };

  async #load(key: string, signal: AbortSignal | undefined): Promise<StoredRecord> {
    const found = await this.#run(
      () => this.binding.findOne({ _id: this.#id(key) }) as Promise<RecordDocument | null>,
      false,
      signal,
    );
    const now = this.#clock.now();
    if (found === null) return { record: undefined, expiresAt: undefined, version: undefined, now };
    const { record, expiresAt, version } = found;
    return { record: readRecord(record), expiresAt: expiresAt ?? undefined, version, now };
  }

  /** Answers whether the record's version was the expected one. */
  async #conditional(
    key: string,
    expected: string | undefined,
    version: string,
    { record, expiresAt }: Write,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const _id = this.#id(key);
    if (record === undefined) {
      const { deletedCount } = await this.#run(
        () => this.binding.deleteOne({ _id, version: expected }),
        true,
        signal,
      );
      return deletedCount > 0;
    }
    const next = contentOf(record, version, expiresAt);
    if (expected !== undefined) {
      const { matchedCount } = await this.#run(
        () => this.binding.updateOne({ _id, version: expected }, { $set: next }),
        true,
        signal,
      );
      return matchedCount > 0;
    }
    try {
      await this.#run(() => this.binding.insertOne({ _id, ...next }), true, signal);
      return true;
    } catch (error) {
      if (isDuplicateKey(error)) return false;
      throw error;
    }
  }

  async get(key: string, options?: CallOptions): Promise<string | undefined> {
    return (await this.getMany([key], options))[0];
  }

  async set(key: string, value: string, ttl: number | undefined, options?: CallOptions): Promise<void> {
    await this.setMany([[key, value]], ttl, options);
  }

  async delete(key: string, options?: CallOptions): Promise<boolean> {
    return await this.deleteMany([key], options) > 0;
  }

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    const ids = keys.map((key) => this.#id(key));
    const filter = { _id: { $in: [...new Set(ids)] }, ...this.#live() };
    const found: RecordDocument[] = await this.#run(
      () => this.binding.find(filter).toArray(),
      false,
      options?.signal,
    );
    const texts = new Map(found.map(({ _id, record }) => [_id, readValue(record)]));
    return ids.map((id) => texts.get(id));
  }

  async setMany(
    entries: readonly (readonly [string, string])[],
    ttl: number | undefined,
    options?: CallOptions,
  ): Promise<void> {
    const expiresAt = ttl === undefined ? undefined : this.#clock.now() + ttl;
    const record = (v: string) => expiresAt === undefined ? { v } : { v, e: String(expiresAt) };
    const last = new Map(entries); // the last entry of a key counts
    const operations = Array.from(last, ([key, value]) => {
      this.#transactions.forget(key);
      const update = { $set: contentOf(record(value), randomToken(12), expiresAt) };
      return { updateOne: { filter: { _id: this.#id(key) }, update, upsert: true } };
    });
    for (let attempt = 1;; attempt++) {
      try {
        await this.#run(() => this.binding.bulkWrite(operations, { ordered: false }), true, options?.signal);
        return;
      } catch (error) {
        // Two upserts of one key may both insert; the one that was refused finds the document now.
        if (!isDuplicateKey(error) || attempt === UPSERT_ATTEMPTS) throw error;
      }
    }
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    for (const key of keys) this.#transactions.forget(key);
    const filter = { _id: { $in: keys.map((key) => this.#id(key)) }, ...this.#live() };
    return (await this.#run(() => this.binding.deleteMany(filter), true, options?.signal)).deletedCount;
  }

  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const start = this.#id(prefix);
    const range = {
      $gte: start,
      ...(cursor !== undefined && { $gt: this.#id(cursor) }),
      $lt: successor(start)!, // an id begins with a digit: there is always one
    };
    const filter = { _id: range, ...this.#live() };
    const found: RecordDocument[] = await this.#run(
      () => this.binding.find(filter, { sort: { _id: 1 }, limit, projection: { _id: 1 } }).toArray(),
      false,
      signal,
    );
    const keys = found.map(({ _id }) => unescapeKey(_id.slice(this.#idPrefix.length)));
    return keys.length < limit ? { keys } : { keys, cursor: keys.at(-1)! };
  }

  async migrate(): Promise<void> {
    await this.#run(
      () => this.binding.createIndex({ deleteAt: 1 }, { expireAfterSeconds: 0 }),
      true,
      undefined,
    );
  }

  #id(key: string): string {
    return this.#idPrefix + escapeKey(key);
  }

  /** A filter for records that are not expired. */
  #live(): object {
    return { $or: [{ expiresAt: null }, { expiresAt: { $gt: this.#clock.now() } }] };
  }

  async #run<T>(work: () => Promise<T>, writes: boolean, signal: AbortSignal | undefined): Promise<T> {
    try {
      return await withTimeout(work(), this.#timeout, signal, () => late(writes));
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw isDuplicateKey(error) ? error : mongodbFault(error, writes);
    }
  }
}

function contentOf(
  record: Fields,
  version: string,
  expiresAt: number | undefined,
): Omit<RecordDocument, "_id"> {
  return {
    record: JSON.stringify(record),
    version,
    expiresAt: expiresAt ?? null,
    deleteAt: expiresAt === undefined ? null : new Date(Math.min(expiresAt + DELETE_MARGIN, MAX_DATE)),
  };
}

/** The last moment of a `Date`. */
const MAX_DATE = 8_640_000_000_000_000;

function late(writes: boolean): HoldfastError {
  return new HoldfastError("timeout", "Cannot use MongoDB as it did not answer in time", {
    retryable: true,
    ambiguous: writes,
  });
}
