/**
 * A hot key: clients that call one key as fast as they can, in virtual time. The contracts are the real ones;
 * the engine is a server that takes a measured time for each call of a key, behind a network with a fixed
 * trip. The same input always answers the same.
 */
import { type AtomicStore, createLocks, createThrottle, HoldfastError } from "@holdfast/edge";
import {
  type CompareAndSetBackend,
  type EngineWatchOptions,
  type Fields,
  storeFromEngine,
  transactByCompareAndSet,
  type TransactOptions,
  type Transition,
  type VersionedRecord,
} from "@holdfast/edge/engine";
import { VirtualClock } from "./virtual_clock.ts";

/** The way in which an engine serves calls. */
export interface EngineModel {
  /** Milliseconds that the server needs for one call, measured; nothing else of the key runs meanwhile. */
  readonly service: number;
  /** Whether one server serves all keys (Redis), or each key has one of its own (an object, a row). */
  readonly oneServer: boolean;
  /** Whether a call is a reading and a conditional write, repeated while others win. */
  readonly compareAndSet: boolean;
  /**
   * The event that wakes a waiter: a change of its field, any change of the record, or the end of its own
   * delay alone.
   */
  readonly notifies: "of the field" | "of any change" | "never";
}

/** Options of a run. */
export interface HotKeyOptions {
  readonly model: EngineModel;
  readonly contract: Contract;
  /** The number of keys over which the load is spread. */
  readonly keys: number;
  readonly clients: number;
  /** Milliseconds of the network, there and back. */
  readonly trip: number;
  /** The run ends when so many calls are done. */
  readonly calls: number;
}

/** The call of the clients. A lock is acquired and released at once. */
export type Contract = "counter" | "throttle" | "lock" | "fair lock";

/** The result of a run. */
export interface HotKeyResult {
  /** Calls a second of virtual time. */
  readonly perSecond: number;
  /** The time of a call in milliseconds: half of them, and all but one in twenty, took at most so long. */
  readonly median: number;
  readonly p95: number;
  /** Calls that ended in an error: `contention`. */
  readonly failed: number;
}

/** The server: records, and a queue that takes one call of a key at a time. */
class Server {
  readonly #clock: VirtualClock;
  readonly #options: HotKeyOptions;
  readonly #records = new Map<string, VersionedRecord>();
  readonly #busyUntil = new Map<string, number>();
  readonly #watchers = new Map<string, Set<() => void>>();
  #version = 0;

  constructor(clock: VirtualClock, options: HotKeyOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** A store of its own for a client, as if it ran in an isolate of its own. */
  store(): AtomicStore {
    const { compareAndSet, notifies } = this.#options.model;
    const compared = async (
      transition: Transition,
      key: string,
      input: Fields,
      options?: TransactOptions,
    ) => {
      let version: unknown;
      const backend: CompareAndSetBackend = {
        load: async (key) => {
          const found = await this.#call(key, () => this.#read(key));
          version = found.version;
          return found;
        },
        commit: (key, expected, write) =>
          this.#call(key, () => {
            if (this.#read(key).version !== expected) return false;
            this.#write(key, write);
            version = this.#version;
            return true;
          }),
      };
      const output = await transactByCompareAndSet(backend, transition, key, input, { clock: this.#clock });
      options?.onVersion?.(String(version));
      return output;
    };
    return storeFromEngine({
      name: "simulated",
      limits: { maxKeyBytes: 1000, maxValueLength: 1_000_000 },
      binding: {},
      transact: (transition, key, input, options) =>
        compareAndSet ? compared(transition, key, input, options) : this.#call(key, () => {
          const { output, write } = transition.apply(this.#read(key).record, input, this.#clock.now());
          if (write) this.#write(key, write);
          options?.onVersion?.(String(this.#read(key).version));
          return output;
        }),
      list: () => ({ keys: [] }),
      ...(notifies !== "never" && { watch: (key, options) => this.#watch(key, options) }),
    });
  }

  /** Half a trip, the queue and the service, half a trip. */
  async #call<T>(key: string, work: () => T): Promise<T> {
    const { trip, model } = this.#options;
    await this.#clock.sleep(trip / 2);
    const server = model.oneServer ? "" : key;
    const done = Math.max(this.#clock.monotonic(), this.#busyUntil.get(server) ?? 0) + model.service;
    this.#busyUntil.set(server, done);
    await this.#clock.sleep(done - this.#clock.monotonic());
    const result = work();
    await this.#clock.sleep(trip / 2);
    return result;
  }

  #read(key: string): VersionedRecord {
    const found = this.#records.get(key);
    if (found === undefined) return { record: undefined, version: 0 };
    return this.#clock.now() >= (found.expiresAt ?? Infinity) ? { ...found, record: undefined } : found;
  }

  #write(key: string, { record, expiresAt }: Omit<VersionedRecord, "version">): void {
    this.#records.set(key, { record, expiresAt, version: ++this.#version });
    for (const wake of [...this.#watchers.get(key) ?? []]) wake();
  }

  /** A Durable Object wakes a waiter at changes of its field alone, Deno KV at every change. */
  async #watch(key: string, { timeout, since, field, signal }: EngineWatchOptions): Promise<boolean> {
    const half = this.#options.trip / 2;
    const byField = this.#options.model.notifies === "of the field";
    await this.#clock.sleep(half, signal);
    const before = this.#read(key);
    let changed = since !== undefined && String(before.version) !== since;
    if (!changed) {
      const watchers = this.#watchers.get(key) ?? new Set();
      this.#watchers.set(key, watchers);
      let wake = () => {};
      const change = new Promise<boolean>((resolve) => {
        wake = () => {
          const { record } = this.#read(key);
          if (field === undefined || !byField || record?.[field] !== before.record?.[field]) resolve(true);
        };
        watchers.add(wake);
      });
      changed = await Promise.race([change, this.#clock.sleep(timeout, signal).then(() => false)]);
      watchers.delete(wake);
    }
    await this.#clock.sleep(half, signal);
    return changed;
  }
}

/** One call of a contract on one of the keys. */
function caller(
  store: AtomicStore,
  clock: VirtualClock,
  options: HotKeyOptions,
): (key: string) => Promise<unknown> {
  if (options.contract === "counter") return (key) => store.increment(key);
  if (options.contract === "throttle") {
    const throttle = createThrottle(store, {
      name: "hot",
      limit: 1_000_000,
      window: "1m",
      whenUnavailable: "throw",
      timeout: "1h",
    });
    return (key) => throttle.check(key);
  }
  const locks = createLocks(store, { clock, timeout: "1h" }); // real time does not count
  const fair = options.contract === "fair lock";
  return async (key) => {
    const lock = await locks.acquire(key, { ttl: "1m", wait: "1h", fair });
    await lock!.release();
  };
}

/** Runs the clients until enough calls are done. */
export async function hotKey(options: HotKeyOptions): Promise<HotKeyResult> {
  const { clients, calls, keys } = options;
  const random = Math.random;
  Math.random = seeded(17); // the waits between attempts
  try {
    const clock = new VirtualClock();
    const server = new Server(clock, options);
    const run = { times: [] as number[], failed: 0, began: new Map<number, number>() };
    const pick = seeded(4);
    let end: { at: number; times: number[]; failed: number } | undefined, working = clients;
    const work = async (client: number) => {
      const call = caller(server.store(), clock, options);
      while (end === undefined) {
        run.began.set(client, clock.monotonic());
        try {
          await call(`key ${Math.floor(pick() * keys)}`);
        } catch (error) {
          if (!(error instanceof HoldfastError)) throw error;
          run.failed++;
        }
        run.times.push(clock.monotonic() - run.began.get(client)!);
        run.began.delete(client);
        if (run.times.length < calls || end !== undefined) continue;
        // Calls that still wait count with the time that they have waited: else starvation would not show.
        const waiting = [...run.began.values()].map((began) => clock.monotonic() - began);
        end = { at: clock.monotonic(), times: [...run.times, ...waiting], failed: run.failed };
      }
      working--;
    };
    for (let client = 0; client < clients; client++) work(client);
    await clock.run(() => working === 0); // to the end, so that nothing is left behind
    const sorted = end!.times.sort((a, b) => a - b);
    return {
      perSecond: calls / end!.at * 1000,
      median: sorted[Math.floor(sorted.length / 2)]!,
      p95: sorted[Math.floor(sorted.length * 0.95)]!,
      failed: end!.failed,
    };
  } finally {
    Math.random = random;
  }
}

/** A generator of numbers between 0 and 1 (mulberry32). */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6D2B79F5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
