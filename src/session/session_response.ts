/** The response of a request with a session, for handlers without a framework. */
import { HoldfastError } from "../errors.ts";
import { faultClass } from "../fault_class.ts";
import { type HeaderFields, problemResponse, unavailable, withFields } from "../response.ts";
import { notesOf, type RequestSession } from "./_request_session.ts";
import { insecureRequest } from "./_insecure_request.ts";
import type { Session } from "./session.ts";
import type { BoundSession, CommitOptions, RequestSessions } from "./sessions.ts";

/**
 * Tells an error that a later request may not meet: the fault of the store or of a deployment, not of the
 * request or of a setting.
 */
export function isUnavailable(error: unknown): error is HoldfastError {
  if (!(error instanceof HoldfastError)) return false;
  const fault = faultClass(error);
  return fault === "outage" || (fault === "other" && error.retryable);
}

/**
 * Tells an outage of the session's own store from errors of the application, so that a 503 may replace the
 * response.
 */
export function isOwnOutage(session: Session<unknown>, error: unknown): boolean {
  return isUnavailable(error) && (notesOf(session)?.source.isOwnFault(error) ?? false);
}

/**
 * Tells a safe method whose response has no body: it creates no session, and takes no flash value that the
 * response would not show.
 */
export function onlyLooks(method: string): boolean {
  return method === "HEAD" || method === "OPTIONS";
}

/** Tells the error of a login over the limit of sessions. */
export function isLimit(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && error.code === "session-limit";
}

/** The title of the problem when what a request changed was dropped. */
export const SESSION_ENDED = "The session has ended";

/** Adds a `commit` for the response to a session. */
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
        if (isLimit(error)) {
          return problemResponse(409, "There are too many sessions of this user");
        }
        if (isUnavailable(error)) return unavailable();
        throw error;
      }
      checkTransport(session, request, cookie);
      if (lost) response = problemResponse(409, SESSION_ENDED);
      if (cookie === undefined && !wasTouched(session)) return response;
      return withFields(response, request, (fields) => sessionHeaders(fields, session, cookie));
    },
  });
}

/** Tells whether the application read or changed the session, so that the response is for one user alone. */
export function wasTouched(session: Session<unknown>): boolean {
  return notesOf(session)?.touched ?? false;
}

/**
 * Sets the caching headers: a response with the cookie is for one user alone, one that was made by reading or
 * changing the session varies with the cookie.
 */
export function sessionHeaders(
  headers: HeaderFields,
  session: Session<unknown>,
  cookie: string | undefined,
): void {
  if (cookie !== undefined) {
    headers.append("set-cookie", cookie);
    headers.set("cache-control", "no-store");
  }
  const vary = headers.get("vary");
  const varies = vary !== null && /(^|,)\s*(cookie|\*)\s*(,|$)/i.test(vary);
  if ((cookie !== undefined || wasTouched(session)) && !varies) headers.append("vary", "Cookie");
}

/** The sources of sessions that have reported plain HTTP; each reports it once. */
const reported = new WeakSet<object>();

/**
 * Reports that the browser will drop the cookie, since it is Secure and the request came over plain HTTP.
 * Without the report every login would succeed and no visitor would ever be logged in. Throws where the
 * request proves plain HTTP; where a proxy may stand in front, it is reported once: to `onFault`, or to the
 * console where there is none.
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
