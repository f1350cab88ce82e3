import type { Duration } from "../../src/duration.ts";
import type { Address } from "../../src/mail/address.ts";
import { type Answer, httpMailer, type Refusal, wireFiles, wireHeaders } from "../../src/mail/http_mailer.ts";
import { unsupported } from "../../src/mail/mail_error.ts";
import type { Mailer } from "../../src/mail/mailer.ts";
import type { PreparedMessage } from "../../src/mail/message.ts";
import { checkMethods, checkNames, type OptionNames } from "../../src/validate.ts";

/**
 * The part of a `send_email` binding that is used.
 *
 * @category Mailers
 */
export interface EmailBinding {
  /** Sends one message. */
  send(message: EmailBindingMessage): Promise<{ readonly messageId?: string } | void>;
}

/**
 * A mailbox as the binding takes it.
 *
 * @category Mailers
 */
export type EmailBindingAddress = string | { name: string; email: string };

/**
 * A message as the binding takes it.
 *
 * @category Mailers
 */
export interface EmailBindingMessage {
  /** The sender. */
  from: EmailBindingAddress;
  /** The recipients. */
  to: EmailBindingAddress[];
  /** Recipients of a visible copy. */
  cc: EmailBindingAddress[] | undefined;
  /** Recipients of an invisible copy. */
  bcc: EmailBindingAddress[] | undefined;
  /** The address for answers. */
  replyTo: EmailBindingAddress | undefined;
  /** The subject. */
  subject: string;
  /** The body as text. */
  text: string | undefined;
  /** The body as HTML. */
  html: string | undefined;
  /** Further headers. */
  headers: Record<string, string> | undefined;
  /** Files. */
  attachments: EmailBindingFile[] | undefined;
}

/**
 * A file as the binding takes it.
 *
 * @category Mailers
 */
export interface EmailBindingFile {
  /** The file's name. */
  filename: string;
  /** Its media type. */
  type: string;
  /** Its bytes. */
  content: Uint8Array<ArrayBuffer>;
  /** Whether it is part of the HTML. */
  disposition: "attachment" | "inline";
  /** The id by which HTML refers to it. */
  contentId?: string | undefined;
}

/**
 * Options of {@linkcode cloudflareMailer}.
 *
 * @category Mailers
 */
export interface CloudflareMailerOptions {
  /**
   * The maximum time of an attempt.
   * @default {"30s"}
   */
  readonly timeout?: Duration | undefined;
}

const NAME = "cloudflare";
const TASK = "make a Cloudflare mailer";
const MIB = 1024 * 1024;

/** The binding's errors by the HTTP status that would say the same. */
const STATUS: Readonly<Record<string, number>> = {
  E_RATE_LIMIT_EXCEEDED: 429,
  E_DAILY_LIMIT_EXCEEDED: 429,
  E_SENDER_NOT_VERIFIED: 403,
  E_SENDER_DOMAIN_NOT_AVAILABLE: 403,
  E_RECIPIENT_NOT_ALLOWED: 403,
  E_CONTENT_TOO_LARGE: 413,
  E_INTERNAL_SERVER_ERROR: 500,
  E_DELIVERY_FAILED: 502,
};

/**
 * Sends by Cloudflare's Email Service, through the Worker's own `send_email` binding: no key, no socket. It
 * knows no idempotency keys, so an attempt that ended without an answer is never repeatable. Tags, metadata
 * and scheduling are `unsupported`, as is more than one `replyTo`.
 *
 * @throws {TypeError} when the binding has no `send`
 * @see https://developers.cloudflare.com/email-service/api/send-emails/workers-api/
 * @category Mailers
 * @example
 * ```ts
 * import { cloudflareMailer } from "@holdfast/edge/cloudflare-email";
 * const env = { EMAIL: { send: () => Promise.resolve({ messageId: "<1@example.com>" }) } }; // the Worker's own
 * const mailer = cloudflareMailer(env.EMAIL);
 * const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
 * if ((await mailer.send(message)).id !== "<1@example.com>") throw new Error("unexpected");
 * ```
 */
export function cloudflareMailer(binding: EmailBinding, options: CloudflareMailerOptions = {}): Mailer {
  checkMethods(TASK, "it needs a 'send_email' binding, such as env.EMAIL", binding, ["send"]);
  checkNames(TASK, options, { timeout: true } satisfies OptionNames<CloudflareMailerOptions>);
  return httpMailer({
    name: NAME,
    timeout: options.timeout,
    maxBytes: 25 * MIB,
    maxRecipients: 50,
    success: [200],
    exchange: ({ json }) => exchange(binding, json as EmailBindingMessage),
    request: async (message) => {
      const json = await payload(message);
      const bytes = (json.attachments ?? []).reduce((sum, { content }) => sum + content.length, 0);
      // The binding takes the value itself: only the size of what it will build counts here.
      const size = Math.ceil(bytes / 3) * 4 + (message.text?.length ?? 0) + (message.html?.length ?? 0);
      return { path: "", headers: {}, body: { size, chunks: () => [] }, json };
    },
    id: ({ json }) => json?.messageId,
    withoutId: true, // older runtimes answer nothing
    refusal,
  });
}

/** Sends, and reads an error with one of the service's codes as its answer. Any other is no answer. */
async function exchange(binding: EmailBinding, message: EmailBindingMessage): Promise<Answer> {
  const header = () => undefined;
  try {
    return { status: 200, header, json: await binding.send(message) };
  } catch (error) {
    const code = /^E_[A-Z_]+$/.exec((error as { code?: unknown })?.code as string)?.[0];
    if (code === undefined) throw error;
    return { status: STATUS[code] ?? 422, header, json: { code, message: (error as Error).message } };
  }
}

function refusal({ json: { code } }: Answer): Partial<Refusal> {
  return {
    reason: code,
    ...(code === "E_DAILY_LIMIT_EXCEEDED" && { code: "quota-exceeded", retryable: false }),
  };
}

async function payload(message: PreparedMessage): Promise<EmailBindingMessage> {
  const { from, to, cc, bcc, replyTo, subject, text, html, tags, metadata } = message;
  if (tags.length > 0) throw unsupported(NAME, "tags");
  if (Object.keys(metadata).length > 0) throw unsupported(NAME, "metadata");
  if (replyTo.length > 1) throw unsupported(NAME, "more than one 'replyTo'");
  const files = await wireFiles(message, NAME);
  return {
    from: mailbox(from),
    to: to.map(mailbox),
    cc: someOf(cc.map(mailbox)),
    bcc: someOf(bcc.map(mailbox)),
    replyTo: replyTo[0] && mailbox(replyTo[0]),
    subject,
    text,
    html,
    headers: Object.fromEntries(wireHeaders(message, NAME)),
    attachments: someOf(files.map(({ filename, contentType, contentId, bytes }) => ({
      filename,
      type: contentType,
      content: bytes,
      disposition: contentId === undefined ? "attachment" : "inline",
      contentId,
    }))),
  };
}

/** A mailbox; an object must have a name. */
function mailbox({ name, address }: Address): EmailBindingAddress {
  return name === undefined ? address : { name, email: address };
}

/** A list; an empty one is left out. */
function someOf<T>(list: T[]): T[] | undefined {
  return list.length > 0 ? list : undefined;
}
