/** How every mailer sends many: in order, while reading, holding little, stopped by nothing but the caller. */
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
export async function settled(mailer: string, sending: Promise<Receipt>): Promise<Receipt | MailError> {
  try {
    return await sending;
  } catch (error) {
    return asMailError(mailer, error);
  }
}

/** Whatever was thrown, as an error that says what is known of the message. */
export function asMailError(mailer: string, cause: unknown): MailError {
  if (cause instanceof MailError) return cause;
  const invalid = cause instanceof TypeError || cause instanceof RangeError;
  return invalid
    ? mailError(mailer, "invalid-message", "the message is not valid", { cause })
    : mailError(mailer, "backend-unavailable", "it failed", { delivery: "unknown", phase: "body", cause });
}

/** The `sendBulk` of a mailer that sends one by one. */
export function sendEach(
  mailer: Pick<Mailer, "name" | "send">,
  messages: Iterable<Message> | AsyncIterable<Message>,
  options: BulkOptions = {},
): AsyncIterableIterator<BulkResult> {
  const { signal, timeout } = options;
  return sendInBatches(mailer.name, messages, options, 1, (items) =>
    Promise.all(
      items.map(({ message, idempotencyKey }) =>
        settled(mailer.name, mailer.send(message, { signal, timeout, idempotencyKey }))
      ),
    ));
}

/** A batch under way, and its outcome once it is there. */
interface Batch {
  readonly done: Promise<void>;
  results?: readonly BulkResult[];
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
  if (typeof messages !== "object" || typeof open !== "function") {
    throw new TypeError("Cannot send in bulk as 'messages' must be iterable");
  }
  if (!(Number.isInteger(concurrency) && concurrency > 0)) {
    throw new RangeError(
      `Cannot send in bulk as 'concurrency' must be a positive integer: current value is ${concurrency}`,
    );
  }

  /** Checked as it is read: the caller may use the object again. */
  function itemOf(message: Message, index: number): BulkItem | MailError {
    try {
      const prepared = prepareMessage(message);
      const key = idempotencyKey?.(prepared, index);
      checkIdempotencyKey(key);
      return { index, message: prepared, idempotencyKey: key };
    } catch (error) {
      return asMailError(mailer, error);
    }
  }

  function start(slots: readonly (BulkItem | MailError)[], first: number): Batch {
    const items = slots.filter((slot): slot is BulkItem => !(slot instanceof MailError));
    const sending = items.length === 0 ? Promise.resolve([]) : send(items);
    const batch: Batch = {
      done: sending.catch((error) => items.map(() => asMailError(mailer, error))).then((outcomes) => {
        let next = 0;
        batch.results = slots.map((slot, i): BulkResult => {
          const outcome = slot instanceof MailError ? slot : outcomes[next++]!;
          return outcome instanceof MailError
            ? { index: first + i, state: "failed", error: outcome }
            : { index: first + i, state: "sent", receipt: outcome };
        });
      }),
    };
    return batch;
  }

  return (async function* () {
    const input = open.call(messages) as Iterator<Message> | AsyncIterator<Message>;
    const batches: Batch[] = [];
    const over = new AbortController();
    const aborted = new Promise<void>((resolve) =>
      signal?.addEventListener("abort", () => resolve(), { once: true, signal: over.signal })
    );
    let slots: (BulkItem | MailError)[] = [];
    let index = 0;
    let reading: Promise<void> | undefined;
    let failure: { readonly reason: unknown } | undefined;
    let ended = false;
    const read = async () => {
      try {
        const { value, done } = await input.next();
        if (done) ended = true;
        else if (failure === undefined) slots.push(itemOf(value, index++));
      } catch (reason) {
        ended = true;
        failure ??= { reason };
      }
    };
    try {
      for (;;) {
        if (signal?.aborted) failure ??= { reason: signal.reason };
        const more = !ended && failure === undefined;
        if (slots.length === size || (!more && slots.length > 0)) {
          batches.push(start(slots, index - slots.length));
          slots = [];
        }
        if (more && batches.length < concurrency) reading ??= read().then(() => void (reading = undefined));
        if (batches[0]?.results) {
          yield* batches.shift()!.results!;
        } else if (batches.length > 0 || more) {
          const waits = [batches[0]?.done, reading, failure === undefined ? aborted : undefined];
          await Promise.race(waits.filter((wait) => wait !== undefined));
        } else break;
      }
      if (failure) throw failure.reason;
    } finally {
      over.abort();
      if (!ended) Promise.resolve(input.return?.()).catch(() => {}); // it may be busy for ever
      await Promise.all(batches.map(({ done }) => done)); // whoever stops listening still has sent these
    }
  })();
}
