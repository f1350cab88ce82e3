/**
 * Work that is done once per key, and answered the same ever after.
 *
 * The claim to do the work is a short lease, the stored response lives long: a crashed worker is replaced after
 * its lease, by a later caller, as the next attempt. Only the current claim can complete, extend or abandon.
 */
import { type Clock, systemClock } from "../clock.ts";
import { decodeValue, encodeValue } from "../codec.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { randomToken } from "../secret.ts";
import { Turn } from "../store/_turn.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import {
  abandonClaim,
  beginClaim,
  completeClaim,
  extendClaim,
  readClaim,
} from "./idempotency_transitions.ts";

/** Options of {@linkcode createIdempotency}. */
export interface IdempotencyOptions {
  /**
   * The namespace the keys live in.
   * @default {"idempotency"}
   */
  readonly name?: string;
  /**
   * How long a claim is good without being extended.
   * @default {"30s"}
   */
  readonly lease?: Duration;
  /**
   * How long a response is kept.
   * @default {"24h"}
   */
  readonly retention?: Duration;
  /**
   * Who waits between looks at somebody else's work.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/** Options of {@linkcode Idempotency.begin}. */
export interface BeginOptions extends CallOptions {
  /**
   * What the key stands for (a hash of the request): the same key with another fingerprint is a `mismatch`.
   * @default {""}
   */
  readonly fingerprint?: string | undefined;
  /** How long this claim is good without being extended. */
  readonly lease?: Duration | undefined;
  /** How long the response is kept. */
  readonly retention?: Duration | undefined;
}

/** Options of {@linkcode Idempotency.run}. */
export interface RunOptions extends BeginOptions {
  /** How long to wait for somebody else's result; without it, not at all. */
  readonly wait?: Duration | undefined;
}

/** The right to do the work. A plain value: it may travel to another process. */
export interface Claim {
  /** What is claimed. */
  readonly key: string;
  /** The claimant's random id. */
  readonly owner: string;
  /** 1, and one more each time a crashed claimant was replaced. */
  readonly attempt: number;
  /** What the key stands for. */
  readonly fingerprint: string;
  /** How long the claim is good without being extended, in milliseconds. */
  readonly lease: number;
  /** How long the response will be kept, in milliseconds. */
  readonly retention: number;
}

/** What {@linkcode Idempotency.begin} answers. */
export type Begin =
  | { readonly state: "new"; readonly claim: Claim }
  | { readonly state: "in-progress"; readonly retryAfter: number }
  | { readonly state: "completed"; readonly response: unknown }
  | { readonly state: "mismatch" };

/** What {@linkcode Idempotency.complete} answers. */
export type Completion =
  | { readonly state: "stored" }
  | { readonly state: "superseded"; readonly completed: true; readonly response: unknown }
  | { readonly state: "superseded"; readonly completed: false };

/** What {@linkcode Idempotency.get} answers. */
export type IdempotencyRecord =
  | { readonly state: "in-progress"; readonly attempt: number }
  | { readonly state: "completed"; readonly attempt: number; readonly response: unknown };

/** What the work of {@linkcode Idempotency.run} gets. */
export interface Attempt {
  /** 1, and one more each time a crashed worker was replaced. */
  readonly attempt: number;
  /** Aborts when the claim was lost to another caller, or the caller's own signal does. */
  readonly signal: AbortSignal;
}

/** Idempotent work on one store. */
export interface Idempotency {
  /** Claims the key, or answers why not. Safe to repeat: each logical call draws one owner. */
  begin(key: string, options?: BeginOptions): Promise<Begin>;
  /** Stores the response; a superseded claimant gets the winner's, and changes nothing. */
  complete(claim: Claim, response: unknown, options?: CallOptions): Promise<Completion>;
  /** Gives the claim back, so that the next caller runs; `false` when it was no longer ours. */
  abandon(claim: Claim, options?: CallOptions): Promise<boolean>;
  /** Makes the lease end `claim.lease` from now; `false` when it was no longer ours. */
  extend(claim: Claim, options?: CallOptions): Promise<boolean>;
  /** What is known under the key. */
  get(key: string, options?: CallOptions): Promise<IdempotencyRecord | undefined>;
  /**
   * Runs `fn` once per key and answers its result, also to everybody who calls again. When `fn` throws, the claim
   * is given back and the error is the caller's.
   *
   * @throws {HoldfastError} `in-progress` (with `retryAfter`) when somebody else is at it for longer than `wait`;
   * `fingerprint-mismatch` when the key was used for something else
   */
  run<T>(key: string, fn: (attempt: Attempt) => T | Promise<T>, options?: RunOptions): Promise<T>;
}

/**
 * Idempotency over any atomic store.
 *
 * @example
 * ```ts
 * import { createIdempotency, memoryStore } from "@holdfast/edge";
 * const idempotency = createIdempotency(memoryStore());
 * let charges = 0;
 * const charge = () => idempotency.run("order:17", () => ({ receipt: ++charges }));
 * const [first, second] = [await charge(), await charge()];
 * if (first.receipt !== 1 || second.receipt !== 1) throw new Error("charged twice");
 * ```
 */
export function createIdempotency(store: AtomicStore, options: IdempotencyOptions = {}): Idempotency {
  return new StoreIdempotency(store.namespace(options.name ?? "idempotency"), options);
}

class StoreIdempotency implements Idempotency {
  readonly #store: AtomicStore;
  readonly #clock: Clock;
  readonly #lease: number;
  readonly #retention: number;

  constructor(store: AtomicStore, options: IdempotencyOptions) {
    this.#store = store;
    this.#clock = options.clock ?? systemClock;
    this.#lease = toMilliseconds(options.lease ?? "30s", "lease");
    this.#retention = toMilliseconds(options.retention ?? "24h", "retention");
  }

  async begin(key: string, options: BeginOptions = {}): Promise<Begin> {
    const { fingerprint = "", signal } = options;
    const lease = options.lease === undefined ? this.#lease : toMilliseconds(options.lease, "lease");
    const retention = options.retention === undefined
      ? this.#retention
      : toMilliseconds(options.retention, "retention");
    const owner = randomToken(16);
    const input = { owner, fp: fingerprint, lease: String(lease), retention: String(retention) };
    const output = await this.#store.transact(beginClaim, key, input, { signal });
    switch (output.state) {
      case "new":
        return {
          state: "new",
          claim: { key, owner, attempt: Number(output.a), fingerprint, lease, retention },
        };
      case "in-progress":
        return { state: "in-progress", retryAfter: Number(output.remaining) };
      case "completed":
        return { state: "completed", response: decodeValue(output.r!) };
      case "mismatch":
        return { state: "mismatch" };
      default:
        throw corrupt();
    }
  }

  async complete(claim: Claim, response: unknown, options?: CallOptions): Promise<Completion> {
    const output = await this.#store.transact(completeClaim, claim.key, {
      owner: claim.owner,
      fp: claim.fingerprint,
      attempt: String(claim.attempt),
      retention: String(claim.retention),
      r: encodeValue(response === undefined ? null : response),
    }, options);
    if (output.state === "stored") return { state: "stored" };
    if (output.r === undefined) return { state: "superseded", completed: false };
    return { state: "superseded", completed: true, response: decodeValue(output.r) };
  }

  async abandon(claim: Claim, options?: CallOptions): Promise<boolean> {
    const output = await this.#store.transact(abandonClaim, claim.key, { owner: claim.owner }, options);
    return output.done === "1";
  }

  async extend(claim: Claim, options?: CallOptions): Promise<boolean> {
    const input = { owner: claim.owner, lease: String(claim.lease) };
    return (await this.#store.transact(extendClaim, claim.key, input, options)).done === "1";
  }

  async get(key: string, options?: CallOptions): Promise<IdempotencyRecord | undefined> {
    const output = await this.#store.transact(readClaim, key, {}, options);
    if (output.s === undefined) return undefined;
    if (output.s === "corrupt") throw corrupt();
    const attempt = Number(output.a);
    if (output.s === "p") return { state: "in-progress", attempt };
    return { state: "completed", attempt, response: decodeValue(output.r!) };
  }

  async run<T>(key: string, fn: (attempt: Attempt) => T | Promise<T>, options: RunOptions = {}): Promise<T> {
    const wait = options.wait === undefined ? 0 : toMilliseconds(options.wait, "wait");
    const giveUpAt = this.#clock.monotonic() + wait;
    for (let round = 1;; round++) {
      const turn = round === 1 ? undefined : new Turn(this.#store, this.#clock, key, options.signal);
      try {
        const begun = await this.begin(key, options);
        if (begun.state === "completed") return begun.response as T;
        if (begun.state === "new") return await this.#work(begun.claim, fn, options.signal);
        if (begun.state === "mismatch") {
          throw new HoldfastError(
            "fingerprint-mismatch",
            "Cannot run the work as the key was used with another fingerprint",
          );
        }
        const left = giveUpAt - this.#clock.monotonic();
        if (left <= 0) {
          throw new HoldfastError("in-progress", "Cannot run the work as another caller is at it", {
            retryable: true,
            retryAfter: begun.retryAfter,
          });
        }
        await turn?.wait(Math.min(begun.retryAfter + 1, left), round);
      } finally {
        turn?.end();
      }
    }
  }

  async #work<T>(claim: Claim, fn: (attempt: Attempt) => T | Promise<T>, signal?: AbortSignal): Promise<T> {
    const lost = new AbortController();
    const stop = new AbortController();
    this.#heartbeat(claim, stop.signal, lost);
    let result: T;
    try {
      const both = signal ? AbortSignal.any([signal, lost.signal]) : lost.signal;
      result = await fn({ attempt: claim.attempt, signal: both });
    } catch (error) {
      stop.abort();
      await this.abandon(claim).catch(() => {}); // the lease ends by itself, and fn's error is what counts
      throw error;
    }
    stop.abort();
    const completion = await this.complete(claim, result);
    return completion.state === "superseded" && completion.completed ? completion.response as T : result;
  }

  /** Keeps the lease alive while the work goes on; a fault is tried again, a lost claim is final. */
  async #heartbeat(claim: Claim, stop: AbortSignal, lost: AbortController): Promise<void> {
    while (!stop.aborted) {
      try {
        await this.#clock.sleep(claim.lease / 3, stop);
      } catch {
        return;
      }
      const held = await this.extend(claim).catch(() => true);
      if (!held && !stop.aborted) {
        return lost.abort(
          new HoldfastError("claim-lost", "Cannot go on with the work as another caller took it over"),
        );
      }
    }
  }
}

function corrupt(): HoldfastError {
  return new HoldfastError(
    "corrupt-record",
    "Cannot read the idempotency record as it was not written by this module",
  );
}
