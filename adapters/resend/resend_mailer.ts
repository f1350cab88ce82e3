import { formatAddress, need } from "../../src/mail/address.ts";
import { mailError, unsupported } from "../../src/mail/mail_error.ts";
import type { BulkSender, Mailer, Receipt } from "../../src/mail/mailer.ts";
import type { PreparedMessage } from "../../src/mail/message.ts";
import { bytesToBase64 } from "../../src/codec.ts";
import { sha256 } from "../../src/secret.ts";
import {
  type Answer,
  attempt,
  type Exchange,
  fetchExchange,
  httpMailer,
  type HttpMailerOptions,
  jsonRequest,
  type Provider,
  redacted,
  type Refusal,
  refuseUnsupported,
  some,
  someOf,
  unreadable,
  wireFiles,
  wireHeaders,
} from "../../src/mail/http_mailer.ts";

/** What we use of a `Resend` from the package `resend`. */
export interface ResendClient {
  /** Sends a request to the API and answers what came back, errors included. */
  post(path: string, body: unknown, options: object): Promise<ResendReply>;
}

/** What a {@linkcode ResendClient} answers. */
export interface ResendReply {
  /** The answer's JSON. */
  readonly data: unknown;
  /** What went wrong; without a status when no answer came. */
  readonly error:
    | { readonly message: string; readonly statusCode: number | null; readonly name: string }
    | null;
  /** The answer's headers. */
  readonly headers?: Readonly<Record<string, string>> | null;
}

/** How to reach Resend without its SDK. */
export interface ResendAccess extends HttpMailerOptions {
  /** The API key. */
  readonly apiKey: string;
}

const NAME = "resend";

/** Messages in one request to `/emails/batch`. */
const BATCH = 100;
const ANSWERS: Readonly<Record<string, Partial<Refusal>>> = {
  daily_quota_exceeded: { code: "quota-exceeded", retryable: false },
  monthly_quota_exceeded: { code: "quota-exceeded", retryable: false },
  concurrent_idempotent_requests: { code: "in-progress", unknown: true },
  invalid_idempotent_request: { code: "fingerprint-mismatch" },
};

/**
 * Sends by Resend: with your `Resend` from the package `resend`, or with a key over fetch; the requests are the same.
 * Resend remembers idempotency keys for 24 hours. `sendBulk()` puts up to 100 messages into one request, each its own; those
 * with attachments go alone, as Resend wants it. Tags become Resend tags with the value `true`, metadata Resend tags.
 *
 * @throws {TypeError} when there is neither a client nor a key
 * @see https://resend.com/docs/api-reference/emails/send-email
 * @example
 * ```ts
 * import { resendMailer } from "@holdfast/edge/resend";
 * const mailer = resendMailer({
 *   apiKey: "re_123",
 *   fetch: () => Promise.resolve(Response.json({ id: "49a3999c" })), // leave this out
 * });
 * const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
 * const receipt = await mailer.send(message, { idempotencyKey: "order-17" });
 * if (receipt.id !== "49a3999c") throw new Error("unexpected");
 * ```
 */
export function resendMailer(
  access: ResendClient | ResendAccess,
  options: Pick<HttpMailerOptions, "timeout"> = {},
): Mailer {
  const byKey = "apiKey" in access;
  need(byKey ? access.apiKey : typeof access?.post === "function", "apiKey", "or a Resend client is missing");
  const provider: Provider = {
    name: NAME,
    timeout: options.timeout ?? (byKey ? access.timeout : undefined),
    maxBytes: 40_000_000,
    maxRecipients: 150,
    scheduleHours: 30 * 24,
    deduplicates: true,
    exchange: byKey ? keyExchange(access) : clientExchange(access),
    request: async (message, key) => jsonRequest("/emails", await payload(message), keyHeader(key)),
    id: ({ json }) => json?.id,
    refusal: ({ json }) => ({ ...ANSWERS[json?.name], reason: json?.name }),
  };
  const mailer = httpMailer(provider);
  const bulk: BulkSender = { size: BATCH, send: (...batch) => sendBatch(provider, mailer, ...batch) };
  return { ...mailer, openBulk: () => bulk };
}

function keyHeader(key: string | undefined): Record<string, string> {
  return key === undefined ? {} : { "idempotency-key": key };
}

function keyExchange(access: ResendAccess): Exchange {
  return fetchExchange("https://api.resend.com", access, {
    "authorization": `Bearer ${access.apiKey}`,
    "user-agent": "holdfast",
  });
}

/** The SDK hands its options to fetch, and makes one error of everything that is no answer. */
function clientExchange(client: ResendClient): Exchange {
  return async ({ path, headers, body }, signal) => {
    const reply = await client.post(path, JSON.parse(body as string), {
      headers,
      signal,
      redirect: "manual",
    });
    const { data, error } = reply;
    if (error && !error.statusCode) throw new Error("the SDK got no answer");
    return {
      status: error?.statusCode ?? 200,
      header: (name) => reply.headers?.[name],
      json: error ?? data,
    };
  };
}

async function payload(message: PreparedMessage): Promise<object> {
  const { from, to, cc, bcc, replyTo, subject, text, html, sendAt } = message;
  if (Math.max(to.length, cc.length, bcc.length) > 50) {
    throw unsupported(NAME, "more than 50 recipients in a field");
  }
  const tags = [
    ...message.tags.map((tag) => [tag, "true"] as const),
    ...Object.entries(message.metadata),
  ];
  if (tags.flat().some((text) => !/^[\w-]{1,256}$/.test(text))) {
    throw unsupported(NAME, "tags and metadata beyond [\\w-]");
  }
  const files = await wireFiles(message, NAME);
  return {
    from: formatAddress(from),
    to: to.map(formatAddress),
    cc: some(cc.map(formatAddress)),
    bcc: some(bcc.map(formatAddress)),
    reply_to: some(replyTo.map(formatAddress)),
    subject,
    text,
    html,
    headers: someOf(wireHeaders(message, NAME)),
    tags: some(tags.map(([name, value]) => ({ name, value }))),
    attachments: some(files.map(({ filename, contentType, contentId, bytes }) => ({
      filename,
      content: bytesToBase64(bytes),
      content_type: contentType,
      content_id: contentId,
    }))),
    scheduled_at: sendAt?.toISOString(),
  };
}

/** Each message is an entry of its own in one request, beside those that must go alone. */
function sendBatch(
  provider: Provider,
  mailer: Mailer,
  ...[messages, keys, options]: Parameters<BulkSender["send"]>
): Promise<Receipt>[] {
  const entries = messages.map(async (message, i) => {
    if (message.attachments.length > 0 || message.calendar) return undefined;
    refuseUnsupported(provider, message);
    return { body: await payload(message), key: keys[i] };
  });
  const batch = (async () => {
    const all = await Promise.all(entries.map((entry) => entry.catch(() => {})));
    const waiting = all.filter((entry) => entry !== undefined);
    // One key for the whole, equal when all are equal, in the same order: it makes the bulk repeatable, but no message alone.
    const named = waiting.map(({ key }) => key);
    const key = named.includes(undefined) ? undefined : await sha256(named.join("\n"));
    const build = async () =>
      await jsonRequest("/emails/batch", waiting.map(({ body }) => body), {
        ...keyHeader(key),
        "x-batch-validation": "permissive",
      });
    return { waiting, answer: waiting[0] && await attempt(provider, build, { ...options, keyed: false }) };
  })();
  batch.catch(() => {}); // those whose batch it is are told
  return messages.map(async (message, i) => {
    const entry = await entries[i];
    if (!entry) return await mailer.send(message, { ...options, idempotencyKey: keys[i] });
    const { answer, waiting } = await batch;
    return receipt(answer!, waiting.indexOf(entry), waiting.length);
  });
}

/** Ids belong to the entries without an error, in order; whoever is left without either is unknown. */
function receipt(answer: Answer, place: number, count: number): Receipt {
  const { data, errors } = answer.json ?? {};
  const list = (value: unknown) => Array.isArray(value) ? value : [];
  const refused = new Map(list(errors).map((error) => [error?.index, error]));
  const error = refused.get(place);
  if (error) {
    throw mailError(NAME, "message-rejected", `it refused the message: ${redacted(error.message)}`, {
      phase: "reply",
      status: 422,
    });
  }
  const ids = list(data);
  // Whether those that were refused have a place among the ids, too.
  const whole = ids.length === count;
  const before = whole ? 0 : [...refused.keys()].filter((other) => other < place).length;
  const id = whole || ids.length + refused.size === count ? ids[place - before]?.id : undefined;
  if (typeof id !== "string") throw unreadable(NAME, answer, false);
  return { mailer: NAME, id };
}
