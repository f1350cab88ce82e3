/**
 * Messages that wait in a store until a worker has sent them: an outbox whose items are mail. `send` is done
 * once the message is durable; a cron, an alarm or `waitUntil` calls `drain`. Nothing is lost when either of
 * them is killed, and a message whose delivery is unknown is sent again only where that is harmless, or where
 * the caller says so.
 */
import type { Duration } from "../duration.ts";
import type { DrainOptions, OutboxEntry, OutboxQueueOptions, OutboxState } from "../outbox/outbox.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message, PreparedMessage } from "./message.ts";

/**
 * Options of {@linkcode outbox}, the same for all that share an outbox.
 *
 * @category Outbox
 */
export interface MailOutboxOptions extends OutboxQueueOptions {
  /**
   * The namespace of the messages.
   * @default {"outbox"}
   */
  readonly name?: string | undefined;
  /**
   * The maximum time of one attempt. A mailer of your own that does not answer is left after it, the
   * message's delivery unknown.
   * @default {the mailer's own timeout, at most 10 minutes}
   */
  readonly attemptTimeout?: Duration | undefined;
  /**
   * The choice when it is unknown whether a message was sent, and the mailer does not deduplicate: `hold` it
   * as in doubt until {@linkcode MailOutbox.requeue} or `discard`, or `resend` it, which may make two of it.
   * @default {"hold"}
   */
  readonly whenUnknown?: "hold" | "resend" | undefined;
  /**
   * Called with every fault of the mailer that is a misconfiguration (`unauthorized`, `misconfigured`,
   * `quota-exceeded` …). Messages are kept and tried again all the same, as it is not theirs. What it throws
   * is dropped.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

/**
 * The outbox has the message, or had it.
 *
 * @category Outbox
 */
export interface MailOutboxReceipt extends Receipt {
  /** Always `outbox`. */
  readonly mailer: string;
  /** The outbox's own id of the message, made from its idempotency key. */
  readonly id: string;
  /**
   * `queued` for a message that waits. The others answer to a repeated key: it was `sent` already, is `dead`,
   * or `in-doubt`.
   */
  readonly state: "queued" | "sent" | "dead" | "in-doubt";
}

/**
 * The report of {@linkcode MailOutbox.drain}, in messages but for `rejected` and `deferred`.
 *
 * @category Outbox
 */
export interface MailOutboxReport {
  /** Messages that the mailer took, for every recipient that was not rejected. */
  readonly sent: number;
  /** Those of them that had been tried before with unknown outcome. */
  readonly repeated: number;
  /** Recipients that were refused for good while the message was taken for others (SMTP). */
  readonly rejected: number;
  /** Recipients that were refused for now (SMTP): their messages stay queued, for them alone. */
  readonly deferred: number;
  /** Not sent; they will be tried again. */
  readonly retried: number;
  /** Given up: see {@linkcode MailOutbox.list}. */
  readonly dead: number;
  /** It is unknown whether they were sent: see {@linkcode MailOutbox.list}. */
  readonly inDoubt: number;
  /** Deleted after their retention without having been sent. */
  readonly expired: number;
  /**
   * Milliseconds until more is due, 0 when something is now; `undefined` when nothing waits. The time for the
   * next alarm.
   */
  readonly nextAfter: number | undefined;
}

/**
 * A mailer that queues. The same key queues, and sends, once for as long as it is remembered.
 *
 * @category Outbox
 */
export interface MailOutbox extends Mailer {
  /**
   * Queues one message; `sendAt` is when it is due. Durable when it resolves.
   *
   * @throws {TypeError} when the message or an option is not valid
   * @throws {MailError} `message-too-large` when the engine cannot hold it, `store-full` when its bucket is
   * full; what the store throws, with `delivery` telling whether it may be queued
   */
  send(message: Message, options?: SendOptions): Promise<MailOutboxReceipt>;
  /**
   * Sends what is due, until nothing is. Several may run at once.
   *
   * @throws {RangeError} when an option is not a positive integer
   * @throws {HoldfastError} when the store fails; what was taken is free again when its lease ends
   */
  drain(options?: DrainOptions): Promise<MailOutboxReport>;
  /** Everything that was not sent yet, or only what is in one state. One round trip per bucket. */
  list(options?: CallOptions & { readonly state?: OutboxState | undefined }): AsyncIterable<OutboxEntry>;
  /** The message itself, while it is there. */
  read(id: string, options?: CallOptions): Promise<PreparedMessage | undefined>;
  /** Tries a message that is dead or in doubt again; `false` when it is neither. */
  requeue(id: string, options?: CallOptions): Promise<boolean>;
  /** Forgets a message that is not being sent, and its key; `false` when there is none. */
  discard(id: string, options?: CallOptions): Promise<boolean>;
}
