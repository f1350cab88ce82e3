/** The stored form of a response under an idempotency key, and its replay. */
import { base64ToBytes, bytesToBase64 } from "../codec.ts";

/** A response as it is stored. */
export interface StoredResponse {
  /** Its status. */
  readonly status: number;
  /** Its header fields, without those that belong to one exchange or one caller. */
  readonly headers: readonly (readonly [string, string])[];
  /** Its bytes in base64; absent when there were too many to keep. */
  readonly body?: string | undefined;
}

/**
 * Characters of a stored record beside the body: the header fields, and the record's own.
 *
 * Runtimes take about 16 KiB of header fields; most answers have less than 2.
 */
const RESERVED = 8192;

/** The largest body in bytes whose response fits into a record of so many characters. */
export function maxStoredBody(maxValueLength: number): number {
  return Math.max(0, Math.floor((maxValueLength - RESERVED) / 4) * 3); // base64: 4 characters for 3 bytes
}

/** Header fields of the first exchange that are wrong in a later one, with the reason. All in lower case. */
const NOT_REPLAYED: readonly string[] = [
  // They speak of one connection or one message on it: the server writes its own.
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  // They speak of one moment.
  "age",
  "date",
  "retry-after",
  "server-timing",
  // They are credentials, or speak of the first caller's: the next caller has its own, or has none.
  "authentication-info",
  "authorization",
  "clear-site-data",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "set-cookie",
  "set-cookie2",
  "www-authenticate",
  "x-access-token",
  "x-amz-security-token",
  "x-api-key",
  "x-auth-token",
  "x-csrf-token",
  "x-refresh-token",
  "x-session-token",
  "x-xsrf-token",
  // They name one request in logs and traces.
  "baggage",
  "request-id",
  "traceparent",
  "tracestate",
  "x-amzn-requestid",
  "x-amzn-trace-id",
  "x-correlation-id",
  "x-request-id",
  "x-trace-id",
  // They speak of one way through the network.
  "alt-svc",
  "nel",
  "report-to",
  "reporting-endpoints",
  "via",
  "x-served-by",
  // They mark what was replayed.
  "idempotency-replayed",
];

/** Families of such fields: answers to one origin, one caller's quota, what a network adds. */
const FAMILIES: readonly string[] = [
  "access-control-",
  "ratelimit",
  "x-ratelimit",
  "x-rate-limit",
  "cf-",
  "fly-",
];

/**
 * Tells whether a header field is part of the answer, and not of the exchange or the caller. A
 * Content-Encoding is: the bytes are the handler's own.
 */
function isReplayed(name: string): boolean {
  return !NOT_REPLAYED.includes(name) && !FAMILIES.some((family) => name.startsWith(family));
}

/** The response with its bytes, or without them when they are not to be kept. */
export function storedResponse(response: Response, body: Uint8Array | undefined): StoredResponse {
  const headers = [...response.headers].filter(([name]) => isReplayed(name.toLowerCase()));
  return { status: response.status, headers, ...(body && { body: bytesToBase64(body) }) };
}

/** The response once more, marked as a replay. */
export function replayed({ status, headers, body }: StoredResponse): Response {
  const bytes = body === undefined || body === "" || [204, 205, 304].includes(status)
    ? null
    : base64ToBytes(body);
  const response = new Response(bytes, {
    status,
    headers: headers.map(([name, value]): [string, string] => [name, value]),
  });
  response.headers.set("idempotency-replayed", "true");
  return response;
}

/** Tells whether a stored value is a response written by {@linkcode storedResponse}. */
export function isStoredResponse(value: unknown): value is StoredResponse {
  const stored = value as StoredResponse | null;
  return typeof stored === "object" && stored !== null && Number.isInteger(stored.status) &&
    Array.isArray(stored.headers);
}
