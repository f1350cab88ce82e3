/**
 * One run of `sendBulk`: reads batches, sends as many at once as the window allows, and yields their results
 * in order.
 *
 * Nothing is read ahead of the window, so memory is bounded, and a caller that stops reading has sent little.
 * A batch that was begun is always finished, as its messages may have been sent already.
 */
import { safely } from "../safely.ts";
import { openBulk } from "./_inner_mailer.ts";
import type { BulkOptions, BulkResult } from "./bulk.ts";
import { MailError } from "./mail_error.ts";
import { type BulkSender, checkIdempotencyKey, type Mailer, type Receipt } from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "./message.ts";
import { abortable, asMailError } from "./outcome.ts";

/** A message that was checked. */
interface BulkItem {
  readonly message: PreparedMessage;
  readonly key: string | undefined;
}

type Outcome = Receipt | MailError;

/** The options, with their defaults. */
export type BulkSettings = BulkOptions & { readonly concurrency: number; readonly start: number };

/**
 * The number of batches that may be under way after the caller has read so many: 1, 2, 4 … up to
 * `concurrency`. It starts with one, so that a caller that stops at the first result has sent one batch.
 */
export function windowSize(batchesRead: number, concurrency: number): number {
  return Math.min(concurrency, 2 ** batchesRead);
}

/** The state of a run. */
export class BulkRun {
  readonly #mailer: Mailer;
  readonly #input: Iterator<Message> | AsyncIterator<Message>;
  readonly #options: BulkSettings;
  readonly #sender: BulkSender;
  /** The outcomes of the batches that were begun and not read, in order. */
  readonly #batches: Promise<Outcome[]>[] = [];
  #batchesRead = 0;
  #messages = 0;
  #sent = 0;
  #failed = 0;
  #more = true;
  #failure: { readonly reason: unknown } | undefined;
  #reading: Promise<void> | undefined;

  constructor(
    mailer: Mailer,
    input: Iterator<Message> | AsyncIterator<Message>,
    options: BulkSettings,
  ) {
    this.#mailer = mailer;
    this.#input = input;
    this.#options = options;
    this.#sender = openBulk(mailer);
  }

  async *results(): AsyncGenerator<BulkResult> {
    let index = this.#options.start;
    try {
      while (this.#more || this.#batches.length > 0) {
        const outcomes = await this.#nextBatch();
        this.#count(outcomes);
        for (const outcome of outcomes) {
          yield outcome instanceof MailError
            ? { index: index++, state: "failed", error: outcome }
            : { index: index++, state: "sent", receipt: outcome };
        }
      }
      if (this.#failure) throw this.#failure.reason;
    } finally {
      this.#more = false;
      abortable(undefined, () => this.#input.return?.()).catch(() => {}); // not awaited: it may never settle
      // Batches that were begun are finished and counted.
      for (const outcomes of await Promise.all(this.#batches)) this.#count(outcomes);
      await this.#sender.close?.();
    }
  }

  /** Counts the outcomes of a batch, and tells the caller. */
  #count(outcomes: readonly Outcome[]): void {
    if (outcomes.length === 0) return;
    const failed = outcomes.filter((outcome) => outcome instanceof MailError).length;
    this.#failed += failed;
    this.#sent += outcomes.length - failed;
    const next = this.#options.start + this.#sent + this.#failed;
    safely(this.#options.onProgress)({ sent: this.#sent, failed: this.#failed, next });
  }

  /**
   * The outcomes of the oldest batch, or an empty list when another batch was begun first: the window may
   * have space.
   */
  async #nextBatch(): Promise<Outcome[]> {
    const window = windowSize(this.#batchesRead, this.#options.concurrency);
    if (this.#more && this.#batches.length < window) this.#reading ??= this.#readBatch();
    const first = await Promise.race([
      ...this.#batches.slice(0, 1),
      ...(this.#reading ? [this.#reading] : []),
    ]);
    if (first === undefined) return [];
    this.#batches.shift();
    this.#batchesRead++;
    return first;
  }

  /** Reads as many messages as make a batch, and begins to send it. */
  async #readBatch(): Promise<void> {
    const slots: (BulkItem | MailError)[] = [];
    try {
      while (slots.length < this.#sender.size) {
        const next = () => this.#input.next();
        const { value, done } = await abortable<IteratorResult<Message>>(this.#options.signal, next);
        if (!this.#more) return; // the caller stopped reading: nothing more is sent
        if (done) {
          this.#more = false;
          break;
        }
        if (this.#messages++ >= this.#options.start) slots.push(this.#check(value, this.#messages - 1));
      }
    } catch (reason) {
      if (!this.#more) return;
      this.#more = false;
      this.#failure = { reason };
    }
    if (slots.length > 0) this.#batches.push(this.#sendBatch(slots));
    this.#reading = undefined;
  }

  /** Checks a message at once: the caller may change the object for the next one. */
  #check(input: Message, index: number): BulkItem | MailError {
    try {
      const message = prepareMessage(input);
      const key = this.#options.idempotencyKey?.(message, index);
      checkIdempotencyKey(key);
      return { message, key };
    } catch (error) {
      return asMailError(this.#mailer.name, error);
    }
  }

  /** Sends the valid messages of a batch; one outcome per slot, in order. */
  async #sendBatch(slots: readonly (BulkItem | MailError)[]): Promise<Outcome[]> {
    const { signal, timeout } = this.#options;
    const items = slots.filter((slot): slot is BulkItem => !(slot instanceof MailError));
    const outcomes = items.length === 0 ? [] : await settledBatch(
      this.#mailer.name,
      items.length,
      () =>
        this.#sender.send(items.map(({ message }) => message), items.map(({ key }) => key), {
          signal,
          timeout,
        }),
    );
    let next = 0;
    return slots.map((slot) => slot instanceof MailError ? slot : outcomes[next++]!);
  }
}

/** The outcomes of a batch. The delivery of a message without a result of the sender is unknown. */
export async function settledBatch(
  mailer: string,
  count: number,
  send: () => readonly Promise<Receipt>[],
): Promise<Outcome[]> {
  let sending: readonly Promise<Receipt>[];
  try {
    sending = send();
  } catch (error) {
    return Array(count).fill(asMailError(mailer, error));
  }
  return await Promise.all(Array.from({ length: count }, async (_, i) => {
    try {
      return await (sending[i] ?? Promise.reject(new Error("the sender gave no answer")));
    } catch (error) {
      return asMailError(mailer, error);
    }
  }));
}
