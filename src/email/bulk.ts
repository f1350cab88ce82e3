/** How every mailer sends many: in order, while reading, holding little, stopped by nothing but the caller. */
import { need } from "./address.ts";
import { MailError, mailError } from "./mail_error.ts";
import {
  type BulkOptions,
  type BulkResult,
  checkIdempotencyKey,
  type Mailer,
  type Receipt,
} from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "./message.ts";

/** One message of a bulk, checked. */
export interface BulkItem {
  /** Its place in the input. */
  readonly index: number;
  /** What to send. */
  readonly message: PreparedMessage;
  /** Names its sending. */
  readonly idempotencyKey: string | undefined;
}

/** What sends up to `size` messages as one request, or in whatever way suits them; one outcome each, in order. */
export type SendBatch = (items: readonly BulkItem[]) => Promise<readonly (Receipt | MailError)[]>;

/** One outcome for one message: the error, or what came back. */
export async function settled<T>(mailer: string, work: () => Promise<T>): Promise<T | MailError> {
  try {
    return await work();
  } catch (error) {
    return asMailError(mailer, error);
  }
}

/** Whatever was thrown, as an error that says what is known of the message. */
export function asMailError(mailer: string, cause: unknown): MailError {
  if (cause instanceof MailError) return cause;
  return cause instanceof TypeError || cause instanceof RangeError
    ? mailError(mailer, "invalid-message", "it is not valid", { cause })
    : mailError(mailer, "backend-unavailable", "it failed", { delivery: "unknown", phase: "body", cause });
}

/** The `sendBulk` of a mailer that sends one by one. */
export function sendEach(
  mailer: Pick<Mailer, "name" | "send">,
  messages: Iterable<Message> | AsyncIterable<Message>,
  options: BulkOptions = {},
): AsyncIterableIterator<BulkResult> {
  return sendInBatches(mailer.name, messages, options, 1, ([item]) => {
    const { message, idempotencyKey } = item!;
    const sending = settled(mailer.name, () => mailer.send(message, { ...options, idempotencyKey }));
    return Promise.all([sending]);
  });
}

/** Waits for the work, but no longer than for the signal. */
export function abortable<T>(signal: AbortSignal | undefined, work: () => T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => reject(signal!.reason);
    signal?.addEventListener("abort", abort);
    Promise.resolve(work()).then(resolve, reject).finally(() => signal?.removeEventListener("abort", abort));
  });
}

/**
 * The `sendBulk` of a mailer.
 *
 * @throws {TypeError} when the messages cannot be iterated
 * @throws {RangeError} when `concurrency` is not a positive integer
 */
export function sendInBatches(
  mailer: string,
  messages: Iterable<Message> | AsyncIterable<Message>,
  options: BulkOptions,
  size: number,
  send: SendBatch,
): AsyncIterableIterator<BulkResult> {
  const { concurrency = 5, signal, idempotencyKey } = options;
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
      return { index, message, idempotencyKey: key };
    } catch (error) {
      return asMailError(mailer, error);
    }
  }

  async function start(slots: readonly (BulkItem | MailError)[]): Promise<(Receipt | MailError)[]> {
    const items = slots.filter((slot): slot is BulkItem => !(slot instanceof MailError));
    const sent = items.length > 0 ? await settled(mailer, () => send(items)) : [];
    let next = 0;
    return slots.map((slot) =>
      slot instanceof MailError ? slot : sent instanceof MailError ? sent : sent[next++]!
    );
  }

  return (async function* () {
    const input = open.call(messages) as Iterator<Message> | AsyncIterator<Message>;
    const batches: Promise<(Receipt | MailError)[]>[] = [];
    let read = 0;
    let told = 0;
    let more = true;
    let failure: { readonly reason: unknown } | undefined;
    let reading: Promise<void> | undefined;
    const fill = async () => {
      const slots: (BulkItem | MailError)[] = [];
      try {
        while (slots.length < size) {
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
      if (slots.length > 0) batches.push(start(slots));
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
    }
  })();
}
