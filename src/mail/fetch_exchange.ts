/**
 * Requests by fetch: a bounded reply, no redirect, and one connection per request that could be sent twice.
 */
import type { Duration } from "../duration.ts";
import { need } from "./address.ts";
import type { Exchange } from "./http_mailer.ts";
import { type LazyBytes, toBytes } from "./pieces.ts";

/**
 * Options of every mailer that sends over HTTP.
 *
 * @category Mail
 */
export interface HttpMailerOptions {
  /**
   * The maximum time of an attempt, the reading of the reply included.
   * @default {"30s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * Sends the requests.
   * @default {globalThis.fetch}
   */
  readonly fetch?: typeof fetch | undefined;
  /**
   * The origin of the provider's API, without a path.
   * @default {the provider's own}
   */
  readonly baseUrl?: string | undefined;
}

/**
 * Bytes of a reply, decompressed, that are read; replies of providers have a few hundred. The rest is
 * cancelled.
 */
const MAX_REPLY = 256 * 1024;

/**
 * Bytes of a request up to which it is sent in one array; larger ones are streamed, so that no second copy
 * exists.
 */
const STREAM_FROM = 256 * 1024;

/**
 * Carries requests to the provider's address by fetch; `own` are the headers of every request, those that
 * authenticate included.
 *
 * @throws {TypeError} when `fetch` is no function or `baseUrl` no origin
 * @category Mail
 * @example
 * ```ts
 * import { fetchExchange } from "@holdfast/edge/mail";
 * const fetch = () => Promise.resolve(Response.json({ id: "17" })); // leave this out
 * const exchange = fetchExchange("https://api.example.com", { fetch }, { authorization: "Bearer key" });
 * if (typeof exchange !== "function") throw new Error("unexpected");
 * ```
 */
export function fetchExchange(
  address: string,
  options: HttpMailerOptions,
  own: Readonly<Record<string, string>> = {},
): Exchange {
  const { fetch: send = fetch, baseUrl = address } = options;
  need(typeof send === "function", "fetch", "must be a function");
  need(isOrigin(baseUrl), "baseUrl", "must be an origin");
  return async ({ path, headers, body }, signal) => {
    const init = {
      method: "POST",
      headers: {
        ...headers,
        ...own,
        // Where a kept connection closes without a reply, a runtime's fetch may send the request again, and
        // then the message twice. Without an idempotency key, every request has a connection of its own.
        ..."idempotency-key" in headers ? {} : { connection: "close" },
      },
      body: requestBody(body),
      signal,
      redirect: "manual", // a redirect would carry the key elsewhere; Workers know no "error"
      duplex: "half",
    } as const;
    const response = await send(baseUrl + path, init);
    return {
      status: response.status,
      header: (name) => response.headers.get(name),
      json: await replyBody(response, signal),
    };
  };
}

function isOrigin(url: string): boolean {
  return URL.canParse(url) && new URL(url).origin === url;
}

/** A body for fetch: bytes, or a stream where they are many. */
function requestBody(body: LazyBytes): BodyInit {
  if (body.size <= STREAM_FROM) return toBytes(body);
  const chunks = body.chunks()[Symbol.iterator]();
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      const { value, done } = chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  }, { highWaterMark: 0 });
}

/** A reply's body. When it cannot be read, or never ends, its status still counts. */
async function replyBody({ body }: Response, signal: AbortSignal): Promise<unknown> {
  const decoder = new TextDecoder();
  let text = "";
  let left = MAX_REPLY;
  try {
    // Leaving the loop cancels what was not read.
    for await (const chunk of body ?? []) {
      if ((left -= chunk.length) < 0) return undefined;
      text += decoder.decode(chunk, { stream: true });
    }
  } catch (error) {
    if (signal.aborted) throw error;
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
