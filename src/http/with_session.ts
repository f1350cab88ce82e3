/** Sessions around a fetch handler, and the one implementation of Hono's `session()`. */
import { problemResponse, unavailable, withFields } from "../response.ts";
import type { Schema, SchemaOutput } from "../schema.ts";
import { createSessions } from "../session/create_sessions.ts";
import type { Session } from "../session/session.ts";
import {
  checkTransport,
  isLimit,
  isOwnOutage,
  isUnavailable,
  onlyLooks,
  SESSION_ENDED,
  sessionHeaders,
  wasTouched,
} from "../session/session_response.ts";
import { checkCookieOptions } from "../session/session_cookie.ts";
import type { Atomic, IndexedSessionStore } from "../session/session_store.ts";
import type { RequestSessions, SessionsOptions } from "../session/sessions.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { PerBinding } from "../store/binding.ts";
import { checkFunction, checkOptionNames, type OptionNames } from "../validate.ts";
import { sameOptions } from "./_same_options.ts";
import { around, type Exchange, type FetchHandler, type Helper, type Served } from "./exchange.ts";
import type {
  HttpSessionAnswerOptions,
  HttpSessionOptions,
  MadeHttpSessionOptions,
  SessionContext,
} from "./http_session.ts";
import { notePersonal } from "./request_notes.ts";
import { RequestValues } from "./request_values.ts";

/**
 * Gives every request its session as `context.session`, loaded at the first read, committed once after the
 * handler. A request that neither reads nor changes it costs nothing and gets no cookie. On a 5xx, and when
 * the handler throws, its data is dropped, while revoking and rotating hold; likewise HEAD and OPTIONS: no
 * session begins there.
 *
 * A request whose session ends under way never begins another: what it changed goes to the session that the
 * same user's rotation or login made of it, or the answer is a 409 (see `onConflict`) and no cookie changes.
 *
 * When the store is down, the answer is a 503, the cookie stays as it is, and `onFault` is called. The
 * handler's own errors are thrown on, also where they are outages of another store. A misconfiguration is
 * thrown.
 *
 * Around each other with equal options two are one. With other options, or when two share a cookie name, the
 * request fails with a `TypeError`: the second one would be ignored, or overwrite the first one's cookie.
 *
 * @throws {TypeError} when the cookie's options contradict each other, or an option is unknown
 * @category HTTP
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { withSession } from "@holdfast/edge/http";
 *
 * const handler = withSession(async (_request, { session }) => {
 *   await session.set("theme", "dark");
 *   return new Response("saved");
 * }, { store: memoryStore() });
 * const response = await handler(new Request("https://example.com/", { method: "POST" }));
 * if (!response.headers.get("set-cookie")?.startsWith("__Host-session=")) throw new Error("unexpected");
 * ```
 */
export function withSession<S extends Schema = Schema<Record<string, unknown>>, Context = unknown>(
  handler: FetchHandler<Context & SessionContext<S>>,
  options: HttpSessionOptions<S, Context> | MadeHttpSessionOptions<SchemaOutput<S>, Context>,
): (request: Request, context?: Omit<Context, keyof SessionContext>) => Promise<Response> {
  const { name, helper } = sessionHelper(options);
  return around(handler, name, options.waitUntil, helper) as ReturnType<typeof withSession<S, Context>>;
}

/**
 * The sessions of requests, whatever framework they come through, and the name under which they are handed
 * on.
 */
export function sessionHelper<S extends Schema, Context>(
  options: HttpSessionOptions<S, Context> | MadeHttpSessionOptions<SchemaOutput<S>, Context>,
  own = "withSession()",
): { readonly name: string; readonly helper: Helper<Context, Session<SchemaOutput<S>> | undefined> } {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot mount ${own} as it needs options: { store } or { sessions }`);
  }
  const { contextKey = "session" } = options;
  if (typeof contextKey !== "string" || contextKey === "") {
    throw new TypeError(`Cannot mount ${own} as 'contextKey' must be a non-empty string`);
  }
  for (const name of ["onConflict", "waitUntil"] as const) {
    checkFunction(`mount ${own}`, name, options[name]);
  }
  const { onConflict = () => problemResponse(409, SESSION_ENDED) } = options;
  const sessions = "sessions" in options ? made(options, own) : perStore(options, contextKey);
  const helper: Helper<Context, Session<SchemaOutput<S>> | undefined> = async (exchange, serve) => {
    if (isMounted(exchange, { contextKey, options, own })) return (await serve(undefined)).response;
    const mine = sessions(exchange.context);
    mount(exchange.owner, { contextKey, options, own, cookieName: mine.cookieName });
    const current = mine.open(exchange.request.headers.get("cookie"));
    notePersonal([exchange.owner, exchange.original], () => wasTouched(current));
    let served: Served;
    try {
      served = await serve(current);
    } catch (thrown) {
      // What no framework answers ends the request; what was revoked or rotated holds. An outage of the
      // session's own store is answered as if the handler had looked at the session itself.
      await mine.commit(current, { failed: true }).catch(() => undefined);
      if (isOwnOutage(current, thrown)) return unavailable();
      throw thrown;
    }
    return await finish(exchange, served, mine, current, onConflict);
  };
  return { name: contextKey, helper };
}

/** Commits, and puts the cookie or the fault on the response. */
async function finish<Data, Context>(
  exchange: Exchange<Context>,
  { response, error }: Served,
  mine: RequestSessions<Data>,
  current: Session<Data>,
  onConflict: NonNullable<HttpSessionAnswerOptions<Context>["onConflict"]>,
): Promise<Response> {
  // The runtime's own: what stands in its place may be made at the first look at it.
  const { original: request, context } = exchange;
  const outage = isOwnOutage(current, error);
  let cookie: string | undefined;
  let lost = false;
  try {
    cookie = await mine.commit(current, {
      failed: outage || response.status >= 500 || onlyLooks(request.method),
      waitUntil: (work) => exchange.waitUntil(work),
      onConflict: () => void (lost = true),
    });
  } catch (error) {
    if (isLimit(error)) return problemResponse(409, "There are too many sessions of this user");
    if (!isUnavailable(error)) throw error;
    // The application's own failure stays: it claims no success either.
    return outage || response.status < 500 ? unavailable() : response;
  }
  checkTransport(current, request, cookie);
  let answer = response;
  if (outage) answer = unavailable();
  else if (lost) answer = await onConflict(exchange.request, context) ?? response;
  if (cookie === undefined && !wasTouched(current)) return answer;
  return withFields(answer, exchange.owner, (fields) => sessionHeaders(fields, current, cookie));
}

/** A helper of sessions that a request has passed. */
interface Mount {
  readonly contextKey: string;
  readonly cookieName: string;
  readonly options: object;
  /** The name of the helper, for messages. */
  readonly own: string;
}

/** The helpers of sessions that each request has passed. */
const mounts = /* @__PURE__ */ new RequestValues<readonly Mount[]>();

/** Whether the same sessions were mounted before. One with other options is refused: it would do nothing. */
function isMounted(
  exchange: Exchange<unknown>,
  { contextKey, options, own }: Omit<Mount, "cookieName">,
): boolean {
  const known = mounts.get(exchange.owner)?.find((mount) => mount.contextKey === contextKey);
  if (known === undefined) {
    if (!exchange.has(contextKey)) return false;
    throw new TypeError(
      `Cannot mount ${own} as the variable '${contextKey}' is taken: choose another contextKey`,
    );
  }
  if (sameOptions(known.options, options)) return true;
  throw new TypeError(
    `Cannot mount ${own} twice with different options: give the second one another contextKey than '${contextKey}'`,
  );
}

function mount(owner: object, added: Mount): void {
  const all = mounts.get(owner) ?? [];
  const other = all.find(({ cookieName }) => cookieName === added.cookieName);
  if (other !== undefined) {
    throw new TypeError(
      `Cannot mount ${added.own} as '${added.contextKey}' and '${other.contextKey}' share the cookie '${added.cookieName}'`,
    );
  }
  mounts.set(owner, [...all, added]);
}

const MADE_OPTIONS = {
  sessions: true,
  contextKey: true,
  onConflict: true,
  waitUntil: true,
} satisfies OptionNames<MadeHttpSessionOptions<unknown>>;

function made<Data, Context>(
  options: MadeHttpSessionOptions<Data, Context>,
  own: string,
): (context: Context) => RequestSessions<Data> {
  checkOptionNames(`mount ${own}`, options, MADE_OPTIONS);
  const { sessions } = options;
  if (typeof sessions === "function") return (context) => checkMade(sessions(context), own);
  const checked = checkMade(sessions, own);
  return () => checked;
}

function checkMade<Data>(sessions: RequestSessions<Data>, own: string): RequestSessions<Data> {
  if (typeof sessions?.open === "function" && typeof sessions.commit === "function") return sessions;
  throw new TypeError(
    `Cannot mount ${own} as 'sessions' must be what createSessions() answers, or a function for it`,
  );
}

function perStore<S extends Schema, Context>(
  options: HttpSessionOptions<S, Context>,
  contextKey: string,
): (context: Context) => RequestSessions<SchemaOutput<S>> {
  const { store, contextKey: _contextKey, onConflict: _onConflict, waitUntil: _waitUntil, ...rest } = options;
  checkCookieOptions(rest.cookie);
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
  return (context) => {
    const found = store(context);
    return typeof found === "object" && found !== null ? known.get(found, () => build(found)) : build(found);
  };
}

/** A store by shape alone: it is never asked. */
const NOWHERE = {
  consistency: "atomic",
  load: () => Promise.reject(new TypeError("Cannot load from no store")),
  save: () => Promise.reject(new TypeError("Cannot save to no store")),
} as unknown as Atomic<IndexedSessionStore>;
