/**
 * The contract of sessions: parallel requests do not erase each other's changes, and a revoked session never
 * comes back.
 *
 * The browser holds 32 random bytes, the store their SHA-256. A request loads its session at most once and
 * only if asked, keeps what it changed as a patch, and commits it once, before the response leaves: the patch
 * is merged into the record as it is then. A session that was revoked or timed out meanwhile is never created
 * again: what a request under way changed is dropped, and `onConflict` told. Was it rotated meanwhile, or did
 * the same user log in again, the patch is merged into what continues it.
 *
 * Costs in store calls: none without a cookie, one to read, two to read and write, one to write without a
 * read (only without a schema), one to log out. Once per `touchEvery` a request that reads also compares the
 * session with the epochs (two parallel reads, one without a login) and touches it.
 *
 * A revocation ends the sessions in the user's index at once. Sessions that the index has lost are ended by
 * the epoch, after `touchEvery` at most.
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { Schema } from "../schema.ts";
import type { Session } from "./session.ts";
import type { SessionCookieOptions } from "./session_cookie.ts";
import type { SessionEvent } from "./session_event.ts";

/**
 * Options of {@linkcode createSessions}.
 *
 * @category Sessions
 */
export interface SessionsOptions<S extends Schema> {
  /** The schema of the data: any Standard Schema. It must accept `{}`, as a new session is empty. */
  readonly schema?: S | undefined;
  /**
   * The version of the schema. Raise it with every change that makes old data invalid, and never lower it: a
   * session that a later version wrote is refused (`schema-mismatch`, retryable; `session()` answers 503).
   * @default {1}
   */
  readonly version?: number | undefined;
  /**
   * Converts data of an older version to this one; the result must pass the schema. If it throws, a new
   * session begins; if it returns no object, as an async function does, the read is a `TypeError` and the
   * session stays. The result is stored with the next change, so the function may run more than once: it must
   * have no effects.
   */
  readonly migrate?: ((data: Record<string, unknown>, from: number) => Record<string, unknown>) | undefined;
  /**
   * The time that a session lives without a request.
   * @default {"30m"}
   */
  readonly idleTimeout?: Duration | undefined;
  /**
   * The maximum time that a session lives. A rotation keeps the end, a login sets a new one.
   * @default {"12h"}
   */
  readonly absoluteTimeout?: Duration | undefined;
  /**
   * The interval at which a session in use is touched and compared with the epochs. It is the precision of
   * the idle timeout, and the longest time that a revoked session works after its user's index was lost. `1`
   * means on every request.
   * @default {min("1m", idleTimeout / 10)}
   */
  readonly touchEvery?: Duration | undefined;
  /**
   * The maximum number of sessions of a user.
   * @default {500}
   */
  readonly maxSessionsPerUser?: number | undefined;
  /**
   * The choice when a login would exceed `maxSessionsPerUser`: end the oldest session, or fail with
   * `session-limit`.
   * @default {"evict-oldest"}
   */
  readonly whenFull?: "evict-oldest" | "reject" | undefined;
  /** The attributes of the cookie. */
  readonly cookie?: SessionCookieOptions | undefined;
  /**
   * The namespace of the sessions, if the store is an `AtomicStore`.
   * @default {"session"}
   */
  readonly name?: string | undefined;
  /**
   * The clock for `touchEvery` and for the age of logins.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
  /**
   * The maximum time of one call to a `SessionStore`; then it fails with `timeout`. The engines of an
   * `AtomicStore` have timeouts of their own.
   * @default {"5s"}
   */
  readonly timeout?: Duration | undefined;
  /** Called with every event. Its exceptions are ignored. */
  readonly onEvent?: ((event: SessionEvent) => void) | undefined;
  /**
   * Called with every fault of the store and every misconfiguration. The call that met the fault throws it,
   * too; only a touch does not, as it fails no request. The callback's exceptions are ignored.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * Accepts the weaker guarantees of an eventually consistent store; required for one.
   * @default {false}
   */
  readonly eventual?: boolean | undefined;
}

/**
 * Options of {@linkcode RequestSessions.commit}.
 *
 * @category Sessions
 */
export interface CommitOptions {
  /**
   * Whether the request failed (5xx) or is safe (HEAD): then its data and its login are dropped, while a
   * revocation and a rotation hold.
   * @default {false}
   */
  readonly failed?: boolean | undefined;
  /**
   * Receives a touch, so that it may outlive the response; nothing else does. If it answers `false`, the
   * touch is awaited.
   */
  readonly waitUntil?: ((work: Promise<unknown>) => unknown) | undefined;
  /**
   * Is told, before `commit` answers, that values which the request changed were dropped, as the session had
   * ended meanwhile: the response must not claim that they are saved.
   */
  readonly onConflict?: (() => void) | undefined;
}

/**
 * The session of a request that can be put on its response.
 *
 * @category Sessions
 */
export interface BoundSession<Data> extends Session<Data> {
  /**
   * Commits, and answers the response to send: with the cookie, if there is one, and with the headers that
   * keep shared caches from storing it. The data and the login of a 5xx, of HEAD and of OPTIONS are dropped.
   * When the store is unavailable the response is a 503 and the cookie does not change; a login over the
   * limit becomes a 409, and so does a response that would say "saved" although the session had ended; with
   * `onConflict` that response stays.
   *
   * @throws {TypeError} when the changed data does not match the schema
   * @throws {HoldfastError} `misconfigured` when the request came over plain HTTP, where the browser drops a
   *   Secure cookie
   */
  commit(response: Response, options?: Omit<CommitOptions, "failed">): Promise<Response>;
}

/**
 * An entry in the list of a user's sessions.
 *
 * @category Sessions
 */
export interface SessionSummary {
  /** The public handle. */
  readonly handle: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** Milliseconds since the epoch; as exact as touching is (`touchEvery`). */
  readonly lastSeenAt: number;
  /** Milliseconds since the epoch. */
  readonly authenticatedAt?: number;
}

/**
 * Sessions of requests.
 *
 * @category Sessions
 */
export interface RequestSessions<Data> {
  /** The cookie that carries the token. */
  readonly cookieName: string;
  /** Opens the session of a request from its Cookie header. No I/O before the first read. */
  open(cookieHeader: string | null | undefined): Session<Data>;
  /**
   * Stores the changes of a request, once, before its response leaves, and answers the Set-Cookie value to
   * append, if any. A session that was neither read nor changed costs no store call.
   *
   * @throws {TypeError} when the changed data does not match the schema, or the session was opened by
   *   sessions of another kind; nothing was written
   * @throws {HoldfastError} when the store fails, a login was refused, or a later version wrote the session:
   *   the response must not claim success
   */
  commit(session: Session<Data>, options?: CommitOptions): Promise<string | undefined>;
  /**
   * Opens the session of a request with a `commit` for its response, for plain fetch handlers.
   *
   * @example
   * ```ts
   * import { createSessions, memoryStore } from "@holdfast/edge";
   * const sessions = createSessions(memoryStore());
   * async function handler(request: Request): Promise<Response> {
   *   const session = sessions.fromRequest(request);
   *   const visits = await session.update("visits", (visits) => 1 + Number(visits ?? 0));
   *   return await session.commit(new Response(`visit ${visits}`));
   * }
   * const response = await handler(new Request("https://example.com/"));
   * if (await response.text() !== "visit 1" || !response.headers.has("set-cookie")) throw new Error("unexpected");
   * ```
   */
  fromRequest(request: Request): BoundSession<Data>;
}

/**
 * Sessions on a store that lists them by user.
 *
 * @category Sessions
 */
export interface Sessions<Data> extends RequestSessions<Data> {
  /** The live sessions of a user, oldest first. */
  listSessions(userId: string): Promise<SessionSummary[]>;
  /** Ends one session of a user, and answers whether it was live. */
  revokeSession(userId: string, handle: string): Promise<boolean>;
  /** Ends all sessions of a user but one, logins in progress included, and answers their number. */
  revokeUser(userId: string, options?: { readonly except?: string | undefined }): Promise<number>;
  /**
   * Ends all sessions of all users, and answers the number of those that ended at once. On a store that
   * cannot list its keys (Durable Objects without shards) they end at their next comparison with the epoch,
   * after `touchEvery` at most.
   */
  revokeAll(): Promise<number>;
}
