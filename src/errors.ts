/**
 * Why an operation failed; stable across releases, made for `switch`.
 *
 * @category Errors
 */
export type HoldfastErrorCode =
  | "backend-unavailable"
  | "timeout"
  | "value-too-large"
  | "store-full"
  | "not-an-integer"
  | "corrupt-record"
  | "schema-mismatch"
  | "lock-timeout"
  | "lock-lost"
  | "claim-lost"
  | "in-progress"
  | "fingerprint-mismatch"
  | "response-not-retained"
  | "session-committed"
  | "session-unavailable"
  | "session-limit"
  | "cookie-too-large"
  | "not-replicated"
  | "queue-full"
  | "transition-unknown"
  | "contention"
  | "invalid-message"
  | "unsupported"
  | "unauthorized"
  | "misconfigured"
  | "read-only"
  | "rate-limited"
  | "quota-exceeded"
  | "message-rejected"
  | "message-too-large"
  | "attachment-unreadable"
  | "in-doubt"
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
  /** Why it failed. */
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
