import { HoldfastError } from "../../src/errors.ts";
import type { Schema, SchemaOutput } from "../../src/schema.ts";
import type { Session } from "../../src/session/session.ts";
import { createSessions, type Sessions, type SessionsOptions } from "../../src/session/sessions.ts";
import {
  changeable,
  perStore,
  replace,
  type RouteContext,
  type RouteMiddleware,
  type StoreSource,
} from "./_context.ts";
import { unavailable } from "./problem.ts";

/** Options of {@linkcode session}. */
export interface SessionOptions<S extends Schema> extends SessionsOptions<S> {
  /** Where sessions live, or how to get it from a request. */
  readonly store: StoreSource;
  /**
   * The variable that holds the session; another one for a second kind of session in the same app.
   * @default {"session"}
   */
  readonly contextKey?: string;
}

/** `new Hono<{ Variables: SessionVariables<typeof Visitor> }>()` makes `c.var.session` typed. */
export interface SessionVariables<S extends Schema = Schema<Record<string, unknown>>> {
  /** The request's session. */
  session: Session<SchemaOutput<S>>;
}

/**
 * Gives every request its session as `c.var.session`, loaded when asked for, committed once after the handler. A
 * request that neither reads nor changes it costs nothing and gets no cookie. On a 5xx its data is dropped, while
 * revoking and rotating hold. When the store is down, the answer is a 503 and the cookie stays as it is.
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
 *   const visits = 1 + Number(await c.var.session.get("visits") ?? 0);
 *   c.var.session.set("visits", visits);
 *   return c.text(`visit ${visits}`);
 * });
 * const response = await app.request("/");
 * if (!response.headers.get("set-cookie")?.startsWith("__Host-session=")) throw new Error("unexpected");
 * ```
 */
export function session<S extends Schema = Schema<Record<string, unknown>>>(
  options: SessionOptions<S>,
): RouteMiddleware {
  const { store, contextKey = "session", ...rest } = options;
  const sessions = perStore(store, (store) => createSessions<S>(store, rest as SessionsOptions<S>));
  return async function session(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    if (c.get(contextKey) !== undefined) return await next(); // mounted twice is once
    const mine = sessions(c);
    const current = mine.open(c.req.header("cookie"));
    c.set(contextKey, current);
    try {
      await next();
    } catch (thrown) {
      // Hono turns errors into responses; what is no Error comes through here, and still ends the request.
      await commit(mine, current, true).catch(() => undefined);
      throw thrown;
    }
    if (isOutage(c.error)) {
      return replace(c, unavailable());
    }
    let cookie: string | undefined;
    try {
      cookie = await commit(mine, current, c.res.status >= 500);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      return replace(c, unavailable());
    }
    const headers = changeable(c);
    if (cookie !== undefined) {
      headers.append("set-cookie", cookie);
      headers.set("cache-control", "no-store");
    }
    if (cookie !== undefined || c.req.header("cookie")?.includes(mine.cookieName)) {
      headers.append("vary", "Cookie");
    }
  };
}

function commit<Data>(
  sessions: Sessions<Data>,
  session: Session<Data>,
  failed: boolean,
): Promise<string | undefined> {
  return sessions.commit(session, { failed });
}

function isOutage(error: unknown): boolean {
  return error instanceof HoldfastError && error.retryable &&
    (error.code === "backend-unavailable" || error.code === "timeout");
}
