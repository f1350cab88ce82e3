import { formatAddress, need } from "../../src/mail/address.ts";
import { unsupported } from "../../src/mail/mail_error.ts";
import type { Mailer } from "../../src/mail/mailer.ts";
import type { PreparedMessage } from "../../src/mail/message.ts";
import type { MimeBuilder, MimeMessage } from "../../src/mail/mime.ts";
import {
  fetchExchange,
  httpMailer,
  type HttpMailerOptions,
  wireFiles,
  wireHeaders,
} from "../../src/mail/http_mailer.ts";

/** How to reach Mailgun. */
export interface MailgunAccess extends HttpMailerOptions {
  /** The API key. */
  readonly apiKey: string;
  /** The sending domain. */
  readonly domain: string;
  /**
   * Where the domain lives. The other region answers 401 to a right key.
   * @default {"us"}
   */
  readonly region?: "us" | "eu" | undefined;
  /**
   * Builds messages here and hands them over whole: hand in `buildMime`. It is not built in, as most do without.
   * @default {Mailgun builds them from fields}
   */
  readonly mime?: MimeBuilder | undefined;
}

const NAME = "mailgun";

/**
 * Sends by Mailgun's messages API. Mailgun knows no idempotency keys, so an attempt whose answer was lost is never repeatable.
 * Inline pictures go by their content id, which Mailgun takes from the file's name. Metadata become Mailgun variables, which
 * recipients can see in a header.
 *
 * @throws {TypeError} when key or domain are missing
 * @see https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
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
  const { apiKey, domain, region = "us", timeout, mime } = access;
  need(apiKey && /^[a-z\d.-]+$/i.test(domain ?? ""), "apiKey", "or 'domain' is missing");
  const headers = { authorization: `Basic ${btoa(`api:${apiKey}`)}` };
  return httpMailer({
    name: NAME,
    timeout,
    maxBytes: 25_000_000,
    maxRecipients: 1000,
    withoutTo: mime !== undefined,
    scheduleHours: 72,
    exchange: fetchExchange(`https://api.${region === "eu" ? "eu." : ""}mailgun.net`, access, headers),
    async request(message, idempotencyKey) {
      const body = options(message);
      const size = mime
        ? addMime(body, await mime(message, { mailer: NAME, idempotencyKey }))
        : await addFields(body, message);
      return { path: `/v3/${domain}/messages${mime ? ".mime" : ""}`, headers: {}, body, size };
    },
    id: ({ json }) => json?.id,
    refusal: ({ status }) => status === 401 ? { reason: `check key and region ${region}` } : {},
  });
}

/** What stands beside the message. */
function options({ tags, metadata, sendAt }: PreparedMessage): FormData {
  if (tags.length > 10 || tags.some((tag) => !/^[ -~]{1,128}$/.test(tag))) {
    throw unsupported(NAME, "more than 10, long or non-ASCII tags");
  }
  const form = new FormData();
  for (const tag of tags) form.append("o:tag", tag);
  for (const [name, value] of Object.entries(metadata)) {
    // A form changes quotes.
    if (!/^[\w.-]+$/.test(name)) throw unsupported(NAME, "metadata names beyond [\\w.-]");
    form.append(`v:${name}`, value);
  }
  if (sendAt) form.append("o:deliverytime", sendAt.toUTCString().replace("GMT", "+0000"));
  return form;
}

/** The message as fields; answers how many bytes its files are. */
async function addFields(form: FormData, message: PreparedMessage): Promise<number> {
  const { from, to, cc, bcc, replyTo, subject, text, html } = message;
  for (const [field, list] of Object.entries({ from: [from], to, cc, bcc })) {
    for (const address of list) form.append(field, formatAddress(address));
  }
  if (replyTo.length > 0) form.append("h:Reply-To", replyTo.map(formatAddress).join(", "));
  form.append("subject", subject);
  if (text !== undefined) form.append("text", text);
  if (html !== undefined) form.append("html", html);
  for (const [name, value] of wireHeaders(message, NAME)) form.append(`h:${name}`, value);
  let size = 0;
  for (const { filename, contentType, contentId, bytes } of await wireFiles(message, NAME)) {
    size += bytes.length;
    if (/["\\]/.test(filename)) throw unsupported(NAME, "file names with quotes or backslashes"); // likewise
    const file = new Blob([bytes], { type: contentType });
    form.append(contentId === undefined ? "attachment" : "inline", file, contentId ?? filename);
  }
  return size;
}

/** The message as a whole, for everybody in the envelope. */
function addMime(form: FormData, { bytes, envelope }: MimeMessage): number {
  for (const address of envelope.to) form.append("to", address);
  form.append("message", new Blob([bytes], { type: "message/rfc822" }), "message.eml");
  return bytes.length;
}
