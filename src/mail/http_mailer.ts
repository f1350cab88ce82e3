/** What all mailers over HTTP do alike: one request, a deadline, and what an answer or its absence means for the message. */
import { type Duration, toMilliseconds } from "../duration.ts";
import { need, needsSmtpUtf8 } from "./address.ts";
import { readAttachments } from "./attachment.ts";
import { MailError, mailError, unsupported } from "./mail_error.ts";
import { checkIdempotencyKey, type Mailer, type Receipt, type SendOptions } from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage, recipientsOf } from "./message.ts";
import { abortable } from "./outcome.ts";
import type { HoldfastErrorCode } from "../errors.ts";

/** Options of every mailer that speaks HTTP. */
export interface HttpMailerOptions {
  /**
   * How long an attempt may take, the reading of the answer included.
   * @default {"30s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * Sends the requests.
   * @default {globalThis.fetch}
   */
  readonly fetch?: typeof fetch | undefined;
  /**
   * Where the provider answers, without a path.
   * @default {the provider's own address}
   */
  readonly baseUrl?: string | undefined;
}

const DEFAULT_TIMEOUT = "30s";

/** A request to a provider; always a POST. */
export interface MailRequest {
  /** Path and query. */
  readonly path: string;
  /** Headers of its own. */
  readonly headers: Readonly<Record<string, string>>;
  /** What to send. */
  readonly body: string | FormData;
  /** About how many bytes that is. */
  readonly size: number;
}

/** What a provider answered. */
export interface Answer {
  /** The HTTP status. */
  readonly status: number;
  /** Reads a header. */
  header(name: string): string | null | undefined;
  /** The body as JSON; its text when it is none. */
  // deno-lint-ignore no-explicit-any
  readonly json: any;
}

/** Carries a request to the provider; rejects when no whole answer came back. */
export type Exchange = (request: MailRequest, signal: AbortSignal) => Promise<Answer>;

/** A file ready for JSON or a form: the attachments and the invitation. */
export interface WireFile {
  /** What to call it. */
  readonly filename: string;
  /** Its media type. */
  readonly contentType: string;
  /** How HTML refers to it. */
  readonly contentId?: string | undefined;
  /** Its content. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What sets a provider apart. */
export interface Provider {
  /** What to call it. */
  readonly name: string;
  /** How long an attempt may take unless told otherwise. */
  readonly timeout: Duration | undefined;
  /** The most bytes a request may have. */
  readonly maxBytes: number;
  /** The most recipients a message may have. */
  readonly maxRecipients: number;
  /** Whether `to` may be empty. */
  readonly withoutTo?: boolean;
  /** How far ahead it schedules, in hours. */
  readonly scheduleHours?: number;
  /** Whether it honours idempotency keys. */
  readonly deduplicates?: boolean;
  /** Sends requests. */
  readonly exchange: Exchange;
  /** Writes the request; throws `unsupported` for what it cannot say. */
  request(message: PreparedMessage, idempotencyKey: string | undefined): Promise<MailRequest>;
  /** The id in an answer of success. */
  id(answer: Answer): string | undefined;
  /** Whether an answer of success may lack it. */
  readonly withoutId?: boolean;
  /** What a refusal means where its status alone does not say. */
  refusal?(answer: Answer): Partial<Refusal> | undefined;
}

/** What a refusal means. */
export interface Refusal {
  readonly code: HoldfastErrorCode;
  readonly retryable: boolean;
  /** Whether the message may have been sent all the same. */
  readonly unknown: boolean;
  /** The provider's name for it, or a hint of ours. */
  readonly reason: string;
}

/** A mailer for a provider. */
export function httpMailer(provider: Provider): Mailer {
  const { name, deduplicates = false } = provider;
  toMilliseconds(provider.timeout ?? DEFAULT_TIMEOUT, "timeout");
  return {
    name,
    deduplicates,
    async send(input: Message, options: SendOptions = {}): Promise<Receipt> {
      const { idempotencyKey } = options;
      checkIdempotencyKey(idempotencyKey);
      const message = prepareMessage(input);
      refuseUnsupported(provider, message);
      const keyed = deduplicates && idempotencyKey !== undefined;
      const answer = await attempt(provider, () => provider.request(message, idempotencyKey), {
        ...options,
        keyed,
      });
      const id = provider.id(answer);
      if (typeof id !== "string" && !provider.withoutId) throw unreadable(name, answer, keyed);
      return { mailer: name, id };
    },
  };
}

/** Refuses what no request to this provider could say. */
export function refuseUnsupported(provider: Provider, message: PreparedMessage): void {
  const { name, maxRecipients, withoutTo, scheduleHours = 0 } = provider;
  const recipients = recipientsOf(message);
  if (recipients.length > maxRecipients) throw unsupported(name, `more than ${maxRecipients} recipients`);
  if (message.to.length === 0 && !withoutTo) throw unsupported(name, "a message without 'to'");
  if ([message.from, ...message.replyTo, ...recipients].some(needsSmtpUtf8)) {
    throw unsupported(name, "addresses outside ASCII");
  }
  if (message.sendAt && message.sendAt.getTime() - Date.now() > scheduleHours * 3_600_000) {
    throw unsupported(name, `'sendAt' more than ${scheduleHours} hours ahead`);
  }
}

/** Headers as they are: what an API makes of others than ASCII is nowhere said. */
export function wireHeaders(message: PreparedMessage, mailer: string): [name: string, value: string][] {
  const headers = Object.entries(message.headers);
  if (headers.some(([, value]) => !/^[ -~]*$/.test(value))) {
    throw unsupported(mailer, "headers outside ASCII");
  }
  return headers;
}

/** Attachments, read, and the invitation as one more: the way providers have for it. */
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

/** A list for JSON, which leaves out what is `undefined`. */
export function some<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length > 0 ? list : undefined;
}

/** Pairs as an object for JSON, likewise. */
export function someOf(pairs: readonly (readonly [string, string])[]): Record<string, string> | undefined {
  return pairs.length > 0 ? Object.fromEntries(pairs) : undefined;
}

/** A request with a body of JSON. */
export function jsonRequest(
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): MailRequest {
  const json = JSON.stringify(body);
  return { path, headers: { "content-type": "application/json", ...headers }, body: json, size: json.length };
}

/** Speaks to the provider's address by fetch; `own` are the headers of every request, those that authenticate included. */
export function fetchExchange(
  address: string,
  options: HttpMailerOptions,
  own: Readonly<Record<string, string>> = {},
): Exchange {
  const { fetch: send = fetch, baseUrl = address } = options;
  need(new URL(baseUrl).origin === baseUrl, "baseUrl", "must be an origin");
  return async ({ path, headers, body }, signal) => {
    // On a kept connection that closes without an answer a runtime's fetch may send again, which must not reach somebody twice.
    const alone = "idempotency-key" in headers ? {} : { connection: "close" };
    // A redirect would carry the key elsewhere; Workers know no "error".
    const response = await send(baseUrl + path, {
      method: "POST",
      headers: { ...headers, ...own, ...alone },
      body,
      signal,
      redirect: "manual",
    });
    return {
      status: response.status,
      header: (name) => response.headers.get(name),
      json: parsed(await response.text()),
    };
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** One request and its answer of success; `keyed` says that an idempotency key makes it repeatable. */
export async function attempt(
  provider: Provider,
  build: () => Promise<MailRequest>,
  { signal: given, timeout, keyed }: Pick<SendOptions, "signal" | "timeout"> & { readonly keyed: boolean },
): Promise<Answer> {
  const { name, maxBytes } = provider;
  const limit = toMilliseconds(timeout ?? provider.timeout ?? DEFAULT_TIMEOUT, "timeout");
  // By hand: what AbortSignal.timeout and AbortSignal.any hold on to stays until the time is over, for every message.
  const controller = new AbortController();
  const { signal } = controller;
  const abort = () => controller.abort(given?.reason);
  const timer = setTimeout(abort, Math.min(limit, 2 ** 31 - 1));
  given?.addEventListener("abort", abort);
  if (given?.aborted) abort();
  let sent = false;
  let answer: Answer;
  try {
    const request = await abortable(signal, build);
    if (request.size > maxBytes) {
      throw mailError(name, "message-too-large", `it takes ${maxBytes} bytes at most`);
    }
    sent = true;
    answer = await provider.exchange(request, signal);
  } catch (cause) {
    if (cause instanceof MailError || (!sent && !signal.aborted)) throw cause;
    const connected = sent && !neverConnected(cause);
    const code = given?.aborted ? "aborted" : signal.aborted ? "timeout" : "backend-unavailable";
    throw mailError(name, code, "no answer came", {
      phase: connected ? "body" : sent ? "connect" : "prepare",
      delivery: connected ? "unknown" : "not-sent",
      retryable: code !== "aborted" && (connected ? keyed : sent),
      cause,
    });
  } finally {
    clearTimeout(timer);
    given?.removeEventListener("abort", abort);
  }
  if (answer.status >= 200 && answer.status < 300) return answer;
  throw refused(provider, answer, keyed);
}

/** Whether the runtime says that no connection came about: then nothing was sent. What it does not say stays unknown. */
function neverConnected(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: string; message?: string } };
  return /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|CONNECT_TIMEOUT|\(Connect\)/.test(
    `${cause?.code} ${cause?.message}`,
  );
}

function refused(provider: Provider, answer: Answer, keyed: boolean): MailError {
  const { status } = answer;
  const {
    // A server that failed, or a gateway that waited in vain, may have taken the message first. 503 and 429 say it did not.
    unknown = status >= 500 && status !== 503,
    code = CODES[status] ?? (status >= 400 && status < 500 ? "message-rejected" : "backend-unavailable"),
    retryable = unknown ? keyed : [408, 429, 503].includes(status),
    reason = "",
  } = provider.refusal?.(answer) ?? {};
  const { json } = answer;
  const told = json?.message ?? json?.errors?.[0]?.message ?? (typeof json === "string" ? json : "");
  return mailError(provider.name, code, `it answered ${status} ${reason}: ${redacted(told)}`, {
    phase: "reply",
    delivery: unknown ? "unknown" : "not-sent",
    status,
    retryable,
    retryAfter: retryable ? retryAfter(answer) : undefined,
  });
}

const CODES: Readonly<Record<number, HoldfastErrorCode>> = {
  401: "unauthorized",
  403: "unauthorized",
  408: "backend-unavailable",
  413: "message-too-large",
  429: "rate-limited",
};

/** The beginning of what a provider says, without what could be an address or a key. */
export function redacted(text: unknown): string {
  const words = String(text).split(/[\p{C}\p{Z}]+/u, 30);
  return words.map((word) => /@|[\w+/=-]{24}/.test(word) ? "…" : word).join(" ").slice(0, 200);
}

/** From Retry-After in seconds or as a date, or from the reset headers: seconds in the draft's, the epoch's in the older. */
function retryAfter({ header }: Answer): number | undefined {
  const told = header("retry-after") ?? header("ratelimit-reset") ?? header("x-ratelimit-reset") ?? "";
  const seconds = Number(told);
  const wait = seconds < 1e9 ? seconds * 1000 : (seconds * 1000 || Date.parse(told)) - Date.now();
  return wait > 0 ? Math.ceil(wait) : undefined;
}

/** It took the message, so it says, but not under which id: that may be a proxy talking. */
export function unreadable(mailer: string, { status }: Answer, keyed: boolean): MailError {
  return mailError(mailer, "backend-unavailable", `it answered ${status} without an id`, {
    phase: "reply",
    delivery: "unknown",
    status,
    retryable: keyed,
  });
}
