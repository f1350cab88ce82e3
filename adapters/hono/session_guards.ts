/** Middleware that asks something of the session; `session()` must be mounted before it. */
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import type { Session } from "../../src/session/session.ts";
import type { RouteContext, RouteMiddleware } from "./_context.ts";
import { problem } from "./problem.ts";
import type { SessionContextOptions } from "./session.ts";

/** Options of {@linkcode requireCsrfToken}. */
export interface RequireCsrfTokenOptions extends SessionContextOptions {
  /**
   * The header that carries the token.
   * @default {"x-csrf-token"}
   */
  readonly header?: string;
  /**
   * The field of a form that carries it.
   * @default {"csrf_token"}
   */
  readonly field?: string;
}

/**
 * Lets only those who logged in within that time through: for what needs a password once more. Nobody logged in is a 401,
 * too long ago a 403.
 *
 * @throws {RangeError} when the time is not positive
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { requireFresh, session } from "@holdfast/edge/hono";
 *
 * const app = new Hono().use(session({ store: memoryStore() }));
 * app.post("/password", requireFresh("5m"), (c) => c.text("changed"));
 * if ((await app.request("/password", { method: "POST" })).status !== 401) throw new Error("unexpected");
 * ```
 */
export function requireFresh(within: Duration, options: SessionContextOptions = {}): RouteMiddleware {
  toMilliseconds(within, "within");
  return async function requireFresh(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    const session = sessionOf(c, options);
    if (await session.userId() === undefined) return problem(401, "Nobody is logged in");
    if (!await session.isFresh(within)) return problem(403, "The login is too long ago for this");
    await next();
  };
}

/**
 * Lets a request that may change something through only with the session's CSRF token (`session.csrfToken()`), in a header
 * or in a form's field; otherwise a 403. It stands beside Hono's own `csrf()`, which looks at where a request comes from.
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { requireCsrfToken, session, type SessionVariables } from "@holdfast/edge/hono";
 *
 * const app = new Hono<{ Variables: SessionVariables }>().use(session({ store: memoryStore() }), requireCsrfToken());
 * app.get("/form", async (c) => c.text(await c.var.session.csrfToken()));
 * app.post("/", (c) => c.text("done"));
 *
 * const form = await app.request("/form");
 * const headers = { cookie: form.headers.get("set-cookie")!.split(";")[0]!, "x-csrf-token": await form.text() };
 * const [with_, without] = [{ method: "POST", headers }, { method: "POST" }];
 * if ((await app.request("/", with_)).status !== 200) throw new Error("unexpected");
 * if ((await app.request("/", without)).status !== 403) throw new Error("unexpected");
 * ```
 */
export function requireCsrfToken(options: RequireCsrfTokenOptions = {}): RouteMiddleware {
  const { header = "x-csrf-token", field = "csrf_token" } = options;
  return async function requireCsrfToken(
    c: RouteContext,
    next: () => Promise<void>,
  ): Promise<Response | void> {
    if (/^(GET|HEAD|OPTIONS|TRACE)$/.test(c.req.method)) return await next();
    const token = c.req.header(header) ?? await formField(c, field);
    if (!await sessionOf(c, options).verifyCsrfToken(token)) {
      return problem(403, "The request does not carry the session's CSRF token");
    }
    await next();
  };
}

function sessionOf(c: RouteContext, { contextKey = "session" }: SessionContextOptions): Session<unknown> {
  const session: Session<unknown> | undefined = c.get(contextKey);
  if (session === undefined) {
    throw new TypeError("Cannot look at the session as session() must be mounted before");
  }
  return session;
}

/** A field of a form; later readers get the body, too. */
async function formField(c: RouteContext, name: string): Promise<string | undefined> {
  const type = c.req.header("content-type") ?? "";
  if (!/^(application\/x-www-form-urlencoded|multipart\/form-data)\b/i.test(type)) return undefined;
  const body = await c.req.arrayBuffer();
  const form = await new Response(body, { headers: { "content-type": type } }).formData().catch(() =>
    undefined
  );
  const value = form?.get(name);
  return typeof value === "string" ? value : undefined;
}
