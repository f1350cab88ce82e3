import { sha256 } from "../../src/secret.ts";
import { formatAddress, need } from "../../src/mail/address.ts";
import { fetchExchange, type HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
import {
  type Answer,
  attempt,
  type Exchange,
  httpMailer,
  type Provider,
  redacted,
  type Refusal,
  refused,
  refuseUnsupported,
  wireFiles,
  wireHeaders,
} from "../../src/mail/http_mailer.ts";
import { Base64Content, jsonRequest, some, someOf } from "../../src/mail/json_request.ts";
import { mailError, unsupported } from "../../src/mail/mail_error.ts";
import type { BatchOptions, BulkSender, Mailer, Receipt } from "../../src/mail/mailer.ts";
import type { PreparedMessage } from "../../src/mail/message.ts";
import type { ResendOptions } from "../../src/mail/provider_options.ts";
import { checkNames, type OptionNames } from "../../src/validate.ts";
import { groupBySize } from "./group_by_size.ts";

/**
 * The part of a `Resend` from the package `resend` that is used.
 *
 * @category Mailers
 */
export interface ResendClient {
  /** Sends a request to the API and answers with the reply, errors included. */
  post(path: string, body: unknown, options: object): Promise<ResendReply>;
}

/**
 * The reply of a {@linkcode ResendClient}.
 *
 * @category Mailers
 */
export interface ResendReply {
  /** The reply's JSON. */
  readonly data: unknown;
  /** The error; without a status when no reply came. */
  readonly error:
    | { readonly message: string; readonly statusCode: number | null; readonly name: string }
    | null;
  /** The reply's headers. */
  readonly headers?: Readonly<Record<string, string>> | null;
}

/**
 * The access to Resend without its SDK.
 *
 * @category Mailers
 */
export interface ResendAccess extends HttpMailerOptions {
  /** The API key. */
  readonly apiKey: string;
  /** Options for messages that have none of their own under `provider.resend`. */
  readonly defaults?: ResendOptions | undefined;
}

/**
 * Options of {@linkcode resendMailer} beside an SDK.
 *
 * @category Mailers
 */
export type ResendMailerOptions = Pick<ResendAccess, "timeout" | "defaults">;

const NAME = "resend";

/** Messages in one request to `/emails/batch`. */
const BATCH = 100;

/** Bytes of a request. */
const MAX_BYTES = 40_000_000;

/** The refusals whose status does not tell what they mean. */
const REFUSALS: Readonly<Record<string, Partial<Refusal>>> = {
  daily_quota_exceeded: { code: "quota-exceeded", retryable: false },
  monthly_quota_exceeded: { code: "quota-exceeded", retryable: false },
  concurrent_idempotent_requests: { code: "in-progress", unknown: true },
  invalid_idempotent_request: { code: "fingerprint-mismatch" },
  invalid_region: { code: "misconfigured" },
};

const TASK = "make a Resend mailer";
const ACCESS = {
  apiKey: true,
  defaults: true,
  timeout: true,
  fetch: true,
  baseUrl: true,
} satisfies OptionNames<ResendAccess>;
const MESSAGE = { template: true, topicId: true } satisfies OptionNames<ResendOptions>;

/**
 * Sends by Resend: with your `Resend` from the package `resend`, or with a key over fetch; the requests are
 * the same. Resend remembers idempotency keys for 24 hours. `sendBulk()` puts up to 100 messages, or 40 MB of
 * them, into one request, each its own; those with attachments go alone, as Resend wants it. The SDK holds a
 * request as one string, the fetch form streams it. A send without an idempotency key opens a connection of
 * its own. Tags become Resend tags with the value `true`, metadata Resend tags.
 *
 * @throws {TypeError} when there is neither a client nor a key
 * @see https://resend.com/docs/api-reference/emails/send-email
 * @category Mailers
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
  options: ResendMailerOptions = {},
): Mailer {
  checkNames(
    TASK,
    options,
    { timeout: true, defaults: true } satisfies OptionNames<ResendMailerOptions>,
  );
  const byKey = typeof access === "object" && access !== null && "apiKey" in access;
  if (byKey) checkNames(TASK, access, ACCESS);
  need(
    byKey ? isKey(access.apiKey) : typeof access?.post === "function",
    "apiKey",
    "or a Resend client is missing",
  );
  const own = byKey ? access : undefined;
  const provider: Provider<ResendOptions> = {
    name: NAME,
    timeout: options.timeout ?? own?.timeout,
    defaults: options.defaults ?? own?.defaults,
    options: MESSAGE,
    template: ({ template }) => template,
    maxBytes: MAX_BYTES,
    maxRecipients: 150,
    scheduleHours: 30 * 24,
    deduplicates: true,
    success: [200, 202], // a batch that was taken in part may be a 202; each message needs an id in any case
    exchange: byKey ? keyExchange(access) : clientExchange(access),
    request: async (message, { idempotencyKey, provider }) =>
      jsonRequest("/emails", await payload(message, provider), keyHeader(idempotencyKey)),
    id: ({ json }) => json?.id,
    refusal: ({ json }) => ({ ...REFUSALS[json?.name], reason: json?.name }),
  };
  const mailer = httpMailer(provider);
  return {
    ...mailer,
    openBulk: (): BulkSender => ({
      size: BATCH,
      repeatable: true,
      send: (...batch) => sendBatch(provider, mailer, ...batch),
    }),
  };
}

/** Tells whether it can stand in a header. */
function isKey(key: unknown): boolean {
  return typeof key === "string" && /^[!-~]+$/.test(key);
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

/** The SDK hands its options to fetch, and makes one error of everything that is no reply. */
function clientExchange(client: ResendClient): Exchange {
  return async ({ path, headers, json }, signal) => {
    const reply = await client.post(path, json, {
      headers,
      signal,
      redirect: "manual",
    });
    const { data, error } = reply;
    if (error && !error.statusCode) throw new Error("the SDK got no reply");
    return {
      status: error?.statusCode ?? 200,
      header: (name) => reply.headers?.[name],
      json: error ?? data,
    };
  };
}

async function payload(message: PreparedMessage, { template, topicId }: ResendOptions): Promise<object> {
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
    subject: subject || undefined,
    text,
    html,
    template,
    topic_id: topicId,
    headers: someOf(wireHeaders(message, NAME)),
    tags: some(tags.map(([name, value]) => ({ name, value }))),
    attachments: some(files.map(({ filename, contentType, contentId, bytes }) => ({
      filename,
      content: new Base64Content(bytes),
      content_type: contentType,
      content_id: contentId,
    }))),
    scheduled_at: sendAt?.toISOString(),
  };
}

/** A message of a batch, ready to be sent. */
interface Entry {
  readonly body: object;
  readonly size: number;
  readonly key: string | undefined;
}

/** The reply to the request that an entry was in, and its place there. */
interface Placed {
  readonly answer: Promise<Answer>;
  readonly place: number;
  readonly count: number;
}

/**
 * Sends messages in as few requests as their bytes allow, each as an entry of its own, beside those that must
 * go alone.
 */
function sendBatch(
  provider: Provider,
  mailer: Mailer,
  messages: readonly PreparedMessage[],
  keys: readonly (string | undefined)[],
  options: BatchOptions,
): Promise<Receipt>[] {
  const entries = messages.map(async (message, i): Promise<Entry | undefined> => {
    if (message.attachments.length > 0 || message.calendar) return undefined;
    const body = await payload(message, refuseUnsupported(provider, message));
    return { body, size: new TextEncoder().encode(JSON.stringify(body)).length, key: keys[i] };
  });
  const requests = (async () => {
    const ready = await Promise.all(entries.map((entry) => entry.catch(() => {})));
    const placed = new Map<Entry, Placed>();
    for (const group of groupBySize(ready.filter((entry) => entry !== undefined), provider.maxBytes)) {
      const answer = attempt(provider, () => batchRequest(group), { ...options, keyed: false });
      // One request after the other, so that the bytes of one are held at a time. What it failed of is told
      // by the messages that are in it.
      await answer.catch(() => {});
      group.forEach((entry, place) => placed.set(entry, { answer, place, count: group.length }));
    }
    return placed;
  })();
  return messages.map(async (message, i) => {
    const entry = await entries[i];
    if (!entry) return await mailer.send(message, { ...options, idempotencyKey: keys[i] });
    const { answer, ...placed } = (await requests).get(entry)!;
    return receiptOf(provider, await answer, placed);
  });
}

/**
 * One request. Its key is equal when all keys are, in the same order: it makes the batch repeatable, but no
 * message alone.
 */
async function batchRequest(group: readonly Entry[]) {
  const keys = group.map(({ key }) => key);
  const key = keys.includes(undefined) ? undefined : await sha256(keys.join("\n"));
  return jsonRequest("/emails/batch", group.map(({ body }) => body), {
    ...keyHeader(key),
    "x-batch-validation": "permissive",
  });
}

/** Ids belong to the entries without an error, in order; the delivery of an entry with neither is unknown. */
function receiptOf(provider: Provider, answer: Answer, { place, count }: Omit<Placed, "answer">): Receipt {
  const { data, errors } = answer.json ?? {};
  const list = (value: unknown) => Array.isArray(value) ? value : [];
  const faults = new Map(list(errors).map((error) => [error?.index, error]));
  const error = faults.get(place);
  if (error) {
    throw mailError(NAME, "message-rejected", `it refused the message: ${redacted(error.message)}`, {
      phase: "reply",
      status: 422,
    });
  }
  const ids = list(data);
  // Whether those that were refused have a place among the ids as well.
  const whole = ids.length === count;
  const before = whole ? 0 : [...faults.keys()].filter((other) => other < place).length;
  const id = whole || ids.length + faults.size === count ? ids[place - before]?.id : undefined;
  if (typeof id !== "string") throw refused(provider, answer, false, true);
  return { mailer: NAME, id };
}
