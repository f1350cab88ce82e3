/** Delivery of the messages of an outbox by a mailer: what a receipt or an error means for the queue. */
import type { Clock } from "../clock.ts";
import { faultClass } from "../fault_class.ts";
import type { Delivery, Outcome } from "../outbox/delivery.ts";
import { safely } from "../safely.ts";
import type { Fields } from "../store/transition.ts";
import { sendBy } from "./_inner_mailer.ts";
import { unpackMessage } from "./_packed_message.ts";
import { MailError, mailError } from "./mail_error.ts";
import type { Mailer, Receipt } from "./mailer.ts";
import { type PreparedMessage, prepareMessage } from "./message.ts";
import { asMailError } from "./outcome.ts";

/** The options of a mail outbox that concern sending. */
export interface DeliverySettings {
  readonly mailer: Mailer;
  readonly attemptTimeout: number | undefined;
  /** The clock of the outbox. */
  readonly clock: Clock;
  /**
   * Whether an unknown outcome may be followed by another attempt although the mailer does not deduplicate.
   */
  readonly resend: boolean;
  readonly onFault: ((error: unknown) => void) | undefined;
}

/** For one run, of which it counts the recipients that were refused for good. */
export class MailDelivery implements Delivery {
  readonly repeats: boolean;
  rejected = 0;
  readonly #settings: DeliverySettings;

  constructor(settings: DeliverySettings) {
    this.#settings = settings;
    this.repeats = settings.resend || settings.mailer.deduplicates;
  }

  async deliver(item: Fields): Promise<Outcome> {
    const outcome = await this.#send(item);
    return outcome instanceof MailError ? this.#refused(outcome) : this.#taken(outcome);
  }

  /** The mailer took the message, for some recipients at least. */
  #taken(receipt: Receipt): Outcome {
    const { mailer, resend } = this.#settings;
    const { rejected = [], deferred = [], unknown = [] } = receipt;
    this.rejected += rejected.length;
    const left = [...mailer.selectsRecipients ? deferred.map(({ address }) => address) : [], ...unknown];
    if (left.length > 0) {
      const doubt = unknown.length > 0;
      return { state: "partial", left, again: !doubt || resend, unknown: doubt, code: "message-rejected" };
    }
    this.rejected += deferred.length; // this mailer cannot send to them alone
    return { state: "done" };
  }

  /** The mailer did not take the message, or it is unknown whether it did. */
  #refused(error: MailError): Outcome {
    const unknown = error.delivery === "unknown";
    const fault = faultClass(error) === "misconfiguration" && error.code !== "unsupported";
    if (fault) safely(this.#settings.onFault)(error);
    // A misconfiguration is not the message's: it stays queued until it is mended, or until its attempts are
    // used up. One of unknown outcome is a mailer that sends and gives no receipt: each attempt would send
    // again.
    const again = fault ? !unknown : error.retryable || (this.#settings.resend && unknown);
    return { state: "failed", again, unknown, code: error.code, retryAfter: error.retryAfter };
  }

  /** Sends a message, to the recipients that are left. */
  async #send(item: Fields): Promise<Receipt | MailError> {
    const { mailer, attemptTimeout, clock } = this.#settings;
    let message: PreparedMessage;
    let recipients: readonly string[] | undefined;
    try {
      message = prepareMessage(unpackMessage(item));
      if (item.left !== undefined) recipients = JSON.parse(item.left) as readonly string[];
    } catch (cause) {
      return mailError(mailer.name, "corrupt-record", "the stored message cannot be read", { cause });
    }
    try {
      const options = {
        idempotencyKey: item.key,
        timeout: attemptTimeout,
        ...(recipients && { recipients }),
      };
      return await sendBy(mailer, message, options, clock);
    } catch (error) {
      return asMailError(mailer.name, error);
    }
  }
}
