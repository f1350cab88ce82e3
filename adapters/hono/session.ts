import type { HttpSessionOptions, MadeHttpSessionOptions } from "../../src/http/http_session.ts";
import { sessionHelper } from "../../src/http/with_session.ts";
import type { Schema, SchemaOutput } from "../../src/schema.ts";
import type { Session } from "../../src/session/session.ts";
import type { Atomic, IndexedSessionStore } from "../../src/session/session_store.ts";
import type { RequestSessions, SessionsOptions } from "../../src/session/sessions.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import type { RouteContext } from "./_context.ts";
import { mapOptions, ofContext, pass } from "./_exchange.ts";
import type { HonoContext, HonoEnv, HonoMiddleware } from "./_hono_types.ts";

/**
 * Options of the place of a session in the context.
 *
 * @category Hono
 */
export interface SessionContextOptions {
  /**
   * The variable that holds the session; another one for a second kind of session in the same app.
   * @default {"session"}
   */
  readonly contextKey?: string | undefined;
}

/**
 * Options for the answers of {@linkcode session}.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export interface SessionAnswerOptions<C = any> {
  /**
   * The answer to a request that changed the session, of which nothing could be kept as the session had ended
   * meanwhile. Without a response of its own, the handler's stays, although nothing was saved.
   * @default {a 409 problem, "The session has ended"}
   */
  readonly onConflict?: ((c: C) => Response | undefined | Promise<Response | undefined>) | undefined;
}

/**
 * The store of sessions, or a function that makes it of a request: on Workers, bindings exist only there.
 *
 * @category Hono
 */
export type SessionStoreSource<C = RouteContext> =
  | AtomicStore
  | Atomic<IndexedSessionStore>
  | ((c: C) => AtomicStore | Atomic<IndexedSessionStore>);

/**
 * Options of {@linkcode session}. With another `contextKey`, cookie and namespace are named after it, too, so
 * that two kinds of session in one app never meet.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export interface SessionMiddlewareOptions<S extends Schema, C = any>
  extends SessionsOptions<S>, SessionContextOptions, SessionAnswerOptions<C> {
  /** The store of sessions, or a function that makes it of a request. */
  readonly store: SessionStoreSource<C>;
}

/**
 * Options of {@linkcode session} when the sessions are made already: to list them elsewhere, or because they
 * are sealed.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export interface MadeSessionMiddlewareOptions<Data, C = any>
  extends SessionContextOptions, SessionAnswerOptions<C> {
  /**
   * The sessions of `createSessions` or `createSealedSessions`, or a function that makes them of a request.
   * Their `onFault` is theirs.
   */
  readonly sessions: RequestSessions<Data> | ((c: C) => RequestSessions<Data>);
}

/**
 * `new Hono<{ Variables: SessionVariables<typeof Visitor> }>()` makes `c.var.session` typed; a chain infers
 * it.
 *
 * @category Hono
 */
export type SessionVariables<
  S extends Schema = Schema<Record<string, unknown>>,
  Key extends string = "session",
> = { [Name in Key]: Session<SchemaOutput<S>> };

/**
 * Gives every request its session as `c.var.session`, loaded at the first read, committed once after the
 * handler; see `withSession`. Where the store is down, the answer is a 503, and the application's own errors
 * keep the answer of its own `onError`.
 *
 * Mounted twice with equal options it is one. With other options, or when two contexts share a cookie name,
 * the request fails with a `TypeError`: the second mount would be ignored, or overwrite the first one's
 * cookie.
 *
 * @throws {TypeError} when the cookie's options contradict each other, or an option is unknown
 * @category Hono
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { session, type SessionVariables } from "@holdfast/edge/hono";
 *
 * const app = new Hono<{ Variables: SessionVariables }>();
 * app.use(session({ store: memoryStore() }));
 * app.get("/", async (c) => {
 *   const visits = await c.var.session.update("visits", (visits) => 1 + Number(visits ?? 0));
 *   return c.text(`visit ${visits}`);
 * });
 * const response = await app.request("/");
 * if (!response.headers.get("set-cookie")?.startsWith("__Host-session=")) throw new Error("unexpected");
 * ```
 */
export function session<
  S extends Schema = Schema<Record<string, unknown>>,
  // deno-lint-ignore no-explicit-any
  E extends HonoEnv = any,
  const Key extends string = "session",
>(
  options:
    & (
      | SessionMiddlewareOptions<S, HonoContext<E>>
      | MadeSessionMiddlewareOptions<SchemaOutput<S>, HonoContext<E>>
    )
    & { readonly contextKey?: Key | undefined },
): HonoMiddleware<E, SessionVariables<S, Key>> {
  const { name, helper } = sessionHelper<S, RouteContext>(
    // The helper compares options by identity where one is mounted twice: only what is given is mapped.
    (Object(options).onConflict === undefined
      ? options
      : mapOptions(options, ({ onConflict }) => ({ onConflict: ofContext(onConflict) }))) as
        | HttpSessionOptions<S, RouteContext>
        | MadeHttpSessionOptions<SchemaOutput<S>, RouteContext>,
    "session()",
  );
  return (function session(c: RouteContext, next: () => Promise<void>) {
    return pass(c, next, name, helper);
  }) as HonoMiddleware<E, SessionVariables<S, Key>>;
}
