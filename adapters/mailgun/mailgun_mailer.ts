import { bytesToBase64 } from "../../src/codec.ts";
import { formatAddress } from "../../src/email/address.ts";
import { unsupported } from "../../src/email/mail_error.ts";
import type { Mailer } from "../../src/email/mailer.ts";
import type { PreparedMessage } from "../../src/email/message.ts";
import type { MimeBuilder } from "../../src/email/mime.ts";
import {
  fetchExchange,
  httpMailer,
  type HttpMailerOptions,
  type MailRequest,
  wireFiles,
  wireHeaders,
} from "../_http_mailer.ts";

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
  if (!apiKey || !/^[a-z\d.-]+$/i.test(domain ?? "")) {
    throw new TypeError("Cannot send by mailgun as it needs an 'apiKey' and a 'domain'");
  }
  const path = `/v3/${domain}/messages`;
  const headers = { authorization: `Basic ${bytesToBase64(new TextEncoder().encode(`api:${apiKey}`))}` };
  return httpMailer({
    name: NAME,
    timeout,
    maxBytes: 25_000_000,
    maxRecipients: 1000,
    withoutTo: mime !== undefined,
    scheduleHours: 72,
    exchange: fetchExchange(`https://api.${region === "eu" ? "eu." : ""}mailgun.net`, access),
    request: async (message, key) => {
      const form = options(message);
      return mime
        ? await mimeRequest(
          `${path}.mime`,
          headers,
          form,
          await mime(message, { mailer: NAME, idempotencyKey: key }),
        )
        : await formRequest(path, headers, form, message);
    },
    id: ({ json }) => typeof json?.id === "string" ? json.id : null,
    refusal: ({ status }) =>
      status === 401 ? { reason: `check the key and the region, which is ${region}` } : {},
  });
}

/** What stands beside the message. */
function options({ tags, metadata, sendAt }: PreparedMessage): FormData {
  if (tags.length > 10 || tags.some((tag) => !/^[ -~]{1,128}$/.test(tag))) {
    throw unsupported(NAME, "more than 10 tags, or tags of other than 1 to 128 ASCII characters");
  }
  const form = new FormData();
  for (const tag of tags) form.append("o:tag", tag);
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^[\w.-]+$/.test(name)) {
      throw unsupported(NAME, "metadata names of other characters than 'a-Z0-9_.-'");
    }
    form.append(`v:${name}`, value);
  }
  if (sendAt) form.append("o:deliverytime", sendAt.toUTCString().replace("GMT", "+0000"));
  return form;
}

async function formRequest(
  path: string,
  headers: Readonly<Record<string, string>>,
  form: FormData,
  message: PreparedMessage,
): Promise<MailRequest> {
  const { from, to, cc, bcc, replyTo, subject, text, html } = message;
  form.append("from", formatAddress(from));
  for (const [field, list] of Object.entries({ to, cc, bcc })) {
    for (const address of list) form.append(field, formatAddress(address));
  }
  if (replyTo.length > 0) form.append("h:Reply-To", replyTo.map(formatAddress).join(", "));
  form.append("subject", subject);
  if (text !== undefined) form.append("text", text);
  if (html !== undefined) form.append("html", html);
  for (const [name, value] of wireHeaders(message, NAME)) form.append(`h:${name}`, value);
  let size = (text ?? "").length + (html ?? "").length;
  for (const { filename, contentType, contentId, bytes } of await wireFiles(message, NAME)) {
    size += bytes.length;
    if (/["\\]/.test(filename)) throw unsupported(NAME, "file names with quotes or backslashes"); // a form changes them
    const file = new Blob([bytes], { type: contentType });
    form.append(contentId === undefined ? "attachment" : "inline", file, contentId ?? filename);
  }
  return { path, headers, body: form, size };
}

function mimeRequest(
  path: string,
  headers: Readonly<Record<string, string>>,
  form: FormData,
  { bytes, envelope }: Awaited<ReturnType<MimeBuilder>>,
): MailRequest {
  for (const address of envelope.to) form.append("to", address);
  form.append("message", new Blob([bytes], { type: "message/rfc822" }), "message.eml");
  return { path, headers, body: form, size: bytes.length };
}
