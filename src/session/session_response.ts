/** What a response needs to carry a session, for handlers without a framework. */
import { HoldfastError } from "../errors.ts";
import type { RequestSession } from "./_request_session.ts";
import type { Session } from "./session.ts";
import type { CommitOptions, RequestSessions } from "./sessions.ts";

/** The session of a request that can be put on its response. */
export interface BoundSession<Data> extends Session<Data> {
  /**
   * Commits and answers the response to send: with the cookie, if there is one, and the headers that keep caches from
   * mixing people up. A 5xx drops data and login, and so do HEAD and OPTIONS. When the store is down it answers a 503 instead, and no cookie changes;
   * a login for which there is no room becomes a 409.
   *
   * @throws {TypeError} when the changed data does not match the schema
   */
  commit(response: Response, options?: Omit<CommitOptions, "failed">): Promise<Response>;
}

/** Whether coming back later may help: the store, not the request, is to blame. */
export function isOutage(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && error.retryable;
}

/** Whether a request only looks: it makes no session, and takes no flash value that its answer would not show. */
export function onlyLooks(method: string): boolean {
  return method === "HEAD" || method === "OPTIONS";
}

/** Whether a login found no room. */
export function isLimit(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && error.code === "session-limit";
}

/** A session with a `commit` for its response. */
export function boundSession<Data>(
  sessions: RequestSessions<Data>,
  session: RequestSession<Data>,
  method: string,
): BoundSession<Data> {
  return Object.assign(session, {
    async commit(response: Response, options: Omit<CommitOptions, "failed"> = {}): Promise<Response> {
      let cookie: string | undefined;
      try {
        const failed = response.status >= 500 || onlyLooks(method);
        cookie = await sessions.commit(session, { ...options, failed });
      } catch (error) {
        if (isLimit(error)) return problem(409, "There are too many sessions of this user");
        if (isOutage(error)) {
          return problem(503, "The service is temporarily unavailable", { "retry-after": "1" });
        }
        throw error;
      }
      if (cookie === undefined && !session.asked) return response;
      const changed = changeable(response);
      sessionHeaders(changed.headers, session, cookie);
      return changed;
    },
  });
}

/** The headers of a fetched response cannot be changed; others stay themselves, since Bun types an original's body alone. */
function changeable(response: Response): Response {
  try {
    response.headers.delete("x-holdfast-probe");
    return response;
  } catch {
    return new Response(response.body, response);
  }
}

/** A response that sets the cookie is nobody else's; one that was made by looking at the session depends on the cookie. */
export function sessionHeaders(
  headers: Headers,
  session: { readonly asked: boolean },
  cookie: string | undefined,
): void {
  if (cookie !== undefined) {
    headers.append("set-cookie", cookie);
    headers.set("cache-control", "no-store");
  }
  const varies = /(^|,)\s*(cookie|\*)\s*(,|$)/i.test(headers.get("vary") ?? "");
  if ((cookie !== undefined || session.asked) && !varies) headers.append("vary", "Cookie");
}

function problem(status: number, title: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ type: "about:blank", title, status }), {
    status,
    headers: { "content-type": "application/problem+json", "cache-control": "no-store", ...headers },
  });
}
