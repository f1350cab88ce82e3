/** Idempotency over an atomic store; the contract is in `idempotency.ts`. */
import { type Clock, systemClock } from "../clock.ts";
import { decodeValue, encodeValue } from "../codec.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { randomToken } from "../secret.ts";
import { ChangeWait } from "../store/change_wait.ts";
import type { AtomicStore, TransactOptions } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { LeaseHold } from "./_hold.ts";
import { retry } from "../retry.ts";
import {
  abandonClaim,
  beginClaim,
  completeClaim,
  extendClaim,
  readClaim,
} from "./idempotency_transitions.ts";
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

/** How an `undefined` result is stored: JSON has no word for it. */
const UNDEFINED = "\u0003";

/** Milliseconds for which storing what was done is tried at least: to lose that is to do it again. */
const COMPLETE_RETRY_MS = 2000;

/** See {@linkcode createIdempotency}. */
export class StoreIdempotency implements Idempotency {
  readonly #store: AtomicStore;
  readonly #clock: Clock;
  readonly #lease: number;
  readonly #retention: number;
  readonly #report: (error: unknown) => void;
  /** When each claim of ours was last known to begin. */
  readonly #since = new WeakMap<Claim, number>();

  constructor(store: AtomicStore, options: IdempotencyOptions) {
    this.#store = store;
    this.#clock = options.clock ?? systemClock;
    this.#lease = toMilliseconds(options.lease ?? "30s", "lease");
    this.#retention = toMilliseconds(options.retention ?? "24h", "retention");
    this.#report = options.onFault ?? (() => {});
  }

  async begin(key: string, options: BeginOptions = {}): Promise<Begin> {
    const { fingerprint = "", owner = randomToken(16), signal } = options;
    if (typeof fingerprint !== "string" || typeof owner !== "string" || owner === "") {
      throw new TypeError("Cannot begin as 'fingerprint' and 'owner' must be strings, the latter not empty");
    }
    const lease = options.lease === undefined ? this.#lease : toMilliseconds(options.lease, "lease");
    const retention = options.retention === undefined
      ? this.#retention
      : toMilliseconds(options.retention, "retention");
    const wait = options.wait === undefined ? 0 : toMilliseconds(options.wait, "wait");
    const until = this.#clock.monotonic() + wait;
    const wish = { owner, fingerprint, lease, retention };
    const change = new ChangeWait(this.#store, key, this.#clock, signal);
    for (let round = 1;; round++) {
      const begun = await this.#claim(key, wish, until, signal, change);
      const left = until - this.#clock.monotonic();
      if (begun.state !== "in-progress" || left <= 0) return begun;
      const backoff = Math.min(1000, 10 * 2 ** round) * (0.5 + Math.random() / 2);
      await change.next({ longest: Math.min(begun.retryAfter + 1, left), backoff });
    }
  }

  async #claim(
    key: string,
    wish: Omit<Claim, "key" | "attempt">,
    until: number,
    signal: AbortSignal | undefined,
    change: ChangeWait,
  ): Promise<Begin> {
    const { owner, fingerprint, lease, retention } = wish;
    const input = { o: owner, ...fingerprinted(fingerprint), l: String(lease), t: String(retention) };
    let sent = 0;
    let output: Fields;
    try {
      output = await retry(() => {
        sent = this.#clock.monotonic();
        return this.#transact(beginClaim, key, input, signal, change.options());
      }, { clock: this.#clock, until, signal });
    } catch (error) {
      // It may have been claimed all the same: whoever comes next should not have to wait for a ghost's lease.
      if (sent > 0 && !(error instanceof HoldfastError && !error.ambiguous)) {
        this.#store.transact(abandonClaim, key, { o: owner }).catch(() => {});
      }
      throw error;
    }
    switch (output.s) {
      case "new": {
        const claim = { key, attempt: Number(output.a), ...wish };
        this.#since.set(claim, sent);
        return { state: "new", claim };
      }
      case "busy":
        return { state: "in-progress", retryAfter: Number(output.ms) };
      case "done":
        return output.r === undefined
          ? { state: "not-retained" }
          : { state: "completed", response: decodeResult(output.r) };
      default:
        return { state: "mismatch" };
    }
  }

  async complete(claim: Claim, response: unknown, options: CompleteOptions = {}): Promise<Completion> {
    const { retain = true, signal } = options;
    const input = {
      o: claim.owner,
      ...fingerprinted(claim.fingerprint),
      ...(retain && { r: response === undefined ? UNDEFINED : encodeValue(response) }),
      a: String(claim.attempt),
      t: String(claim.retention),
    };
    const output = await this.#retry(completeClaim, claim.key, input, signal, COMPLETE_RETRY_MS);
    if (output.s === "stored") return { state: "stored" };
    if (output.s === "overtaken") return { state: "superseded", completed: false };
    return {
      state: "superseded",
      completed: true,
      response: output.r === undefined ? undefined : decodeResult(output.r),
    };
  }

  async abandon(claim: Claim, options?: CallOptions): Promise<boolean> {
    return (await this.#retry(abandonClaim, claim.key, { o: claim.owner }, options?.signal)).s === "free";
  }

  async extend(claim: Claim, options?: CallOptions): Promise<boolean> {
    const input = { o: claim.owner, l: String(claim.lease) };
    return (await this.#retry(extendClaim, claim.key, input, options?.signal)).s === "held";
  }

  hold(claim: Claim, options?: CallOptions): Hold {
    const since = this.#since.get(claim) ?? this.#clock.monotonic();
    const { lease } = claim;
    return new LeaseHold((signal) => this.extend(claim, { signal }), {
      clock: this.#clock,
      lease,
      since,
      signal: options?.signal,
    });
  }

  async get(key: string, options?: CallOptions): Promise<IdempotencyRecord | undefined> {
    const output = await this.#transact(readClaim, key, {}, options?.signal);
    if (output.s === undefined) return undefined;
    const attempt = Number(output.a);
    if (output.s === "busy") return { state: "in-progress", attempt };
    if (output.r === undefined) return { state: "not-retained", attempt };
    return { state: "completed", attempt, response: decodeResult(output.r) };
  }

  async run<T>(
    key: string,
    fn: (attempt: Attempt) => T | Promise<T>,
    options: RunOptions<T> = {},
  ): Promise<T> {
    const begun = await this.begin(key, options);
    switch (begun.state) {
      case "new":
        return await this.#work(begun.claim, fn, options);
      case "completed":
        return begun.response as T;
      case "in-progress":
        throw new HoldfastError("in-progress", "Cannot run the work as another caller is at it", {
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
    claim: Claim,
    fn: (attempt: Attempt) => T | Promise<T>,
    { storeIf = () => true, signal }: RunOptions<T>,
  ): Promise<T> {
    const hold = this.hold(claim, { signal });
    let pinned = false;
    const pin = () => void (pinned = true);
    // The work was done: whatever becomes of storing that, its result or error is the caller's.
    const settle = (how: () => Promise<unknown>) => how().catch(this.#report);
    const close = () => this.complete(claim, undefined, { retain: false });
    try {
      let result: T;
      let kept: boolean;
      try {
        const { key, attempt } = claim;
        result = await fn({ key, attempt, signal: hold.signal, pin });
        kept = pinned || storeIf(result);
      } catch (error) {
        await settle(pinned ? close : () => this.abandon(claim));
        throw error;
      }
      if (!kept) {
        await settle(() => this.abandon(claim));
        return result;
      }
      try {
        const completion = await this.complete(claim, result);
        if (completion.state === "stored" || !completion.completed) return result;
        return completion.response === undefined ? result : completion.response as T;
      } catch (error) {
        this.#report(error);
        const cannotHold = error instanceof TypeError;
        if (cannotHold || (error instanceof HoldfastError && error.code === "value-too-large")) {
          await settle(close);
        }
        if (cannotHold) throw error;
        return result;
      }
    } finally {
      hold.stop();
    }
  }

  #retry(
    transition: Transition,
    key: string,
    input: Fields,
    signal: AbortSignal | undefined,
    patience = 0,
  ): Promise<Fields> {
    const until = this.#clock.monotonic() + patience;
    return retry(() => this.#transact(transition, key, input, signal), {
      clock: this.#clock,
      until,
      signal,
    });
  }

  async #transact(
    transition: Transition,
    key: string,
    input: Fields,
    signal?: AbortSignal,
    options?: TransactOptions,
  ): Promise<Fields> {
    const output = await this.#store.transact(transition, key, input, { ...options, signal });
    if (output.s !== "corrupt") return output;
    throw new HoldfastError(
      "corrupt-record",
      "Cannot read the idempotency record as it is none of ours, or of another version",
    );
  }
}

function fingerprinted(fingerprint: string): { fp?: string } {
  return fingerprint === "" ? {} : { fp: fingerprint };
}

function decodeResult(text: string): unknown {
  return text === UNDEFINED ? undefined : decodeValue(text);
}
