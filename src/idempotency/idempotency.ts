/**
 * The contract of idempotent work: work that is done once per key, and answered the same from then on.
 *
 * The claim to do the work is a short lease, the stored response lives long: a crashed worker is replaced
 * after its lease, by a later caller, as the next attempt. Only the current claimant can complete, extend or
 * abandon. Every call may be repeated after a lost reply, and is, until `timeout`, before its fault reaches
 * the caller.
 *
 * ```ts
 * import { createIdempotency, memoryStore } from "@holdfast/edge";
 * const idempotency = createIdempotency(memoryStore());
 * const receipt = await idempotency.run("order:17", () => ({ charged: true }));
 * ```
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { CallOptions } from "../store/key_value_store.ts";

/**
 * Options of `createIdempotency`.
 *
 * @category Idempotency
 */
export interface IdempotencyOptions {
  /**
   * The namespace of the keys.
   * @default {"idempotency"}
   */
  readonly name?: string | undefined;
  /**
   * The lease of a claim: the time that it lasts without being extended.
   * @default {"30s"}
   */
  readonly lease?: Duration | undefined;
  /**
   * The time for which a response is kept.
   * @default {"24h"}
   */
  readonly retention?: Duration | undefined;
  /**
   * The longest time for which a claim is kept alive, whatever the work does. After that another caller may
   * run.
   * @default {"1h", or a longer lease}
   */
  readonly maxHold?: Duration | undefined;
  /**
   * The longest time that one call takes, its retries included. A `begin` that waits takes `wait` besides.
   * @default {"15s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * Called with a fault that {@linkcode Idempotency.run} does not throw, as the work was done: a result that
   * could not be stored, a `storeIf` that threw. What it throws is dropped.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The clock that measures leases and waits.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * Options of {@linkcode Idempotency.begin}.
 *
 * @category Idempotency
 */
export interface BeginOptions extends CallOptions {
  /**
   * The meaning of the key (a hash of the request): the same key with another fingerprint is a `mismatch`.
   * @default {""}
   */
  readonly fingerprint?: string | undefined;
  /** The lease of this claim. */
  readonly lease?: Duration | undefined;
  /** The time for which the response is kept. */
  readonly retention?: Duration | undefined;
  /** The time to wait for another caller's result; without it, `begin` does not wait. */
  readonly wait?: Duration | undefined;
  /**
   * The caller's id. The same owner gets its claim again: name one to repeat a `begin` that failed as
   * `ambiguous`, or to go on after a restart. Without one, a `begin` that fails gives back in the background
   * what it may have got; a named owner's claim stays for the repetition until its lease ends.
   * @default {a random token}
   */
  readonly owner?: string | undefined;
  /** Keeps the runtime alive for background work of this call; on Workers, `ctx.waitUntil`. */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined;
}

/**
 * Options of {@linkcode Idempotency.complete}.
 *
 * @category Idempotency
 */
export interface CompleteOptions extends CallOptions {
  /**
   * Keeps the response. Without it the work still counts as done: later callers get `not-retained`.
   * @default {true}
   */
  readonly retain?: boolean | undefined;
}

/**
 * Options of {@linkcode Idempotency.run}.
 *
 * @category Idempotency
 */
export interface RunOptions<T = unknown> extends BeginOptions {
  /**
   * Selects the results that are kept; for the others the next caller runs again, unless the attempt was
   * pinned. One that throws keeps the result: the work was done.
   * @default {all of them}
   */
  readonly storeIf?: ((result: T) => boolean) | undefined;
}

/**
 * The right to do the work. A plain value: it may travel to another process.
 *
 * @category Idempotency
 */
export interface Claim {
  /** The key that is claimed. */
  readonly key: string;
  /** The claimant's id. */
  readonly owner: string;
  /**
   * The id of the call of `begin` that got this claim. When the same owner begins again, the later claim is
   * the current one.
   */
  readonly id: string;
  /** 1, and one more each time a crashed claimant was replaced. */
  readonly attempt: number;
  /** The meaning of the key. */
  readonly fingerprint: string;
  /** The lease in milliseconds. */
  readonly lease: number;
  /** The time for which the response will be kept, in milliseconds. */
  readonly retention: number;
}

/**
 * The answer of {@linkcode Idempotency.begin}; `retryAfter` is what remains of the other caller's lease, in
 * milliseconds.
 *
 * @category Idempotency
 */
export type Begin =
  | { readonly state: "new"; readonly claim: Claim }
  | { readonly state: "in-progress"; readonly retryAfter: number }
  | { readonly state: "completed"; readonly response: unknown }
  | { readonly state: "not-retained" }
  | { readonly state: "mismatch" };

/**
 * The answer of {@linkcode Idempotency.complete}; a superseded response is `undefined` when it was not kept.
 *
 * @category Idempotency
 */
export type Completion =
  | { readonly state: "stored" }
  | { readonly state: "superseded"; readonly completed: true; readonly response: unknown }
  | { readonly state: "superseded"; readonly completed: false };

/**
 * The answer of {@linkcode Idempotency.get}.
 *
 * @category Idempotency
 */
export type IdempotencyRecord =
  | { readonly state: "in-progress"; readonly attempt: number }
  | { readonly state: "completed"; readonly attempt: number; readonly response: unknown }
  | { readonly state: "not-retained"; readonly attempt: number };

/**
 * A claim that is kept alive until it is stopped, lost, or `maxHold` is over.
 *
 * @category Idempotency
 */
export interface Hold extends AsyncDisposable {
  /**
   * Aborts with `claim-lost` when another caller took the claim over or may have (its lease could not be
   * extended in time, or `maxHold` is over), and with the caller's own reason when its signal aborts.
   */
  readonly signal: AbortSignal;
  /** Notes that the work is done: the lease is extended still, but the signal does not abort any more. */
  settle(): void;
  /**
   * Ends renewal but not the lease: for work that may go on unseen. The signal aborts when the lease ends.
   */
  lapse(): void;
  /** Ends the hold: the lease is extended no more, and the signal does not abort any more. */
  stop(): void;
}

/**
 * The attempt that {@linkcode Idempotency.run} hands to the work.
 *
 * @category Idempotency
 */
export interface Attempt {
  /** The key. */
  readonly key: string;
  /** 1, and one more each time a crashed worker was replaced. */
  readonly attempt: number;
  /** Aborts when the claim was or may be lost to another caller, and when the caller's own signal does. */
  readonly signal: AbortSignal;
  /**
   * Notes that the side effect happened: from here on the work never runs again, whatever its outcome. When
   * it throws, later callers get a `response-not-retained` error.
   */
  pin(): void;
}

/**
 * Idempotent work on one store.
 *
 * @category Idempotency
 */
export interface Idempotency {
  /** Claims the key, or tells why it cannot. */
  begin(key: string, options?: BeginOptions): Promise<Begin>;
  /** Stores the response; a superseded claimant gets the winner's, and changes nothing. */
  complete(claim: Claim, response: unknown, options?: CompleteOptions): Promise<Completion>;
  /**
   * Gives this very claim back, so that the next caller runs; `false` when it is not the current one. Once a
   * reply was lost it is asked again: an engine that remembers replies (Upstash, Redis) answers as the first
   * time, another one may answer `false` for what the lost call gave back. The claim is over in any case.
   */
  abandon(claim: Claim, options?: CallOptions): Promise<boolean>;
  /** Makes the lease end `claim.lease` from now; `false` when another caller has the key. */
  extend(claim: Claim, options?: CallOptions): Promise<boolean>;
  /** Extends the lease in the background, at most until `maxHold`. The caller's signal ends that too. */
  hold(claim: Claim, options?: CallOptions): Hold;
  /** The record of the key, or `undefined` when the key is free. */
  get(key: string, options?: CallOptions): Promise<IdempotencyRecord | undefined>;
  /**
   * Runs `fn` once per key and returns its result, also to every later caller: all get the stored form of it,
   * the first caller too. When `fn` throws, the claim is given back and the error is the caller's. When the
   * result cannot be stored as the store does not answer, it is the caller's all the same.
   *
   * @throws {HoldfastError} `in-progress` (with `retryAfter`) when another caller works for longer than
   * `wait`; `fingerprint-mismatch` when the key was used for something else; `response-not-retained` when the
   * work was done but its result not kept; `corrupt-record` when the key holds something else
   * @throws {TypeError} when the result has no stored form (see the values that a store takes); the work
   * counts as done
   */
  run<T>(key: string, fn: (attempt: Attempt) => T | Promise<T>, options?: RunOptions<T>): Promise<T>;
}
