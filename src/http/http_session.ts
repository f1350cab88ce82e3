/**
 * The contract of sessions around a fetch handler.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { withSession } from "@holdfast/edge/http";
 *
 * const handler = withSession(async (_request, { session }) => {
 *   const visits = await session.update("visits", (visits) => 1 + Number(visits ?? 0));
 *   return new Response(`visit ${visits}`);
 * }, { store: memoryStore() });
 * const response = await handler(new Request("https://example.com/"));
 * if (await response.text() !== "visit 1") throw new Error("unexpected");
 * ```
 *
 * @module
 */
import type { Schema, SchemaOutput } from "../schema.ts";
import type { Session } from "../session/session.ts";
import type { Atomic, IndexedSessionStore } from "../session/session_store.ts";
import type { RequestSessions, SessionsOptions } from "../session/sessions.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { WaitUntilOption } from "./exchange.ts";

/**
 * Options for the answers of {@linkcode withSession}.
 *
 * @category HTTP
 */
export interface HttpSessionAnswerOptions<Context = unknown> {
  /**
   * The member of the handler's context that holds the session; another one for a second kind of session in
   * the same app.
   * @default {"session"}
   */
  readonly contextKey?: string | undefined;
  /**
   * The answer to a request that changed the session, of which nothing could be kept as the session had ended
   * meanwhile. Without a response of its own, the handler's stays, although nothing was saved.
   * @default {a 409 problem, "The session has ended"}
   */
  readonly onConflict?:
    | ((request: Request, context: Context) => Response | undefined | Promise<Response | undefined>)
    | undefined;
  /** Keeps the runtime alive; by default the context's own `waitUntil`, where it has one. */
  readonly waitUntil?: WaitUntilOption<Context> | undefined;
}

/**
 * Options of {@linkcode withSession}. With another `contextKey`, cookie and namespace are named after it,
 * too, so that two kinds of session in one app never meet.
 *
 * @category HTTP
 */
export interface HttpSessionOptions<S extends Schema = Schema<Record<string, unknown>>, Context = unknown>
  extends SessionsOptions<S>, HttpSessionAnswerOptions<Context> {
  /** The store of sessions, or a function that makes it of the context. */
  readonly store:
    | AtomicStore
    | Atomic<IndexedSessionStore>
    | ((context: Context) => AtomicStore | Atomic<IndexedSessionStore>);
}

/**
 * Options of {@linkcode withSession} when the sessions are made already: to list them elsewhere, or because
 * they are sealed.
 *
 * @category HTTP
 */
export interface MadeHttpSessionOptions<Data, Context = unknown> extends HttpSessionAnswerOptions<Context> {
  /**
   * The sessions of `createSessions` or `createSealedSessions`, or a function that makes them of the context.
   * Their `onFault` is theirs.
   */
  readonly sessions: RequestSessions<Data> | ((context: Context) => RequestSessions<Data>);
}

/**
 * The value that {@linkcode withSession} adds to the handler's context, under the name of `contextKey`.
 *
 * @category HTTP
 */
export interface SessionContext<S extends Schema = Schema<Record<string, unknown>>> {
  /** The request's session. */
  readonly session: Session<SchemaOutput<S>>;
}
