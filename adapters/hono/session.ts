import { sameOptions } from "./_same_options.ts";
import { checkOptionNames, type OptionNames } from "../../src/validate.ts";
import {
  checkTransport,
  isLimit,
  isOwnOutage,
  isUnavailable,
  onlyLooks,
  sessionHeaders,
  wasAsked,
} from "../../src/session/session_response.ts";
import type { Schema, SchemaOutput } from "../../src/schema.ts";
import type { Session } from "../../src/session/session.ts";
import type { Atomic, IndexedSessionStore } from "../../src/session/session_store.ts";
import { createSessions } from "../../src/session/create_sessions.ts";
import type { RequestSessions, SessionsOptions } from "../../src/session/sessions.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { PerBinding } from "../../src/store/binding.ts";
import { changeable, replace, type RouteContext, type RouteMiddleware, waitUntil } from "./_context.ts";
import { problem, unavailable } from "./problem.ts";

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
 * The store of sessions, or a function that makes it of a request: on Workers, bindings exist only there.
 *
 * @category Hono
 */
export type SessionStoreSource =
  | AtomicStore
  | Atomic<IndexedSessionStore>
  | ((c: RouteContext) => AtomicStore | Atomic<IndexedSessionStore>);

/**
 * Options of {@linkcode session}. With another `contextKey`, cookie and namespace are named after it, too, so
 * that two kinds of session in one app never meet.
 *
 * @category Hono
 */
export interface SessionMiddlewareOptions<S extends Schema>
  extends SessionsOptions<S>, SessionContextOptions {
  /** The store of sessions, or a function that makes it of a request. */
  readonly store: SessionStoreSource;
}

/**
 * Options of {@linkcode session} when the sessions are made already: to list them elsewhere, or because they
 * are sealed.
 *
 * @category Hono
 */
export interface MadeSessionMiddlewareOptions<Data> extends SessionContextOptions {
  /**
   * The sessions of `createSessions` or `createSealedSessions`, or a function that makes them of a request.
   * Their `onFault` is theirs.
   */
  readonly sessions: RequestSessions<Data> | ((c: RouteContext) => RequestSessions<Data>);
}

/**
 * `new Hono<{ Variables: SessionVariables<typeof Visitor> }>()` makes `c.var.session` typed.
 *
 * @category Hono
 */
export interface SessionVariables<S extends Schema = Schema<Record<string, unknown>>> {
  /** The request's session. */
  session: Session<SchemaOutput<S>>;
}

/**
 * Gives every request its session as `c.var.session`, loaded at the first read, committed once after the
 * handler. A request that neither reads nor changes it costs nothing and gets no cookie. On a 5xx its data is
 * dropped, while revoking and rotating hold; likewise HEAD, for which Hono runs the handler of GET, and
 * OPTIONS: no session begins there.
 *
 * When the store is down, the answer is a 503, the cookie stays as it is, and `onFault` is called. The
 * application's own errors keep the answer of its own `onError`, also where they are outages of another
 * store. A misconfiguration is thrown.
 *
 * Mounted twice with equal options it is one. With other options, or when two contexts share a cookie name,
 * the request fails with a `TypeError`: the second mount would be ignored, or overwrite the first one's
 * cookie.
 *
 * The type of `c.var.session` is declared once, by `SessionVariables`: Hono infers a variable only from its
 * own `MiddlewareHandler`, and naming that would make Hono a dependency of every user. In a bare chain, wrap
 * it in Hono's own `createMiddleware<{ Variables: SessionVariables }>(session(…))`.
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
export function session<S extends Schema = Schema<Record<string, unknown>>>(
  options: SessionMiddlewareOptions<S> | MadeSessionMiddlewareOptions<SchemaOutput<S>>,
): RouteMiddleware {
  const { contextKey = "session" } = options;
  if (typeof contextKey !== "string" || contextKey === "") {
    throw new TypeError("Cannot mount session() as 'contextKey' must be a non-empty string");
  }
  const sessions = "sessions" in options ? made(options) : perStore(options, contextKey);
  return async function session(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    if (isMounted(c, contextKey, options)) return await next();
    const mine = sessions(c);
    mount(c, { contextKey, options, cookieName: mine.cookieName });
    const current = mine.open(c.req.header("cookie"));
    c.set(contextKey, current);
    try {
      await next();
    } catch (thrown) {
      // Hono turns errors into responses; what is no Error comes through here, and still ends the request.
      await mine.commit(current, { failed: true }).catch(() => undefined);
      throw thrown;
    }
    await finish(c, mine, current);
  };
}

/** Commits, and puts the cookie or the fault on the response. */
async function finish<Data>(
  c: RouteContext,
  mine: RequestSessions<Data>,
  current: Session<Data>,
): Promise<void> {
  const outage = isOwnOutage(current, c.error);
  let cookie: string | undefined;
  try {
    cookie = await mine.commit(current, {
      failed: outage || c.res.status >= 500 || onlyLooks(c.req.method),
      waitUntil: (work) => waitUntil(c, work),
    });
  } catch (error) {
    if (isLimit(error)) return replace(c, problem(409, "There are too many sessions of this user"));
    if (!isUnavailable(error)) throw error;
    // The application's own failure stays: it claims no success either.
    if (outage || c.res.status < 500) replace(c, unavailable());
    return;
  }
  checkTransport(current, c.req.raw, cookie);
  if (outage) replace(c, unavailable());
  if (cookie !== undefined || wasAsked(current)) sessionHeaders(changeable(c), current, cookie);
}

/** A session() that a request has passed. */
interface Mount {
  readonly contextKey: string;
  readonly cookieName: string;
  readonly options: object;
}

/**
 * The session() middleware that each request has passed; all middleware of a request get the same context.
 */
const mounts = new WeakMap<RouteContext, Mount[]>();

/** Whether the same session() was mounted before. One with other options is refused: it would do nothing. */
function isMounted(c: RouteContext, contextKey: string, options: object): boolean {
  const known = mounts.get(c)?.find((mount) => mount.contextKey === contextKey);
  if (known === undefined) {
    if (c.get(contextKey) === undefined) return false;
    throw new TypeError(
      `Cannot mount session() as the variable '${contextKey}' is taken: choose another contextKey`,
    );
  }
  if (sameOptions(known.options, options)) return true;
  throw new TypeError(
    `Cannot mount session() twice with different options: give the second one another contextKey than '${contextKey}'`,
  );
}

function mount(c: RouteContext, added: Mount): void {
  const all = mounts.get(c) ?? [];
  const other = all.find(({ cookieName }) => cookieName === added.cookieName);
  if (other !== undefined) {
    throw new TypeError(
      `Cannot mount session() as '${added.contextKey}' and '${other.contextKey}' share the cookie '${added.cookieName}'`,
    );
  }
  mounts.set(c, [...all, added]);
}

const MADE_OPTIONS = { sessions: true, contextKey: true } satisfies OptionNames<
  MadeSessionMiddlewareOptions<unknown>
>;

function made<Data>(options: MadeSessionMiddlewareOptions<Data>): (c: RouteContext) => RequestSessions<Data> {
  checkOptionNames("mount session()", options, MADE_OPTIONS);
  const { sessions } = options;
  if (typeof sessions === "function") return (c) => checkMade(sessions(c));
  const checked = checkMade(sessions);
  return () => checked;
}

function checkMade<Data>(sessions: RequestSessions<Data>): RequestSessions<Data> {
  if (typeof sessions?.open === "function" && typeof sessions.commit === "function") return sessions;
  throw new TypeError(
    "Cannot mount session() as 'sessions' must be what createSessions() answers, or a function for it",
  );
}

function perStore<S extends Schema>(
  options: SessionMiddlewareOptions<S>,
  contextKey: string,
): (c: RouteContext) => RequestSessions<SchemaOutput<S>> {
  const { store, contextKey: _contextKey, ...rest } = options;
  const { secure = true, path = "/", ...looks } = rest.cookie ?? {};
  const cookieName = looks.name ?? (secure && path === "/" ? "__Host-" : "") + contextKey;
  const own = { ...rest, name: rest.name ?? contextKey, cookie: { ...rest.cookie, name: cookieName } };
  const build = (store: AtomicStore | Atomic<IndexedSessionStore>) =>
    createSessions<S>(store, own as SessionsOptions<S>);
  if (typeof store !== "function") {
    const built = build(store);
    return () => built;
  }
  build(NOWHERE); // what is wrong with the options is said at once, not at the first request
  const known = new PerBinding<RequestSessions<SchemaOutput<S>>>();
  return (c) => {
    const found = store(c);
    return typeof found === "object" && found !== null ? known.get(found, () => build(found)) : build(found);
  };
}

/** A store by shape alone: it is never asked. */
const NOWHERE = {
  consistency: "atomic",
  load: () => Promise.reject(new TypeError("Cannot load from no store")),
  save: () => Promise.reject(new TypeError("Cannot save to no store")),
} as unknown as Atomic<IndexedSessionStore>;
