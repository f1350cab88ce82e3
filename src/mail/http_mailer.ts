/**
 * The kit of all mailers over HTTP: one bounded request, one bounded reply, and what either means for the
 * message.
 */
import { type Duration, toMilliseconds } from "../duration.ts";
import type { HoldfastErrorCode } from "../errors.ts";
import { MAX_RETRY_AFTER, parseRetryAfter } from "../retry_after.ts";
import { LONGEST_TIMER } from "../timer.ts";
import { needsSmtpUtf8 } from "./address.ts";
import { readAttachments } from "./attachment.ts";
import { MailError, mailError, unsupported } from "./mail_error.ts";
import { checkSendOptions, type Mailer, type Receipt, type SendOptions } from "./mailer.ts";
import { type Message, needBody, type PreparedMessage, prepareMessage, recipientsOf } from "./message.ts";
import type { LazyBytes } from "./pieces.ts";
import { checkNames } from "../validate.ts";
import { optionsFor } from "./own_options.ts";

const DEFAULT_TIMEOUT = "30s";

/**
 * A request to a provider; always a POST.
 *
 * @category Mail
 */
export interface MailRequest {
  /** Path and query. */
  readonly path: string;
  /** Headers of its own. */
  readonly headers: Readonly<Record<string, string>>;
  /** The bytes to send. */
  readonly body: LazyBytes;
  /** The body's value where it is JSON, for clients that write it themselves. */
  readonly json?: unknown;
}

/**
 * A provider's reply.
 *
 * @category Mail
 */
export interface Answer {
  /** The HTTP status. */
  readonly status: number;
  /** Reads a header. */
  header(name: string): string | null | undefined;
  /** The body as JSON; its text when it is none; `undefined` when it could not be read or is too large. */
  // deno-lint-ignore no-explicit-any
  readonly json: any;
}

/**
 * Carries a request to the provider; rejects when no reply came back.
 *
 * @category Mail
 */
export type Exchange = (request: MailRequest, signal: AbortSignal) => Promise<Answer>;

/**
 * A file for JSON or a form: an attachment, or the invitation.
 *
 * @category Mail
 */
export interface WireFile {
  /** The file's name. */
  readonly filename: string;
  /** Its media type. */
  readonly contentType: string;
  /** The id by which HTML refers to it. */
  readonly contentId?: string | undefined;
  /** Its content. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * The properties of a provider, from which {@linkcode httpMailer} makes a mailer. `Options` are those that a
 * message may have for it under `provider`.
 *
 * @category Mail
 */
// deno-lint-ignore no-explicit-any
export interface Provider<Options extends object = any> {
  /** The mailer's name. */
  readonly name: string;
  /**
   * The maximum time of an attempt unless the call has its own.
   * @default {"30s"}
   */
  readonly timeout?: Duration | undefined;
  /** The maximum number of bytes of a request. */
  readonly maxBytes: number;
  /** The maximum number of recipients of a message. */
  readonly maxRecipients: number;
  /**
   * Whether `to` may be empty.
   * @default {false}
   */
  readonly withoutTo?: boolean | undefined;
  /**
   * The number of hours that it schedules ahead.
   * @default {0} (it does not)
   */
  readonly scheduleHours?: number | undefined;
  /**
   * Whether it honours idempotency keys.
   * @default {false}
   */
  readonly deduplicates?: boolean | undefined;
  /**
   * Whether a request can name an envelope that differs from the headers.
   * @default {false}
   */
  readonly selectsRecipients?: boolean | undefined;
  /**
   * The names of the options that a message may have for it.
   * @default {{}} (none)
   */
  readonly options?: Readonly<Record<keyof Options & string, true>> | undefined;
  /** Options for messages that have none of their own; those of a message replace single ones. */
  readonly defaults?: Options | undefined;
  /** The value of the option that brings subject and body, if it is there. */
  template?(options: Options): unknown;
  /**
   * The statuses that say that it took the message. Any other 2xx may come from a proxy or a captive portal.
   */
  readonly success: readonly number[];
  /** Sends requests. */
  readonly exchange: Exchange;
  /** Writes the request; throws `unsupported` for what it cannot express. */
  request(message: PreparedMessage, options: RequestOptions<Options>): Promise<MailRequest>;
  /** The id in a reply of success. */
  id(answer: Answer): string | undefined;
  /**
   * Whether a reply of success may lack it.
   * @default {false}
   */
  readonly withoutId?: boolean | undefined;
  /** The meaning of a refusal where its status alone does not tell. */
  refusal?(answer: Answer): Partial<Refusal> | undefined;
}

/**
 * The data of a request besides the message.
 *
 * @category Mail
 */
// deno-lint-ignore no-explicit-any
export interface RequestOptions<Options extends object = any> {
  /** The caller's key. */
  readonly idempotencyKey: string | undefined;
  /** The recipients it is for. */
  readonly recipients: readonly string[];
  /** The message's options for this provider, over the defaults. */
  readonly provider: Options;
}

/**
 * The meaning of a refusal.
 *
 * @category Mail
 */
export interface Refusal {
  /** The error's code. */
  readonly code: HoldfastErrorCode;
  /** Whether the same may be sent again. */
  readonly retryable: boolean;
  /** Whether the message may have been sent all the same. */
  readonly unknown: boolean;
  /** The provider's name for it, or a hint of ours. */
  readonly reason: string;
}

/**
 * The mailer of a provider that is written in TypeScript, as ours are; `custom_http_mailer.ts` checks those
 * of others.
 */
export function httpMailer<Options extends object>(provider: Provider<Options>): Mailer {
  checkNames("make a mailer with these 'defaults'", provider.defaults, provider.options ?? {});
  const { name, deduplicates = false, selectsRecipients = false } = provider;
  toMilliseconds(provider.timeout ?? DEFAULT_TIMEOUT, "timeout");
  return {
    name,
    deduplicates,
    selectsRecipients,
    async send(input: Message, options: SendOptions = {}): Promise<Receipt> {
      checkSendOptions(options);
      const message = prepareMessage(input);
      const { idempotencyKey, recipients = recipientsOf(message).map(({ address }) => address) } = options;
      if (options.recipients && !selectsRecipients) {
        throw unsupported(name, "sending to some of the recipients");
      }
      const own = refuseUnsupported(provider, message);
      const keyed = deduplicates && idempotencyKey !== undefined;
      const build = () => provider.request(message, { idempotencyKey, recipients, provider: own });
      const answer = await attempt(provider, build, { ...options, keyed });
      const id = provider.id(answer);
      if (typeof id !== "string" && !provider.withoutId) throw refused(provider, answer, keyed, true);
      return { mailer: name, id };
    },
  };
}

/** Refuses what no request to this provider could express; the message's options for it. */
export function refuseUnsupported<Options extends object>(
  provider: Provider<Options>,
  message: PreparedMessage,
): Options {
  const { name, maxRecipients, withoutTo, scheduleHours = 0, options, defaults } = provider;
  const own = optionsFor(name, message, options, defaults);
  needBody(message, provider.template?.(own));
  const recipients = recipientsOf(message);
  if (recipients.length > maxRecipients) throw unsupported(name, `more than ${maxRecipients} recipients`);
  if (message.to.length === 0 && !withoutTo) throw unsupported(name, "a message without 'to'");
  if ([message.from, ...message.replyTo, ...recipients].some(needsSmtpUtf8)) {
    throw unsupported(name, "addresses outside ASCII");
  }
  if (message.sendAt && message.sendAt.getTime() - Date.now() > scheduleHours * 3_600_000) {
    throw unsupported(name, `'sendAt' more than ${scheduleHours} hours ahead`);
  }
  return own;
}

/**
 * Headers, in ASCII alone: no provider documents what it makes of others.
 *
 * @throws {MailError} `unsupported` when one is not
 * @category Mail
 * @example
 * ```ts
 * import { prepareMessage, wireHeaders } from "@holdfast/edge/mail";
 * const headers = { "X-Order": "17" };
 * const message = { from: "a@example.com", to: "b@example.com", subject: "Hello", text: "Hello", headers };
 * const [[name, value] = []] = wireHeaders(prepareMessage(message), "example");
 * if (name !== "X-Order" || value !== "17") throw new Error("unexpected");
 * ```
 */
export function wireHeaders(message: PreparedMessage, mailer: string): [name: string, value: string][] {
  const headers = Object.entries(message.headers);
  if (headers.some(([, value]) => !/^[ -~]*$/.test(value))) {
    throw unsupported(mailer, "headers outside ASCII");
  }
  return headers;
}

/**
 * Attachments, read, and the invitation as one more, as providers have no other place for it.
 *
 * @throws {MailError} `attachment-unreadable`
 * @category Mail
 * @example
 * ```ts
 * import { prepareMessage, wireFiles } from "@holdfast/edge/mail";
 * const attachments = [{ filename: "terms.txt", content: "terms" }];
 * const message = { from: "a@example.com", to: "b@example.com", subject: "Hello", text: "Hello", attachments };
 * const [file] = await wireFiles(prepareMessage(message), "example");
 * if (file?.filename !== "terms.txt" || file.bytes.length !== 5) throw new Error("unexpected");
 * ```
 */
export async function wireFiles(message: PreparedMessage, mailer: string): Promise<WireFile[]> {
  const files: WireFile[] = await readAttachments(message, mailer);
  const { calendar } = message;
  if (calendar) {
    files.push({
      filename: "invite.ics",
      contentType: `text/calendar; charset=utf-8; method=${calendar.method}`,
      bytes: new TextEncoder().encode(calendar.content),
    });
  }
  return files;
}

/** One request and its reply of success; `keyed` says that an idempotency key makes it repeatable. */
export async function attempt(
  provider: Provider,
  build: () => Promise<MailRequest>,
  { signal: given, timeout, keyed }: Pick<SendOptions, "signal" | "timeout"> & { readonly keyed: boolean },
): Promise<Answer> {
  const { name, maxBytes } = provider;
  const limit = toMilliseconds(timeout ?? provider.timeout ?? DEFAULT_TIMEOUT, "timeout");
  // By hand: what AbortSignal.timeout and AbortSignal.any refer to stays until the time is over, for every
  // message.
  const controller = new AbortController();
  const { signal } = controller;
  // A reason of `null` is allowed, but is no error.
  const abort = () => controller.abort(given?.reason ?? undefined);
  const timer = setTimeout(abort, Math.min(limit, LONGEST_TIMER));
  given?.addEventListener("abort", abort);
  if (given?.aborted) abort();
  const over = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  let sent = false;
  let answer: Answer;
  try {
    signal.throwIfAborted();
    const request = await Promise.race([over, build()]);
    if (request.body.size > maxBytes) {
      throw mailError(name, "message-too-large", `it takes ${maxBytes} bytes at most`);
    }
    sent = true;
    answer = await Promise.race([over, provider.exchange(request, signal)]);
  } catch (cause) {
    if (cause instanceof MailError || (!sent && !signal.aborted)) throw cause;
    const unknown = sent && !neverConnected(cause);
    const code = given?.aborted ? "aborted" : signal.aborted ? "timeout" : "backend-unavailable";
    throw mailError(name, code, "no reply came", {
      phase: unknown ? "body" : sent ? "connect" : "prepare",
      delivery: unknown ? "unknown" : "not-sent",
      retryable: code !== "aborted" && (unknown ? keyed : sent),
      cause,
    });
  } finally {
    clearTimeout(timer);
    given?.removeEventListener("abort", abort);
  }
  if (provider.success.includes(answer.status)) return answer;
  throw refused(provider, answer, keyed);
}

/**
 * Whether the runtime says that no connection came about: then nothing was sent. Anything else stays unknown.
 */
function neverConnected(error: unknown): boolean {
  const cause = (error as { cause?: { code?: string; message?: string } } | null)?.cause;
  return /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|CONNECT_TIMEOUT|\(Connect\)/.test(
    `${cause?.code} ${cause?.message}`,
  );
}

/**
 * The fault of a reply: a refusal, or one that is no proof of anything (`unread`): a success of another kind,
 * or without an id. A proxy may have sent it.
 */
export function refused(
  provider: Provider,
  answer: Answer,
  keyed: boolean,
  unread: boolean = answer.status >= 200 && answer.status < 300,
): MailError {
  const { status, json } = answer;
  const {
    // A server that failed, or a gateway that waited in vain, may have taken the message first. 503 and 429
    // say it did not.
    unknown = unread || (status >= 500 && status !== 503),
    code = unread || status >= 500
      ? "backend-unavailable"
      // A redirect is not followed: the address is not that of the API.
      : CODES[status] ?? (status >= 400 ? "message-rejected" : "misconfigured"),
    retryable = unknown ? keyed : [408, 429, 503].includes(status),
    reason = "",
  } = !unread && provider.refusal?.(answer) || {};
  const text = json?.message ?? json?.Message ?? json?.errors?.[0]?.message ?? json;
  // An error's name is made of letters; anything else is not repeated.
  const word = /^[a-z_ ]{1,64}$/i.test(reason) ? ` ${reason}` : "";
  const why = unread
    ? "does not say that it took the message"
    : redacted(typeof text === "string" ? text : "");
  return mailError(provider.name, code, `it answered ${status}${word}: ${why}`, {
    phase: "reply",
    delivery: unknown ? "unknown" : "not-sent",
    status,
    retryable,
    retryAfter: retryable ? retryAfter(answer) : undefined,
  });
}

const CODES: Readonly<Record<number, HoldfastErrorCode>> = {
  401: "unauthorized",
  402: "quota-exceeded",
  403: "unauthorized",
  404: "misconfigured",
  405: "misconfigured",
  407: "misconfigured",
  408: "backend-unavailable",
  413: "message-too-large",
  429: "rate-limited",
};

/** The beginning of a provider's text, without words that could be an address or a key. */
export function redacted(text: unknown): string {
  const words = String(text).slice(0, 1000).split(/[\p{C}\p{Z}]+/u, 30);
  return words.map((word) => /@|[\w+/=-]{24}/.test(word) ? "…" : word).join(" ").slice(0, 200);
}

/**
 * The wait that the reply asks for: Retry-After, or a reset header, in seconds or, in older ones, as a time
 * of the epoch.
 */
function retryAfter({ header }: Answer): number | undefined {
  const now = Date.now();
  const seconds = Number(header("ratelimit-reset") ?? header("x-ratelimit-reset") ?? NaN);
  const wait = parseRetryAfter(header("retry-after"), now) ?? seconds * 1000 - (seconds < 1e9 ? 0 : now);
  return wait > 0 ? Math.min(Math.ceil(wait), MAX_RETRY_AFTER) : undefined;
}
