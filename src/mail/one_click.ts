/** One-click unsubscription (RFC 8058): links that cannot be forged, and the handler behind them. */
import { base64UrlToBytes, bytesToBase64Url } from "../codec.ts";
import { readStream } from "../read_stream.ts";
import { checkFunction, checkNeededOptions, type OptionNames } from "../validate.ts";
import { parseAddress } from "./address.ts";

/**
 * Options of {@linkcode oneClick}.
 *
 * @category Mail
 */
export interface OneClickOptions {
  /** The https address of the handler, without a query. */
  readonly url: string;
  /** A secret of at least 32 characters: who has it can unsubscribe anyone. */
  readonly secret: string;
  /** Unsubscribes an address. It may be called again for the same one. */
  readonly unsubscribe: (address: string, list: string) => void | Promise<void>;
  /**
   * Answers a visit by a person, who followed the link: a page with a button that posts to the same address.
   * @default {a page in English}
   */
  readonly page?: ((address: string, list: string) => Response | Promise<Response>) | undefined;
}

/**
 * Links to unsubscribe, and their handler.
 *
 * @category Mail
 */
export interface OneClick {
  /**
   * The link for a recipient, for a message's `unsubscribe.url`.
   *
   * @throws {TypeError} when the address is none
   */
  link(address: string, list?: string): Promise<string>;
  /**
   * Answers requests to the links. A POST with `List-Unsubscribe=One-Click`, as mailbox providers send it,
   * and one from the page unsubscribe. A GET never does: scanners of mail follow every link.
   */
  handle(request: Request): Promise<Response>;
}

const TASK = "make one-click links";
const OPTIONS = { url: true, secret: true, unsubscribe: true, page: true } satisfies OptionNames<
  OneClickOptions
>;

/** Bytes of a body that are read: a provider sends 26. */
const MAX_BODY = 4096;

/**
 * Makes links to unsubscribe, signed by HMAC-SHA256, and the handler behind them.
 *
 * @throws {TypeError} when an option is not valid
 * @see https://www.rfc-editor.org/rfc/rfc8058
 * @category Mail
 * @example
 * ```ts
 * import { oneClick } from "@holdfast/edge/mail";
 * const gone: string[] = [];
 * const leave = oneClick({
 *   url: "https://example.com/leave",
 *   secret: "a secret of at least 32 characters",
 *   unsubscribe: (address) => void gone.push(address), // (address) => mailer.suppress(…)
 * });
 * const link = await leave.link("jane@example.com", "news"); // message.unsubscribe = { url: link }
 * const body = new URLSearchParams({ "List-Unsubscribe": "One-Click" });
 * const response = await leave.handle(new Request(link, { method: "POST", body }));
 * if (response.status !== 200 || gone.join() !== "jane@example.com") throw new Error("unexpected");
 * ```
 */
export function oneClick(options: OneClickOptions): OneClick {
  checkNeededOptions(TASK, options, OPTIONS, "'url', 'secret' and 'unsubscribe'");
  const { url, secret, unsubscribe, page = defaultPage } = options;
  if (typeof url !== "string" || !/^https:\/\/[!-"$->@-~]+$/.test(url)) {
    throw new TypeError(`Cannot ${TASK} as 'url' must be an https address without a query`);
  }
  if (typeof secret !== "string" || secret.length < 32) {
    throw new TypeError(`Cannot ${TASK} as 'secret' must have at least 32 characters`);
  }
  checkFunction(TASK, "unsubscribe", unsubscribe);
  if (unsubscribe === undefined) throw new TypeError(`Cannot ${TASK} as 'unsubscribe' is missing`);
  checkFunction(TASK, "page", page);
  let importing: Promise<CryptoKey> | undefined;
  const key = () =>
    importing ??= crypto.subtle.importKey(
      "raw",
      new TextEncoder().encode(secret),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign", "verify"],
    );
  const content = (address: string, list: string) =>
    new TextEncoder().encode(JSON.stringify(["one-click", address, list]));
  return {
    async link(input, list = "") {
      const { address } = parseAddress(input);
      const signature = await crypto.subtle.sign("HMAC", await key(), content(address, list));
      const query = new URLSearchParams({
        a: address,
        l: list,
        s: bytesToBase64Url(new Uint8Array(signature)),
      });
      return `${url}?${query}`;
    },
    async handle(request) {
      const query = new URL(request.url).searchParams;
      const [address, list, given] = [query.get("a") ?? "", query.get("l") ?? "", query.get("s") ?? ""];
      if (!await crypto.subtle.verify("HMAC", await key(), base64UrlBytes(given), content(address, list))) {
        return answer(403, "This link is not valid.");
      }
      if (request.method === "GET" || request.method === "HEAD") return await page(address, list);
      if (request.method !== "POST") {
        return answer(405, "This link takes GET and POST.", { allow: "GET, POST" });
      }
      // The signature is in the address: the body only tells a provider's POST from a stray one.
      const form = await formOf(request);
      if (form?.get("List-Unsubscribe") !== "One-Click") {
        return answer(400, "The request is no unsubscription.");
      }
      await unsubscribe(address, list);
      return answer(200, "You have been unsubscribed.");
    },
  };
}

/** The form of a request, if it has a small one. */
async function formOf(request: Request): Promise<FormData | undefined> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^(?:application\/x-www-form-urlencoded|multipart\/form-data)/i.test(type)) return undefined;
  try {
    const bytes = await readStream(request.body, MAX_BODY, request.signal);
    return bytes && await new Response(bytes, { headers: { "content-type": type } }).formData();
  } catch {
    return undefined; // the client left, or what it sent is no form
  }
}

/** The bytes of base64 in the URL alphabet; none where the text is none. */
function base64UrlBytes(text: string): Uint8Array<ArrayBuffer> {
  try {
    return base64UrlToBytes(text);
  } catch {
    return new Uint8Array();
  }
}

function answer(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Response {
  const always = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
  return new Response(`${text}\n`, { status, headers: { ...always, ...headers } });
}

/** A page with a button. It names no address: the link may have been forwarded. */
function defaultPage(): Response {
  const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Unsubscribe</title>
<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">
<p>Do you want no more of these messages?</p><button>Unsubscribe</button></form></html>`;
  const headers = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
  };
  return new Response(page, { headers });
}
