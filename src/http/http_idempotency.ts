/** The contract of idempotency around a fetch handler. */
import type { Duration } from "../duration.ts";
import type { ContextStore, WaitUntilOption } from "./exchange.ts";

/**
 * Options of {@linkcode withIdempotency}.
 *
 * @category HTTP
 */
export interface HttpIdempotencyOptions<Context = unknown> {
  /** The store of the keys, or a function that makes it of the context. */
  readonly store: ContextStore<Context>;
  /**
   * The caller that a key belongs to: two callers never see each other's answers. `"public"` means that all
   * callers share their keys. A request without a caller is an error: mount this after what tells who calls.
   */
  readonly scope: "public" | ((request: Request, context: Context) => string | Promise<string>);
  /**
   * Refuses a request without a key with a 400; otherwise it is served without protection.
   * @default {true}
   */
  readonly required?: boolean | undefined;
  /**
   * The methods that take a key, in upper case; others pass without any I/O.
   * @default {["POST", "PATCH"]}
   */
  readonly methods?: readonly string[] | undefined;
  /**
   * Requires a quoted key, as the draft has it.
   * @default {false}
   */
  readonly strict?: boolean | undefined;
  /**
   * The time for which a crashed request blocks its key; extended while the handler runs.
   * @default {"30s"}
   */
  readonly lease?: Duration | undefined;
  /**
   * The longest time for which a request keeps its key. A handler that has not answered by then loses it:
   * another request may run. An answer that still streams shortly before it counts as done and is not kept.
   * @default {"1h", or a longer lease}
   */
  readonly maxHold?: Duration | undefined;
  /**
   * The time for which an answer is kept.
   * @default {"24h"}
   */
  readonly retention?: Duration | undefined;
  /** The time for which a duplicate waits for the first one's answer; without it, it gets a 409 at once. */
  readonly wait?: Duration | undefined;
  /**
   * The longest time that one call of the store takes, its retries included.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The largest request body in bytes; a larger one gets a 413.
   * @default {1_048_576}
   */
  readonly maxRequest?: number | undefined;
  /**
   * The largest response body in bytes that is kept. A larger one reaches its client whole. From the first
   * byte too many on, duplicates learn by a 409 that the work was done and its answer was not kept, and the
   * body is cancelled when its client leaves. `onFault` hears of it, unless you gave this bound.
   * @default {1_048_576, or less where the engine's records hold less}
   */
  readonly maxResponse?: number | undefined;
  /**
   * Selects the answers that are kept, thrown HTTP errors included. After the others the next request with
   * the key runs again: at once, or after a 408 or 504 when the lease has ended. One that throws, or
   * answers neither `true` nor `false`, keeps the answer. It is not asked about a 499: the client has left.
   * @default {2xx, 3xx, and 4xx but 401, 403, 408, 409, 423, 425, 429 and 499}
   */
  readonly storeIf?: ((status: number) => boolean | Promise<boolean>) | undefined;
  /**
   * Tells which requests are the same; for bodies that differ from one try to the next, as multipart ones do.
   * @default {a hash of the method, host, path, sorted query, kind and coding of the content, and body}
   */
  readonly fingerprint?:
    | ((request: Request, context: Context, body: Uint8Array<ArrayBuffer>) => string | Promise<string>)
    | undefined;
  /**
   * The behavior while the store is unavailable: `"deny"` answers a 503, `"allow"` runs the handler
   * unprotected. A store that is full never lets it run, as strangers may have filled it; one that is
   * misconfigured always throws.
   * @default {"deny"}
   */
  readonly whenUnavailable?: "deny" | "allow" | undefined;
  /**
   * Called with every fault: a store that does not answer or refuses, an answer that was not stored, a
   * `storeIf` that threw.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The namespace of the keys.
   * @default {"idempotency"}
   */
  readonly name?: string | undefined;
  /** Keeps the runtime alive; by default the context's own `waitUntil`, where it has one. */
  readonly waitUntil?: WaitUntilOption<Context> | undefined;
}

/**
 * A request that has the claim of its key.
 *
 * @category HTTP
 */
export interface ClaimedRequest {
  /** The key the client sent. */
  readonly key: string;
  /** 1, and one more each time a crashed request was replaced. */
  readonly attempt: number;
  /**
   * Aborts when another request took the key over, or may have: at `maxHold` at the latest. Once the answer
   * is settled (a stream that counts as done), it does not abort.
   */
  readonly signal: AbortSignal;
  /** Notes that the side effect happened: from here on every outcome is kept, also a 500. */
  pin(): void;
}

/**
 * The values that {@linkcode withIdempotency} adds to the handler's context.
 *
 * @category HTTP
 */
export interface IdempotencyContext {
  /** This request's claim; `undefined` for a request that passes without a key. */
  readonly idempotency: ClaimedRequest | undefined;
}
