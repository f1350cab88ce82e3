/**
 * What sends mail. A mailer makes one attempt and says exactly what became of it; whoever wants more wraps it in another
 * mailer, so that there is one owner of retries. A mailer of your own is two fields and a method: `name`, `deduplicates` and
 * `send`.
 */
import type { Duration } from "../duration.ts";
import { need } from "./address.ts";
import type { Message, PreparedMessage } from "./message.ts";

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

/** Sends messages; many at once by {@linkcode sendBulk}. Two fields and a method are a whole mailer. */
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
   * For {@linkcode sendBulk}, which calls it once per bulk: the way to send many that is better than `send` for each. Only
   * mailers have it whose provider takes batches, or whose messages share something for as long as a bulk lasts.
   *
   * @default {undefined} (one by one, with `send`)
   */
  readonly openBulk?: (() => BulkSender) | undefined;
}

/** How a mailer sends the messages of one bulk. */
export interface BulkSender {
  /** How many messages a batch has at most. */
  readonly size: number;
  /**
   * Sends a batch, each message to its own recipients alone, and answers for each, in order, as {@linkcode Mailer.send} does.
   * `keys` holds the idempotency key of each. An error is `retryable` only where sending that one message with `send` under
   * its key cannot send twice: a batch whose outcome is unknown may be repeated as a whole, if at all.
   */
  send(
    messages: readonly PreparedMessage[],
    keys: readonly (string | undefined)[],
    options: Omit<SendOptions, "idempotencyKey">,
  ): readonly Promise<Receipt>[];
  /** Ends the bulk, after its last batch. */
  close?(): Promise<void>;
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
