/** Responses as sessions and the helpers of `src/http` make and change them. */

/** Marks a response whose headers were found to be changeable: the next helper need not look again. */
const CHANGEABLE: unique symbol = Symbol("holdfast.changeable");

/**
 * A response whose headers can be changed. Those of a fetched response cannot, so it is copied; others are
 * used as they are, since Bun sets the content type of an original body alone.
 */
export function changeable(response: Response): Response {
  if ((response as { [CHANGEABLE]?: true })[CHANGEABLE]) return response;
  let own = response;
  const unmade = unmadeParts(response);
  if (unmade !== undefined) {
    // Made of headers of our own, which the server reads when it writes it, and a copy is made of.
    own = new Response(unmade[1], { status: unmade[0], headers: new Headers(unmade[2]) });
  } else {
    settleHeaders(response);
    try {
      response.headers.delete("x-holdfast-probe");
    } catch {
      own = copyOf(response);
    }
  }
  (own as { [CHANGEABLE]?: true })[CHANGEABLE] = true;
  return own;
}

/** A copy of a fetched response. That of `@hono/node-server` would have the very headers, unchangeable too. */
function copyOf(response: Response): Response {
  const copy = new Response(response.body, response);
  if (copy.headers !== response.headers) return copy;
  const { status, statusText, headers } = response;
  return new Response(response.body, { status, statusText, headers: new Headers(headers) });
}

/**
 * Makes the headers of a response the ones that a copy of it will have. The Response of `@hono/node-server`
 * makes its real one at the first look at its body, from what it was constructed with: fields that were set
 * before that are lost then.
 */
export function settleHeaders(response: Response): void {
  if (!isNative(response)) void response.bodyUsed;
}

/** Whether a response is of the runtime's own class, and of no class that was made of it. */
function isNative(response: Response): boolean {
  return Object.getPrototypeOf(Object.getPrototypeOf(response)) === Object.prototype;
}

/** What a response is to be made of: its status, body and headers. */
type Parts = readonly [status: number, body: string | Uint8Array<ArrayBuffer>, headers: HeadersInit];

/**
 * The parts of a response of `@hono/node-server` that has not made its real one yet. To make it costs Node more
 * than the helper does, and the server writes these parts at once. They stand under a symbol of that package,
 * so they are known by their form; in another form the real response is used.
 */
function unmadeParts(response: Response): Parts | undefined {
  if (isNative(response)) return undefined;
  for (const symbol of Object.getOwnPropertySymbols(response)) {
    const parts = (response as unknown as Record<symbol, unknown>)[symbol];
    if (symbol.description !== "cache" || !Array.isArray(parts) || parts.length !== 3) continue;
    const [status, body, headers] = parts;
    const isBody = typeof body === "string" || body instanceof Uint8Array;
    if (typeof status === "number" && isBody) return [status, body as Parts[1], headers ?? TEXT];
  }
  return undefined;
}

/** The headers that `@hono/node-server` writes where a response has none. */
const TEXT = { "content-type": "text/plain; charset=UTF-8" };

/** The body of a response as it was made, where that is known without reading a stream. */
export function bodyAtHand(response: Response): string | Uint8Array<ArrayBuffer> | undefined {
  return unmadeParts(response)?.[1];
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
  if (retryAfter !== undefined && Number.isFinite(retryAfter)) {
    headers.set("retry-after", seconds(retryAfter));
  }
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
