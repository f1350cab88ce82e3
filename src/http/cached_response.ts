/** The stored form of a response, its update by a 304, and the answers made of it. */
import { base64ToBytes, bytesToBase64 } from "../codec.ts";
import { listMembers, opaqueTag, parseDate } from "./cache_control.ts";
import { type Storability, varyNames, varyValues } from "./cache_policy.ts";

/** A response as it is stored. */
export interface CachedResponse extends Storability {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The body: text, or bytes in base64. */
  readonly body: string;
  readonly binary: boolean;
  /** The request fields by which it was chosen, and what its request said in them. */
  readonly vary: readonly string[];
  readonly varied: readonly string[];
  /** A random name of the URL's variants: variants are found only through the first response of their URL. */
  readonly variants: string;
}

/**
 * Fields of one connection or one message, which are never stored (RFC 9111 §3.1), and Age, which is counted
 * anew.
 */
const NOT_STORED = new Set([
  "age",
  "cache-status",
  "connection",
  "content-length",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Fields that tell one client its quota: `RateLimit` and its older forms. */
const QUOTA = /^(x-)?rate-?limit/;

/**
 * Fields of the body that is stored, which a 304 must not change: it has no body of its own (RFC 9111 §3.2).
 */
const NOT_UPDATED = new Set(["content-encoding", "content-md5", "content-range", "etag"]);

/** The fields that may be stored. */
export function storedHeaders(
  headers: Headers,
  receivedAt: number,
  cookies: boolean,
): [name: string, value: string][] {
  const named = listMembers(headers.get("connection") ?? "").map((name) => name.toLowerCase());
  const kept = [...headers].filter(([name]) =>
    !NOT_STORED.has(name) && !QUOTA.test(name) && !named.includes(name) && (cookies || name !== "set-cookie")
  );
  // RFC 9110 §6.6.1: a response without a date gets that of its arrival.
  if (!headers.has("date")) kept.push(["date", new Date(receivedAt).toUTCString()]);
  return kept;
}

/** The stored form of a response with its body. */
export function cachedResponse(
  request: Headers,
  { status, headers }: { readonly status: number; readonly headers: readonly (readonly [string, string])[] },
  bytes: Uint8Array,
  kept: Storability,
  variants: string,
): CachedResponse {
  const vary = varyNames(new Headers(headers.map(([name, value]): [string, string] => [name, value]))) ?? [];
  const text = textOf(bytes);
  return {
    ...kept,
    status,
    headers,
    body: text ?? bytesToBase64(bytes),
    binary: text === undefined,
    vary,
    varied: varyValues(vary, request),
    variants,
  };
}

/** The text of bytes that are UTF-8 through and through: it takes less room than base64. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** The fields of a stored response after a 304. */
export function updatedHeaders(
  stored: CachedResponse,
  update: readonly (readonly [string, string])[],
): [name: string, value: string][] {
  const fresh = update.filter(([name]) => !NOT_UPDATED.has(name));
  const names = new Set(fresh.map(([name]) => name));
  return [
    ...stored.headers.filter(([name]) => !names.has(name)).map((
      [name, value],
    ): [string, string] => [name, value]),
    ...fresh.map(([name, value]): [string, string] => [name, value]),
  ];
}

/** Whether the stored response was chosen by what this request says too. */
export function matches(stored: CachedResponse, request: Headers): boolean {
  const values = varyValues(stored.vary, request);
  return values.every((value, i) => value === stored.varied[i]);
}

/** The conditional form of a request's fields, to validate the stored response. */
export function validating(request: Headers, stored: CachedResponse | undefined): Headers {
  const headers = new Headers(request);
  // What the client asks conditionally, or a part of, is decided here, on the whole response.
  for (const name of CONDITIONS) headers.delete(name);
  for (const [name, value] of stored?.headers ?? []) {
    if (name === "etag") headers.set("if-none-match", value);
    if (name === "last-modified" && parseDate(value) !== undefined) headers.set("if-modified-since", value);
  }
  return headers;
}

const CONDITIONS = [
  "if-match",
  "if-none-match",
  "if-modified-since",
  "if-unmodified-since",
  "if-range",
  "range",
];

/**
 * Whether the client has this response already (RFC 9110 §13.2.2): If-None-Match decides where it is there.
 */
export function isNotModified(request: Headers, status: number, headers: Headers): boolean {
  if (status !== 200) return false;
  const tags = request.get("if-none-match");
  const etag = headers.get("etag");
  if (tags !== null) {
    if (tags.trim() === "*") return true;
    return etag !== null && listMembers(tags).some((tag) => opaqueTag(tag) === opaqueTag(etag.trim()));
  }
  const since = parseDate(request.get("if-modified-since"));
  if (since === undefined) return false;
  const changed = parseDate(headers.get("last-modified")) ?? parseDate(headers.get("date"));
  return changed !== undefined && changed <= since;
}

/** The 304 that stands for a response. */
export function notModified(headers: Headers): Response {
  const kept = new Headers(headers);
  for (const [name] of headers) {
    if (name.startsWith("content-") && name !== "content-location") kept.delete(name);
  }
  return new Response(null, { status: 304, headers: kept });
}

/** Statuses that have no body. */
const BODILESS = new Set([204, 205, 304]);

/** The answer that a stored response gives to a request. */
export function answerTo(
  request: Request,
  stored: CachedResponse,
  age: number,
  cacheStatus: string,
): Response {
  const headers = new Headers(stored.headers.map(([name, value]): [string, string] => [name, value]));
  headers.set("age", String(Math.floor(Math.min(age, 2 ** 31 * 1000) / 1000)));
  headers.append("cache-status", cacheStatus);
  const { status } = stored;
  if (isNotModified(request.headers, status, headers)) return notModified(headers);
  if (BODILESS.has(status)) return new Response(null, { status, headers });
  const bytes = stored.binary ? base64ToBytes(stored.body) : new TextEncoder().encode(stored.body);
  if (request.method === "HEAD") {
    headers.set("content-length", String(bytes.length));
    return new Response(null, { status, headers });
  }
  return partOf(request.headers, status, headers, bytes) ?? new Response(bytes, { status, headers });
}

/**
 * One range of a whole response (RFC 9110 §14); `undefined` where the whole is the answer, as for several
 * ranges.
 */
function partOf(
  request: Headers,
  status: number,
  headers: Headers,
  bytes: Uint8Array<ArrayBuffer>,
): Response | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(request.get("range")?.trim() ?? "") ?? [];
  if (status !== 200 || first === undefined || (first === "" && last === "")) return undefined;
  const condition = request.get("if-range");
  // A strong comparison: a weak tag, or a date, does not say that the bytes are the same.
  if (condition !== null && (condition.startsWith("W/") || condition !== headers.get("etag"))) {
    return undefined;
  }
  const size = bytes.length;
  const from = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (first !== "" && last !== "" && Number(last) < from) return undefined;
  if (from >= size || to < from) {
    headers.set("content-range", `bytes */${size}`);
    return new Response(null, { status: 416, headers });
  }
  headers.set("content-range", `bytes ${from}-${to}/${size}`);
  return new Response(bytes.slice(from, to + 1), { status: 206, headers });
}
