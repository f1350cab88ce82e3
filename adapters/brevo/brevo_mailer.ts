import { type Address, need } from "../../src/mail/address.ts";
import { fetchExchange, type HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
import { httpMailer, wireFiles, wireHeaders } from "../../src/mail/http_mailer.ts";
import { Base64Content, jsonRequest, some, someOf } from "../../src/mail/json_request.ts";
import { unsupported } from "../../src/mail/mail_error.ts";
import type { Mailer } from "../../src/mail/mailer.ts";
import type { PreparedMessage } from "../../src/mail/message.ts";
import type { BrevoOptions } from "../../src/mail/provider_options.ts";
import { checkNeededNames, type OptionNames } from "../../src/validate.ts";

/**
 * The access to Brevo.
 *
 * @category Mailers
 */
export interface BrevoAccess extends HttpMailerOptions {
  /** The API key. */
  readonly apiKey: string;
  /** Options for messages that have none of their own under `provider.brevo`. */
  readonly defaults?: BrevoOptions | undefined;
}

const NAME = "brevo";
const ACCESS = {
  apiKey: true,
  defaults: true,
  timeout: true,
  fetch: true,
  baseUrl: true,
} satisfies OptionNames<BrevoAccess>;
const MESSAGE = { templateId: true, params: true, batchId: true } satisfies OptionNames<BrevoOptions>;

/**
 * Sends by Brevo. It knows no idempotency keys, so an attempt whose answer was lost is never repeatable. Tags
 * are Brevo's; metadata travel as JSON in `X-Mailin-custom`, which its events repeat. Pictures inside the
 * HTML (`contentId`) and more than one `replyTo` are `unsupported`.
 *
 * @throws {TypeError} when there is no key
 * @see https://developers.brevo.com/reference/sendtransacemail
 * @category Mailers
 * @example
 * ```ts
 * import { brevoMailer } from "@holdfast/edge/brevo";
 * const mailer = brevoMailer({
 *   apiKey: "xkeysib-1",
 *   fetch: () => Promise.resolve(Response.json({ messageId: "<1@smtp>" }, { status: 201 })), // leave this out
 * });
 * const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
 * if ((await mailer.send(message)).id !== "<1@smtp>") throw new Error("unexpected");
 * ```
 */
export function brevoMailer(access: BrevoAccess): Mailer {
  checkNeededNames("make a Brevo mailer", access, ACCESS, "an 'apiKey'");
  const { apiKey, timeout, defaults } = access;
  need(typeof apiKey === "string" && /^[!-~]+$/.test(apiKey), "apiKey", "is missing");
  return httpMailer<BrevoOptions>({
    name: NAME,
    timeout,
    maxBytes: 20_000_000,
    maxRecipients: 99,
    scheduleHours: 72,
    defaults,
    options: MESSAGE,
    template: ({ templateId }) => templateId,
    success: [201, 202], // 202 answers to a message that is scheduled
    exchange: fetchExchange("https://api.brevo.com", access, {
      "api-key": apiKey,
      accept: "application/json",
    }),
    request: async (message, { provider }) => jsonRequest("/v3/smtp/email", await payload(message, provider)),
    id: ({ json }) => json?.messageId,
    refusal: ({ json }) => ({
      ...(json?.code === "not_enough_credits" && { code: "quota-exceeded", retryable: false }),
      reason: json?.code,
    }),
  });
}

async function payload(message: PreparedMessage, options: BrevoOptions): Promise<object> {
  const { from, to, cc, bcc, replyTo, subject, text, html, tags, metadata, sendAt } = message;
  const files = await wireFiles(message, NAME);
  if (files.some(({ contentId }) => contentId !== undefined)) throw unsupported(NAME, "pictures in the HTML");
  if (replyTo.length > 1) throw unsupported(NAME, "more than one 'replyTo'");
  const headers = wireHeaders(message, NAME);
  const custom = JSON.stringify(metadata);
  if (!/^[ -~]*$/.test(custom)) throw unsupported(NAME, "metadata outside ASCII");
  if (custom !== "{}") headers.push(["X-Mailin-custom", custom]);
  return {
    ...options,
    sender: mailbox(from),
    to: to.map(mailbox),
    cc: some(cc.map(mailbox)),
    bcc: some(bcc.map(mailbox)),
    replyTo: replyTo[0] && mailbox(replyTo[0]),
    subject: subject || undefined,
    textContent: text,
    htmlContent: html,
    headers: someOf(headers),
    tags: some(tags),
    attachment: some(files.map(({ filename, bytes }) => ({
      name: filename,
      content: new Base64Content(bytes),
    }))),
    scheduledAt: sendAt?.toISOString(),
  };
}

function mailbox({ name, address }: Address): object {
  return { name, email: address };
}
