/**
 * Messages that wait in a store until a worker has sent them. `send` is done once the message is durable; a cron, an alarm or
 * `waitUntil` calls `drain`. Nothing is lost when either of them is killed, and nothing is sent twice but what nobody can know.
 */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { positiveInteger } from "./_combinator.ts";
import { StoreOutbox } from "./_store_outbox.ts";
import type { Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message, PreparedMessage } from "./message.ts";

/** Options of {@linkcode outbox}. All who share an outbox must agree on them. */
export interface OutboxOptions {
  /**
   * The namespace the messages live in.
   * @default {"outbox"}
   */
  readonly name?: string | undefined;
  /**
   * How many records index the messages, of up to 500 each. It may grow while the outbox is empty.
   * @default {16}
   */
  readonly buckets?: number | undefined;
  /**
   * How often to try at most before a message is dead; attempts that crashed count.
   * @default {8}
   */
  readonly attempts?: number | undefined;
  /**
   * The longest wait before the second attempt; it doubles with each further one. The wait itself is a random part of it, a
   * Retry-After counts in full.
   * @default {"10s"}
   */
  readonly delay?: Duration | undefined;
  /**
   * What the doubling ends at.
   * @default {"1h"}
   */
  readonly maxDelay?: Duration | undefined;
  /**
   * How long a message stays with a drainer that does not answer any more; a living one extends it.
   * @default {"1m"}
   */
  readonly lease?: Duration | undefined;
  /**
   * How long an attempt may take.
   * @default {the mailer's own timeout}
   */
  readonly timeout?: Duration | undefined;
  /**
   * How long a message is kept after it was due, the dead and the doubtful included; what leaves then is reported as
   * `expired`.
   * @default {"30d"}
   */
  readonly retention?: Duration | undefined;
  /**
   * How long a sent message's idempotency key is remembered.
   * @default {"24h"}
   */
  readonly remember?: Duration | undefined;
  /**
   * What to do when nobody can know whether a message was sent, and the mailer does not deduplicate: hold it as in doubt until
   * somebody decides, or send it again, which may make two of it.
   * @default {"hold"}
   */
  readonly unknown?: "hold" | "resend" | undefined;
  /**
   * Who waits for heartbeats, and whose time bounds leases on this side.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/** The outbox has the message, or had it. */
export interface OutboxReceipt extends Receipt {
  /** Always `outbox`. */
  readonly mailer: string;
  /** The outbox's own id of the message, made from its idempotency key. */
  readonly id: string;
  /**
   * `queued` for a message that waits. The others answer a repeated key: it was `sent` already, is `dead`, or `in-doubt`.
   */
  readonly state: "queued" | "sent" | "dead" | "in-doubt";
}

/** Options of {@linkcode Outbox.drain}. */
export interface DrainOptions {
  /** Takes no more messages when it aborts; what is being sent is finished. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How many messages to take at most.
   * @default {Infinity} (until nothing is due)
   */
  readonly limit?: number | undefined;
  /**
   * How many to send at once.
   * @default {5}
   */
  readonly concurrency?: number | undefined;
}

/** What {@linkcode Outbox.drain} did, in messages but for `rejected`. */
export interface DrainReport {
  /** The mailer took them. */
  readonly sent: number;
  /** How many of those had been tried before with unknown outcome. */
  readonly repeated: number;
  /** Recipients that were refused while the message was taken for the rest (SMTP); who, only the mailer's receipt says. */
  readonly rejected: number;
  /** Not sent; they will be tried again. */
  readonly retried: number;
  /** Given up: see {@linkcode Outbox.list}. */
  readonly dead: number;
  /** Nobody can know whether they were sent: see {@linkcode Outbox.list}. */
  readonly inDoubt: number;
  /** Left after their retention without having been sent. */
  readonly expired: number;
  /** Milliseconds until more is due, 0 when something is now; `undefined` when nothing waits. When to set the next alarm. */
  readonly nextAfter: number | undefined;
}

/** A message in the outbox. */
export interface OutboxEntry {
  /** As in the receipt. */
  readonly id: string;
  /** Whether it waits, is being sent, was given up, or is in doubt. */
  readonly state: "queued" | "sending" | "dead" | "in-doubt";
  /** When it is due, when its lease ends, or since when it is dead or in doubt; milliseconds since the epoch. */
  readonly at: number;
  /** How often it was tried since it was queued, or requeued. */
  readonly attempts: number;
  /** Why the last attempt failed: the error's code; `undefined` if it did not. */
  readonly code: string | undefined;
}

/** A mailer that queues. The same key queues, and sends, once for as long as it is remembered. */
export interface Outbox extends Mailer {
  /**
   * Queues one message; `sendAt` is when it is due. Durable when it resolves.
   *
   * @throws {TypeError} when the message or an option is not valid
   * @throws {MailError} `message-too-large` when the engine cannot hold it, `store-full` when its bucket is full; what the store
   * throws, with `delivery` telling whether it may be queued
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

/**
 * An outbox in front of a mailer. A message takes two transitions to queue and three to send, and ten messages share one more.
 * It holds up to `buckets × 500` messages, each with its attachments within the engine's value limit (Deno KV: 64 KiB, Durable Objects: 2 MB, Upstash: 900 KB).
 *
 * A drainer that dies leaves its messages to the next one, after their lease. What it had begun to send goes out again only
 * under a key that the mailer deduplicates; with other mailers it is held as in doubt, unless `unknown` says `resend`.
 * {@linkcode sendBulk} queues through it one by one, and the drainer sends one by one.
 *
 * @throws {RangeError} when an option is not positive
 * @example
 * ```ts
 * import { memoryMailer, memoryStore, outbox } from "@holdfast/edge";
 * const memory = memoryMailer();
 * const mailer = outbox(memory, memoryStore());
 * const receipt = await mailer.send(
 *   { from: "shop@example.com", to: "jane@example.com", subject: "Order 17", text: "Thank you." },
 *   { idempotencyKey: "order-17" },
 * );
 * if (receipt.state !== "queued") throw new Error("unexpected");
 * const { sent } = await mailer.drain();
 * if (sent !== 1 || memory.outbox.length !== 1) throw new Error("unexpected");
 * ```
 *
 * @example Drained by a Durable Object's alarm, behind a response and by a cron
 * ```ts
 * import { memoryMailer, memoryStore, outbox } from "@holdfast/edge";
 * const mailer = outbox(memoryMailer(), memoryStore());
 * export class Postman {
 *   constructor(readonly ctx: { storage: { setAlarm(time: number): Promise<void> } }) {}
 *   async alarm() {
 *     const { nextAfter } = await mailer.drain({ limit: 100 });
 *     if (nextAfter !== undefined) await this.ctx.storage.setAlarm(Date.now() + nextAfter);
 *   }
 * }
 * export const worker = {
 *   fetch(_request: Request, _env: unknown, ctx: { waitUntil(work: Promise<unknown>): void }) {
 *     ctx.waitUntil(mailer.drain()); // what does not get done in time is done by the next one
 *     return new Response();
 *   },
 *   scheduled: () => mailer.drain(),
 * };
 * ```
 */
export function outbox(mailer: Mailer, store: AtomicStore, options: OutboxOptions = {}): Outbox {
  const { unknown = "hold" } = options;
  if (unknown !== "hold" && unknown !== "resend") {
    throw new TypeError("Cannot make an outbox as 'unknown' must be 'hold' or 'resend'");
  }
  return new StoreOutbox({
    mailer,
    store: store.namespace(options.name ?? "outbox"),
    buckets: positiveInteger(options.buckets ?? 16, "buckets"),
    attempts: positiveInteger(options.attempts ?? 8, "attempts"),
    delay: toMilliseconds(options.delay ?? "10s", "delay"),
    maxDelay: toMilliseconds(options.maxDelay ?? "1h", "maxDelay"),
    lease: toMilliseconds(options.lease ?? "1m", "lease"),
    timeout: options.timeout === undefined ? undefined : toMilliseconds(options.timeout, "timeout"),
    retention: toMilliseconds(options.retention ?? "30d", "retention"),
    remember: toMilliseconds(options.remember ?? "24h", "remember"),
    resend: unknown === "resend",
    clock: options.clock ?? systemClock,
  });
}
