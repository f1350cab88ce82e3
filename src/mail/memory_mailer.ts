/** The mailer of tests and development: it checks and builds every message, and keeps it in memory. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { mailError } from "./mail_error.ts";
import { checkSendOptions, type Mailer, type Receipt, type SendOptions } from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage, recipientsOf } from "./message.ts";
import { buildMime, type MimeMessage } from "./mime.ts";
import { readInTime } from "./_read_in_time.ts";
import { abortReason } from "./outcome.ts";
import { selectRecipients } from "./partial.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";

/**
 * Options of {@linkcode memoryMailer}.
 *
 * @category Mail
 */
export interface MemoryMailerOptions {
  /**
   * The maximum number of messages to keep; the oldest go first.
   * @default {1000}
   */
  readonly maxMessages?: number | undefined;
  /**
   * The clock that dates the messages and bounds `waitFor`.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * Options of {@linkcode MemoryMailer.waitFor}.
 *
 * @category Mail
 */
export interface WaitForMailOptions {
  /**
   * The maximum time to wait.
   * @default {"1s"}
   */
  readonly timeout?: Duration | undefined;
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const TASK = "make a memory mailer";
const OPTIONS = { maxMessages: true, clock: true } satisfies OptionNames<MemoryMailerOptions>;
const WAIT = { timeout: true, signal: true } satisfies OptionNames<WaitForMailOptions>;
const QUERY = { recipient: true, subject: true } satisfies OptionNames<MailQuery>;

/**
 * A message that was sent.
 *
 * @category Mail
 */
export interface SentMail {
  /** The receipt's id. */
  readonly id: string;
  /** The message, checked and frozen. */
  readonly message: PreparedMessage;
  /** The form in which it would have been sent. */
  readonly mime: MimeMessage;
  /** The time of sending, in milliseconds since the epoch. */
  readonly sentAt: number;
}

/**
 * A search; all of its fields must match.
 *
 * @category Mail
 */
export interface MailQuery {
  /** An address in to, cc or bcc, in any case. */
  readonly recipient?: string | undefined;
  /** The whole subject. */
  readonly subject?: string | undefined;
}

/**
 * A mailer that keeps its messages.
 *
 * @category Mail
 */
export interface MemoryMailer extends Mailer {
  /** The messages that were sent, the oldest first. */
  readonly outbox: readonly SentMail[];
  /** Those that match, the oldest first. */
  find(query: MailQuery): readonly SentMail[];
  /**
   * The first message that matches, now or later.
   *
   * @throws {HoldfastError} `timeout` when there is none in time (default: 1 s)
   */
  waitFor(query: MailQuery, options?: WaitForMailOptions): Promise<SentMail>;
  /** Empties the outbox and forgets idempotency keys. */
  clear(): void;
}

/**
 * A mailer that keeps its messages in memory. The same idempotency key sends once.
 *
 * @throws {RangeError} when `maxMessages` is not a positive integer
 * @category Mail
 * @example
 * ```ts
 * import { memoryMailer } from "@holdfast/edge/mail";
 * const mailer = memoryMailer();
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * const [mail] = mailer.find({ recipient: "jane@example.com" });
 * if (mail?.message.subject !== "Hello") throw new Error("unexpected");
 * ```
 */
export function memoryMailer(options: MemoryMailerOptions = {}): MemoryMailer {
  checkOptionNames(TASK, options, OPTIONS);
  const { maxMessages = 1000, clock = systemClock } = options;
  return new Mailbox(checkInteger(TASK, "maxMessages", maxMessages), clock);
}

class Mailbox implements MemoryMailer {
  readonly name = "memory";
  readonly deduplicates = true;
  readonly selectsRecipients = true;
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
    checkSendOptions(options);
    const { signal, idempotencyKey: key } = options;
    const prepared = prepareMessage(message);
    const recipients = selectRecipients(prepared, options.recipients);
    if (signal?.aborted) {
      throw mailError(this.name, "aborted", "the signal was aborted", { cause: signal.reason });
    }
    await readInTime(prepared, this.name, options);
    if (key === undefined) return await this.#keep(prepared, key, recipients);
    const content = JSON.stringify([prepared, recipients]);
    const known = this.#known.get(key);
    if (known && known.content !== content) {
      throw mailError(this.name, "fingerprint-mismatch", "the idempotency key was used for another message");
    }
    if (known) return known.receipt;
    const receipt = this.#keep(prepared, key, recipients);
    this.#known.set(key, { content, receipt });
    if (this.#known.size > this.#maxMessages) this.#known.delete(this.#known.keys().next().value!);
    receipt.catch(() => this.#known.delete(key));
    return await receipt;
  }

  find(query: MailQuery): readonly SentMail[] {
    checkOptionNames("find mail", query, QUERY);
    return this.#outbox.filter((mail) => matches(mail, query));
  }

  waitFor(query: MailQuery, options: WaitForMailOptions = {}): Promise<SentMail> {
    checkOptionNames("find mail", query, QUERY);
    checkOptionNames("wait for mail", options, WAIT);
    const timeout = toMilliseconds(options.timeout ?? "1s", "timeout");
    const over = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, over.signal]) : over.signal;
    let look!: (mail: SentMail) => void;
    return new Promise<SentMail>((resolve, reject) => {
      look = (mail) => {
        if (matches(mail, query)) resolve(mail);
      };
      this.#waiting.add(look);
      this.#outbox.forEach(look);
      this.#clock.sleep(timeout, signal).then(
        () => reject(new HoldfastError("timeout", "Cannot find the message as none came in time")),
        () => reject(abortReason(signal)),
      );
    }).finally(() => {
      over.abort();
      this.#waiting.delete(look);
    });
  }

  clear(): void {
    this.#outbox = [];
    this.#known = new Map();
  }

  async #keep(
    message: PreparedMessage,
    idempotencyKey: string | undefined,
    recipients: readonly string[],
  ): Promise<Receipt> {
    const sentAt = this.#clock.now();
    const date = new Date(sentAt);
    const mime = await buildMime(message, { mailer: this.name, idempotencyKey, date, recipients });
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
