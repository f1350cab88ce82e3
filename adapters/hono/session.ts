import { isLimit, isOutage, onlyLooks, sessionHeaders } from "../../src/session/session_response.ts";
import type { Schema, SchemaOutput } from "../../src/schema.ts";
import type { Session } from "../../src/session/session.ts";
import type { Atomic, IndexedSessionStore } from "../../src/session/session_store.ts";
import { createSessions, type RequestSessions, type SessionsOptions } from "../../src/session/sessions.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { PerBinding } from "../../src/store/binding.ts";
import { changeable, replace, type RouteContext, type RouteMiddleware, waitUntil } from "./_context.ts";
import { problem, unavailable } from "./problem.ts";

/** Where a session is found in the context. */
export interface SessionContextOptions {
  /**
   * The variable that holds the session; another one for a second kind of session in the same app.
   * @default {"session"}
   */
  readonly contextKey?: string;
}

/** Where sessions live, or how to get it from a request: on Workers, bindings exist only there. */
export type SessionStoreSource =
  | AtomicStore
  | Atomic<IndexedSessionStore>
  | ((c: RouteContext) => AtomicStore | Atomic<IndexedSessionStore>);

/**
 * Options of {@linkcode session}. With another `contextKey`, cookie and namespace are named after it, too, so that two kinds
 * of session in one app never meet.
 */
export interface SessionOptions<S extends Schema> extends SessionsOptions<S>, SessionContextOptions {
  /** Where sessions live, or how to get it from a request. */
  readonly store: SessionStoreSource;
}

/** Options of {@linkcode session} when the sessions are made already: to list them elsewhere, or because they are sealed. */
export interface MadeSessionOptions<Data> extends SessionContextOptions {
  /** What `createSessions` or `createSealedSessions` answered, or how to get it from a request. */
  readonly sessions: RequestSessions<Data> | ((c: RouteContext) => RequestSessions<Data>);
}

/** `new Hono<{ Variables: SessionVariables<typeof Visitor> }>()` makes `c.var.session` typed. */
export interface SessionVariables<S extends Schema = Schema<Record<string, unknown>>> {
  /** The request's session. */
  session: Session<SchemaOutput<S>>;
}

/**
 * Gives every request its session as `c.var.session`, loaded when asked for, committed once after the handler. A
 * request that neither reads nor changes it costs nothing and gets no cookie. On a 5xx its data is dropped, while
 * revoking and rotating hold; likewise HEAD, for which Hono runs the handler of GET, and OPTIONS: no session begins there. When the store is down, the answer is a 503 and the cookie stays as it is.
 *
 * The type of `c.var.session` is declared once, by `SessionVariables`: Hono infers a variable only from its own
 * `MiddlewareHandler`, and naming that would make Hono a dependency of everybody. In a bare chain, wrap it in Hono's own
 * `createMiddleware<{ Variables: SessionVariables }>(session(…))`.
 *
 * @throws {TypeError} when the cookie's options contradict each other
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
export function session<S extends Schema = Schema<Record<string, unknown>>>(
  options: SessionOptions<S> | MadeSessionOptions<SchemaOutput<S>>,
): RouteMiddleware {
  const { contextKey = "session" } = options;
  const sessions = "sessions" in options ? made(options.sessions) : perStore(options, contextKey);
  return async function session(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    if (c.get(contextKey) !== undefined) return await next(); // mounted twice is once
    const mine = sessions(c);
    const current = mine.open(c.req.header("cookie")) as Session<SchemaOutput<S>> & {
      readonly asked: boolean;
    };
    c.set(contextKey, current);
    try {
      await next();
    } catch (thrown) {
      // Hono turns errors into responses; what is no Error comes through here, and still ends the request.
      await mine.commit(current, { failed: true }).catch(() => undefined);
      throw thrown;
    }
    const outage = isOutage(c.error) && /^(backend-unavailable|timeout|not-replicated)$/.test(c.error.code);
    let cookie: string | undefined;
    try {
      cookie = await mine.commit(current, {
        failed: outage || c.res.status >= 500 || onlyLooks(c.req.method),
        waitUntil: (work) => waitUntil(c, work),
      });
    } catch (error) {
      if (isLimit(error)) return replace(c, problem(409, "There are too many sessions of this user"));
      if (isOutage(error)) return replace(c, unavailable());
      throw error;
    }
    if (outage) replace(c, unavailable());
    if (cookie !== undefined || current.asked) sessionHeaders(changeable(c), current, cookie);
  };
}

function made<Data>(
  sessions: MadeSessionOptions<Data>["sessions"],
): (c: RouteContext) => RequestSessions<Data> {
  return typeof sessions === "function" ? sessions : () => sessions;
}

function perStore<S extends Schema>(
  options: SessionOptions<S>,
  contextKey: string,
): (c: RouteContext) => RequestSessions<SchemaOutput<S>> {
  const { store, contextKey: _contextKey, ...rest } = options;
  const another = contextKey !== "session" && contextKey !== "";
  const { secure = true, path = "/" } = rest.cookie ?? {};
  const cookieName = (secure && path === "/" ? "__Host-" : "") + contextKey;
  const own = another ? { name: contextKey, ...rest, cookie: { name: cookieName, ...rest.cookie } } : rest;
  const build = (store: AtomicStore | Atomic<IndexedSessionStore>) =>
    createSessions<S>(store, own as SessionsOptions<S>);
  if (typeof store !== "function") {
    const built = build(store);
    return () => built;
  }
  const known = new PerBinding<RequestSessions<SchemaOutput<S>>>();
  return (c) => {
    const found = store(c);
    return known.get(found, () => build(found));
  };
}
