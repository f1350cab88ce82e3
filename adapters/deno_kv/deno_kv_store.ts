import { type Clock, systemClock } from "../../src/clock.ts";
import { deferred } from "../../src/deferred.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import { withTimeout } from "../../src/deadline.ts";
import type { AtomicStore, TransactOptions } from "../../src/store/atomic_store.ts";
import { type CompareAndSetBackend, transactByCompareAndSet } from "../../src/store/compare_and_set.ts";
import type { AtomicEngine, EngineListOptions, EngineWatchOptions } from "../../src/store/engine.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import { badCursor } from "../../src/store/cursor.ts";
import { successor } from "../../src/store/key_text.ts";
import { storePrefix } from "../../src/store/prefix.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";
import { checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { denoKvFault, isLocked } from "./_faults.ts";
import { keyPartBytes } from "./_key_part.ts";

/**
 * An entry of Deno KV, by shape.
 *
 * @category Stores
 */
export interface DenoKvEntry {
  /** The key's parts. */
  // deno-lint-ignore no-explicit-any
  readonly key: readonly any[];
  /** The value, or null. */
  readonly value: unknown;
  /** The version that a check compares, or null. */
  readonly versionstamp: string | null;
}

/**
 * An atomic operation of Deno KV, by shape.
 *
 * @category Stores
 */
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

/**
 * The used part of `Deno.Kv`, by shape.
 *
 * @category Stores
 */
export interface DenoKv {
  /** Reads. */
  get(key: string[]): Promise<DenoKvEntry>;
  /** Reads up to ten. */
  getMany(keys: string[][]): Promise<DenoKvEntry[]>;
  /** Writes. */
  set(key: string[], value: unknown, options?: { expireIn?: number }): Promise<unknown>;
  /** Walks a range. */
  list(
    selector: { start: string[]; end: (string | number)[] },
    options?: { limit?: number; batchSize?: number },
  ): AsyncIterable<DenoKvEntry>;
  /** Begins an atomic operation. */
  atomic(): DenoKvAtomic;
  /** Streams the entries of keys, now and after every change. */
  watch(keys: string[][]): ReadableStream<readonly { readonly versionstamp: string | null }[]>;
}

/**
 * Options of {@linkcode denoKvStore}.
 *
 * @category Stores
 */
export interface DenoKvStoreOptions {
  /**
   * The first part of every key; stores with different prefixes never meet. At most 256 bytes.
   * @default {"holdfast"}
   */
  readonly prefix?: string | undefined;
  /**
   * The maximum time of one call, its retries included.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The clock of deadlines: a record of one isolate ends for another earlier or later by as much as their
   * clocks differ.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const OPTIONS = { prefix: true, timeout: true, clock: true } satisfies OptionNames<DenoKvStoreOptions>;

/**
 * A store on Deno KV.
 *
 * @throws {TypeError} when the first argument is no Deno KV, for an unknown option
 * @throws {RangeError} when `prefix` takes more than 256 bytes
 * @category Stores
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
  checkOptionNames("make a store", options, OPTIONS);
  return storeFromEngine(new DenoKvEngine(kv, options));
}

/** The stored form: the record and its deadline, after which native expiry may leave it for a minute. */
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
  /** Whether its time is up; it is not begun then. */
  late: boolean;
  /** Whether a commit with it was sent, so that it may have had its effect. */
  sent: boolean;
}

/** The version of a record that does not exist. */
const NO_VERSION = "0";

/** Deno KV's own limits. */
const MOST_BYTES = 65_536;
const MOST_KEY_BYTES = 2048;
/** Also the number of checks in one commit that a self-hosted server takes. */
const MOST_READ = 10;

/** The number of batches of a `deleteMany` that are sent at the same time. */
const PARALLEL_BATCHES = 8;

/** The maximum number of attempts of a commit that others overtake. */
const MOST_TRIES = 64;

/**
 * The maximum number of jobs that wait for one key: a client that chooses keys cannot fill the memory with
 * them.
 */
const MOST_WAITING = 4096;

class DenoKvEngine implements AtomicEngine {
  readonly name = "deno-kv";
  readonly limits: { readonly maxKeyBytes: number; readonly maxValueLength: number };
  readonly binding: object;
  readonly scope: string;
  readonly #kv: DenoKv;
  readonly #prefix: string;
  readonly #timeout: number;
  /** The caller's time; sleeps between tries are the runtime's. */
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Job[]>();
  /** The version that the last call on a key found or left, while calls on it are under way. */
  readonly #versions = new Map<string, string>();

  constructor(kv: DenoKv, { prefix = "holdfast", timeout = "10s", clock = systemClock }: DenoKvStoreOptions) {
    storePrefix(prefix); // only its checks: the parts of a key never meet
    this.#kv = this.binding = kv;
    this.scope = prefix;
    this.#prefix = prefix;
    // A list starts behind a key, which takes two bytes more.
    const maxKeyBytes = MOST_KEY_BYTES - keyPartBytes(prefix) - keyPartBytes("") - 2;
    this.limits = { maxKeyBytes, maxValueLength: MOST_BYTES };
    this.#timeout = toMilliseconds(timeout, "timeout");
    this.#clock = { ...systemClock, now: () => clock.now() };
  }

  get(key: string, options?: CallOptions): Promise<string | undefined> {
    const parts = this.#key(key);
    return this.#run(() => this.#kv.get(parts).then(this.#text), false, options);
  }

  async set(key: string, value: string, ttl: number | undefined, options?: CallOptions): Promise<void> {
    const expiresAt = ttl === undefined ? undefined : this.#clock.now() + ttl;
    const record = expiresAt === undefined ? { v: value } : { v: value, e: String(expiresAt) };
    refuseTooLarge(record);
    const parts = this.#key(key);
    await this.#run(
      () => this.#kv.set(parts, sealed(record, expiresAt), expireIn(ttl)),
      true,
      options,
    );
  }

  readonly #text = (entry: DenoKvEntry): string | undefined => text(this.#live(entry));

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    const entries: DenoKvEntry[] = [];
    for (let i = 0; i < keys.length; i += MOST_READ) {
      const some = keys.slice(i, i + MOST_READ).map((key) => this.#key(key));
      entries.push(...await this.#run(() => this.#kv.getMany(some), false, options));
    }
    return entries.map((entry) => text(this.#live(entry)));
  }

  /** In batches of ten keys, as many as one read and the checks of one commit take. */
  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    const parts = keys.map((key) => this.#key(key));
    let next = 0;
    let deleted = 0;
    const work = async () => {
      for (let i = next; i < parts.length; i = next) {
        next = i + MOST_READ;
        const count = await this.#deleteBatch(parts.slice(i, i + MOST_READ), options);
        deleted += count;
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_BATCHES }, work));
    return deleted;
  }

  /** Deletes and counts in one commit that checks the counted versions: no key is counted by two callers. */
  async #deleteBatch(keys: string[][], options: CallOptions | undefined): Promise<number> {
    for (let attempt = 1; attempt <= MOST_TRIES; attempt++) {
      const entries = await this.#run(() => this.#kv.getMany(keys), false, options);
      const present = entries.filter(({ versionstamp }) => versionstamp !== null);
      if (present.length === 0) return 0;
      const batch = this.#kv.atomic();
      for (const { key, versionstamp } of present) {
        batch.check({ key: [...key], versionstamp }).delete([...key]);
      }
      const { ok } = await this.#run(() => batch.commit(), true, options);
      if (ok) return present.filter((entry) => this.#live(entry) !== undefined).length;
      await systemClock.sleep(Math.random() * Math.min(2 ** attempt, 100), options?.signal);
    }
    throw contention(`others changed them first ${MOST_TRIES} times`);
  }

  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    if (cursor !== undefined && !cursor.startsWith(prefix)) throw badCursor();
    const start = this.#parts(cursor === undefined ? prefix : cursor + "\0");
    // Strings sort by their code points, and a number sorts behind every string.
    const end = [this.#prefix, successor(prefix) ?? -Infinity];
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

  /**
   * Queues a job for its key. The first job of a key works the queue off, all that wait in one commit, until
   * it is empty. A job ends with its own time or signal, wherever it stands.
   */
  transact(transition: Transition, key: string, input: Fields, options?: TransactOptions): Promise<Fields> {
    const { signal, onVersion } = options ?? {};
    const job: Job = { transition, input, signal, onVersion, outcome: deferred(), late: false, sent: false };
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) {
      this.#key(key); // refuses it before any I/O
      this.#waiting.set(key, [job]);
      this.#work(key);
    } else if (waiting.length < MOST_WAITING) waiting.push(job);
    else return Promise.reject(contention(`${MOST_WAITING} calls wait for it in this isolate`));
    return withTimeout(job.outcome.promise, this.#timeout, signal, () => {
      job.late = true;
      return timeout(job.sent);
    });
  }

  async #work(key: string): Promise<void> {
    for (;;) {
      const jobs = this.#waiting.get(key)!.filter(({ signal, late }) => !signal?.aborted && !late);
      if (jobs.length === 0) {
        this.#versions.delete(key);
        return void this.#waiting.delete(key);
      }
      this.#waiting.set(key, []);
      await this.#commit(key, jobs).catch((error) => jobs.forEach(({ outcome }) => outcome.reject(error)));
    }
  }

  /**
   * Runs all jobs as one transition, each on the record that the one before left; one that fails leaves the
   * others alone.
   */
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
    const commit: CompareAndSetBackend["commit"] = (...change) => {
      for (const job of jobs) job.sent = true;
      return this.#backend.commit(...change).then((done) => {
        if (!done) { for (const job of jobs) job.sent = false; }
        return done;
      });
    };
    const backend = { load: this.#backend.load, commit };
    await transactByCompareAndSet(backend, together, key, {}, { clock: this.#clock, attempts: MOST_TRIES });
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

  /**
   * A key's parts.
   *
   * @throws {RangeError} when it is too long: a NUL takes two bytes
   */
  #key(key: string): string[] {
    if (key.includes("\0") && keyPartBytes(key) > this.limits.maxKeyBytes + 2) {
      throw new RangeError(
        `Cannot use the key as it must take at most ${this.limits.maxKeyBytes} bytes, each NUL two: ` +
          `current value takes ${keyPartBytes(key) - 2}`,
      );
    }
    return this.#parts(key);
  }

  #parts(key: string): string[] {
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

  /** One operation, repeated within the time of the call while another process writes to the database. */
  async #run<T>(work: () => Promise<T>, writes: boolean, options?: CallOptions): Promise<T> {
    const signal = options?.signal;
    const deadline = systemClock.monotonic() + this.#timeout;
    for (let attempt = 1, left = this.#timeout;; attempt++) {
      try {
        return await withTimeout(work(), Math.max(1, Math.ceil(left)), signal, () => timeout(writes));
      } catch (cause) {
        if (signal?.aborted) throw signal.reason;
        if (cause instanceof HoldfastError) throw cause;
        const delay = Math.random() * Math.min(2 ** attempt, 100);
        left = deadline - systemClock.monotonic() - delay;
        if (!isLocked(cause) || left <= 0) throw denoKvFault(cause, writes);
        await systemClock.sleep(delay, signal);
      }
    }
  }
}

function timeout(ambiguous: boolean): HoldfastError {
  const message = "Cannot use Deno KV as it did not reply in time";
  return new HoldfastError("timeout", message, { retryable: true, ambiguous });
}

function contention(why: string): HoldfastError {
  return new HoldfastError("contention", `Cannot change the record as ${why}`, { retryable: true });
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

/** `expireIn`, in milliseconds; Deno refuses one of some 260,000 years. The record has its own deadline. */
function expireIn(ttl: number | undefined): { expireIn?: number } {
  return ttl === undefined ? {} : { expireIn: Math.min(Math.max(1, Math.ceil(ttl)), 1e15) };
}
