/**
 * Messages that wait in a store until a worker has sent them. `send` is done once the message is durable; a cron, an alarm or
 * `waitUntil` calls `drain`. Nothing is lost when either of them is killed, and nothing is sent twice but what nobody can know.
 */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { randomToken, sha256 } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import { positiveInteger, prepareCall } from "./_combinator.ts";
import { readEntry } from "./_outbox_entry.ts";
import { bucketKey, bucketOf, mailKey, MOST_IN_BUCKET, type OutboxSettings } from "./_outbox_settings.ts";
import { Drainer } from "./_outbox_drainer.ts";
import { fingerprintOf, packMessage, unpackMessage } from "./_packed_message.ts";
import { type MailError, mailError } from "./mail_error.ts";
import type { Mailer, Receipt, SendOptions } from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "./message.ts";
import { addMail, putMail, readMail, resolveMail } from "./outbox_transitions.ts";

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

/** What {@linkcode Outbox.drain} did, in messages. */
export interface DrainReport {
  /** The mailer took them. */
  readonly sent: number;
  /** How many of those had been tried before with unknown outcome. */
  readonly repeated: number;
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
 * An outbox in front of a mailer. A message takes two transitions to queue and three to send, and ten messages share one more. It
 * holds up to `buckets × 500`
 * messages, each with its attachments within the engine's value limit (Deno KV: 64 KiB, Durable Objects: 2 MB, Upstash: 900 KB).
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

const STATES = { w: "queued", l: "sending", d: "in-doubt", x: "dead" } as const;

class StoreOutbox implements Outbox {
  readonly name = "outbox";
  readonly deduplicates = true;
  readonly #settings: OutboxSettings;

  constructor(settings: OutboxSettings) {
    this.#settings = settings;
  }

  async send(message: Message, options: SendOptions = {}): Promise<OutboxReceipt> {
    const { retention, buckets, store } = this.#settings;
    const prepared = prepareCall(this.name, message, options);
    const key = options.idempotencyKey ?? randomToken(16);
    const id = (await sha256(key)).slice(0, 22);
    const due = { due: String(prepared.sendAt?.getTime() ?? 0), keep: String(retention) };
    const packed = await packMessage(prepared, this.name);
    const input = { ...packed, ...due, key, fp: await fingerprintOf(prepared, this.name) };
    const length = Object.values(input).reduce((sum, text) => sum + text.length, 200);
    if (length > store.limits.maxValueLength) throw this.#tooLarge();
    const call = { signal: callSignal(options) };
    const put = await this.#stored(options, false, () => store.transact(putMail, mailKey(id), input, call));
    if (put.state === "mismatch") {
      throw mailError(this.name, "fingerprint-mismatch", "the idempotency key was used for another message");
    }
    if (put.state === "sent") return { mailer: this.name, id, state: "sent" };
    const entry = { id, most: String(MOST_IN_BUCKET), ...due };
    const at = bucketKey(bucketOf(id, buckets));
    const added = await this.#stored(options, true, () => store.transact(addMail, at, entry, call));
    if (added.state === "full") {
      throw mailError(this.name, "store-full", `${MOST_IN_BUCKET} messages wait in its bucket`, {
        retryable: true,
      });
    }
    const state = added.state === "d" || added.state === "x" ? STATES[added.state] : "queued";
    return { mailer: this.name, id, state };
  }

  async drain(options: DrainOptions = {}): Promise<DrainReport> {
    const { signal, limit = Infinity, concurrency = 5 } = options;
    if (limit !== Infinity) positive(limit, "limit");
    positive(concurrency, "concurrency");
    return await new Drainer(this.#settings, signal, limit).run(concurrency);
  }

  async *list(
    options: CallOptions & { readonly state?: OutboxEntry["state"] } = {},
  ): AsyncIterable<OutboxEntry> {
    const { signal, state: wanted } = options;
    for (let n = 0; n < this.#settings.buckets; n++) {
      const record = await this.#settings.store.transact(readMail, bucketKey(n), {}, { signal });
      for (const [id, text] of Object.entries(record)) {
        const { s, t, a, b, c } = readEntry(text);
        const state = STATES[s as keyof typeof STATES];
        if (wanted !== undefined && state !== wanted) continue;
        yield { id, state, at: t, attempts: a - b, code: c === "" ? undefined : c };
      }
    }
  }

  async read(id: string, options?: CallOptions): Promise<PreparedMessage | undefined> {
    const fields = await this.#settings.store.transact(readMail, mailKey(id), {}, options);
    return fields.p === undefined ? undefined : prepareMessage(unpackMessage(fields));
  }

  async requeue(id: string, options?: CallOptions): Promise<boolean> {
    return await this.#resolve(id, "w", options);
  }

  async discard(id: string, options?: CallOptions): Promise<boolean> {
    if (!await this.#resolve(id, "gone", options)) return false;
    await this.#settings.store.delete(mailKey(id), options);
    return true;
  }

  async #resolve(id: string, to: "w" | "gone", options: CallOptions | undefined): Promise<boolean> {
    const { store, buckets } = this.#settings;
    const output = await store.transact(resolveMail, bucketKey(bucketOf(id, buckets)), { id, to }, options);
    return output.done === "1";
  }

  /** Runs a step of queueing. Until the index has it, a message is never sent: only that step can leave it unknown. */
  async #stored(options: SendOptions, last: boolean, step: () => Promise<Fields>): Promise<Fields> {
    try {
      return await step();
    } catch (error) {
      const { signal, idempotencyKey } = options;
      const ours = error instanceof HoldfastError;
      const delivery = last && (!ours || error.ambiguous) ? "unknown" : "not-sent";
      if (signal?.aborted) {
        throw mailError(this.name, "aborted", "the signal was aborted", { delivery, cause: error });
      }
      if (!ours && !isTimeout(error)) throw error;
      if (ours && error.code === "value-too-large") throw this.#tooLarge(error);
      throw mailError(this.name, ours ? error.code : "timeout", "its store failed", {
        delivery,
        phase: "body",
        // Without the caller's own key a repetition would be another message.
        retryable: (!ours || error.retryable) && (delivery === "not-sent" || idempotencyKey !== undefined),
        cause: error,
      });
    }
  }

  #tooLarge(cause?: unknown): MailError {
    const { engine, limits } = this.#settings.store;
    return mailError(this.name, "message-too-large", `${engine} holds at most ${limits.maxValueLength}`, {
      cause,
    });
  }
}

function callSignal({ signal, timeout }: SendOptions): AbortSignal | undefined {
  if (timeout === undefined) return signal;
  const late = AbortSignal.timeout(toMilliseconds(timeout, "timeout"));
  return signal ? AbortSignal.any([signal, late]) : late;
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}

function positive(value: number, name: string): void {
  if (Number.isSafeInteger(value) && value > 0) return;
  throw new RangeError(`Cannot drain as '${name}' must be a positive integer: current value is ${value}`);
}
