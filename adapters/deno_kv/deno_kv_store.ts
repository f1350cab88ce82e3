import { type Clock, systemClock } from "../../src/clock.ts";
import { HoldfastError } from "../../src/errors.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import type { AtomicEngine, EngineListOptions } from "../../src/store/engine.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import { atomicStore } from "../../src/store/store.ts";
import type { Fields, Transition } from "../../src/store/transition.ts";
import { deferred } from "../_deferred.ts";

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
  commit(): Promise<{ ok: boolean }>;
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
  watch(keys: string[][]): ReadableStream<unknown>;
}

/** Options of {@linkcode denoKvStore}. */
export interface DenoKvStoreOptions {
  /**
   * The first part of every key; nothing outside it is ever touched.
   * @default {"holdfast"}
   */
  readonly prefix?: string;
  /**
   * Whose time decides about deadlines. Isolates that share a database must agree on it.
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
  return atomicStore(new DenoKvEngine(kv, options.prefix ?? "holdfast", options.clock ?? systemClock));
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
  readonly outcome: PromiseWithResolvers<Fields>;
}

/** Deno KV's own limits. */
const MOST_BYTES = 65_536;
const MOST_READ = 10;
const MOST_MUTATIONS = 500;
const MOST_TRIES = 64;

class DenoKvEngine implements AtomicEngine {
  readonly name = "deno-kv";
  readonly limits = { maxKeyBytes: 1900, maxValueLength: MOST_BYTES };
  readonly #kv: DenoKv;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Job[]>();

  constructor(kv: DenoKv, prefix: string, clock: Clock) {
    this.#kv = kv;
    this.#prefix = prefix;
    this.#clock = clock;
  }

  async get(key: string): Promise<string | undefined> {
    return text(this.#live(await guarded(() => this.#kv.get(this.#key(key)), false)));
  }

  async set(key: string, value: string, ttl: number | undefined): Promise<void> {
    const expiresAt = ttl === undefined ? undefined : this.#clock.now() + ttl;
    const envelope = sealed(
      expiresAt === undefined ? { v: value } : { v: value, e: String(expiresAt) },
      expiresAt,
    );
    await guarded(() => this.#kv.set(this.#key(key), envelope, expireIn(ttl)), true);
  }

  async getMany(keys: readonly string[]): Promise<(string | undefined)[]> {
    return (await this.#read(keys)).map((entry) => text(this.#live(entry)));
  }

  async deleteMany(keys: readonly string[]): Promise<number> {
    const live = (await this.#read(keys)).filter((entry) => this.#live(entry) !== undefined).length;
    for (let i = 0; i < keys.length; i += MOST_MUTATIONS) {
      const batch = this.#kv.atomic();
      for (const key of keys.slice(i, i + MOST_MUTATIONS)) batch.delete(this.#key(key));
      await guarded(() => batch.commit(), true);
    }
    return live;
  }

  async #read(keys: readonly string[]): Promise<DenoKvEntry[]> {
    const entries: DenoKvEntry[] = [];
    for (let i = 0; i < keys.length; i += MOST_READ) {
      const some = keys.slice(i, i + MOST_READ).map((key) => this.#key(key));
      entries.push(...await guarded(() => this.#kv.getMany(some), false));
    }
    return entries;
  }

  async list({ prefix, cursor, limit }: EngineListOptions): Promise<ListPage> {
    const start = this.#key(cursor === undefined ? prefix : cursor + "\0");
    const end = this.#key(prefix + "\u{10ffff}");
    return await guarded(async () => {
      const keys: string[] = [];
      let seen = 0;
      let last: string | undefined;
      for await (const entry of this.#kv.list({ start, end }, { limit, batchSize: Math.min(limit, 500) })) {
        last = entry.key.at(-1) as string;
        seen++;
        if (this.#live(entry) !== undefined) keys.push(last);
      }
      return seen < limit ? { keys } : { keys, cursor: last! };
    }, false);
  }

  /** Jobs of one key queue up here, and whoever is first works them all off: many waiters, one commit. */
  transact(transition: Transition, key: string, input: Fields, options?: CallOptions): Promise<Fields> {
    const job: Job = { transition, input, signal: options?.signal, outcome: deferred() };
    const waiting = this.#waiting.get(key);
    if (waiting) waiting.push(job);
    else {
      this.#waiting.set(key, [job]);
      this.#work(key);
    }
    return job.outcome.promise;
  }

  async #work(key: string): Promise<void> {
    for (;;) {
      const jobs = this.#waiting.get(key)!;
      if (jobs.length === 0) return void this.#waiting.delete(key);
      this.#waiting.set(key, []);
      try {
        const outputs = await this.#commit(key, jobs);
        jobs.forEach((job, i) => job.outcome.resolve(outputs[i]!));
      } catch (error) {
        for (const job of jobs) job.outcome.reject(job.signal?.aborted ? job.signal.reason : error);
      }
    }
  }

  async #commit(key: string, jobs: readonly Job[]): Promise<Fields[]> {
    const parts = this.#key(key);
    for (let attempt = 1; attempt <= MOST_TRIES; attempt++) {
      const entry = await guarded(() => this.#kv.get(parts), false);
      const now = this.#clock.now();
      let envelope = this.#live(entry, now);
      let written = false;
      const outputs = jobs.map(({ transition, input }) => {
        const live = envelope?.e !== undefined && now >= envelope.e ? undefined : envelope;
        const { output, write } = transition.apply(live?.r, input, now);
        if (write) {
          written = true;
          envelope = write.record && sealed(write.record, write.expiresAt);
        }
        return output;
      });
      if (!written) return outputs;
      const operation = this.#kv.atomic().check({ key: parts, versionstamp: entry.versionstamp });
      if (envelope === undefined) operation.delete(parts);
      else operation.set(parts, envelope, expireIn(envelope.e === undefined ? undefined : envelope.e - now));
      if ((await guarded(() => operation.commit(), true)).ok) return outputs;
      await systemClock.sleep(Math.random() * Math.min(2 ** attempt, 100));
    }
    throw new HoldfastError(
      "contention",
      `Cannot change the record as others changed it first ${MOST_TRIES} times`,
      {
        retryable: true,
      },
    );
  }

  async watch(key: string, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const reader = this.#kv.watch([this.#key(key)]).getReader();
    const aborted = deferred<void>();
    signal.addEventListener("abort", () => aborted.resolve(), { once: true });
    if (signal.aborted) aborted.resolve();
    // The first is what is there now. A change before it came would go unheard: look again after a second at the latest.
    const changed = reader.read().then(() => Promise.race([reader.read(), systemClock.sleep(1000, signal)]));
    await Promise.race([changed.catch(() => {}), aborted.promise]);
    await reader.cancel().catch(() => {});
  }

  #key(key: string): string[] {
    return [this.#prefix, key];
  }

  #live(entry: DenoKvEntry, now: number = this.#clock.now()): Envelope | undefined {
    const envelope = entry.value as Envelope | null;
    if (envelope === null) return undefined;
    if (typeof envelope !== "object" || typeof envelope.r !== "object") {
      throw new HoldfastError(
        "corrupt-record",
        "Cannot read the record as it was not written by this engine",
      );
    }
    return envelope.e !== undefined && now >= envelope.e ? undefined : envelope;
  }
}

function text(envelope: Envelope | undefined): string | undefined {
  return envelope && (envelope.r.v ?? "\0");
}

/** The envelope, unless it is too large for Deno KV; a string takes one byte a character if it is Latin-1, else two. */
function sealed(record: Fields, expiresAt: number | undefined): Envelope {
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
  return expiresAt === undefined ? { r: record } : { r: record, e: expiresAt };
}

function expireIn(ttl: number | undefined): { expireIn?: number } {
  return ttl === undefined ? {} : { expireIn: Math.max(1, Math.ceil(ttl)) };
}

async function guarded<T>(run: () => Promise<T>, write: boolean): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await run();
    } catch (cause) {
      if (cause instanceof HoldfastError) throw cause;
      // SQLite refused before anything happened: another process was writing.
      const locked = String(cause).includes("database is locked");
      if (!locked || attempt === MOST_TRIES) {
        throw new HoldfastError("backend-unavailable", "Cannot use Deno KV as its operation failed", {
          retryable: true,
          ambiguous: write && !locked,
          cause,
        });
      }
      await systemClock.sleep(Math.random() * Math.min(2 ** attempt, 100));
    }
  }
}
