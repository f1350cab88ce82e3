/** What a response needs to carry a session, for handlers without a framework. */
import { HoldfastError } from "../errors.ts";
import type { RequestSession, Session } from "./session.ts";
import type { CommitOptions, RequestSessions } from "./sessions.ts";

/** The session of a request that can be put on its response. */
export interface BoundSession<Data> extends Session<Data> {
  /**
   * Commits and answers the response to send: with the cookie, if there is one, and the headers that keep caches from
   * mixing people up. A 5xx drops data and login. When the store is down it answers a 503 instead, and no cookie changes.
   *
   * @throws {TypeError} when the changed data does not match the schema
   */
  commit(response: Response, options?: Omit<CommitOptions, "failed">): Promise<Response>;
}

/** Whether the store, not the caller, is to blame. */
export function isOutage(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError &&
    (error.retryable || ["backend-unavailable", "timeout", "store-full"].includes(error.code));
}

/** A session with a `commit` for its response. */
export function boundSession<Data>(
  sessions: RequestSessions<Data>,
  session: RequestSession<Data>,
  request: Request,
): BoundSession<Data> {
  const carries = request.headers.get("cookie")?.includes(sessions.cookieName) ?? false;
  return Object.assign(session, {
    async commit(response: Response, options: Omit<CommitOptions, "failed"> = {}): Promise<Response> {
      let cookie: string | undefined;
      try {
        cookie = await sessions.commit(session, { ...options, failed: response.status >= 500 });
      } catch (error) {
        if (error instanceof HoldfastError && error.code === "session-limit") return refused();
        if (isOutage(error)) return unavailable();
        throw error;
      }
      if (cookie === undefined && !carries) return response;
      const changed = new Response(response.body, response); // the headers of a fetched response cannot be changed
      sessionHeaders(changed.headers, cookie);
      return changed;
    },
  });
}

/** A response that sets the cookie is nobody else's; one that could depend on it says so. */
export function sessionHeaders(headers: Headers, cookie: string | undefined): void {
  if (cookie !== undefined) {
    headers.append("set-cookie", cookie);
    headers.set("cache-control", "no-store");
  }
  headers.append("vary", "Cookie");
}

function unavailable(): Response {
  return problem(503, "The service is temporarily unavailable", { "retry-after": "1" });
}

function refused(): Response {
  return problem(409, "There are too many sessions of this user");
}

function problem(status: number, title: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ type: "about:blank", title, status }), {
    status,
    headers: { "content-type": "application/problem+json", "cache-control": "no-store", ...headers },
  });
}
