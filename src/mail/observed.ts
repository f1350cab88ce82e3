/** Tells what a mailer does, to whoever measures. */
import { type Clock, systemClock } from "../clock.ts";
import type { HoldfastErrorCode } from "../errors.ts";
import { openBulk } from "./_bulk_sender.ts";
import { type Delivery, MailError } from "./mail_error.ts";
import type { BulkSender, Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message } from "./message.ts";
import { asMailError } from "./outcome.ts";

/** One message a mailer was given, without anything of the message: no address, subject, key or id. */
export interface MailOperation {
  /** Always `mailer`. */
  readonly contract: "mailer";
  /** How it was given. What {@linkcode sendBulk} itself refuses as not valid never reaches a mailer. */
  readonly operation: "send" | "sendBulk";
  /** The mailer's name. */
  readonly engine: string;
  /** How long it took, in milliseconds; in a bulk, its batch. */
  readonly durationMs: number;
  /** `sent`, or the error's code. */
  readonly outcome: "sent" | HoldfastErrorCode;
  /** What is known of a message that failed. */
  readonly delivery?: Delivery | undefined;
  /** How many recipients were refused while it was taken for the rest (SMTP). */
  readonly rejected?: number | undefined;
}

/** Options of {@linkcode observed}. */
export interface ObservedOptions {
  /** Hears of every message. What it throws is dropped: a sent message must not look failed. */
  readonly onOperation: (operation: MailOperation) => void;
  /**
   * Who measures.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * A mailer that reports. Inside {@linkcode retrying} it reports attempts, around it messages. Batches stay batches:
 * {@linkcode sendBulk} sends through it as through the mailer itself.
 *
 * @example
 * ```ts
 * import { memoryMailer, observed, retrying } from "@holdfast/edge";
 * const outcomes: string[] = [];
 * const mailer = retrying(observed(memoryMailer(), { onOperation: ({ outcome }) => outcomes.push(outcome) }));
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * if (outcomes.join() !== "sent") throw new Error("unexpected");
 * ```
 */
export function observed(mailer: Mailer, options: ObservedOptions): Mailer {
  return new Observed(mailer, options);
}

class Observed implements Mailer {
  readonly name: string;
  readonly deduplicates: boolean;
  readonly #mailer: Mailer;
  readonly #hook: (operation: MailOperation) => void;
  readonly #clock: Clock;

  constructor(mailer: Mailer, { onOperation, clock = systemClock }: ObservedOptions) {
    this.name = mailer.name;
    this.deduplicates = mailer.deduplicates;
    this.#mailer = mailer;
    this.#hook = onOperation;
    this.#clock = clock;
  }

  send(message: Message, options?: SendOptions): Promise<Receipt> {
    return this.#told("send", this.#clock.monotonic(), () => this.#mailer.send(message, options));
  }

  /** Passes on how the other mailer sends many, and reports every message of it. */
  openBulk(): BulkSender {
    const inner = openBulk(this.#mailer);
    return {
      size: inner.size,
      send: (...batch) => {
        const since = this.#clock.monotonic();
        return inner.send(...batch).map((one) => this.#told("sendBulk", since, () => one));
      },
      close: async () => await inner.close?.(),
    };
  }

  async #told(
    operation: MailOperation["operation"],
    since: number,
    work: () => Promise<Receipt>,
  ): Promise<Receipt> {
    try {
      const receipt = await work();
      this.#tell(operation, since, receipt);
      return receipt;
    } catch (error) {
      this.#tell(operation, since, asMailError(this.name, error));
      throw error;
    }
  }

  #tell(operation: MailOperation["operation"], since: number, outcome: Receipt | MailError): void {
    const error = outcome instanceof MailError ? outcome : undefined;
    const rejected = outcome instanceof MailError ? undefined : outcome.rejected?.length;
    try {
      this.#hook({
        contract: "mailer",
        operation,
        engine: this.name,
        durationMs: this.#clock.monotonic() - since,
        outcome: error?.code ?? "sent",
        ...(error && { delivery: error.delivery }),
        ...(rejected && { rejected }),
      });
    } catch {
      // said in the options
    }
  }
}
