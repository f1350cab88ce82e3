/**
 * The reason why an operation failed; stable across releases, made for `switch`.
 *
 * @category Errors
 */
export type HoldfastErrorCode =
  /** The store or provider could not be reached, or failed on its side. */
  | "backend-unavailable"
  /** The call took longer than its `timeout` or `attemptTimeout`. */
  | "timeout"
  /** The value exceeds the limit of the engine. */
  | "value-too-large"
  /** The engine has no space, and may not evict what it holds. */
  | "store-full"
  /** The counter holds another value, or would leave the safe integers. */
  | "not-an-integer"
  /** The record was not written by this version of the module, or was damaged. */
  | "corrupt-record"
  /** The stored value does not match the schema. */
  | "schema-mismatch"
  /** `withLock()` did not get the lock within `wait`. */
  | "lock-timeout"
  /** The lease of the lock ended while it was in use. */
  | "lock-lost"
  /** The claim of the work ended, or was given back. */
  | "claim-lost"
  /** Another caller runs the work under this key. */
  | "in-progress"
  /** The key was used for another request, message or item. */
  | "fingerprint-mismatch"
  /** The work was done before, and its result was not kept. */
  | "response-not-retained"
  /** The session was used after its commit, when no request would see the change. */
  | "session-committed"
  /** The login was refused, as the sessions of the user were revoked meanwhile. */
  | "session-unavailable"
  /** The user has as many sessions as allowed. */
  | "session-limit"
  /** The sealed session exceeds what browsers keep in a cookie. */
  | "cookie-too-large"
  /** A change is not on both sides of a replicated store. */
  | "not-replicated"
  /** Too many calls, messages or changes wait already. */
  | "queue-full"
  /** The engine does not know the transition: the deployed object is older, or it is not registered. */
  | "transition-unknown"
  /** Others changed the record first, at every attempt. */
  | "contention"
  /** The message is not valid: a field is missing or malformed. */
  | "invalid-message"
  /** The engine or provider does not have this feature. */
  | "unsupported"
  /** The credentials were refused, or do not permit the call. */
  | "unauthorized"
  /** A setting of the deployment is wrong: the message names it. */
  | "misconfigured"
  /** The server takes no writes: a replica, or a database set to read only. */
  | "read-only"
  /** The server asks to wait; see `retryAfter`. */
  | "rate-limited"
  /** The quota of the account or the plan is used up. */
  | "quota-exceeded"
  /** The provider refused the message for its content or its recipients. */
  | "message-rejected"
  /** The message exceeds the limit of the provider or the store. */
  | "message-too-large"
  /** The content of an attachment could not be read. */
  | "attachment-unreadable"
  /** The message may have been sent, and is not sent again automatically. */
  | "in-doubt"
  /** The signal of the call was aborted. */
  | "aborted";

/**
 * Options of a {@linkcode HoldfastError}.
 *
 * @category Errors
 */
export interface HoldfastErrorOptions {
  /**
   * Whether the same call may succeed when repeated.
   * @default {false}
   */
  readonly retryable?: boolean | undefined;
  /**
   * Whether the call may have taken effect although it failed (a write whose reply was lost).
   * @default {false}
   */
  readonly ambiguous?: boolean | undefined;
  /** Milliseconds after which repeating makes sense. */
  readonly retryAfter?: number | undefined;
  /** The fault underneath. */
  readonly cause?: unknown;
}

/**
 * A fault: something the caller did not ask for and cannot prevent. Misuse is a `TypeError` or `RangeError`,
 * an expected outcome is a value. Messages never carry keys, values, tokens or addresses.
 *
 * @category Errors
 * @example
 * ```ts
 * import { HoldfastError, memoryStore } from "@holdfast/edge";
 * const store = memoryStore();
 * await store.set("greeting", "hello");
 * const error = await store.increment("greeting").catch((error) => error);
 * if (!(error instanceof HoldfastError && error.code === "not-an-integer")) throw new Error("unexpected");
 * ```
 */
export class HoldfastError extends Error {
  /** Survives minifiers. */
  override readonly name: string = "HoldfastError";
  /** The reason. */
  readonly code: HoldfastErrorCode;
  /** Whether the same call may succeed when repeated. */
  readonly retryable: boolean;
  /** Whether the call may have taken effect although it failed. */
  readonly ambiguous: boolean;
  /** Milliseconds after which repeating makes sense. */
  readonly retryAfter: number | undefined;

  /** Makes a fault with its code, a message without secrets, and what is known about repeating the call. */
  constructor(code: HoldfastErrorCode, message: string, options: HoldfastErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.ambiguous = options.ambiguous ?? false;
    this.retryAfter = options.retryAfter;
  }
}
