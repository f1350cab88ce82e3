/** Reports what a mailer does, for measurements. */
import { type Clock, systemClock } from "../clock.ts";
import type { HoldfastErrorCode } from "../errors.ts";
import { safely } from "../safely.ts";
import { checkFunction, checkNeededOptions, type OptionNames } from "../validate.ts";
import { noteWrapper, openBulk, sendBy } from "./_inner_mailer.ts";
import { checkMailer } from "./_combinator.ts";
import { type Delivery, MailError } from "./mail_error.ts";
import type { BulkSender, Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message } from "./message.ts";
import { asMailError } from "./outcome.ts";

/**
 * One call of a mailer, without anything of its message: no address, subject, key or id.
 *
 * @category Mail
 */
export interface MailOperation {
  /** Always `mailer`. */
  readonly contract: "mailer";
  /** The method. What {@linkcode sendBulk} itself refuses as not valid never reaches a mailer. */
  readonly operation: "send" | "sendBulk";
  /** The mailer's name. */
  readonly engine: string;
  /** The duration in milliseconds; in a bulk, that of its batch. */
  readonly durationMs: number;
  /** `sent`, or the error's code. */
  readonly outcome: "sent" | HoldfastErrorCode;
  /** The delivery of a message that failed. */
  readonly delivery?: Delivery | undefined;
  /** The number of recipients that were refused for good while the message was taken for others (SMTP). */
  readonly rejected?: number | undefined;
  /** The number of recipients that were refused for now while the message was taken for others (SMTP). */
  readonly deferred?: number | undefined;
}

/**
 * A call of a mailer that begins, without anything of its message.
 *
 * @category Mail
 */
export type MailCall = Pick<MailOperation, "contract" | "operation" | "engine">;

/**
 * Options of {@linkcode observed}; at least one of the two hooks.
 *
 * @category Mail
 */
export interface ObservedOptions {
  /** Called after every message. What it throws is dropped: a sent message must not look failed. */
  readonly onOperation?: ((operation: MailOperation) => void) | undefined;
  /**
   * Called around each `send`, so that a span of it is the parent of the requests below. It calls `run` once,
   * and returns or throws what that does: its own errors are errors of the call. Not called for the messages
   * of a bulk, as they share requests.
   */
  readonly around?: (<T>(call: MailCall, run: () => Promise<T>) => Promise<T>) | undefined;
  /**
   * The clock that measures.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const TASK = "observe a mailer";
const OPTIONS = { onOperation: true, around: true, clock: true } satisfies OptionNames<ObservedOptions>;

/**
 * A mailer that reports. Inside {@linkcode retrying} it reports attempts, around it messages. Batches stay
 * batches: {@linkcode sendBulk} sends through it as through the mailer itself.
 *
 * @category Mail
 * @example
 * ```ts
 * import { memoryMailer, observed, retrying } from "@holdfast/edge/mail";
 * const outcomes: string[] = [];
 * const mailer = retrying(observed(memoryMailer(), { onOperation: ({ outcome }) => outcomes.push(outcome) }));
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * if (outcomes.join() !== "sent") throw new Error("unexpected");
 * ```
 */
export function observed(mailer: Mailer, options: ObservedOptions): Mailer {
  checkMailer(TASK, mailer);
  checkNeededOptions(TASK, options, OPTIONS, "an 'onOperation' or an 'around'");
  checkFunction(TASK, "onOperation", options.onOperation);
  checkFunction(TASK, "around", options.around);
  if (options.onOperation === undefined && options.around === undefined) {
    throw new TypeError(`Cannot ${TASK} as there is no hook: give an 'onOperation' or an 'around'`);
  }
  return new Observed(mailer, options);
}

class Observed implements Mailer {
  readonly name: string;
  readonly deduplicates: boolean;
  readonly selectsRecipients: boolean;
  readonly #mailer: Mailer;
  readonly #hook: (operation: MailOperation) => void;
  readonly #around: ObservedOptions["around"];
  readonly #clock: Clock;

  constructor(mailer: Mailer, { onOperation, around, clock = systemClock }: ObservedOptions) {
    noteWrapper(this);
    this.name = mailer.name;
    this.deduplicates = mailer.deduplicates;
    this.selectsRecipients = mailer.selectsRecipients ?? false;
    this.#mailer = mailer;
    this.#hook = safely(onOperation);
    this.#around = around;
    this.#clock = clock;
  }

  async send(message: Message, options?: SendOptions): Promise<Receipt> {
    const run = () =>
      this.#reported("send", this.#clock.monotonic(), () => sendBy(this.#mailer, message, options));
    if (this.#around === undefined) return await run();
    return await this.#around({ contract: "mailer", operation: "send", engine: this.name }, run);
  }

  /** The inner mailer's way to send many, with a report of every message. */
  openBulk(): BulkSender {
    const inner = openBulk(this.#mailer);
    return {
      size: inner.size,
      repeatable: inner.repeatable,
      send: (...batch) => {
        const since = this.#clock.monotonic();
        return inner.send(...batch).map((one) => this.#reported("sendBulk", since, () => one));
      },
      close: async () => await inner.close?.(),
    };
  }

  async #reported(
    operation: MailOperation["operation"],
    since: number,
    work: () => Promise<Receipt>,
  ): Promise<Receipt> {
    try {
      const receipt = await work();
      this.#report(operation, since, receipt);
      return receipt;
    } catch (error) {
      this.#report(operation, since, asMailError(this.name, error));
      throw error;
    }
  }

  #report(operation: MailOperation["operation"], since: number, outcome: Receipt | MailError): void {
    const error = outcome instanceof MailError ? outcome : undefined;
    const receipt = outcome instanceof MailError ? undefined : outcome;
    this.#hook({
      contract: "mailer",
      operation,
      engine: this.name,
      durationMs: this.#clock.monotonic() - since,
      outcome: error?.code ?? "sent",
      ...(error && { delivery: error.delivery }),
      ...(receipt?.rejected?.length && { rejected: receipt.rejected.length }),
      ...(receipt?.deferred?.length && { deferred: receipt.deferred.length }),
    });
  }
}
