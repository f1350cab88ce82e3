/** What a response needs to carry a session, for handlers without a framework. */
import { HoldfastError } from "../errors.ts";
import { faultClass } from "../fault_class.ts";
import { notesOf, type RequestSession } from "./_request_session.ts";
import { insecureRequest } from "./_insecure_request.ts";
import type { Session } from "./session.ts";
import type { CommitOptions, RequestSessions } from "./sessions.ts";

/** The session of a request that can be put on its response. */
export interface BoundSession<Data> extends Session<Data> {
  /**
   * Commits and answers the response to send: with the cookie, if there is one, and the headers that keep
   * caches from mixing people up. A 5xx drops data and login, and so do HEAD and OPTIONS. When the store is
   * down it answers a 503 instead, and no cookie changes. A login for which there is no room becomes a 409, and so
   * does a response that would say "saved" although the session had ended; with `onConflict` that one stays.
   *
   * @throws {TypeError} when the changed data does not match the schema
   * @throws {HoldfastError} `misconfigured` when the browser would drop the Secure cookie, as it asked over
   *   plain HTTP
   */
  commit(response: Response, options?: Omit<CommitOptions, "failed">): Promise<Response>;
}

/**
 * Whether coming back later may help: the store or a deploy is to blame, neither the request nor a setting.
 */
export function isUnavailable(error: unknown): error is HoldfastError {
  if (!(error instanceof HoldfastError)) return false;
  const fault = faultClass(error);
  return fault === "outage" || (fault === "other" && error.retryable);
}

/**
 * Whether the error is one of the session's own store, not of the application, so that a 503 may replace its
 * answer.
 */
export function isOwnOutage(session: Session<unknown>, error: unknown): boolean {
  return isUnavailable(error) && (notesOf(session)?.source.isOwnFault(error) ?? false);
}

/**
 * Whether a request only looks: it makes no session, and takes no flash value that its answer would not show.
 */
export function onlyLooks(method: string): boolean {
  return method === "HEAD" || method === "OPTIONS";
}

/** Whether a login found no room. */
export function isLimit(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && error.code === "session-limit";
}

/** The title of the problem when what a request changed was dropped. */
export const SESSION_ENDED = "The session has ended";

/** A session with a `commit` for its response. */
export function boundSession<Data>(
  sessions: RequestSessions<Data>,
  session: RequestSession<Data>,
  request: Request,
): BoundSession<Data> {
  return Object.assign(session, {
    async commit(response: Response, options: Omit<CommitOptions, "failed"> = {}): Promise<Response> {
      let cookie: string | undefined;
      let lost = false;
      try {
        const onConflict = () => void (lost = true);
        const failed = response.status >= 500 || onlyLooks(request.method);
        cookie = await sessions.commit(session, { onConflict, ...options, failed });
      } catch (error) {
        if (isLimit(error)) return problem(409, "There are too many sessions of this user");
        if (isUnavailable(error)) {
          return problem(503, "The service is temporarily unavailable", { "retry-after": "1" });
        }
        throw error;
      }
      checkTransport(session, request, cookie);
      if (lost) response = problem(409, SESSION_ENDED);
      if (cookie === undefined && !wasAsked(session)) return response;
      const changed = changeable(response);
      sessionHeaders(changed.headers, session, cookie);
      return changed;
    },
  });
}

/**
 * The headers of a fetched response cannot be changed; others stay themselves, since Bun types an original's
 * body alone.
 */
function changeable(response: Response): Response {
  try {
    response.headers.delete("x-holdfast-probe");
    return response;
  } catch {
    return new Response(response.body, response);
  }
}

/** Whether the application looked at the session, so that its answer depends on the cookie. */
export function wasAsked(session: Session<unknown>): boolean {
  return notesOf(session)?.asked ?? false;
}

/**
 * A response that sets the cookie is for one user alone; one that was made by looking at the session depends
 * on the cookie.
 */
export function sessionHeaders(
  headers: Headers,
  session: Session<unknown>,
  cookie: string | undefined,
): void {
  if (cookie !== undefined) {
    headers.append("set-cookie", cookie);
    headers.set("cache-control", "no-store");
  }
  const varies = /(^|,)\s*(cookie|\*)\s*(,|$)/i.test(headers.get("vary") ?? "");
  if ((cookie !== undefined || wasAsked(session)) && !varies) headers.append("vary", "Cookie");
}

/** Sources of sessions that have reported plain HTTP: once is enough. */
const reported = new WeakSet<object>();

/**
 * Says that a browser will drop the cookie, since it is Secure and the request came over plain HTTP:
 * otherwise every login succeeds and no visitor is ever logged in. Where the request proves it, this throws;
 * where a proxy may stand in front, it is reported once: to `onFault`, or to the console where there is none.
 *
 * @throws {HoldfastError} `misconfigured`
 */
export function checkTransport(
  session: Session<unknown>,
  request: Request,
  cookie: string | undefined,
): void {
  if (cookie === undefined || !/; Secure(;|$)/.test(cookie) || /; Max-Age=0;/.test(cookie)) return;
  const insecure = insecureRequest(request);
  const source = notesOf(session)?.source;
  if (insecure === undefined || source === undefined) return;
  const error = new HoldfastError(
    "misconfigured",
    "Cannot hand the session out as browsers drop a Secure cookie that comes over plain HTTP: use HTTPS, let the proxy " +
      "send X-Forwarded-Proto, or set cookie.secure to false for development",
  );
  if (insecure === "certain") source.fault(error);
  else if (!reported.has(source)) source.warn(error);
  reported.add(source);
  if (insecure === "certain") throw error;
}

function problem(status: number, title: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ type: "about:blank", title, status }), {
    status,
    headers: { "content-type": "application/problem+json", "cache-control": "no-store", ...headers },
  });
}
