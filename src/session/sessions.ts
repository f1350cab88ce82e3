/**
 * Sessions that survive parallel requests and stay dead when they are revoked.
 *
 * The browser holds 32 random bytes, the store their SHA-256. A request loads its session at most once and
 * only if asked, keeps what it changed as a patch, and commits it once, before the response leaves: the patch
 * is merged into the record as it is then. A session that was revoked or timed out meanwhile is never created
 * again: what a request under way changed is dropped, and `onConflict` told. Was it rotated meanwhile, or did the
 * same user log in again, the patch is merged into what continues it.
 *
 * What it costs: nothing without a cookie, one store call to read, two to read and write, one to write
 * without having read (where there is no schema), one to log out. Once per `touchEvery` a request that reads
 * pays for holding the session against the epochs (two reads at once, one without a login) and for touching
 * it.
 *
 * Revoking ends what the user's index leads to at once. The epoch catches the rest, should the index ever be
 * lost: such a session works for `touchEvery` at most.
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { Schema, SchemaOutput } from "../schema.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { StoreSessions } from "./_store_sessions.ts";
import type { Session } from "./session.ts";
import type { SessionCookieOptions } from "./session_cookie.ts";
import type { SessionEvent } from "./session_event.ts";
import type { BoundSession } from "./session_response.ts";
import type { Atomic, IndexedSessionStore, SessionStore } from "./session_store.ts";

/** Options of {@linkcode createSessions}. */
export interface SessionsOptions<S extends Schema> {
  /** What a session holds; any Standard Schema. It must accept `{}`: a new session is empty. */
  readonly schema?: S | undefined;
  /**
   * The version of what the schema wants; raise it with every change that old data does not survive. It only
   * ever goes up: a session that a later version wrote is refused (`schema-mismatch`, retryable, a 503
   * through `session()`), not read.
   * @default {1}
   */
  readonly version?: number | undefined;
  /**
   * Brings data of another version to this one; what it answers must pass the schema. If it throws, a fresh
   * session begins. Written with the next change, so it must do nothing but compute.
   */
  readonly migrate?: ((data: Record<string, unknown>, from: number) => Record<string, unknown>) | undefined;
  /**
   * How long a session lives without a request.
   * @default {"30m"}
   */
  readonly idleTimeout?: Duration | undefined;
  /**
   * How long a session lives at most, whatever happens, rotation included; only a login begins anew.
   * @default {"12h"}
   */
  readonly absoluteTimeout?: Duration | undefined;
  /**
   * How often a session that is used is touched and held against the epochs: how exact the idle timeout is,
   * and how long a revoked session works at most if its user's index was lost. A millisecond means with every
   * request.
   * @default {min("1m", idleTimeout / 10)}
   */
  readonly touchEvery?: Duration | undefined;
  /**
   * How many sessions a user may have.
   * @default {500}
   */
  readonly maxSessionsPerUser?: number | undefined;
  /**
   * What a login does that would make one too many: end the oldest, or fail with `session-limit`.
   * @default {"evict-oldest"}
   */
  readonly onSessionLimit?: "evict-oldest" | "reject" | undefined;
  /** How the cookie looks. */
  readonly cookie?: SessionCookieOptions | undefined;
  /**
   * The namespace the sessions live in, if the store is an `AtomicStore`.
   * @default {"session"}
   */
  readonly name?: string | undefined;
  /**
   * The clock that decides when a session is touched again.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
  /**
   * How long a call of a `SessionStore` may take before the request gives up with a `timeout` error. The
   * engines of an `AtomicStore` have their own.
   * @default {"5s"}
   */
  readonly timeout?: Duration | undefined;
  /** Is told what happens; what it throws is lost. */
  readonly onEvent?: ((event: SessionEvent) => void) | undefined;
  /**
   * Is told the faults of the store, and misconfigurations. The call that met one throws it all the same; a
   * touch, which fails no request, does not. What the callback throws is lost.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * Whether you know what an eventually consistent store does not promise.
   * @default {false}
   */
  readonly eventual?: boolean | undefined;
}

/** Options of {@linkcode RequestSessions.commit}. */
export interface CommitOptions {
  /**
   * Whether the request failed (5xx), or only looked (HEAD): its data and its login are dropped, while
   * revoking and rotating hold.
   * @default {false}
   */
  readonly failed?: boolean | undefined;
  /**
   * Lets a touch outlive the response; nothing else ever does. If it answers `false`, the touch is awaited.
   */
  readonly waitUntil?: ((work: Promise<unknown>) => unknown) | undefined;
  /**
   * Is told, before `commit` answers, that values which the request changed were dropped, as the session had ended
   * meanwhile: the response must not claim that they are saved.
   */
  readonly onConflict?: (() => void) | undefined;
}

/** A session of a user, as lists show it. */
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

/** Sessions of requests. */
export interface RequestSessions<Data> {
  /** The cookie that carries the token. */
  readonly cookieName: string;
  /** The session of a request, from its Cookie header. No I/O until something is asked for. */
  open(cookieHeader: string | null | undefined): Session<Data>;
  /**
   * Makes what the request changed true, once, before its response leaves; answers the Set-Cookie value to
   * append, if any. Nothing read and nothing changed: no store call.
   *
   * @throws {TypeError} when the changed data does not match the schema, or sessions of another kind opened
   *   it; nothing was written
   * @throws {HoldfastError} when the store fails, or a login was refused, or a later version wrote the
   *   session: the response must not claim success
   */
  commit(session: Session<Data>, options?: CommitOptions): Promise<string | undefined>;
  /**
   * The session of a request with what its response needs, for plain fetch handlers.
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

/** Sessions on a store that lists them by user. */
export interface Sessions<Data> extends RequestSessions<Data> {
  /** The live sessions of a user, oldest first. */
  listSessions(userId: string): Promise<SessionSummary[]>;
  /** Ends one session of a user, and answers whether it lived. */
  revokeSession(userId: string, handle: string): Promise<boolean>;
  /** Ends all sessions of a user but one, logins under way included, and answers how many. */
  revokeUser(userId: string, options?: { readonly except?: string | undefined }): Promise<number>;
  /**
   * Ends all sessions of all users, and answers how many it ended at once. On a store that cannot list its
   * keys (Durable Objects without shards) they end when they are next held against the epoch, after
   * `touchEvery` at the latest.
   */
  revokeAll(): Promise<number>;
}

/**
 * Sessions over any atomic store, or over a `SessionStore` of your own. One without an index gives
 * {@linkcode RequestSessions}; one that is eventually consistent needs `eventual: true`.
 *
 * @throws {TypeError} when the store is none, or eventually consistent without `eventual: true`, or an option
 *   is unknown
 * @throws {RangeError} when a duration or a limit is not positive
 * @example
 * ```ts
 * import { createSessions, memoryStore } from "@holdfast/edge";
 * const sessions = createSessions(memoryStore());
 * const first = sessions.open(null);
 * first.set("theme", "dark");
 * const cookie = await sessions.commit(first);
 * const second = sessions.open(cookie!.split(";")[0]);
 * if (await second.get("theme") !== "dark") throw new Error("unexpected");
 * ```
 */
export function createSessions<S extends Schema = Schema<Record<string, unknown>>>(
  store: AtomicStore | Atomic<IndexedSessionStore>,
  options?: SessionsOptions<S>,
): Sessions<SchemaOutput<S>>;
/** Sessions over a store that is only eventually consistent; see its own promises. */
export function createSessions<S extends Schema = Schema<Record<string, unknown>>>(
  store: IndexedSessionStore,
  options: SessionsOptions<S> & { readonly eventual: true },
): Sessions<SchemaOutput<S>>;
/** Sessions over a store without an index, where a user's sessions can neither be listed nor ended. */
export function createSessions<S extends Schema = Schema<Record<string, unknown>>>(
  store: Atomic<SessionStore>,
  options?: SessionsOptions<S>,
): RequestSessions<SchemaOutput<S>>;
export function createSessions<S extends Schema = Schema<Record<string, unknown>>>(
  store: AtomicStore | SessionStore,
  options: SessionsOptions<S> = {},
): Sessions<SchemaOutput<S>> {
  return new StoreSessions<SchemaOutput<S>>(store, options);
}
