/** Middleware that asks something of the session; `session()` must be mounted before it. */
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../../src/validate.ts";
import { readBody } from "./_request_body.ts";
import type { Session } from "../../src/session/session.ts";
import type { RouteContext, RouteMiddleware } from "./_context.ts";
import { problemResponse } from "../../src/response.ts";
import type { SessionContextOptions } from "./session.ts";

/** The default of `maxForm`, in bytes: forms with files send the token in the header. */
const MAX_FORM = 1_048_576;

/**
 * Options of {@linkcode requireCsrfToken}.
 *
 * @category Hono
 */
export interface RequireCsrfTokenOptions extends SessionContextOptions {
  /**
   * The header that carries the token.
   * @default {"x-csrf-token"}
   */
  readonly header?: string | undefined;
  /**
   * The field of a form that carries it.
   * @default {"csrf_token"}
   */
  readonly field?: string | undefined;
  /**
   * The largest form, in bytes, that is searched for the field; a larger one is a 413. Requests with the
   * header have no such bound, and neither has one without a session: it is refused before its body is read.
   * @default {1_048_576}
   */
  readonly maxForm?: number | undefined;
}

const CONTEXT_OPTIONS = { contextKey: true } satisfies OptionNames<SessionContextOptions>;
const CSRF_OPTIONS = { contextKey: true, header: true, field: true, maxForm: true } satisfies OptionNames<
  RequireCsrfTokenOptions
>;

/**
 * Lets only those who logged in within that time through: for what needs a password once more. No login is a
 * 401, too long ago a 403.
 *
 * @throws {RangeError} when the time is not positive
 * @category Hono
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
  checkOptionNames("mount requireFresh()", options, CONTEXT_OPTIONS);
  return async function requireFresh(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    const session = sessionOf(c, options);
    if (await session.userId() === undefined) return problemResponse(401, "No user is logged in");
    if (!await session.isFresh(within)) return problemResponse(403, "The login is too long ago for this");
    await next();
  };
}

/**
 * Lets a request that may change something through only with the session's CSRF token
 * (`session.csrfToken()`), in a header or in a form's field; otherwise a 403. A form is read up to `maxForm`,
 * and only for a live session; the handler still reads it in any way. It stands beside Hono's own `csrf()`,
 * which looks at where a request comes from.
 *
 * @category Hono
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
  checkOptionNames("mount requireCsrfToken()", options, CSRF_OPTIONS);
  const { header = "x-csrf-token", field = "csrf_token", maxForm = MAX_FORM } = options;
  checkInteger("mount requireCsrfToken()", "maxForm", maxForm);
  const rejected = () => problemResponse(403, "The request does not carry the session's CSRF token");
  return async function requireCsrfToken(
    c: RouteContext,
    next: () => Promise<void>,
  ): Promise<Response | void> {
    if (/^(GET|HEAD|OPTIONS|TRACE)$/.test(c.req.method)) return await next();
    const session = sessionOf(c, options);
    let token = c.req.header(header);
    // Without a session no token can be right: nothing is read of the body then.
    if (token === undefined && isForm(c) && !await session.isNew()) {
      const body = await readBody(
        c,
        maxForm,
        "Cannot read the form as its body was read before: mount requireCsrfToken() before that",
      );
      if (body === undefined) return problemResponse(413, "The form is too large");
      token = await formField(body, c.req.header("content-type")!, field);
    }
    if (!await session.verifyCsrfToken(token)) return rejected();
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

function isForm(c: RouteContext): boolean {
  const type = c.req.header("content-type") ?? "";
  return /^(application\/x-www-form-urlencoded|multipart\/form-data)\s*(;|$)/i.test(type);
}

/** A field of a form. */
async function formField(
  body: Uint8Array<ArrayBuffer>,
  type: string,
  name: string,
): Promise<string | undefined> {
  if (/^application/i.test(type)) return urlencodedField(new TextDecoder().decode(body), name);
  const form = await new Response(body, { headers: { "content-type": type } }).formData().catch(() =>
    undefined
  );
  const value = form?.get(name);
  return typeof value === "string" ? value : undefined;
}

/** The first field of that name. A form of a million fields is searched, not built. */
function urlencodedField(text: string, name: string): string | undefined {
  for (let start = 0; start <= text.length;) {
    const ampersand = text.indexOf("&", start);
    const end = ampersand < 0 ? text.length : ampersand;
    // Longer pairs are of other fields: a name of ours takes three characters a byte at most, a token 86.
    if (end - start <= 9 * name.length + 1024) {
      const value = new URLSearchParams(text.slice(start, end)).get(name);
      if (value !== null) return value;
    }
    start = end + 1;
  }
  return undefined;
}
