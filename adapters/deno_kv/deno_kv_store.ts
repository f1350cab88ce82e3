import { type Clock, systemClock } from "../../src/clock.ts";
import { deferred } from "../../src/deferred.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import { interruptible, withTimeout } from "../../src/deadline.ts";
import type { AtomicStore, TransactOptions } from "../../src/store/atomic_store.ts";
import { type CompareAndSetBackend, transactByCompareAndSet } from "../../src/store/compare_and_set.ts";
import type { AtomicEngine, EngineListOptions, EngineWatchOptions } from "../../src/store/engine.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import { atomicStore } from "../../src/store/store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";

/** An entry of Deno KV, by shape. */
export interface DenoKvEntry {
  /** The key's parts. */
  // deno-lint-ignore no-explicit-any
  readonly key: readonly any[];
  /** The value, or null. */
  readonly value: unknown;
  /** What a check compares, or null. */
  readonly versionstamp: string | null;
}

/** An atomic operation of Deno KV, by shape. */
export interface DenoKvAtomic {
  /** Commits only if the entry is still what it was. */
  check(entry: { key: string[]; versionstamp: string | null }): DenoKvAtomic;
  /** Writes. */
  set(key: string[], value: unknown, options?: { expireIn?: number }): DenoKvAtomic;
  /** Deletes. */
  delete(key: string[]): DenoKvAtomic;
  /** Runs it all. */
  commit(): Promise<{ ok: boolean; versionstamp?: string }>;
}

/** What we use of `Deno.Kv`, by shape. */
export interface DenoKv {
  /** Reads. */
  get(key: string[]): Promise<DenoKvEntry>;
  /** Reads up to ten. */
  getMany(keys: string[][]): Promise<DenoKvEntry[]>;
  /** Writes. */
  set(key: string[], value: unknown, options?: { expireIn?: number }): Promise<unknown>;
  /** Walks a range. */
  list(
    selector: { start: string[]; end: string[] },
    options?: { limit?: number; batchSize?: number },
  ): AsyncIterable<DenoKvEntry>;
  /** Begins an atomic operation. */
  atomic(): DenoKvAtomic;
  /** Streams what keys hold, now and whenever they change. */
  watch(keys: string[][]): ReadableStream<readonly { readonly versionstamp: string | null }[]>;
}

/** Options of {@linkcode denoKvStore}. */
export interface DenoKvStoreOptions {
  /**
   * The first part of every key; nothing outside it is ever touched.
   * @default {"holdfast"}
   */
  readonly prefix?: string;
  /**
   * How long until an operation counts as lost.
   * @default {"10s"}
   */
  readonly timeout?: Duration;
  /**
   * Whose time decides about deadlines: what one isolate wrote ends for another earlier or later by as much as their clocks differ.
   * @default {systemClock}
   */
  readonly clock?: Clock;
}

/**
 * A store on Deno KV.
 *
 * @throws {TypeError} when the first argument is no Deno KV
 * @example
 * ```ts
 * import { denoKvStore } from "@holdfast/edge/deno-kv";
 *
 * using kv = await Deno.openKv(":memory:");
 * const store = denoKvStore(kv);
 * const { value } = await store.increment("visits", { ttl: "1m" });
 * if (value !== 1) throw new Error("unexpected");
 * ```
 */
export function denoKvStore(kv: DenoKv, options: DenoKvStoreOptions = {}): AtomicStore {
  if (typeof kv?.atomic !== "function") {
    throw new TypeError("Cannot make a store as it needs an open Deno KV");
  }
  return atomicStore(new DenoKvEngine(kv, options));
}

/** What is stored: the record and its deadline, which native expiry may overstay by a minute. */
interface Envelope {
  readonly r: Fields;
  readonly e?: number;
}

/** A transition that waits for its key. */
interface Job {
  readonly transition: Transition;
  readonly input: Fields;
  readonly signal: AbortSignal | undefined;
  readonly onVersion: TransactOptions["onVersion"];
  readonly outcome: PromiseWithResolvers<Fields>;
}

/** The version of a record that does not exist. */
const NO_VERSION = "0";

/** Deno KV's own limits. */
const MOST_BYTES = 65_536;
const MOST_READ = 10;
const MOST_MUTATIONS = 500;

/** How often a database is asked that another process is just writing to. */
const MOST_TRIES = 64;

class DenoKvEngine implements AtomicEngine {
  readonly name = "deno-kv";
  readonly limits = { maxKeyBytes: 1900, maxValueLength: MOST_BYTES };
  readonly binding: object;
  readonly scope: string;
  readonly #kv: DenoKv;
  readonly #prefix: string;
  readonly #timeout: number;
  /** The caller's time; between tries the runtime's passes. */
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Job[]>();
  /** The version that the last call on a key found or left, while calls on it are under way. */
  readonly #versions = new Map<string, string>();

  constructor(kv: DenoKv, { prefix = "holdfast", timeout = "10s", clock = systemClock }: DenoKvStoreOptions) {
    this.#kv = this.binding = kv;
    this.scope = prefix;
    this.#prefix = prefix;
    this.#timeout = toMilliseconds(timeout, "timeout");
    this.#clock = { ...systemClock, now: () => clock.now() };
  }

  async get(key: string, options?: CallOptions): Promise<string | undefined> {
    return text(this.#live(await this.#run(() => this.#kv.get(this.#key(key)), false, options)));
  }

  async set(key: string, value: string, ttl: number | undefined, options?: CallOptions): Promise<void> {
    const expiresAt = ttl === undefined ? undefined : this.#clock.now() + ttl;
    const record = expiresAt === undefined ? { v: value } : { v: value, e: String(expiresAt) };
    refuseTooLarge(record);
    await this.#run(
      () => this.#kv.set(this.#key(key), sealed(record, expiresAt), expireIn(ttl)),
      true,
      options,
    );
  }

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    return (await this.#read(keys, options)).map((entry) => text(this.#live(entry)));
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    const live = (await this.#read(keys, options)).filter((entry) => this.#live(entry) !== undefined).length;
    for (let i = 0; i < keys.length; i += MOST_MUTATIONS) {
      const batch = this.#kv.atomic();
      for (const key of keys.slice(i, i + MOST_MUTATIONS)) batch.delete(this.#key(key));
      await this.#run(() => batch.commit(), true, options);
    }
    return live;
  }

  async #read(keys: readonly string[], options: CallOptions | undefined): Promise<DenoKvEntry[]> {
    const entries: DenoKvEntry[] = [];
    for (let i = 0; i < keys.length; i += MOST_READ) {
      const some = keys.slice(i, i + MOST_READ).map((key) => this.#key(key));
      entries.push(...await this.#run(() => this.#kv.getMany(some), false, options));
    }
    return entries;
  }

  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const start = this.#key(cursor === undefined ? prefix : cursor + "\0");
    const end = this.#key(prefix + "\u{10ffff}");
    const page = async (): Promise<ListPage> => {
      const keys: string[] = [];
      let seen = 0;
      let last: string | undefined;
      for await (const entry of this.#kv.list({ start, end }, { limit, batchSize: Math.min(limit, 500) })) {
        last = entry.key.at(-1) as string;
        seen++;
        if (this.#live(entry) !== undefined) keys.push(last);
      }
      return seen < limit ? { keys } : { keys, cursor: last! };
    };
    return await this.#run(page, false, { signal });
  }

  /** Jobs of one key queue up here, and whoever is first works them all off: many waiters, one commit. */
  transact(transition: Transition, key: string, input: Fields, options?: TransactOptions): Promise<Fields> {
    const signal = options?.signal;
    const job: Job = { transition, input, signal, onVersion: options?.onVersion, outcome: deferred() };
    const waiting = this.#waiting.get(key);
    if (waiting) waiting.push(job);
    else {
      this.#waiting.set(key, [job]);
      this.#work(key);
    }
    return interruptible(job.outcome.promise, signal);
  }

  async #work(key: string): Promise<void> {
    for (;;) {
      const jobs = this.#waiting.get(key)!.filter(({ signal }) => !signal?.aborted);
      if (jobs.length === 0) {
        this.#versions.delete(key);
        return void this.#waiting.delete(key);
      }
      this.#waiting.set(key, []);
      await this.#commit(key, jobs).catch((error) => jobs.forEach(({ outcome }) => outcome.reject(error)));
    }
  }

  /** All jobs as one transition, each on what the one before left; one that fails leaves the others alone. */
  async #commit(key: string, jobs: readonly Job[]): Promise<void> {
    let settle: (() => void)[] = [];
    const together: Transition = {
      name: "deno-kv.together",
      apply(record, _input, now) {
        let write: Write | undefined;
        settle = jobs.map(({ transition, input, outcome }) => {
          try {
            const gone = write?.expiresAt !== undefined && now >= write.expiresAt;
            const step = transition.apply(gone ? undefined : write ? write.record : record, input, now);
            if (step.write?.record) refuseTooLarge(step.write.record);
            write = step.write ?? write;
            return () => outcome.resolve(step.output);
          } catch (error) {
            return () => outcome.reject(error);
          }
        });
        return write ? { output: {}, write } : { output: {} };
      },
    };
    await transactByCompareAndSet(this.#backend, together, key, {}, { clock: this.#clock });
    for (const { onVersion } of jobs) onVersion?.(this.#versions.get(key) ?? NO_VERSION);
    for (const done of settle) done();
  }

  readonly #backend: CompareAndSetBackend = {
    load: async (key) => {
      const entry = await this.#run(() => this.#kv.get(this.#key(key)), false);
      this.#versions.set(key, entry.versionstamp ?? NO_VERSION);
      return { record: this.#live(entry)?.r, version: entry.versionstamp };
    },
    commit: async (key, version, { record, expiresAt }) => {
      const parts = this.#key(key);
      const operation = this.#kv.atomic().check({ key: parts, versionstamp: version as string | null });
      const ttl = expiresAt === undefined ? undefined : expiresAt - this.#clock.now();
      if (record === undefined) operation.delete(parts);
      else operation.set(parts, sealed(record, expiresAt), expireIn(ttl));
      const { ok, versionstamp } = await this.#run(() => operation.commit(), true);
      if (ok) this.#versions.set(key, record === undefined ? NO_VERSION : versionstamp ?? NO_VERSION);
      return ok;
    },
  };

  async watch(key: string, { timeout, since, signal }: EngineWatchOptions): Promise<boolean> {
    const reader = this.#kv.watch([this.#key(key)]).getReader();
    const over = new AbortController();
    const until = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
    const changed = async () => {
      // The first is what is there now; another state than the caller has seen is a change already.
      for (let seen = since;;) {
        const { done, value } = await reader.read();
        const version = value?.[0]?.versionstamp ?? NO_VERSION;
        if (done || (seen !== undefined && version !== seen)) return true;
        seen = version;
      }
    };
    try {
      const timer = this.#clock.sleep(timeout, until).then(() => false);
      return await Promise.race([changed(), timer]);
    } finally {
      over.abort("over");
      await reader.cancel().catch(() => {});
    }
  }

  #key(key: string): string[] {
    return [this.#prefix, key];
  }

  #live(entry: DenoKvEntry): Envelope | undefined {
    const envelope = entry.value as Envelope | null;
    if (envelope === null) return undefined;
    if (typeof envelope !== "object" || typeof envelope.r !== "object") {
      throw new HoldfastError(
        "corrupt-record",
        "Cannot read the record as it was not written by this engine",
      );
    }
    return envelope.e !== undefined && this.#clock.now() >= envelope.e ? undefined : envelope;
  }

  async #run<T>(work: () => Promise<T>, writes: boolean, options?: CallOptions): Promise<T> {
    const signal = options?.signal;
    const late = () =>
      new HoldfastError("timeout", "Cannot use Deno KV as it did not reply in time", {
        retryable: true,
        ambiguous: writes,
      });
    for (let attempt = 1;; attempt++) {
      try {
        return await withTimeout(work(), this.#timeout, signal, late);
      } catch (cause) {
        if (signal?.aborted) throw signal.reason;
        if (cause instanceof HoldfastError) throw cause;
        // SQLite refused before anything happened: another process was writing.
        const locked = String(cause).includes("database is locked");
        if (!locked || attempt === MOST_TRIES) {
          throw new HoldfastError("backend-unavailable", "Cannot use Deno KV as its operation failed", {
            retryable: true,
            ambiguous: writes && !locked,
            cause,
          });
        }
        await systemClock.sleep(Math.random() * Math.min(2 ** attempt, 100), signal);
      }
    }
  }
}

function text(envelope: Envelope | undefined): string | undefined {
  return envelope && (envelope.r.v ?? "\0");
}

function sealed(record: Fields, expiresAt: number | undefined): Envelope {
  return expiresAt === undefined ? { r: record } : { r: record, e: expiresAt };
}

/** A string takes one byte a character if it is Latin-1, else two. */
function refuseTooLarge(record: Fields): void {
  let bytes = 64;
  for (const part of Object.entries(record).flat()) {
    // deno-lint-ignore no-control-regex
    bytes += 8 + (/^[\x00-\xff]*$/.test(part) ? part.length : part.length * 2);
  }
  if (bytes > MOST_BYTES) {
    throw new HoldfastError(
      "value-too-large",
      `Cannot store the record as deno-kv takes at most ${MOST_BYTES} bytes: current size is about ${bytes}`,
    );
  }
}

function expireIn(ttl: number | undefined): { expireIn?: number } {
  return ttl === undefined ? {} : { expireIn: Math.max(1, Math.ceil(ttl)) };
}
