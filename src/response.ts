/** Responses as sessions and the helpers of `src/http` make and change them. */

/** The header fields of an answer, as far as helpers change them. */
export type HeaderFields = Pick<Headers, "get" | "set" | "append">;

/**
 * The response with changed header fields. Those of a fetched response cannot be changed, so it is copied. One
 * without a body is copied, too: an application may return the same object to everyone, and would hand one
 * visitor's cookie to the next. Others are used as they are, since Bun sets the content type of an original body
 * alone.
 *
 * `change` is called again, on a copy, where its first change is refused.
 */
export function withFields(response: Response, change: (fields: HeaderFields) => void): Response {
  let own: Response & { [OWN]?: true } = response;
  const text = textAtHand(response);
  if (text !== undefined) {
    // The server writes these very headers: they are copied once, and the copy is marked.
    if (!own[OWN]) {
      own = new Response(text, { status: response.status, headers: new Headers(response.headers) });
      own[OWN] = true;
    }
  } else {
    // The Response of `@hono/node-server` makes its real one at the first look at its body, from what it was
    // constructed with: fields that were set before that would be lost.
    void response.bodyUsed;
    if (isWithoutBody(response)) own = copyOf(response);
  }
  try {
    change(own.headers);
  } catch {
    own = copyOf(response);
    change(own.headers);
  }
  return own;
}

/** A copy. The Response of `@hono/node-server` would take over the very headers of a fetched one. */
function copyOf(response: Response): Response {
  const { body, status, statusText, headers } = response;
  const copy = new Response(body, response);
  if (copy.headers !== headers) return copy;
  return new Response(body, { status, statusText, headers: new Headers(headers) });
}

/**
 * Whether a response has no body, and may be copied: an upgrade may not. A look at a body makes a stream of it in
 * some runtimes, so the usual answers, which say their type, are known by that.
 */
function isWithoutBody(response: Response): boolean {
  const { status, headers } = response;
  const usual = status < 200 || (status < 202 && headers.has("content-type"));
  return !usual && response.body === null;
}

/** Marks a copy that only its request has. */
const OWN = Symbol();

/** The symbol of that package, once it was seen. */
let cacheSymbol: symbol | undefined;

/**
 * The text of a response of `@hono/node-server` that has not made its real one yet. To make it costs Node more
 * than all helpers do; until then the server writes the parts that it was constructed with, `[status, body,
 * headers]`. They stand under a symbol of that package: where they are not as they are known here, the response
 * is used as any other.
 */
export function textAtHand(response: Response): string | undefined {
  if (Object.getPrototypeOf(Response) === Function.prototype) return undefined; // it replaces the runtime's class
  cacheSymbol ??= Object.getOwnPropertySymbols(response).find(({ description }) => description === "cache");
  const parts: unknown = response[cacheSymbol as unknown as keyof Response];
  return Array.isArray(parts) && parts[0] === response.status && typeof parts[1] === "string"
    ? parts[1]
    : undefined;
}

/**
 * Options of `problem`: the members besides its status and title.
 *
 * @category HTTP
 */
export interface ProblemOptions {
  /**
   * The kind of problem, as a URI.
   * @default {"about:blank"}
   */
  readonly type?: string | undefined;
  /** The details of this occurrence; no keys and no values. */
  readonly detail?: string | undefined;
  /** Further members of the object. */
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
  /** Milliseconds after which to come back: becomes `Retry-After`, in whole seconds, at least one. */
  readonly retryAfter?: number | undefined;
}

/**
 * A response with a problem object (RFC 9457). No cache keeps it: it is about one request at one time. The options
 * are our own, so their names are not checked.
 */
export function problemResponse(status: number, title: string, options: ProblemOptions = {}): Response {
  const { type = "about:blank", detail, extensions, retryAfter } = options;
  const headers = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store" });
  if (Number.isFinite(retryAfter)) headers.set("retry-after", seconds(retryAfter!));
  return new Response(JSON.stringify({ type, title, status, detail, ...extensions }), { status, headers });
}

/** The store is down: the request was not served, and nothing claims otherwise. */
export function unavailable(): Response {
  return problemResponse(503, "The service is temporarily unavailable", {
    type: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
    retryAfter: 1000,
  });
}

/** Whole seconds, rounded up, at least one: a client that waits that long is never early. */
export function seconds(milliseconds: number): string {
  return String(Math.max(1, Math.ceil(milliseconds / 1000)));
}
