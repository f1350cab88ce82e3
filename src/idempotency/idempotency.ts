/**
 * Work that is done once per key, and answered the same ever after.
 *
 * The claim to do the work is a short lease, the stored response lives long: a crashed worker is replaced after
 * its lease, by a later caller, as the next attempt. Only the current claim can complete, extend or abandon. Every call
 * may be repeated after a lost reply, and is, a few times, before its fault is the caller's.
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { StoreIdempotency } from "./_store_idempotency.ts";

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
  /** Hears of a result that {@linkcode Idempotency.run} could not store although the work was done; must not throw. */
  readonly onFault?: (error: unknown) => void;
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
  /** How long to wait for somebody else's result; without it, not at all. */
  readonly wait?: Duration | undefined;
  /**
   * Who asks. The same owner gets the same claim again: name one to repeat a `begin` that failed as `ambiguous`, or to go on
   * after a restart.
   * @default {a random token}
   */
  readonly owner?: string | undefined;
}

/** Options of {@linkcode Idempotency.complete}. */
export interface CompleteOptions extends CallOptions {
  /**
   * Whether the response is kept. Without it the work still counts as done: later callers get `not-retained`.
   * @default {true}
   */
  readonly retain?: boolean;
}

/** Options of {@linkcode Idempotency.run}. */
export interface RunOptions<T = unknown> extends BeginOptions {
  /**
   * Which results are kept; for the others the next caller runs again, unless the attempt was pinned.
   * @default {all of them}
   */
  readonly storeIf?: ((result: T) => boolean) | undefined;
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
  | { readonly state: "not-retained" }
  | { readonly state: "mismatch" };

/** What {@linkcode Idempotency.complete} answers; a superseded response is `undefined` when it was not kept. */
export type Completion =
  | { readonly state: "stored" }
  | { readonly state: "superseded"; readonly completed: true; readonly response: unknown }
  | { readonly state: "superseded"; readonly completed: false };

/** What {@linkcode Idempotency.get} answers. */
export type IdempotencyRecord =
  | { readonly state: "in-progress"; readonly attempt: number }
  | { readonly state: "completed"; readonly attempt: number; readonly response: unknown }
  | { readonly state: "not-retained"; readonly attempt: number };

/** A claim that is kept alive. */
export interface Hold {
  /** Aborts with `claim-lost` when another caller took the claim over, or may have: its lease could not be extended in time. */
  readonly signal: AbortSignal;
  /** Ends it: the lease is extended no more. */
  stop(): void;
}

/** What the work of {@linkcode Idempotency.run} gets. */
export interface Attempt {
  /** The key. */
  readonly key: string;
  /** 1, and one more each time a crashed worker was replaced. */
  readonly attempt: number;
  /** Aborts when the claim was lost to another caller, or the caller's own signal does. */
  readonly signal: AbortSignal;
  /**
   * Says that the side effect happened: from here on nothing runs again, whatever comes of it. When the work throws, later
   * callers get a `response-not-retained` error.
   */
  pin(): void;
}

/** Idempotent work on one store. */
export interface Idempotency {
  /** Claims the key, or answers why not. */
  begin(key: string, options?: BeginOptions): Promise<Begin>;
  /** Stores the response; a superseded claimant gets the winner's, and changes nothing. */
  complete(claim: Claim, response: unknown, options?: CompleteOptions): Promise<Completion>;
  /** Gives the claim back, so that the next caller runs; `false` when it was no longer ours. */
  abandon(claim: Claim, options?: CallOptions): Promise<boolean>;
  /** Makes the lease end `claim.lease` from now; `false` when it was no longer ours. */
  extend(claim: Claim, options?: CallOptions): Promise<boolean>;
  /** Extends the lease again and again until it is stopped, or lost. */
  hold(claim: Claim, options?: CallOptions): Hold;
  /** What is known under the key. */
  get(key: string, options?: CallOptions): Promise<IdempotencyRecord | undefined>;
  /**
   * Runs `fn` once per key and answers its result, also to everybody who calls again. When `fn` throws, the claim
   * is given back and the error is the caller's. When its result cannot be stored, it is the caller's all the same.
   *
   * @throws {HoldfastError} `in-progress` (with `retryAfter`) when somebody else is at it for longer than `wait`;
   * `fingerprint-mismatch` when the key was used for something else; `response-not-retained` when the work was done but its
   * result not kept; `corrupt-record` when the key holds something else
   * @throws {TypeError} when JSON cannot hold the result; the work counts as done
   */
  run<T>(key: string, fn: (attempt: Attempt) => T | Promise<T>, options?: RunOptions<T>): Promise<T>;
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
