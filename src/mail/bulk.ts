/** Bulk sending: the options, and the result for each message. */
import type { MailError } from "./mail_error.ts";
import type { Receipt, SendOptions } from "./mailer.ts";
import type { Message } from "./message.ts";

/**
 * Options of {@linkcode sendBulk}.
 *
 * @category Mail
 */
export interface BulkOptions extends Pick<SendOptions, "signal" | "timeout"> {
  /**
   * Names each sending; called once per message, in order, before its first attempt. Where the mailer
   * deduplicates, the whole bulk may be repeated with the same messages and keys in the same order. One
   * message alone may be when its error is `retryable`; where messages travel in batches, a message whose
   * delivery is `unknown` is not.
   */
  readonly idempotencyKey?: ((message: Message, index: number) => string) | undefined;
  /**
   * The maximum number of requests at once. Where the provider takes batches, a request is a batch. A bulk
   * begins with one request and doubles their number with each whose results were read, so a caller that
   * stops early has sent little.
   * @default {5}
   */
  readonly concurrency?: number | undefined;
  /**
   * The number of messages at the beginning of the input to leave out: where a bulk that was stopped goes on,
   * {@linkcode BulkProgress.next} of its last progress. Results and keys count from the input's beginning.
   * @default {0}
   */
  readonly start?: number | undefined;
  /**
   * Called after each batch, also for those that end after the caller stopped reading. What it throws is
   * dropped.
   */
  readonly onProgress?: ((progress: BulkProgress) => void) | undefined;
}

/**
 * The progress of a bulk.
 *
 * @category Mail
 */
export interface BulkProgress {
  /** Messages that were sent, in this bulk. */
  readonly sent: number;
  /** Messages that failed, in this bulk. */
  readonly failed: number;
  /** The index of the first message that was not tried: what comes before it has a result. */
  readonly next: number;
}

/**
 * The result for one message of a bulk.
 *
 * @category Mail
 */
export type BulkResult =
  | { readonly index: number; readonly state: "sent"; readonly receipt: Receipt }
  | { readonly index: number; readonly state: "failed"; readonly error: MailError };
