/** The contract of a lock around a fetch handler. */
import type { AcquireOptions, Lock } from "../lock/lock.ts";
import type { ContextStore, WaitUntilOption } from "./exchange.ts";

/**
 * Options of {@linkcode withLock}: how to acquire, and how to respond when the lock is taken.
 *
 * @category HTTP
 */
export interface HttpLockOptions<Context = unknown>
  extends Omit<AcquireOptions, "ttl" | "signal" | "waitUntil"> {
  /** The store of the locks, or a function that makes it of the context. */
  readonly store: ContextStore<Context>;
  /**
   * The key on which one request at a time may work. One that is empty, too long or not well-formed is
   * answered with a 400, as it usually comes from the client. What is no string is an error of the
   * application: a `TypeError`.
   */
  readonly key: (request: Request, context: Context) => string | Promise<string>;
  /**
   * The length of the lease, unless it is extended.
   * @default {"30s"}
   */
  readonly ttl?: AcquireOptions["ttl"] | undefined;
  /**
   * The longest time for one call to the store: a store that does not reply holds a request no longer than
   * `wait` and this.
   * @default {"3s"}
   */
  readonly timeout?: AcquireOptions["timeout"] | undefined;
  /**
   * The status of a response when the lock is taken: 409 Conflict or 423 Locked; 429 or 503 for a lock of
   * several `permits`, which bounds the requests that run at once.
   * @default {409}
   */
  readonly status?: 409 | 423 | 429 | 503 | undefined;
  /**
   * The end of the hold: until the handler answered, or until the last byte of its response was read
   * (or the reader went away). A handler that works while it streams needs `"body"`. Such a lock ends sooner
   * where nothing reads:
   *
   * - HEAD: the body is cancelled and the lock released when the handler has answered.
   * - A body of which nothing is read for 10 s (for `ttl`, where that is shorter), renewed or not, is
   *   cancelled and fails, and the lock is released: an outer middleware dropped it, the client left (workerd
   *   does not tell), or it pauses. Waiting for the handler to produce more is no pause.
   * @default {"response"}
   */
  readonly until?: "response" | "body" | undefined;
  /**
   * The namespace of the locks.
   * @default {"lock"}
   */
  readonly name?: string | undefined;
  /**
   * The choice while the store is unavailable: `"deny"` answers 503, `"throw"` hands the fault
   * to the app. A lock never lets a request pass without it.
   * @default {"deny"}
   */
  readonly whenUnavailable?: "deny" | "throw" | undefined;
  /**
   * Receives every fault of the store, also those that are answered with a 503; a misconfiguration is thrown
   * besides.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /** Keeps the runtime alive; by default the context's own `waitUntil`, where it has one. */
  readonly waitUntil?: WaitUntilOption<Context> | undefined;
}

/**
 * The value that {@linkcode withLock} adds to the handler's context.
 *
 * @category HTTP
 */
export interface LockContext {
  /** The lock this request holds. */
  readonly lock: Lock;
}
