/**
 * Transactions over a backend that has conditional writes and a clock of its own: a SQL table, a document
 * collection.
 *
 * A transition takes one trip where the engine guesses the record's state, and two where it guesses wrong:
 * the conditional write that fails answers what is there instead. A guess is never trusted: it is the version
 * in the write's condition that decides. The guess is the state that the engine saw last, or that the key is
 * absent.
 */
import { systemClock } from "../clock.ts";
import { type Deferred, deferred } from "../deferred.ts";
import { HoldfastError } from "../errors.ts";
import { interruptible } from "../deadline.ts";
import { randomToken } from "../secret.ts";
import { checkOptionNames, type OptionNames } from "../validate.ts";
import type { TransactOptions } from "./atomic_store.ts";
import type { Fields, Step, Transition, Write } from "./transition.ts";

/**
 * A record as the backend holds it now.
 *
 * @category Engines
 */
export interface StoredRecord {
  /** The record; `undefined` when the key is absent. */
  readonly record: Fields | undefined;
  /** Its deadline in milliseconds since the epoch; `undefined` when it has none. */
  readonly expiresAt: number | undefined;
  /** A random text that every write replaces; `undefined` when the key is absent. */
  readonly version: string | undefined;
  /** The backend's clock when it answered, in milliseconds since the epoch. */
  readonly now: number;
}

/**
 * The answer of a conditional write.
 *
 * @category Engines
 */
export type CommitReply =
  | { readonly done: true; readonly now: number }
  | ({ readonly done: false } & StoredRecord);

/**
 * The methods of a backend: each is one trip.
 *
 * @category Engines
 */
export interface VersionedBackend {
  /** Reads a record, an expired one included. */
  load(key: string, signal?: AbortSignal): Promise<StoredRecord>;
  /**
   * Writes `write` as `version` if the record's version is `expected` (`undefined`: if the key is absent), or
   * answers what is there.
   */
  commit(
    key: string,
    expected: string | undefined,
    version: string,
    write: Write,
    signal?: AbortSignal,
  ): Promise<CommitReply>;
}

/**
 * Options of {@linkcode VersionedTransactions}.
 *
 * @category Engines
 */
export interface VersionedOptions {
  /**
   * The most attempts of one transition while other writers win.
   * @default {64}
   */
  readonly attempts?: number | undefined;
  /** A virtual time in place of the backend's, for tests. */
  readonly virtualTime?: (() => number) | undefined;
  /**
   * Whether calls on one key wait for each other in this isolate and commit together. Never on Workers, where
   * no request may wait for the work of another.
   * @default {true}
   */
  readonly coalesce?: boolean | undefined;
  /**
   * Whether the state that was seen last is remembered as the next guess.
   * @default {true}
   */
  readonly remember?: boolean | undefined;
}

const OPTIONS = {
  attempts: true,
  virtualTime: true,
  coalesce: true,
  remember: true,
} satisfies OptionNames<VersionedOptions>;

/** States remembered as guesses; the one used longest ago goes first. */
const MAX_SEEN = 1000;
/**
 * Records longer than this, in UTF-16 units, are not remembered: they cost memory, and a trip is cheap beside
 * them.
 */
const MAX_SEEN_LENGTH = 4096;
/** Calls that wait on one key in this isolate; one more is refused. */
const MAX_WAITING = 10_000;

/** A call that waits for its turn on a key. */
interface Job {
  readonly transition: Transition;
  readonly input: Fields;
  readonly signal: AbortSignal | undefined;
  readonly onVersion: ((version: string) => void) | undefined;
  readonly outcome: Deferred<Fields>;
}

/** The version of a key that is absent, as callers see it: no random text is empty. */
export const ABSENT_VERSION = "";

/**
 * Runs transitions on a {@linkcode VersionedBackend}.
 *
 * @category Engines
 */
export class VersionedTransactions {
  readonly #backend: VersionedBackend;
  readonly #options: VersionedOptions;
  readonly #seen = new Map<string, StoredRecord>();
  readonly #waiting = new Map<string, Job[]>();
  readonly #time: BackendTime;
  readonly #coalesce: boolean;

  /** Begins without a guess and without an estimate of the backend's time. */
  constructor(backend: VersionedBackend, options: VersionedOptions = {}) {
    checkOptionNames("run transactions", options, OPTIONS);
    this.#backend = backend;
    this.#options = options;
    this.#time = new BackendTime(options.virtualTime);
    const onWorkers = globalThis.navigator?.userAgent === "Cloudflare-Workers";
    this.#coalesce = !onWorkers && (options.coalesce ?? true);
  }

  /**
   * Runs the transition atomically on the key's record.
   *
   * @throws {HoldfastError} `contention` when other writers won every attempt; nothing was written
   */
  async transact(
    transition: Transition,
    key: string,
    input: Fields,
    options?: TransactOptions,
  ): Promise<Fields> {
    const { signal, onVersion } = options ?? {};
    if (!this.#coalesce) return await this.#transact(transition, key, input, signal, onVersion);
    const job: Job = { transition, input, signal, onVersion, outcome: deferred() };
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) {
      this.#waiting.set(key, [job]);
      this.#work(key);
    } else if (waiting.length < MAX_WAITING) waiting.push(job);
    else throw contention(`${MAX_WAITING} calls wait for it already`);
    return await interruptible(job.outcome.promise, signal);
  }

  /** Forgets the remembered state of a key: another writer changed it. */
  forget(key: string): void {
    this.#seen.delete(key);
  }

  async #work(key: string): Promise<void> {
    for (;;) {
      const jobs = this.#waiting.get(key)!.filter(({ signal }) => !signal?.aborted);
      if (jobs.length === 0) return void this.#waiting.delete(key);
      this.#waiting.set(key, []);
      await this.#commitTogether(key, jobs).catch((error) => {
        for (const { outcome } of jobs) outcome.reject(error);
      });
    }
  }

  /**
   * Runs the jobs as one transition, each on what the one before left; one that throws leaves the others
   * alone.
   */
  async #commitTogether(key: string, jobs: readonly Job[]): Promise<void> {
    if (jobs.length === 1) {
      const { transition, input, signal, onVersion, outcome } = jobs[0]!;
      return outcome.resolve(await this.#transact(transition, key, input, signal, onVersion));
    }
    let settle: (() => void)[] = [];
    const together: Transition = {
      name: "versioned.together",
      apply(record, _input, now) {
        let write: Write | undefined;
        settle = jobs.map(({ transition, input, outcome }) => {
          try {
            const step = applied(transition, write ?? { record }, input, now);
            write = step.write ?? write;
            return () => outcome.resolve(step.output);
          } catch (error) {
            return () => outcome.reject(error);
          }
        });
        return write ? { output: {}, write } : { output: {} };
      },
    };
    await this.#transact(together, key, {}, undefined, (version) => {
      for (const { onVersion } of jobs) onVersion?.(version);
    });
    for (const done of settle) done();
  }

  async #transact(
    transition: Transition,
    key: string,
    input: Fields,
    signal: AbortSignal | undefined,
    onVersion: ((version: string) => void) | undefined,
  ): Promise<Fields> {
    const { attempts = 64 } = this.#options;
    let state = this.#guess(key);
    let guessed = state !== undefined;
    for (let attempt = 1; attempt <= attempts; attempt++) {
      signal?.throwIfAborted();
      state ??= await this.#load(key, signal);
      const step = applied(transition, state, input, this.#time.of(state, guessed));
      if (step.write === undefined) {
        if (!guessed) {
          onVersion?.(state.version ?? ABSENT_VERSION);
          return step.output;
        }
        // A guess alone decides nothing: a transition that writes nothing reads the backend's state first.
        [state, guessed] = [undefined, false];
        continue;
      }
      const version = randomToken(12);
      const reply = await this.#commit(key, state, version, step.write, signal);
      if (reply === undefined) {
        onVersion?.(step.write.record === undefined ? ABSENT_VERSION : version);
        return step.output;
      }
      [state, guessed] = [reply, false];
      // The first conflict brought the state itself; after more of them the writers are spread out.
      if (attempt > 1) {
        await systemClock.sleep(Math.random() * Math.min(2 ** attempt, 100), signal);
        state = undefined;
      }
    }
    throw contention(`other writers changed it first ${attempts} times`);
  }

  #guess(key: string): StoredRecord | undefined {
    if (!this.#time.known) return undefined;
    return this.#seen.get(key) ?? { record: undefined, expiresAt: undefined, version: undefined, now: 0 };
  }

  async #load(key: string, signal: AbortSignal | undefined): Promise<StoredRecord> {
    const state = await this.#backend.load(key, signal);
    this.#time.learn(state.now);
    this.#see(key, state);
    return state;
  }

  /** Answers what is there when the record was not the expected one. */
  async #commit(
    key: string,
    { version: expected }: StoredRecord,
    version: string,
    write: Write,
    signal: AbortSignal | undefined,
  ): Promise<StoredRecord | undefined> {
    if (write.record === undefined && expected === undefined) {
      // Deletes what is not there: true only if it is so.
      const state = await this.#load(key, signal);
      return state.version === undefined ? undefined : state;
    }
    this.forget(key); // until the reply says what is there
    const reply = await this.#backend.commit(key, expected, version, write, signal);
    this.#time.learn(reply.now);
    if (reply.done) {
      if (write.record === undefined) return undefined;
      const { record: next, expiresAt } = write;
      this.#see(key, { record: next, expiresAt, version, now: reply.now });
      return undefined;
    }
    // The backend holds our own version: an earlier copy of this very write arrived, and its reply was lost.
    if (reply.version === version) return undefined;
    this.#see(key, reply);
    return reply;
  }

  #see(key: string, state: StoredRecord): void {
    if (this.#options.remember === false) return;
    this.#seen.delete(key);
    if (state.version === undefined || lengthOf(state.record) > MAX_SEEN_LENGTH) return;
    this.#seen.set(key, state);
    if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value!);
  }
}

/**
 * An estimate of the backend's time that is never ahead of it: the time in the last reply, which was read
 * before the reply arrived, and what passed here since. A thousandth is left for clocks that run at different
 * rates.
 */
class BackendTime {
  readonly #virtual: (() => number) | undefined;
  #time = 0;
  #at = -Infinity;

  constructor(virtual: (() => number) | undefined) {
    this.#virtual = virtual;
  }

  get known(): boolean {
    return this.#virtual !== undefined || this.#at !== -Infinity;
  }

  learn(now: number): void {
    const estimate = this.#estimate();
    // A reply that was long on its way is no news; a clock that was set back is.
    if (this.known && now < estimate && now > estimate - 2000) return;
    [this.#time, this.#at] = [now, systemClock.monotonic()];
  }

  /** The time at which a transition decides: that of the reply, or the estimate for a guess. */
  of(state: StoredRecord, guessed: boolean): number {
    return this.#virtual?.() ?? (guessed ? this.#estimate() : state.now);
  }

  #estimate(): number {
    return Math.floor(this.#time + (systemClock.monotonic() - this.#at) * 0.999);
  }
}

/** One step of a transition: a record whose deadline has passed is absent. */
function applied(
  transition: Transition,
  { record, expiresAt }: Pick<Write, "record"> & { readonly expiresAt?: number | undefined },
  input: Fields,
  now: number,
): Step {
  return transition.apply(expiresAt !== undefined && now >= expiresAt ? undefined : record, input, now);
}

function lengthOf(record: Fields | undefined): number {
  let length = 0;
  for (const name in record) length += name.length + record[name]!.length;
  return length;
}

function contention(why: string): HoldfastError {
  return new HoldfastError("contention", `Cannot change the record as ${why}`, { retryable: true });
}
