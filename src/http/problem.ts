import { checkNames, type OptionNames } from "../validate.ts";

/**
 * Options of {@linkcode problem}: the members besides its status and title.
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

const OPTIONS = { type: true, detail: true, extensions: true, retryAfter: true } satisfies OptionNames<
  ProblemOptions
>;

/**
 * A response that says what is wrong, for machines and people.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9457
 * @category HTTP
 * @example
 * ```ts
 * import { problem } from "@holdfast/edge/http";
 * const response = problem(409, "Another request has the lock", { retryAfter: 1500 });
 * if (response.headers.get("retry-after") !== "2") throw new Error("unexpected");
 * ```
 */
export function problem(status: number, title: string, options: ProblemOptions = {}): Response {
  checkNames("make a problem response", options, OPTIONS);
  return problemResponse(status, title, options);
}

/** The same for options of our own. */
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
