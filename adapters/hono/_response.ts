/** How a response is kept under an idempotency key, and comes back. */
import { base64ToBytes, bytesToBase64 } from "../../src/codec.ts";

/** A response as it is stored. */
export interface StoredResponse {
  /** Its status. */
  readonly status: number;
  /** Its headers, but for those that belong to one exchange alone. */
  readonly headers: readonly (readonly [string, string])[];
  /** Its bytes in base64; absent when there were too many to keep. */
  readonly body?: string | undefined;
}

// A Content-Encoding stays: the bytes are the handler's own, and go out the way they did the first time.
const OF_ONE_EXCHANGE =
  /^(set-cookie|date|connection|keep-alive|transfer-encoding|content-length|retry-after|ratelimit.*|x-ratelimit.*|server-timing|cf-.*|traceparent|x-request-id|idempotency-replayed)$/;

/** The response with its bytes, or without them when they are not to be kept. */
export function storedResponse(response: Response, body: Uint8Array | undefined): StoredResponse {
  const headers = [...response.headers].filter(([name]) => !OF_ONE_EXCHANGE.test(name));
  return { status: response.status, headers, ...(body && { body: bytesToBase64(body) }) };
}

/**
 * A response with the same status and headers around another body, which begins with `begun`.
 *
 * Bun knows that a body is text only while it is the original, and says so when it sends it; a copy must be told.
 */
export function around(
  response: Response,
  body: ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer>,
  begun: Uint8Array<ArrayBuffer>,
): Response {
  const copy = new Response(body, response);
  if ("Bun" in globalThis && begun.length > 0 && !copy.headers.has("content-type") && isText(begun)) {
    copy.headers.set("content-type", "text/plain;charset=utf-8");
  }
  return copy;
}

function isText(bytes: Uint8Array<ArrayBuffer>): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
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

/** Whether what was stored is a response of ours. */
export function isStoredResponse(value: unknown): value is StoredResponse {
  const stored = value as StoredResponse | null;
  return typeof stored === "object" && stored !== null && Number.isInteger(stored.status) &&
    Array.isArray(stored.headers);
}
