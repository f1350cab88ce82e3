import { type Address, need } from "../../src/mail/address.ts";
import { fetchExchange, type HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
import { httpMailer, wireFiles, wireHeaders } from "../../src/mail/http_mailer.ts";
import { Base64Content, jsonRequest, some, someOf } from "../../src/mail/json_request.ts";
import { unsupported } from "../../src/mail/mail_error.ts";
import type { Mailer } from "../../src/mail/mailer.ts";
import type { PreparedMessage } from "../../src/mail/message.ts";
import type { SendGridOptions } from "../../src/mail/provider_options.ts";
import { checkNeededNames, type OptionNames } from "../../src/validate.ts";

/**
 * The access to SendGrid.
 *
 * @category Mailers
 */
export interface SendGridAccess extends HttpMailerOptions {
  /** The API key. */
  readonly apiKey: string;
  /**
   * The region that keeps the account's data.
   * @default {"global"}
   */
  readonly region?: "global" | "eu" | undefined;
  /** Options for messages that have none of their own under `provider.sendgrid`. */
  readonly defaults?: SendGridOptions | undefined;
}

const NAME = "sendgrid";
const ACCESS = {
  apiKey: true,
  region: true,
  defaults: true,
  timeout: true,
  fetch: true,
  baseUrl: true,
} satisfies OptionNames<SendGridAccess>;
const MESSAGE = {
  templateId: true,
  dynamicTemplateData: true,
  asm: true,
  mailSettings: true,
  trackingSettings: true,
  ipPoolName: true,
  batchId: true,
} satisfies OptionNames<SendGridOptions>;

/**
 * Sends by SendGrid's v3 API. SendGrid knows no idempotency keys, so an attempt whose answer was lost is
 * never repeatable. Tags become categories, metadata custom arguments. Only the status 202 counts as sent.
 * Every send opens a connection of its own.
 *
 * @throws {TypeError} when there is no key
 * @see https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
 * @category Mailers
 * @example
 * ```ts
 * import { sendgridMailer } from "@holdfast/edge/sendgrid";
 * const accepted = () => new Response(null, { status: 202, headers: { "x-message-id": "14c5d75ce93" } });
 * const mailer = sendgridMailer({
 *   apiKey: "SG.123",
 *   fetch: () => Promise.resolve(accepted()), // leave this out
 * });
 * const receipt = await mailer.send({
 *   from: "shop@example.com",
 *   to: "jane@example.com",
 *   subject: "Hello",
 *   text: "Hello",
 * });
 * if (receipt.id !== "14c5d75ce93") throw new Error("unexpected");
 * ```
 */
export function sendgridMailer(access: SendGridAccess): Mailer {
  checkNeededNames("make a SendGrid mailer", access, ACCESS, "an 'apiKey'");
  const { apiKey, region = "global", timeout, defaults } = access;
  need(typeof apiKey === "string" && /^[!-~]+$/.test(apiKey), "apiKey", "is missing");
  need(region === "global" || region === "eu", "region", 'must be "global" or "eu"');
  const headers = { authorization: `Bearer ${apiKey}`, accept: "application/json" };
  return httpMailer<SendGridOptions>({
    name: NAME,
    timeout,
    defaults,
    options: MESSAGE,
    template: ({ templateId }) => templateId,
    maxBytes: 30_000_000,
    maxRecipients: 1000,
    scheduleHours: 72,
    success: [202],
    exchange: fetchExchange(`https://api.${region === "eu" ? "eu." : ""}sendgrid.com`, access, headers),
    request: async (message, { provider }) => jsonRequest("/v3/mail/send", await payload(message, provider)),
    withoutId: true,
    id: (answer) => answer.header("x-message-id") ?? undefined,
  });
}

async function payload(
  message: PreparedMessage,
  { dynamicTemplateData, ...options }: SendGridOptions,
): Promise<object> {
  const { from, to, cc, bcc, replyTo, subject, text, html, sendAt, tags, metadata } = message;
  const custom = Object.entries(metadata);
  if (tags.length > 10 || tags.some((tag) => tag.length > 255)) {
    throw unsupported(NAME, "more than 10 tags, or tags of more than 255 characters");
  }
  if (JSON.stringify(metadata).length > 9_999) throw unsupported(NAME, "metadata of 10,000 characters");
  const files = await wireFiles({ ...message, calendar: undefined }, NAME);
  if (files.some(({ contentType, bytes }) => contentType.includes(";") || bytes.length === 0)) {
    throw unsupported(NAME, "empty attachments, or media types with parameters");
  }
  const content = [
    ...(text === undefined ? [] : [{ type: "text/plain", value: text }]),
    ...(html === undefined ? [] : [{ type: "text/html", value: html }]),
    ...(message.calendar ? [{ type: "text/calendar", value: message.calendar.content }] : []),
  ];
  return {
    ...snakeCase(options) as object,
    personalizations: [{
      to: to.map(mailbox),
      cc: some(cc.map(mailbox)),
      bcc: some(bcc.map(mailbox)),
      dynamic_template_data: dynamicTemplateData,
    }],
    from: mailbox(from),
    reply_to_list: some(replyTo.map(mailbox)),
    subject: subject || undefined,
    content: some(content),
    attachments: some(files.map(({ filename, contentType, contentId, bytes }) => ({
      content: new Base64Content(bytes),
      filename,
      type: contentType,
      disposition: contentId === undefined ? "attachment" : "inline",
      content_id: contentId,
    }))),
    headers: someOf(wireHeaders(message, NAME)),
    categories: some(tags),
    custom_args: someOf(custom),
    send_at: sendAt && Math.floor(sendAt.getTime() / 1000),
  };
}

/** A mailbox. SendGrid splits names at `,` and `;` unless they are quoted. */
function mailbox({ name, address }: Address): { name?: string | undefined; email: string } {
  const quoted = name !== undefined && /[;,]/.test(name);
  return { email: address, name: quoted ? `"${name.replace(/["\\]/g, "\\$&")}"` : name };
}

/** A value with its names as SendGrid spells them. */
function snakeCase(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(snakeCase);
  const spelled = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [spelled(name), snakeCase(inner)]));
}
