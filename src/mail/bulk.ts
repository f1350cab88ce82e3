/** Sending many: in order, while reading, holding little, stopped by nothing but the caller. */
import { openBulk } from "./_bulk_sender.ts";
import { need } from "./address.ts";
import { MailError } from "./mail_error.ts";
import {
  type BulkSender,
  checkIdempotencyKey,
  type Mailer,
  type Receipt,
  type SendOptions,
} from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "./message.ts";
import { abortable, asMailError } from "./outcome.ts";

/** Options of {@linkcode sendBulk}. */
export interface BulkOptions extends Omit<SendOptions, "idempotencyKey"> {
  /**
   * Names each sending; called once per message, in order, before its first attempt. Where the mailer deduplicates, the whole
   * bulk may be repeated with the same messages and keys in the same order. One message alone may be when its error is
   * `retryable`; where messages travel in batches, a message whose delivery is `unknown` is not.
   */
  readonly idempotencyKey?: ((message: Message, index: number) => string) | undefined;
  /**
   * How many requests may be under way at once. Where the provider takes batches, a request is a batch.
   * @default {5}
   */
  readonly concurrency?: number | undefined;
}

/** What became of one message of a bulk. */
export type BulkResult =
  | { readonly index: number; readonly state: "sent"; readonly receipt: Receipt }
  | { readonly index: number; readonly state: "failed"; readonly error: MailError };

/** One message of a bulk, checked. */
interface BulkItem {
  readonly message: PreparedMessage;
  readonly key: string | undefined;
}

/**
 * Sends many: one result per message, in order, while the input is still being read; no more than `concurrency` requests'
 * worth of messages are held. A failure stops nothing. When the signal aborts or the input fails, no more is read, what was
 * read gets its results, and then the iteration rejects with the reason.
 *
 * Mailers whose provider takes batches get them (Resend: 100 messages each), which never merge recipients of different
 * messages; all others, and most mailers around mailers, send one by one.
 *
 * @throws {TypeError} when the messages cannot be iterated
 * @throws {RangeError} when `concurrency` is not a positive integer
 * @example
 * ```ts
 * import { memoryMailer, sendBulk } from "@holdfast/edge";
 * const mailer = memoryMailer();
 * const messages = ["jane@example.com", "john@example.com", "nobody"].map((to) => (
 *   { from: "shop@example.com", to, subject: "Hello", text: "Hello" }
 * ));
 * const failed: number[] = [];
 * for await (const { state, index } of sendBulk(mailer, messages)) if (state === "failed") failed.push(index);
 * if (mailer.outbox.length !== 2 || failed.join() !== "2") throw new Error("unexpected");
 * ```
 */
export function sendBulk(
  mailer: Mailer,
  messages: Iterable<Message> | AsyncIterable<Message>,
  options: BulkOptions = {},
): AsyncIterableIterator<BulkResult> {
  const { concurrency = 5, signal, timeout, idempotencyKey } = options;
  const open = (messages as AsyncIterable<Message>)?.[Symbol.asyncIterator] ??
    (messages as Iterable<Message>)?.[Symbol.iterator];
  need(typeof messages === "object" && open, "messages", "must be iterable");
  if (!(Number.isInteger(concurrency) && concurrency > 0)) {
    throw new RangeError(
      `Cannot send as 'concurrency' must be a positive integer: current value is ${concurrency}`,
    );
  }

  /** Checked as it is read, at once: the caller may use the object again, and may have left a moment later. */
  function itemOf(input: Message, index: number): BulkItem | MailError {
    try {
      const message = prepareMessage(input);
      const key = idempotencyKey?.(message, index);
      checkIdempotencyKey(key);
      return { message, key };
    } catch (error) {
      return asMailError(mailer.name, error);
    }
  }

  async function start(
    sender: BulkSender,
    slots: readonly (BulkItem | MailError)[],
  ): Promise<(Receipt | MailError)[]> {
    const items = slots.filter((slot): slot is BulkItem => !(slot instanceof MailError));
    const batch = async () => {
      const messages = items.map(({ message }) => message);
      const sending = sender.send(messages, items.map(({ key }) => key), { signal, timeout });
      // Whoever has no answer is unknown.
      return await Promise.all(
        items.map((_, i) => settled(mailer.name, () => sending[i] ?? Promise.reject(new Error("no answer")))),
      );
    };
    const sent = items.length > 0 ? await settled(mailer.name, batch) : [];
    let next = 0;
    return slots.map((slot) =>
      slot instanceof MailError ? slot : sent instanceof MailError ? sent : sent[next++]!
    );
  }

  return (async function* () {
    const input = open.call(messages) as Iterator<Message> | AsyncIterator<Message>;
    const sender = openBulk(mailer);
    const batches: Promise<(Receipt | MailError)[]>[] = [];
    let read = 0;
    let told = 0;
    let more = true;
    let failure: { readonly reason: unknown } | undefined;
    let reading: Promise<void> | undefined;
    const fill = async () => {
      const slots: (BulkItem | MailError)[] = [];
      try {
        while (slots.length < sender.size) {
          const { value, done } = await abortable<IteratorResult<Message>>(signal, () => input.next());
          if (!more) return; // whoever stopped listening wants no more sent
          if (done) {
            more = false;
            break;
          }
          slots.push(itemOf(value, read++));
        }
      } catch (reason) {
        if (!more) return;
        more = false;
        failure = { reason };
      }
      if (slots.length > 0) batches.push(start(sender, slots));
      reading = undefined;
    };
    try {
      while (more || batches.length > 0) {
        if (more && batches.length < concurrency) reading ??= fill();
        // Whatever comes first: the oldest batch is done, or there is one more.
        const outcomes = await Promise.race([...batches.slice(0, 1), ...(reading ? [reading] : [])]);
        if (!outcomes) continue;
        batches.shift();
        for (const outcome of outcomes) {
          const index = told++;
          yield outcome instanceof MailError
            ? { index, state: "failed", error: outcome }
            : { index, state: "sent", receipt: outcome };
        }
      }
      if (failure) throw failure.reason;
    } finally {
      more = false;
      abortable(undefined, () => input.return?.()).catch(() => {}); // it may be busy for ever
      await Promise.all(batches); // whoever stops listening still has sent these
      await sender.close?.();
    }
  })();
}

/** One outcome for one message: the error, or what came back. */
async function settled<T>(mailer: string, work: () => Promise<T>): Promise<T | MailError> {
  try {
    return await work();
  } catch (error) {
    return asMailError(mailer, error);
  }
}
