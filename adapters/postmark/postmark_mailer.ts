import { formatAddress, need } from "../../src/mail/address.ts";
import { fetchExchange, type HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
import { type Answer, httpMailer, type Refusal, wireFiles, wireHeaders } from "../../src/mail/http_mailer.ts";
import { Base64Content, jsonRequest } from "../../src/mail/json_request.ts";
import { unsupported } from "../../src/mail/mail_error.ts";
import type { Mailer } from "../../src/mail/mailer.ts";
import type { PreparedMessage } from "../../src/mail/message.ts";
import type { PostmarkOptions } from "../../src/mail/provider_options.ts";
import { checkNeededNames, type OptionNames } from "../../src/validate.ts";

/**
 * The access to Postmark.
 *
 * @category Mailers
 */
export interface PostmarkAccess extends HttpMailerOptions {
  /** The server's API token. */
  readonly serverToken: string;
  /** Options for messages that have none of their own under `provider.postmark`. */
  readonly defaults?: PostmarkOptions | undefined;
}

const NAME = "postmark";
const ACCESS = {
  serverToken: true,
  defaults: true,
  timeout: true,
  fetch: true,
  baseUrl: true,
} satisfies OptionNames<PostmarkAccess>;
const MESSAGE = {
  messageStream: true,
  templateId: true,
  templateAlias: true,
  templateModel: true,
  inlineCss: true,
  trackOpens: true,
  trackLinks: true,
} satisfies OptionNames<PostmarkOptions>;

/**
 * Sends by Postmark. It knows no idempotency keys, so an attempt whose answer was lost is never repeatable.
 * One tag is the message's tag, metadata are Postmark's; scheduling is `unsupported`.
 *
 * @throws {TypeError} when there is no token
 * @see https://postmarkapp.com/developer/api/email-api
 * @category Mailers
 * @example
 * ```ts
 * import { postmarkMailer } from "@holdfast/edge/postmark";
 * const mailer = postmarkMailer({
 *   serverToken: "token",
 *   fetch: () => Promise.resolve(Response.json({ ErrorCode: 0, MessageID: "b7bc2f4a" })), // leave this out
 * });
 * const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
 * if ((await mailer.send(message)).id !== "b7bc2f4a") throw new Error("unexpected");
 * ```
 */
export function postmarkMailer(access: PostmarkAccess): Mailer {
  checkNeededNames("make a Postmark mailer", access, ACCESS, "a 'serverToken'");
  const { serverToken, timeout, defaults } = access;
  need(typeof serverToken === "string" && /^[!-~]+$/.test(serverToken), "serverToken", "is missing");
  const headers = { "x-postmark-server-token": serverToken, accept: "application/json" };
  return httpMailer<PostmarkOptions>({
    name: NAME,
    timeout,
    maxBytes: 10_000_000,
    maxRecipients: 50,
    defaults,
    options: MESSAGE,
    template: ({ templateId, templateAlias }) => templateId ?? templateAlias,
    success: [200],
    exchange: fetchExchange("https://api.postmarkapp.com", access, headers),
    request: async (message, { provider }) => {
      const template = provider.templateId ?? provider.templateAlias;
      const path = template === undefined ? "/email" : "/email/withTemplate";
      return jsonRequest(path, await payload(message, provider));
    },
    id: ({ json }) => json?.MessageID,
    refusal,
  });
}

async function payload(message: PreparedMessage, options: PostmarkOptions): Promise<object> {
  const { from, to, cc, bcc, replyTo, subject, text, html, tags, metadata } = message;
  if (tags.length > 1) throw unsupported(NAME, "more than one tag");
  const all = (list: PreparedMessage["to"]) => list.map(formatAddress).join(", ") || undefined;
  return {
    ...Object.fromEntries(Object.entries(options).map(([name, value]) => [upperFirst(name), value])),
    From: formatAddress(from),
    To: all(to),
    Cc: all(cc),
    Bcc: all(bcc),
    ReplyTo: all(replyTo),
    Subject: subject || undefined,
    TextBody: text,
    HtmlBody: html,
    Tag: tags[0],
    Metadata: metadata,
    Headers: wireHeaders(message, NAME).map(([Name, Value]) => ({ Name, Value })),
    Attachments: (await wireFiles(message, NAME)).map(({ filename, contentType, contentId, bytes }) => ({
      Name: filename,
      ContentType: contentType,
      Content: new Base64Content(bytes),
      ContentID: contentId && `cid:${contentId}`,
    })),
  };
}

/** `messageStream` is sent as `MessageStream`. */
function upperFirst(name: string): string {
  return name[0]!.toUpperCase() + name.slice(1);
}

/** Postmark's own codes, of which most come with the status 422. */
function refusal({ json }: Answer): Partial<Refusal> {
  switch (json?.ErrorCode) {
    case 405: // no credits are left
      return { code: "quota-exceeded", reason: "no credits" };
    case 406: // bounced or complained before
      return { reason: "inactive recipient" };
    case 400: // the sender's signature is not known, or not confirmed
    case 401:
      return { code: "unauthorized", reason: "sender signature" };
    default:
      return {};
  }
}
