/**
 * Idempotency over an atomic store; the contract is in `idempotency.ts`, the semantics in
 * `idempotency_transitions.ts`.
 *
 * `begin` claims a key for a lease, `hold` renews the lease while the work runs, and `complete` stores the
 * result, or `abandon` frees the key. `run` does all of it. Each call is retried until its timeout, which is
 * safe as the transitions answer a repetition the same. A `begin` that fails without a known outcome may have
 * claimed the key: its claim is given back in the background, so that the next caller need not wait for the
 * lease.
 */
import { type Clock, systemClock } from "../clock.ts";
import { decodeValue, encodeValue } from "../codec.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { Lease } from "../lease.ts";
import { retry } from "../retry.ts";
import { answered, dropRejection, safely } from "../safely.ts";
import { randomToken } from "../secret.ts";
import type { AtomicStore, TransactOptions } from "../store/atomic_store.ts";
import { LeaseCall, repeatable } from "../store/call_id.ts";
import { ChangeWait } from "../store/change_wait.ts";
import { ask } from "../store/direct.ts";
import type { Awaitable } from "../store/engine.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { checkFunction, checkOneOf, checkOptionNames, checkStore, type OptionNames } from "../validate.ts";
import type {
  Attempt,
  Begin,
  BeginOptions,
  Claim,
  CompleteOptions,
  Completion,
  Hold,
  Idempotency,
  IdempotencyOptions,
  IdempotencyRecord,
  RunOptions,
} from "./idempotency.ts";
import { HeldAttempt } from "./held_attempt.ts";
import {
  abandonClaim,
  beginClaim,
  completeClaim,
  extendClaim,
  readClaim,
} from "./idempotency_transitions.ts";

/** The stored form of an `undefined` result, which JSON does not have. */
const UNDEFINED = "\u0003";

/** Milliseconds for which `complete` is tried at least: losing the result means that the work runs again. */
const COMPLETE_RETRY_MS = 2000;

/**
 * Pauses of a waiter on an engine that cannot notify, in milliseconds: the first, doubled each time up to the
 * longest.
 */
const FIRST_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1000;

/** The default of `maxHold`, in milliseconds; a longer lease is kept for its own length. */
const MAX_HOLD_MS = 3_600_000;

const OPTIONS = {
  name: true,
  lease: true,
  retention: true,
  maxHold: true,
  timeout: true,
  onFault: true,
  clock: true,
} satisfies OptionNames<IdempotencyOptions>;
const CALL = { signal: true } satisfies OptionNames<CallOptions>;
const BEGIN = {
  signal: true,
  fingerprint: true,
  lease: true,
  retention: true,
  wait: true,
  owner: true,
  waitUntil: true,
} satisfies OptionNames<BeginOptions>;
const COMPLETE = { signal: true, retain: true } satisfies OptionNames<CompleteOptions>;
const RUN = {
  signal: true,
  fingerprint: true,
  lease: true,
  retention: true,
  wait: true,
  owner: true,
  waitUntil: true,
  storeIf: true,
} satisfies OptionNames<RunOptions>;

/**
 * Creates idempotency over any atomic store.
 *
 * @throws {TypeError | RangeError} when an option is unknown or out of its range
 * @category Idempotency
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
  checkStore("create idempotency", store);
  checkOptionNames("create idempotency", options, OPTIONS);
  checkFunction("create idempotency", "onFault", options.onFault);
  return new StoreIdempotency(store.namespace(options.name ?? "idempotency"), options);
}

/** 36 to the power of 5: the number of texts that five characters can have. */
const FIVE_CHARACTERS = 60_466_176;

/**
 * The time in nine characters, in order. In two parts, as `toString(36)` of a number beyond 2^30 costs as much
 * as the random characters after it.
 */
function timeId(time: number): string {
  const high = Math.floor(time / FIVE_CHARACTERS);
  const low = time - high * FIVE_CHARACTERS;
  return high.toString(36).padStart(4, "0") + low.toString(36).padStart(5, "0");
}

/** The claim that a call of `begin` asks for. */
type Wish = Omit<Claim, "key" | "attempt">;

/** A claim that was granted, with the monotonic time before its request was sent. */
interface Granted {
  readonly state: "new";
  readonly claim: Claim;
  readonly sentAt: number;
}

type Begun = Exclude<Begin, { readonly state: "new" }> | Granted;

class StoreIdempotency implements Idempotency {
  readonly #store: AtomicStore;
  readonly #clock: Clock;
  readonly #lease: number;
  readonly #retention: number;
  readonly #maxHold: number | undefined;
  readonly #timeout: number;
  readonly #report: (error: unknown) => void;
  #lastTime = 0;
  /** The monotonic time before the request that got each claim of this instance was sent. */
  readonly #sentAt = new WeakMap<Claim, number>();

  constructor(store: AtomicStore, options: IdempotencyOptions) {
    this.#store = store;
    this.#clock = options.clock ?? systemClock;
    const { lease = "30s", retention = "24h", timeout = "15s" } = options;
    this.#lease = toMilliseconds(lease, "lease");
    this.#retention = toMilliseconds(retention, "retention");
    this.#maxHold = options.maxHold === undefined ? undefined : toMilliseconds(options.maxHold, "maxHold");
    this.#timeout = toMilliseconds(timeout, "timeout");
    this.#report = safely(options.onFault);
    this.#checkLease(this.#lease);
  }

  /**
   * An id for a call of `begin`. The ids of one owner are in the order of its calls: the time in
   * milliseconds, one more than the last where that is not later, then random characters.
   */
  #nextId(): string {
    this.#lastTime = Math.max(this.#clock.now(), this.#lastTime + 1);
    return timeId(this.#lastTime) + randomToken(9);
  }

  #checkLease(lease: number): void {
    if (this.#maxHold === undefined || lease <= this.#maxHold) return;
    throw new RangeError(
      `Cannot claim as 'lease' must be at most 'maxHold' (${this.#maxHold} ms): current value is ${lease}`,
    );
  }

  async begin(key: string, options: BeginOptions = {}): Promise<Begin> {
    checkOptionNames("begin", options, BEGIN);
    const begun = await this.#begin(key, options);
    if (begun.state !== "new") return begun;
    const { state, claim, sentAt } = begun;
    this.#sentAt.set(claim, sentAt);
    return { state, claim };
  }

  #begin(key: string, options: BeginOptions): Awaitable<Begun> {
    const { fingerprint = "", owner = randomToken(16) } = options;
    if (typeof fingerprint !== "string" || typeof owner !== "string" || owner === "") {
      throw new TypeError("Cannot begin as 'fingerprint' and 'owner' must be strings, the latter not empty");
    }
    checkFunction("begin", "waitUntil", options.waitUntil);
    const orDefault = (duration: Duration | undefined, name: string, otherwise: number) =>
      duration === undefined ? otherwise : toMilliseconds(duration, name);
    const lease = orDefault(options.lease, "lease", this.#lease);
    const retention = orDefault(options.retention, "retention", this.#retention);
    const wait = orDefault(options.wait, "wait", 0);
    this.#checkLease(lease);
    const wish = { owner, id: this.#nextId(), fingerprint, lease, retention };
    return wait > 0 ? this.#beginWaiting(key, wish, wait, options) : this.#claim(key, wish, 0, options);
  }

  async #beginWaiting(key: string, wish: Wish, wait: number, options: BeginOptions): Promise<Begun> {
    const until = this.#clock.monotonic() + wait;
    const left = () => until - this.#clock.monotonic();
    const change = new ChangeWait(this.#store, key, this.#clock, options.signal);
    for (let pause = FIRST_PAUSE_MS;; pause = Math.min(MAX_PAUSE_MS, 2 * pause)) {
      const begun = await this.#claim(key, wish, Math.max(0, left()), options, change);
      if (begun.state !== "in-progress" || left() <= 0) return begun;
      const backoff = pause * (0.5 + Math.random() / 2);
      await change.next({ longest: Math.min(begun.retryAfter + 1, left()), backoff });
    }
  }

  /** Asks for the claim; `least`: milliseconds for which faults are waited out. */
  #claim(
    key: string,
    wish: Wish,
    least: number,
    { owner: named, signal, waitUntil }: BeginOptions,
    change?: ChangeWait,
  ): Awaitable<Begun> {
    const { owner, id, lease, retention } = wish;
    const input: Record<string, string> = {
      owner,
      claim: id,
      lease: String(lease),
      retention: String(retention),
    };
    if (wish.fingerprint !== "") input.fingerprint = wish.fingerprint;
    const call = new LeaseCall(this.#clock, lease);
    const output = retry(() => {
      const onVersion = change?.options().onVersion;
      return this.#transact(beginClaim, key, input, call.attempt({ signal, onVersion }));
    }, { clock: this.#clock, least, timeout: least + this.#timeout, signal });
    if (!(output instanceof Promise)) return begunOf(output, key, wish, call);
    return output.then((output) => begunOf(output, key, wish, call), (error) => {
      const unsure = call.sentAt !== undefined && !(error instanceof HoldfastError && !error.ambiguous);
      // The owner is this call's own, so no later claim can be hit. A named owner may have begun again by
      // now.
      if (unsure && named === undefined) this.#giveBack(key, owner, id, waitUntil);
      throw error;
    });
  }

  /**
   * Gives back in the background what a failed `begin` may have got: the next caller need not wait for its
   * lease.
   */
  #giveBack(key: string, owner: string, claim: string, waitUntil: BeginOptions["waitUntil"]): void {
    const work = Promise.resolve(this.#retry(abandonClaim, key, { owner, claim }, undefined)).catch(() => {});
    try {
      dropRejection(waitUntil?.(work));
    } catch {
      // without it the runtime may end the work early, and the lease ends by itself
    }
  }

  async complete(claim: Claim, response: unknown, options: CompleteOptions = {}): Promise<Completion> {
    checkOptionNames("complete", options, COMPLETE);
    const { retain = true, signal } = options;
    checkOneOf("complete", "retain", retain, [true, false]);
    checkClaim("complete", claim);
    return await this.#complete(claim, retain ? encodeResult(response) : undefined, signal);
  }

  #complete(claim: Claim, response: string | undefined, signal?: AbortSignal): Awaitable<Completion> {
    const input: Record<string, string> = {
      owner: claim.owner,
      claim: claim.id,
      attempt: String(claim.attempt),
      retention: String(claim.retention),
    };
    if (claim.fingerprint !== "") input.fingerprint = claim.fingerprint;
    if (response !== undefined) input.response = response;
    const output = this.#retry(completeClaim, claim.key, input, signal, COMPLETE_RETRY_MS);
    return output instanceof Promise ? output.then(completionOf) : completionOf(output);
  }

  async abandon(claim: Claim, options?: CallOptions): Promise<boolean> {
    checkOptionNames("abandon", options, CALL);
    checkClaim("abandon", claim);
    const input = { owner: claim.owner, claim: claim.id };
    return (await this.#retry(abandonClaim, claim.key, input, options?.signal)).state === "free";
  }

  async extend(claim: Claim, options?: CallOptions): Promise<boolean> {
    checkOptionNames("extend", options, CALL);
    checkClaim("extend", claim);
    const input = { owner: claim.owner, lease: String(claim.lease) };
    return (await this.#retry(extendClaim, claim.key, input, options?.signal)).state === "held";
  }

  hold(claim: Claim, options?: CallOptions): Hold {
    checkOptionNames("hold", options, CALL);
    checkClaim("hold", claim);
    const hold = new ClaimHold(() => this.#kept(claim, this.#sentAt.get(claim), options?.signal));
    hold.start();
    return hold;
  }

  #kept({ key, owner, lease: length }: Claim, sentAt: number | undefined, signal?: AbortSignal): Lease {
    const lease = new Lease({
      clock: this.#clock,
      length,
      sentAt: sentAt ?? this.#clock.monotonic(),
      maxHold: this.#maxHold ?? Math.max(MAX_HOLD_MS, length),
      renew: true,
      signal,
      extend: async (length, signal) => {
        const input = { owner, lease: String(length) };
        return (await this.#transact(extendClaim, key, input, { signal })).state === "held";
      },
      lost: (why) => new HoldfastError("claim-lost", `Cannot go on with the work as ${why}`),
    });
    // The lease of a claim from another process began at a time unknown here: extended now, it begins anew.
    if (sentAt === undefined) lease.extend().catch(() => {});
    return lease;
  }

  async get(key: string, options?: CallOptions): Promise<IdempotencyRecord | undefined> {
    checkOptionNames("get", options, CALL);
    const output = await this.#retry(readClaim, key, {}, options?.signal);
    if (output.state === undefined) return undefined;
    const attempt = Number(output.attempt);
    if (output.state === "busy") return { state: "in-progress", attempt };
    if (output.response === undefined) return { state: "not-retained", attempt };
    return { state: "completed", attempt, response: decodeResult(output.response) };
  }

  async run<T>(
    key: string,
    fn: (attempt: Attempt) => T | Promise<T>,
    options: RunOptions<T> = {},
  ): Promise<T> {
    checkOptionNames("run the work", options, RUN);
    checkFunction("run the work", "storeIf", options.storeIf);
    if (typeof fn !== "function") {
      throw new TypeError(`Cannot run the work as it must be a function: current type is ${typeof fn}`);
    }
    let begun = this.#begin(key, options);
    if (begun instanceof Promise) begun = await begun;
    switch (begun.state) {
      case "new":
        return await this.#work(begun, fn, options);
      case "completed":
        return begun.response as T;
      case "in-progress":
        throw new HoldfastError("in-progress", "Cannot run the work as another caller is running it", {
          retryable: true,
          retryAfter: begun.retryAfter,
        });
      case "mismatch":
        throw new HoldfastError(
          "fingerprint-mismatch",
          "Cannot run the work as the key was used with another fingerprint",
        );
      case "not-retained":
        throw new HoldfastError(
          "response-not-retained",
          "Cannot run the work as it was done before, and its result was not kept",
        );
    }
  }

  async #work<T>(
    { claim, sentAt }: Granted,
    fn: (attempt: Attempt) => T | Promise<T>,
    { storeIf, signal }: RunOptions<T>,
  ): Promise<T> {
    const hold = new ClaimHold(() => this.#kept(claim, sentAt, signal));
    const { key, attempt } = claim;
    let pinned = false;
    const pin = () => void (pinned = true);
    try {
      let result: T;
      try {
        const work = fn(new HeldAttempt(key, attempt, hold, pin));
        // Work that is done by now needs no renewal, and no await.
        if (typeof (work as Partial<Promise<T>> | undefined)?.then === "function") {
          hold.start();
          result = await work;
        } else result = work as T;
      } catch (error) {
        hold.settle();
        await this.#quietly(() => pinned ? this.#complete(claim, undefined) : this.abandon(claim));
        throw error;
      }
      hold.settle();
      if (!pinned && !this.#isKept(result, storeIf)) {
        await this.#quietly(() => this.abandon(claim));
        return result;
      }
      return await this.#keep(claim, result);
    } finally {
      hold.stop();
    }
  }

  /** Stores the result of work that was done, and returns what later callers get. */
  async #keep<T>(claim: Claim, result: T): Promise<T> {
    let text: string;
    try {
      text = encodeResult(result);
    } catch (error) {
      // The caller gets the error. The key is completed without a result, so that the work is not done again.
      await this.#quietly(() => this.#complete(claim, undefined));
      throw error;
    }
    try {
      let completion = this.#complete(claim, text);
      if (completion instanceof Promise) completion = await completion;
      if (completion.state === "superseded" && completion.completed && completion.response !== undefined) {
        return completion.response as T;
      }
    } catch (error) {
      this.#report(error);
      if (error instanceof HoldfastError && error.code === "value-too-large") {
        await this.#quietly(() => this.#complete(claim, undefined));
      }
    }
    return decodeResult(text) as T;
  }

  /** A `storeIf` that throws cannot undo the work: its result is kept. */
  #isKept<T>(result: T, storeIf: RunOptions<T>["storeIf"]): boolean {
    try {
      return storeIf === undefined || storeIf(result);
    } catch (error) {
      this.#report(error);
      return true;
    }
  }

  /** Waits for a call whose fault is not the caller's: the work was done, or its own error is what counts. */
  async #quietly(call: () => Awaitable<unknown>): Promise<void> {
    await Promise.resolve(answered(call)).catch(this.#report);
  }

  /** Repeats a transition until it is answered: `least` milliseconds at least, `timeout` at most. */
  #retry(
    transition: Transition,
    key: string,
    input: Fields,
    signal: AbortSignal | undefined,
    least = 0,
  ): Awaitable<Fields> {
    const call = repeatable({ signal });
    return retry(() => this.#transact(transition, key, input, call), {
      clock: this.#clock,
      least,
      timeout: this.#timeout,
      signal,
    });
  }

  #transact(
    transition: Transition,
    key: string,
    input: Fields,
    options: TransactOptions,
  ): Awaitable<Fields> {
    const output = ask(this.#store, transition, key, input, options);
    return output instanceof Promise ? output.then(sound) : sound(output);
  }
}

/** A claim on the keeper of leases. */
class ClaimHold implements Hold {
  readonly #keep: () => Lease;
  #lease: Lease | undefined;
  #settled = false;
  #over = false;

  /** `keep` begins to keep the lease: when it is needed, as most work is done at once. */
  constructor(keep: () => Lease) {
    this.#keep = keep;
  }

  start(): Lease {
    if (this.#lease !== undefined) return this.#lease;
    const lease = this.#lease = this.#keep();
    if (this.#settled) lease.settle();
    if (this.#over) lease.end();
    return lease;
  }

  get signal(): AbortSignal {
    return this.start().signal;
  }

  settle(): void {
    this.#settled = true;
    this.#lease?.settle();
  }

  lapse(): void {
    this.#lease?.stop();
  }

  stop(): void {
    this.#over = true;
    this.#lease?.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    return Promise.resolve();
  }
}

/**
 * The output itself.
 *
 * @throws {HoldfastError} `corrupt-record`
 */
function sound(output: Fields): Fields {
  if (output.state !== "corrupt") return output;
  throw new HoldfastError(
    "corrupt-record",
    "Cannot read the idempotency record as it was not written by this version of the module",
  );
}

/** Refuses a claim that is not one of `begin`'s, as its whole outcome, a key or `undefined`. */
function checkClaim(task: string, claim: unknown): void {
  const { key, owner, id } = Object(claim) as Partial<Claim>;
  if (typeof key === "string" && typeof owner === "string" && typeof id === "string") return;
  throw new TypeError(`Cannot ${task} as the claim must be that of an answer of begin(), 'begun.claim'`);
}

/** The answer to a call of `begin`. */
function begunOf(output: Fields, key: string, wish: Wish, { sentAt }: LeaseCall): Begun {
  switch (output.state) {
    case "new": {
      const { owner, id, fingerprint, lease, retention } = wish;
      const claim = { key, attempt: Number(output.attempt), owner, id, fingerprint, lease, retention };
      return { state: "new", claim, sentAt: sentAt! };
    }
    case "busy":
      return { state: "in-progress", retryAfter: Number(output.remain) };
    case "done":
      return output.response === undefined
        ? { state: "not-retained" }
        : { state: "completed", response: decodeResult(output.response) };
    case "abandoned":
      throw new HoldfastError(
        "claim-lost",
        "Cannot begin as the claim of this call was given back meanwhile",
      );
    default:
      return { state: "mismatch" };
  }
}

function completionOf({ state, response }: Fields): Completion {
  if (state === "stored") return { state };
  if (state === "overtaken") return { state: "superseded", completed: false };
  return {
    state: "superseded",
    completed: true,
    response: response === undefined ? undefined : decodeResult(response),
  };
}

function encodeResult(result: unknown): string {
  return result === undefined ? UNDEFINED : encodeValue(result);
}

function decodeResult(text: string): unknown {
  return text === UNDEFINED ? undefined : decodeValue(text);
}
