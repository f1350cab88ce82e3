/**
 * The contract of everything that sends mail. A mailer makes one attempt and reports exactly what became of
 * it. Retries, failover and rate limits are mailers around mailers, so there is one owner of retries. A
 * mailer of your own is two fields and a method: `name`, `deduplicates` and `send`.
 */
import type { Duration } from "../duration.ts";
import { checkNames, checkSignal, type OptionNames } from "../validate.ts";
import { need } from "./address.ts";
import type { Message, PreparedMessage } from "./message.ts";

/**
 * Options of {@linkcode Mailer.send}.
 *
 * @category Mail
 */
export interface SendOptions {
  /** Ends the call with `aborted`; the error's `delivery` tells whether anything was sent before. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Names this sending, 1 to 256 visible ASCII characters. Mailers that deduplicate send once per key; the
   * others derive the Message-ID from it where they can. Fixed before the first attempt and kept through
   * retries.
   */
  readonly idempotencyKey?: string | undefined;
  /**
   * The maximum time of the attempt, the reading of the reply included.
   * @default {the mailer's own timeout}
   */
  readonly timeout?: Duration | undefined;
  /**
   * Sends to these of the message's recipients alone; its headers stay as they are. Only for mailers with
   * {@linkcode Mailer.selectsRecipients}; the others refuse it as `unsupported`. Wrappers use it to send
   * again to those that were refused for now.
   * @default {all of to, cc and bcc}
   */
  readonly recipients?: readonly string[] | undefined;
}

/**
 * The other side has taken the message, for all recipients but those that are listed as rejected, deferred or
 * unknown.
 *
 * @category Mail
 */
export interface Receipt {
  /** The mailer that sent it. */
  readonly mailer: string;
  /** The provider's own id; `undefined` where it gave none, never invented. */
  readonly id: string | undefined;
  /** The recipients that were taken, where the other side answers for each (SMTP); `undefined` means all. */
  readonly accepted?: readonly string[] | undefined;
  /** Recipients that were refused for good (SMTP: 5xx). */
  readonly rejected?: readonly Rejection[] | undefined;
  /**
   * Recipients that were refused for now (SMTP: 4xx, as in greylisting) and did not get it: they may be sent
   * to again.
   */
  readonly deferred?: readonly Rejection[] | undefined;
  /** Recipients of a second transaction whose reply was lost: whether they get the message is not known. */
  readonly unknown?: readonly string[] | undefined;
  /** Recipients that were left out, as they are on the list of {@linkcode suppressing}. */
  readonly suppressed?: readonly SuppressedRecipient[] | undefined;
}

/**
 * A recipient that gets no more mail.
 *
 * @category Mail
 */
export interface SuppressedRecipient {
  /** The recipient's address. */
  readonly address: string;
  /** The reason's kind: a bounce, a complaint or an unsubscription. */
  readonly kind: string;
  /** The provider's or server's own words. */
  readonly reason: string;
}

/**
 * A recipient that was refused.
 *
 * @category Mail
 */
export interface Rejection {
  /** The recipient's address. */
  readonly address: string;
  /** The server's reply code; `undefined` when no reply came. */
  readonly status: number | undefined;
  /** The server's reply to this recipient in one line, where it is known; it may hold the address. */
  readonly reply?: string | undefined;
}

/**
 * Sends messages; many at once by {@linkcode sendBulk}. Two fields and a method are a whole mailer.
 *
 * @category Mail
 */
export interface Mailer {
  /** The mailer's name in receipts and errors, such as `resend`. */
  readonly name: string;
  /** Whether the same idempotency key sends once, so that an attempt with unknown outcome may be repeated. */
  readonly deduplicates: boolean;
  /**
   * Whether `send` honours `recipients`.
   * @default {false}
   */
  readonly selectsRecipients?: boolean | undefined;
  /**
   * One attempt to send one message. Mailers around this one end the call as of unknown outcome when it has
   * not settled shortly after its `timeout` (ten minutes where the call gives none) or the abort of its
   * `signal`, or gives no receipt, or rejects with the error of a `fetch` that got no reply.
   *
   * @throws {TypeError} when the message or an option is not valid; nothing was sent
   * @throws {MailError} when it was not sent, or `delivery` is `unknown`; `unsupported` before anything is
   * sent
   */
  send(message: Message, options?: SendOptions): Promise<Receipt>;
  /**
   * Opens the way to send many that is better than `send` for each; {@linkcode sendBulk} calls it once per
   * bulk. For mailers whose provider takes batches, or whose messages share something for as long as a bulk
   * lasts.
   *
   * @default {undefined} (one by one, with `send`)
   */
  readonly openBulk?: (() => BulkSender) | undefined;
}

/**
 * Options of {@linkcode BulkSender.send}.
 *
 * @category Mail
 */
export type BatchOptions = Pick<SendOptions, "signal" | "timeout">;

/**
 * Sends the messages of one bulk.
 *
 * @category Mail
 */
export interface BulkSender {
  /** The maximum number of messages in a batch. */
  readonly size: number;
  /**
   * Whether a batch with unknown outcome may be repeated as a whole, with the same messages and keys in the
   * same order.
   * @default {false}
   */
  readonly repeatable?: boolean | undefined;
  /**
   * Sends a batch, each message to its own recipients alone, and answers for each, in order, as {@linkcode
   * Mailer.send} does. `keys` holds the idempotency key of each. An error is `retryable` only where sending
   * that one message with `send` under its key cannot send twice: a batch whose outcome is unknown may be
   * repeated as a whole, if at all.
   */
  send(
    messages: readonly PreparedMessage[],
    keys: readonly (string | undefined)[],
    options: BatchOptions,
  ): readonly Promise<Receipt>[];
  /** Ends the bulk, after its last batch. */
  close?(): Promise<void>;
}

const SEND_OPTIONS = {
  signal: true,
  idempotencyKey: true,
  timeout: true,
  recipients: true,
} satisfies OptionNames<SendOptions>;

/**
 * Refuses options that are not those of `send`.
 *
 * @throws {TypeError} when a name is not known, the key could not travel as a header, or `recipients` is no
 * list of addresses
 */
export function checkSendOptions(options: SendOptions | undefined): void {
  checkNames("send", options, SEND_OPTIONS);
  if (options?.signal !== undefined) checkSignal("send", options.signal);
  checkIdempotencyKey(options?.idempotencyKey);
  const recipients: unknown = options?.recipients;
  need(
    recipients === undefined ||
      (Array.isArray(recipients) && recipients.length > 0 &&
        recipients.every((one) => typeof one === "string")),
    "recipients",
    "must be a list of addresses",
  );
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
