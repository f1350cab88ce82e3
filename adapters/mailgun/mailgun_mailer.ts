import { formatAddress, need } from "../../src/mail/address.ts";
import { fetchExchange, type HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
import { httpMailer, type RequestOptions, wireFiles, wireHeaders } from "../../src/mail/http_mailer.ts";
import { unsupported } from "../../src/mail/mail_error.ts";
import type { Mailer } from "../../src/mail/mailer.ts";
import type { PreparedMessage } from "../../src/mail/message.ts";
import type { MimeBuilder } from "../../src/mail/mime.ts";
import { checkNeededNames, type OptionNames } from "../../src/validate.ts";
import type { MailgunOptions } from "../../src/mail/provider_options.ts";
import { MultipartForm } from "./_multipart_form.ts";

/**
 * The access to Mailgun.
 *
 * @category Mailers
 */
export interface MailgunAccess extends HttpMailerOptions {
  /** The API key. */
  readonly apiKey: string;
  /** The sending domain. */
  readonly domain: string;
  /**
   * The region of the domain. The other one answers 401 to a right key.
   * @default {"us"}
   */
  readonly region?: "us" | "eu" | undefined;
  /**
   * Builds messages here and hands them over whole: hand in `buildMime`. It is not built in, as most do
   * without.
   * @default {Mailgun builds them from fields}
   */
  readonly mime?: MimeBuilder | undefined;
  /** Options for messages that have none of their own under `provider.mailgun`. */
  readonly defaults?: MailgunOptions | undefined;
}

const NAME = "mailgun";
const ACCESS = {
  apiKey: true,
  domain: true,
  region: true,
  mime: true,
  defaults: true,
  timeout: true,
  fetch: true,
  baseUrl: true,
} satisfies OptionNames<MailgunAccess>;
const MESSAGE = {
  template: true,
  templateVersion: true,
  templateText: true,
  variables: true,
  tracking: true,
  trackingClicks: true,
  trackingOpens: true,
  testmode: true,
  dkim: true,
  requireTls: true,
  skipVerification: true,
  sendingIp: true,
  sendingIpPool: true,
} satisfies OptionNames<MailgunOptions>;

/**
 * Sends by Mailgun's messages API. Mailgun knows no idempotency keys, so an attempt whose answer was lost is
 * never repeatable. Inline pictures go by their content id, which Mailgun takes from the file's name.
 * Metadata become Mailgun variables, which recipients can see in a header. Every send opens a connection of
 * its own.
 *
 * @throws {TypeError} when key or domain are missing
 * @see https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
 * @category Mailers
 * @example
 * ```ts
 * import { mailgunMailer } from "@holdfast/edge/mailgun";
 * const mailer = mailgunMailer({
 *   apiKey: "key-123",
 *   domain: "mg.example.com",
 *   region: "eu",
 *   fetch: () => Promise.resolve(Response.json({ id: "<1@mg.example.com>" })), // leave this out
 * });
 * const receipt = await mailer.send({
 *   from: "shop@mg.example.com",
 *   to: "jane@example.com",
 *   subject: "Hello",
 *   text: "Hello",
 * });
 * if (receipt.id !== "<1@mg.example.com>") throw new Error("unexpected");
 * ```
 */
export function mailgunMailer(access: MailgunAccess): Mailer {
  checkNeededNames("make a Mailgun mailer", access, ACCESS, "'apiKey' and 'domain'");
  const { apiKey, domain, region = "us", timeout, mime, defaults } = access;
  need(
    typeof apiKey === "string" && /^[!-~]+$/.test(apiKey) && /^[a-z\d.-]+$/i.test(domain ?? ""),
    "apiKey",
    "or 'domain' is missing",
  );
  need(region === "us" || region === "eu", "region", 'must be "us" or "eu"');
  need(!mime || typeof mime === "function", "mime", "must be a function");
  const headers = { authorization: `Basic ${btoa(`api:${apiKey}`)}` };
  return httpMailer<MailgunOptions>({
    name: NAME,
    timeout,
    defaults,
    options: MESSAGE,
    template: ({ template }) => mime ? undefined : template,
    maxBytes: 25_000_000,
    maxRecipients: 1000,
    withoutTo: mime !== undefined,
    selectsRecipients: mime !== undefined,
    scheduleHours: 72,
    success: [200],
    exchange: fetchExchange(`https://api.${region === "eu" ? "eu." : ""}mailgun.net`, access, headers),
    async request(message, options) {
      const form = new MultipartForm();
      addSettings(form, message);
      addOptions(form, options.provider);
      if (mime) await addMime(form, mime, message, options);
      else await addFields(form, message);
      const path = `/v3/${domain}/messages${mime ? ".mime" : ""}`;
      return { path, headers: { "content-type": form.contentType }, body: form.body() };
    },
    id: ({ json }) => json?.id,
    refusal: ({ status }) => status === 401 ? { reason: `check key and region ${region}` } : {},
  });
}

/** The fields beside the message. */
function addSettings(form: MultipartForm, { tags, metadata, sendAt }: PreparedMessage): void {
  if (tags.length > 10 || tags.some((tag) => !/^[ -~]{1,128}$/.test(tag))) {
    throw unsupported(NAME, "more than 10, long or non-ASCII tags");
  }
  for (const tag of tags) form.field("o:tag", tag);
  for (const [name, value] of Object.entries(metadata)) {
    // A form changes quotes in names.
    if (!/^[\w.-]+$/.test(name)) throw unsupported(NAME, "metadata names beyond [\\w.-]");
    form.field(`v:${name}`, value);
  }
  if (sendAt) form.field("o:deliverytime", sendAt.toUTCString().replace("GMT", "+0000"));
}

/**
 * The options of the message: `requireTls: true` is the field `o:require-tls` with `yes`, and those of a
 * template begin with `t:` instead.
 */
function addOptions(form: MultipartForm, options: MailgunOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const words = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const own = words.replace("template-", "t:").replace("variables", "t:variables");
    const field = own === words && name !== "template" ? `o:${words}` : own;
    const text = value === true ? "yes" : value === false ? "no" : value;
    form.field(field, typeof text === "string" ? text : JSON.stringify(text));
  }
}

/** The message as fields. */
async function addFields(form: MultipartForm, message: PreparedMessage): Promise<void> {
  const { from, to, cc, bcc, replyTo, subject, text, html } = message;
  for (const [field, list] of Object.entries({ from: [from], to, cc, bcc })) {
    for (const address of list) form.field(field, formatAddress(address));
  }
  if (replyTo.length > 0) form.field("h:Reply-To", replyTo.map(formatAddress).join(", "));
  if (subject) form.field("subject", subject);
  if (text !== undefined) form.field("text", text);
  if (html !== undefined) form.field("html", html);
  for (const [name, value] of wireHeaders(message, NAME)) form.field(`h:${name}`, value);
  for (const { filename, contentType, contentId, bytes } of await wireFiles(message, NAME)) {
    // A form changes quotes in names.
    if (/["\\]/.test(filename)) throw unsupported(NAME, "file names with quotes or backslashes");
    form.file(contentId === undefined ? "attachment" : "inline", contentId ?? filename, contentType, bytes);
  }
}

/** The message as a whole, for the recipients of the envelope. */
async function addMime(
  form: MultipartForm,
  mime: MimeBuilder,
  message: PreparedMessage,
  { idempotencyKey, recipients }: RequestOptions,
): Promise<void> {
  const built = await mime(message, { mailer: NAME, idempotencyKey, recipients });
  for (const address of built.envelope.to) form.field("to", address);
  form.file("message", "message.eml", "message/rfc822", built);
}
