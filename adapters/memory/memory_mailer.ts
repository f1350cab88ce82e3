/** The mailer of tests and development: it checks and builds everything, and keeps it where you can look. */
import { type Clock, systemClock } from "../../src/clock.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { mailError } from "../../src/mail/mail_error.ts";
import { checkIdempotencyKey, type Mailer, type Receipt, type SendOptions } from "../../src/mail/mailer.ts";
import { type Message, type PreparedMessage, prepareMessage, recipientsOf } from "../../src/mail/message.ts";
import { buildMime, type MimeMessage } from "../../src/mail/mime.ts";
import { HoldfastError } from "../../src/errors.ts";

/** Options of {@linkcode memoryMailer}. */
export interface MemoryMailerOptions {
  /**
   * How many messages to keep; the oldest go first.
   * @default {1000}
   */
  readonly maxMessages?: number;
  /**
   * Whose time dates the messages and bounds `waitFor`.
   * @default {systemClock}
   */
  readonly clock?: Clock;
}

/** A message that was sent. */
export interface SentMail {
  /** The receipt's id. */
  readonly id: string;
  /** What was sent, checked and frozen. */
  readonly message: PreparedMessage;
  /** What would have gone over the wire. */
  readonly mime: MimeMessage;
  /** When, in milliseconds since the epoch. */
  readonly sentAt: number;
}

/** What to look for; everything given must match. */
export interface MailQuery {
  /** An address in to, cc or bcc, in any case. */
  readonly recipient?: string;
  /** The whole subject. */
  readonly subject?: string;
}

/** A mailer that keeps what it was given. */
export interface MemoryMailer extends Mailer {
  /** What was sent, the oldest first. */
  readonly outbox: readonly SentMail[];
  /** What was sent and matches, the oldest first. */
  find(query: MailQuery): readonly SentMail[];
  /**
   * The first message that matches, now or later.
   *
   * @throws {HoldfastError} `timeout` when there is none in time (default: 1 s)
   */
  waitFor(
    query: MailQuery,
    options?: { readonly timeout?: Duration; readonly signal?: AbortSignal },
  ): Promise<SentMail>;
  /** Empties the outbox and forgets idempotency keys. */
  clear(): void;
}

/**
 * A mailer that keeps its messages in memory. The same idempotency key sends once.
 *
 * @throws {RangeError} when `maxMessages` is not a positive integer
 * @example
 * ```ts
 * import { memoryMailer } from "@holdfast/edge";
 * const mailer = memoryMailer();
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * const [mail] = mailer.find({ recipient: "jane@example.com" });
 * if (mail?.message.subject !== "Hello") throw new Error("unexpected");
 * ```
 */
export function memoryMailer(options: MemoryMailerOptions = {}): MemoryMailer {
  const { maxMessages = 1000, clock = systemClock } = options;
  if (!(Number.isInteger(maxMessages) && maxMessages > 0)) {
    throw new RangeError(
      `Cannot make a memory mailer as 'maxMessages' must be a positive integer: current value is ${maxMessages}`,
    );
  }
  return new Outbox(maxMessages, clock);
}

class Outbox implements MemoryMailer {
  readonly name = "memory";
  readonly deduplicates = true;
  readonly #maxMessages: number;
  readonly #clock: Clock;
  readonly #waiting = new Set<(mail: SentMail) => void>();
  #outbox: SentMail[] = [];
  #known = new Map<string, { readonly content: string; readonly receipt: Promise<Receipt> }>();

  constructor(maxMessages: number, clock: Clock) {
    this.#maxMessages = maxMessages;
    this.#clock = clock;
  }

  get outbox(): readonly SentMail[] {
    return [...this.#outbox];
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const { signal, idempotencyKey: key } = options;
    const prepared = prepareMessage(message);
    checkIdempotencyKey(key);
    if (signal?.aborted) {
      throw mailError(this.name, "aborted", "the signal was aborted", { cause: signal.reason });
    }
    if (key === undefined) return await this.#keep(prepared, key);
    const content = JSON.stringify(prepared);
    const known = this.#known.get(key);
    if (known && known.content !== content) {
      throw mailError(this.name, "fingerprint-mismatch", "the idempotency key was used for another message");
    }
    if (known) return known.receipt;
    const receipt = this.#keep(prepared, key);
    this.#known.set(key, { content, receipt });
    if (this.#known.size > this.#maxMessages) this.#known.delete(this.#known.keys().next().value!);
    receipt.catch(() => this.#known.delete(key));
    return await receipt;
  }

  find(query: MailQuery): readonly SentMail[] {
    return this.#outbox.filter((mail) => matches(mail, query));
  }

  waitFor(
    query: MailQuery,
    options: { readonly timeout?: Duration; readonly signal?: AbortSignal } = {},
  ): Promise<SentMail> {
    const timeout = toMilliseconds(options.timeout ?? "1s", "timeout");
    const over = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, over.signal]) : over.signal;
    return new Promise<SentMail>((resolve, reject) => {
      const look = (mail: SentMail) => {
        if (matches(mail, query)) resolve(mail);
      };
      this.#waiting.add(look);
      signal.addEventListener("abort", () => this.#waiting.delete(look));
      this.#outbox.forEach(look);
      this.#clock.sleep(timeout, signal).then(
        () => reject(new HoldfastError("timeout", "Cannot find the message as none came in time")),
        reject,
      );
    }).finally(() => over.abort());
  }

  clear(): void {
    this.#outbox = [];
    this.#known = new Map();
  }

  async #keep(message: PreparedMessage, idempotencyKey: string | undefined): Promise<Receipt> {
    const sentAt = this.#clock.now();
    const mime = await buildMime(message, { mailer: this.name, idempotencyKey, date: new Date(sentAt) });
    const mail = Object.freeze({ id: mime.messageId, message, mime, sentAt });
    this.#outbox.push(mail);
    if (this.#outbox.length > this.#maxMessages) this.#outbox.shift();
    for (const look of [...this.#waiting]) look(mail);
    return { mailer: this.name, id: mail.id };
  }
}

function matches({ message }: SentMail, { recipient, subject }: MailQuery): boolean {
  return (subject === undefined || message.subject === subject) &&
    (recipient === undefined ||
      recipientsOf(message).some(({ address }) => address.toLowerCase() === recipient.toLowerCase()));
}
