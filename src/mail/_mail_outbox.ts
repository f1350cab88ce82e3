/** The outbox of mail: messages as items, errors as mailers give them. */
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { DrainOptions } from "../outbox/outbox.ts";
import type { StoredOutbox } from "../outbox/stored_outbox.ts";
import { randomToken } from "../secret.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import { LONGEST_TIMER } from "../timer.ts";
import { prepareCall } from "./_combinator.ts";
import { noteWrapper } from "./_inner_mailer.ts";
import { type DeliverySettings, MailDelivery } from "./_mail_delivery.ts";
import { fingerprintOf, packMessage, unpackMessage } from "./_packed_message.ts";
import { readInTime } from "./_read_in_time.ts";
import { type MailError, mailError, unsupported } from "./mail_error.ts";
import type { SendOptions } from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "./message.ts";
import type { MailOutbox, MailOutboxReceipt, MailOutboxReport } from "./outbox.ts";

/** The class behind `outbox`. */
export class StoredMailOutbox implements MailOutbox {
  readonly name = "outbox";
  readonly deduplicates = true;
  readonly #queue: StoredOutbox;
  readonly #delivery: DeliverySettings;

  constructor(queue: StoredOutbox, delivery: DeliverySettings) {
    noteWrapper(this);
    this.#queue = queue;
    this.#delivery = delivery;
  }

  async send(message: Message, options: SendOptions = {}): Promise<MailOutboxReceipt> {
    const prepared = prepareCall(this.name, message, options);
    if (options.recipients) throw unsupported(this.name, "sending to some of the recipients");
    await readInTime(prepared, this.name, options);
    const item = {
      key: options.idempotencyKey ?? randomToken(16),
      fingerprint: await fingerprintOf(prepared, this.name),
      content: await packMessage(prepared, this.name),
      due: prepared.sendAt?.getTime() ?? 0,
    };
    if (this.#queue.isTooLarge(item)) throw this.#tooLarge();
    const call = { signal: callSignal(options) };
    const { id, state } = await this.#queue.queue(
      item,
      call,
      (last, step) => this.#stored(options, last, step),
    );
    if (state === "mismatch") {
      throw mailError(this.name, "fingerprint-mismatch", "the idempotency key was used for another message");
    }
    if (state === "full") {
      throw mailError(this.name, "store-full", "too many messages wait in its bucket", { retryable: true });
    }
    return { mailer: this.name, id, state };
  }

  async drain(options?: DrainOptions): Promise<MailOutboxReport> {
    const delivery = new MailDelivery(this.#delivery);
    const { done: sent, left: deferred, ...counts } = await this.#queue.drain(delivery, options);
    return { ...counts, sent, deferred, rejected: delivery.rejected };
  }

  list: MailOutbox["list"] = (options) => this.#queue.list(options);

  async read(id: string, options?: CallOptions): Promise<PreparedMessage | undefined> {
    const fields = await this.#queue.read(id, options);
    return fields.body === undefined ? undefined : prepareMessage(unpackMessage(fields));
  }

  requeue(id: string, options?: CallOptions): Promise<boolean> {
    return this.#queue.requeue(id, options);
  }

  discard(id: string, options?: CallOptions): Promise<boolean> {
    return this.#queue.discard(id, options);
  }

  /**
   * Runs a step of queueing. A message is never sent before the index has it: only that step can leave it
   * unknown.
   */
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
      if (!ours && !isSignalTimeout(error)) throw error;
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
    const { engine, limits } = this.#queue.settings.store;
    return mailError(this.name, "message-too-large", `${engine} holds at most ${limits.maxValueLength}`, {
      cause,
    });
  }
}

function callSignal({ signal, timeout }: SendOptions): AbortSignal | undefined {
  if (timeout === undefined) return signal;
  const late = AbortSignal.timeout(Math.min(toMilliseconds(timeout, "timeout"), LONGEST_TIMER));
  return signal ? AbortSignal.any([signal, late]) : late;
}

/** The reason of `AbortSignal.timeout()`: the call took longer than its `timeout`. */
function isSignalTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}
