/**
 * Messages that wait in a store until a worker has sent them. `send` is done once the message is durable; a
 * cron, an alarm or `waitUntil` calls `drain`. Nothing is lost when either of them is killed, and a message
 * whose delivery is unknown is sent again only where that is harmless, or where the caller says so.
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message, PreparedMessage } from "./message.ts";

/**
 * Options of {@linkcode outbox}, the same for all that share an outbox.
 *
 * @category Outbox
 */
export interface OutboxOptions {
  /**
   * The namespace of the messages.
   * @default {"outbox"}
   */
  readonly name?: string | undefined;
  /**
   * The number of records that index the messages, of up to 500 each. It may grow while the outbox is empty.
   * @default {16}
   */
  readonly buckets?: number | undefined;
  /**
   * The maximum number of attempts before a message is dead, the first included; attempts that crashed count.
   * @default {8}
   */
  readonly attempts?: number | undefined;
  /**
   * The longest wait before the second attempt; it doubles with each further one. The wait itself is a random
   * part of it, a Retry-After counts in full, up to a day.
   * @default {"10s"}
   */
  readonly delay?: Duration | undefined;
  /**
   * The maximum of the doubling.
   * @default {"1h"}
   */
  readonly maxDelay?: Duration | undefined;
  /**
   * The time for which a message stays with a drainer that was killed; a living one extends it.
   * @default {"1m"}
   */
  readonly lease?: Duration | undefined;
  /**
   * The maximum time of one attempt.
   * @default {the mailer's own timeout}
   */
  readonly attemptTimeout?: Duration | undefined;
  /**
   * The time for which a message is kept after it was due, dead ones and those in doubt included; when it
   * ends, the message is reported as `expired`.
   * @default {"30d"}
   */
  readonly retention?: Duration | undefined;
  /**
   * The time for which a sent message's idempotency key is remembered.
   * @default {"24h"}
   */
  readonly remember?: Duration | undefined;
  /**
   * The choice when it is unknown whether a message was sent, and the mailer does not deduplicate: `hold` it
   * as in doubt until {@linkcode Outbox.requeue} or `discard`, or `resend` it, which may make two of it.
   * @default {"hold"}
   */
  readonly whenUnknown?: "hold" | "resend" | undefined;
  /**
   * Called with every fault of the mailer that is a misconfiguration (`unauthorized`, `misconfigured`,
   * `quota-exceeded` …). Messages are kept and tried again all the same, as it is not theirs. What it throws
   * is dropped.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The clock for heartbeats, and for the ends of leases on this side.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * The outbox has the message, or had it.
 *
 * @category Outbox
 */
export interface OutboxReceipt extends Receipt {
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
 * Options of {@linkcode Outbox.drain}.
 *
 * @category Outbox
 */
export interface DrainOptions {
  /** Takes no more messages when it aborts; what is being sent is finished. */
  readonly signal?: AbortSignal | undefined;
  /**
   * The maximum number of messages to take.
   * @default {Infinity} (until nothing is due)
   */
  readonly limit?: number | undefined;
  /**
   * The number of messages to send at once.
   * @default {5}
   */
  readonly concurrency?: number | undefined;
}

/**
 * The report of {@linkcode Outbox.drain}, in messages but for `rejected` and `deferred`.
 *
 * @category Outbox
 */
export interface DrainReport {
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
  /** Given up: see {@linkcode Outbox.list}. */
  readonly dead: number;
  /** It is unknown whether they were sent: see {@linkcode Outbox.list}. */
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
 * A message in the outbox.
 *
 * @category Outbox
 */
export interface OutboxEntry {
  /** As in the receipt. */
  readonly id: string;
  /** Whether it waits, is being sent, was given up, or is in doubt. */
  readonly state: "queued" | "sending" | "dead" | "in-doubt";
  /**
   * The time it is due, its lease ends, or since which it is dead or in doubt; milliseconds since the epoch.
   */
  readonly at: number;
  /** The number of attempts since it was queued, or requeued. */
  readonly attempts: number;
  /** The code of the error of the last attempt; `undefined` if there is none. */
  readonly code: string | undefined;
}

/**
 * A mailer that queues. The same key queues, and sends, once for as long as it is remembered.
 *
 * @category Outbox
 */
export interface Outbox extends Mailer {
  /**
   * Queues one message; `sendAt` is when it is due. Durable when it resolves.
   *
   * @throws {TypeError} when the message or an option is not valid
   * @throws {MailError} `message-too-large` when the engine cannot hold it, `store-full` when its bucket is
   * full; what the store throws, with `delivery` telling whether it may be queued
   */
  send(message: Message, options?: SendOptions): Promise<OutboxReceipt>;
  /**
   * Sends what is due, until nothing is. Several may run at once.
   *
   * @throws {RangeError} when an option is not a positive integer
   * @throws {HoldfastError} when the store fails; what was taken is free again when its lease ends
   */
  drain(options?: DrainOptions): Promise<DrainReport>;
  /** Everything that was not sent yet, or only what is in one state. One round trip per bucket. */
  list(options?: CallOptions & { readonly state?: OutboxEntry["state"] }): AsyncIterable<OutboxEntry>;
  /** The message itself, while it is there. */
  read(id: string, options?: CallOptions): Promise<PreparedMessage | undefined>;
  /** Tries a message that is dead or in doubt again; `false` when it is neither. */
  requeue(id: string, options?: CallOptions): Promise<boolean>;
  /** Forgets a message that is not being sent, and its key; `false` when there is none. */
  discard(id: string, options?: CallOptions): Promise<boolean>;
}
