/**
 * What sends mail. A mailer makes one attempt and says exactly what became of it; whoever wants more wraps it in another
 * mailer, so that there is one owner of retries.
 */
import type { Duration } from "../duration.ts";
import { need } from "./address.ts";
import type { MailError } from "./mail_error.ts";
import type { Message } from "./message.ts";

/** Options of {@linkcode Mailer.send}. */
export interface SendOptions {
  /** Gives up; rejects with `aborted`, and `delivery` says whether it was in time. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Names this sending, 1 to 256 visible ASCII characters. Mailers that deduplicate send once per key; the others derive the
   * Message-ID from it where they can. Fixed before the first attempt and kept through retries.
   */
  readonly idempotencyKey?: string | undefined;
  /**
   * How long the attempt may take, the reading of the answer included.
   * @default {the mailer's own timeout}
   */
  readonly timeout?: Duration | undefined;
}

/** Options of {@linkcode Mailer.sendBulk}. */
export interface BulkOptions extends Omit<SendOptions, "idempotencyKey"> {
  /**
   * Names each sending; called once per message, in order, before its first attempt. Where the mailer deduplicates, the whole
   * bulk may be repeated with the same messages and keys in the same order. One message alone may be when its error is
   * `retryable`; where messages travel in batches, a message whose delivery is `unknown` is not.
   */
  readonly idempotencyKey?: ((message: Message, index: number) => string) | undefined;
  /**
   * How many requests may be under way at once. Where the provider takes batches, a request is a batch.
   * @default {5}
   */
  readonly concurrency?: number | undefined;
}

/** The other side has taken the message. */
export interface Receipt {
  /** The mailer that sent it. */
  readonly mailer: string;
  /** The provider's own id; `undefined` where it gave none, never invented. */
  readonly id: string | undefined;
  /** Recipients the other side refused while it took the message for the rest (SMTP). */
  readonly rejected?: readonly Rejection[] | undefined;
}

/** A recipient that was refused. */
export interface Rejection {
  /** Whom. */
  readonly address: string;
  /** The server's reply code. */
  readonly status: number;
}

/** What became of one message of a bulk. */
export type BulkResult =
  | { readonly index: number; readonly state: "sent"; readonly receipt: Receipt }
  | { readonly index: number; readonly state: "failed"; readonly error: MailError };

/** Sends messages. */
export interface Mailer {
  /** What to call it in receipts and errors, such as `resend`. */
  readonly name: string;
  /** Whether the same idempotency key sends once, so that an attempt with unknown outcome may be repeated. */
  readonly deduplicates: boolean;
  /**
   * One attempt to send one message.
   *
   * @throws {TypeError} when the message or an option is not valid; nothing was sent
   * @throws {MailError} when it was not sent, or `delivery` is `unknown`; `unsupported` before anything is sent
   */
  send(message: Message, options?: SendOptions): Promise<Receipt>;
  /**
   * Sends many: one result per message, in order, while the input is still being read; no more than `concurrency` requests'
   * worth of messages are held. A failure stops nothing. When the signal aborts or the input fails, no more is read, what was
   * read gets its results, and then the iteration rejects with the reason. Mailers around mailers send one by one, for a batch
   * that failed in part could not be repeated in part; {@linkcode observed} alone leaves it to the mailer inside.
   */
  sendBulk(
    messages: Iterable<Message> | AsyncIterable<Message>,
    options?: BulkOptions,
  ): AsyncIterableIterator<BulkResult>;
}

/**
 * Refuses an idempotency key that could not travel as a header.
 *
 * @throws {TypeError} unless it is 1 to 256 visible ASCII characters
 */
export function checkIdempotencyKey(key: string | undefined): void {
  need(
    key === undefined || (typeof key === "string" && /^[!-~]{1,256}$/.test(key)),
    "idempotencyKey",
    "must be 1 to 256 visible ASCII characters",
  );
}
