/** Responses as sessions and the helpers of `src/http` make and change them. */

/** The header fields of an answer, as far as helpers change them. */
export type HeaderFields = Pick<Headers, "get" | "set" | "append">;

/** Marks a response that was changed with the owner of its request. */
const OWNER = Symbol();

type Marked = Response & { [OWNER]?: object };

/**
 * Fields that are added to an answer for one request: where an application returns it again, they are not its
 * own.
 */
const OF_ONE_REQUEST = ["set-cookie", "ratelimit", "ratelimit-policy", "cache-status", "cache-tag"];

/**
 * The response with changed header fields. `owner` is an object that the helpers around one request share.
 *
 * Those of a fetched response cannot be changed, so it is copied. So is one without a body: an application
 * may return the same object to everyone, and would hand one visitor's cookie to the next. Others are used as
 * they are, since Bun sets the content type of an original body alone, and a look at a body costs Deno a
 * stream. One that was changed for another request before is copied, without what it got there if it was not
 * made anew.
 *
 * `change` is called again, on a copy, where its first change is refused.
 */
export function withFields(
  response: Marked,
  owner: object,
  change: (fields: HeaderFields) => void,
): Response {
  let own = response;
  const parts = partsAtHand(response);
  if (parts !== undefined) {
    // The server writes these very headers. Always a copy: such a response can be answered again, so an
    // application may keep it.
    own = new Response(parts[1], { status: response.status, headers: new Headers(response.headers) });
  } else if (response[OWNER] !== owner) {
    own = response[OWNER] === undefined || isBun() ? firstUse(response) : nextUse(response);
  }
  try {
    change(own.headers);
  } catch {
    own = copyOf(response);
    change(own.headers);
  }
  own[OWNER] = owner;
  return own;
}

function firstUse(response: Response): Response {
  // The Response of `@hono/node-server` makes its real one at the first look at its body, from what it was
  // constructed with: fields that were set before that would be lost.
  void response.bodyUsed;
  return isWithoutBody(response) ? copyOf(response) : response;
}

/**
 * A response that another request had. An inner helper's has a body that was not read, and keeps its fields;
 * one that is returned again and again has none, or none any more (to HEAD).
 */
function nextUse(response: Response): Response {
  const own = response.bodyUsed ? response : copyOf(response);
  if (response.bodyUsed || response.body === null) {
    for (const name of OF_ONE_REQUEST) own.headers.delete(name);
  }
  return own;
}

/**
 * Gives a text its content type before the response is copied. Bun adds the type only when it sends the
 * original response, and would send a copy as bytes. So on Bun the beginning of a body without a type is
 * read, if it is available at once.
 */
export async function withTextType(response: Response): Promise<Response> {
  const { body, bodyUsed, headers } = response;
  if (!isBun() || bodyUsed || body === null || headers.has("content-type")) return response;
  const reader = body.getReader();
  let first: ReturnType<typeof reader.read> | undefined = reader.read();
  const turn = new Promise<void>((resolve) => setTimeout(resolve, 0));
  const bytes = await Promise.race([first.then(({ value }) => value, () => undefined), turn]);
  // No `tee()`: it makes an array of the reason for which a body is cancelled.
  const whole = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await (first ?? reader.read());
      first = undefined;
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
  const copy = new Response(whole, response);
  if (bytes && isText(bytes)) copy.headers.set("content-type", "text/plain;charset=utf-8");
  return copy;
}

/** Whether bytes are the beginning of a text. */
function isText(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** A copy. The Response of `@hono/node-server` would take over the very headers of a fetched one. */
function copyOf(response: Response): Response {
  const { body, status, statusText, headers } = response;
  const copy = new Response(body, response);
  if (copy.headers !== headers) return copy;
  return new Response(body, { status, statusText, headers: new Headers(headers) });
}

/**
 * Whether a response has no body, and may be copied: an upgrade may not. A look at a body makes a stream of
 * it in some runtimes, so the usual answers, which say their type, are known by that.
 */
function isWithoutBody(response: Response): boolean {
  const { status, headers } = response;
  const usual = status < 200 || (status < 202 && (isBun() || headers.has("content-type")));
  return !usual && response.body === null;
}

function isBun(): boolean {
  return "Bun" in globalThis;
}

/** The symbol of that package, once it was seen. */
let cacheSymbol: symbol | undefined;

type Parts = readonly [status: number, body: BodyInit, headers: HeadersInit | undefined];

/**
 * The parts of a response of `@hono/node-server` that has not made its real one yet. To make it costs Node
 * more than all helpers do; until then the server writes the parts that it was constructed with. They stand
 * under a symbol of that package: where they are not as they are known here, the response is used as any
 * other.
 */
function partsAtHand(response: Response): Parts | undefined {
  if (Object.getPrototypeOf(Response) === Function.prototype) return undefined; // it replaces the runtime's class
  cacheSymbol ??= Object.getOwnPropertySymbols(response).find(({ description }) => description === "cache");
  const parts: unknown = response[cacheSymbol as unknown as keyof Response];
  return Array.isArray(parts) && parts[0] === response.status ? parts as unknown as Parts : undefined;
}

/** The text of such a response, if its body is one. */
export function textAtHand(response: Response): string | undefined {
  const body = partsAtHand(response)?.[1];
  return typeof body === "string" ? body : undefined;
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
 * A response with a problem object (RFC 9457). No cache keeps it: it is about one request at one time. The
 * options are our own, so their names are not checked.
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
