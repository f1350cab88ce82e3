/** Several mailers as one: the next is asked when it is certain that the one before did not send. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { MAX_RETRY_AFTER } from "../retry_after.ts";
import { safely } from "../safely.ts";
import { randomToken } from "../secret.ts";
import { faultClass } from "../fault_class.ts";
import {
  checkArray,
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptionNames,
  type OptionNames,
} from "../validate.ts";
import { aborted, checkMailer, prepareCall, restated } from "./_combinator.ts";
import { noteWrapper, sendBy } from "./_inner_mailer.ts";
import { type MailError, mailError, unsupported } from "./mail_error.ts";
import type { Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message, PreparedMessage } from "./message.ts";
import { asMailError } from "./outcome.ts";
import { deferredOf, mergeFailure, mergeReceipts } from "./partial.ts";

/**
 * Options of {@linkcode failover}.
 *
 * @category Mail
 */
export interface FailoverOptions {
  /**
   * The share of the mail that each mailer gets, as positive integers in the order of the mailers. With
   * weights the order is drawn for every message.
   * @default {undefined} (always in the order given)
   */
  readonly weights?: readonly number[] | undefined;
  /**
   * The time for which a mailer that failed is tried after the others; a longer Retry-After counts in full,
   * up to a day. It is known to this isolate alone.
   * @default {"30s"}
   */
  readonly cooldown?: Duration | undefined;
  /**
   * The choice when it is unknown whether a mailer sent the message: `stop` with the error, or ask the `next`
   * one, which may deliver the message twice: once by each provider. For messages that matter more than a
   * duplicate, such as a code to log in.
   * @default {"stop"}
   */
  readonly whenUnknown?: "stop" | "next" | undefined;
  /**
   * Called with every fault of a mailer that is a misconfiguration (`unauthorized`, `misconfigured`,
   * `quota-exceeded` …), also when another mailer takes the message. What it throws is dropped.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The clock for the cooldown.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const TASK = "make a mailer with failover";
const OPTIONS = {
  weights: true,
  cooldown: true,
  whenUnknown: true,
  onFault: true,
  clock: true,
} satisfies OptionNames<FailoverOptions>;

/** The faults of a message that another mailer may take; they say nothing of the mailer's health. */
const UNSUPPORTED_CODES: readonly string[] = ["unsupported", "message-too-large"];

/**
 * A mailer that asks the next one when the one before certainly did not send: it was down, refused the key,
 * had no quota left, or cannot do what the message needs. It asks no other one when the message itself was
 * refused, nor after `delivery: "unknown"`, unless `whenUnknown` is `next`. A mailer that failed lately is
 * tried last.
 *
 * When a mailer took the message for some recipients and deferred others, the next ones that can select
 * recipients are asked for those others alone. What remains is the receipt's `deferred`.
 *
 * All are asked under one key, drawn if the caller gave none. It keeps a message from being sent twice by one
 * provider, not by two. So an unknown outcome is never retryable here: let each mailer retry for itself
 * (`failover([retrying(a), retrying(b)])`), and put {@linkcode idempotent} around the whole where the caller
 * may repeat.
 *
 * {@linkcode sendBulk} sends through it one by one: what one provider refused of a batch another may take.
 *
 * @throws {TypeError} when there is no array of mailers, or an option is not known
 * @throws {RangeError} when there is no mailer, or not a positive weight for each
 * @category Mail
 * @example
 * ```ts
 * import { failover, memoryMailer, retrying } from "@holdfast/edge/mail";
 * const [first, second] = [memoryMailer(), memoryMailer()];
 * const mailer = failover([retrying(first), retrying(second)], { cooldown: "1m" });
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * if (first.outbox.length !== 1) throw new Error("unexpected");
 * ```
 */
export function failover(mailers: readonly Mailer[], options: FailoverOptions = {}): Mailer {
  checkArray(TASK, "mailers, as in failover([first, second])", mailers);
  if (mailers.length === 0) throw new RangeError(`Cannot ${TASK} as it needs an array of mailers, not empty`);
  for (const mailer of mailers) checkMailer(`${TASK}, an array of mailers,`, mailer);
  checkOptionNames(TASK, options, OPTIONS);
  const { weights, onFault } = options;
  checkFunction(TASK, "onFault", onFault);
  checkOneOf(TASK, "whenUnknown", options.whenUnknown ?? "stop", ["stop", "next"]);
  if (weights !== undefined) checkArray(TASK, "'weights'", weights);
  if (weights !== undefined && weights.length !== mailers.length) {
    throw new RangeError(
      `Cannot ${TASK} as 'weights' must hold one for each of ${mailers.length}: current length is ${weights.length}`,
    );
  }
  weights?.forEach((weight, i) => checkInteger(TASK, `weights[${i}]`, weight));
  return new Failover(mailers, options);
}

/** A mailer and what is known of it. */
interface Choice {
  readonly mailer: Mailer;
  readonly weight: number;
  downUntil: number;
}

class Failover implements Mailer {
  readonly name: string;
  readonly deduplicates: boolean;
  readonly selectsRecipients: boolean;
  readonly #choices: readonly Choice[];
  readonly #weighted: boolean;
  readonly #cooldown: number;
  readonly #goesOn: boolean;
  readonly #onFault: (error: unknown) => void;
  readonly #clock: Clock;

  constructor(mailers: readonly Mailer[], options: FailoverOptions) {
    const { weights, cooldown, whenUnknown, onFault, clock } = options;
    noteWrapper(this);
    this.name = [...new Set(mailers.map(({ name }) => name))].join(" or ");
    this.#choices = mailers.map((mailer, i) => ({ mailer, weight: weights?.[i] ?? 1, downUntil: -Infinity }));
    this.deduplicates = mailers.length === 1 && mailers[0]!.deduplicates;
    this.selectsRecipients = mailers.some((mailer) => mailer.selectsRecipients);
    this.#weighted = weights !== undefined;
    this.#cooldown = toMilliseconds(cooldown ?? "30s", "cooldown");
    this.#goesOn = whenUnknown === "next";
    this.#onFault = safely(onFault);
    this.#clock = clock ?? systemClock;
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const prepared = prepareCall(this.name, message, options);
    const named = options.idempotencyKey !== undefined;
    const keyed = { ...options, idempotencyKey: options.idempotencyKey ?? randomToken(16) };
    const order = this.#order().filter(({ mailer }) => !options.recipients || mailer.selectsRecipients);
    if (order.length === 0) throw unsupported(this.name, "sending to some of the recipients");
    const errors: MailError[] = [];
    let unsure = false; // whether one of them may have sent: nothing that comes later changes it
    for (const [i, choice] of order.entries()) {
      try {
        const receipt = await sendBy(choice.mailer, prepared, keyed);
        choice.downUntil = -Infinity;
        return await this.#sendDeferred(prepared, keyed, receipt, order.slice(i + 1));
      } catch (thrown) {
        if (thrown instanceof TypeError || thrown instanceof RangeError) throw thrown; // the caller's own
        const error = asMailError(choice.mailer.name, thrown);
        this.#judge(choice, error);
        if (error.delivery === "unknown" && this.#goesOn && !options.signal?.aborted) {
          unsure = true;
          errors.push(error);
          continue;
        }
        if (unsure && !mayBeAnothers(error)) {
          throw restated(error, { delivery: "unknown", retryable: false });
        }
        if (error.delivery === "unknown") {
          // Repeated from here it could reach another mailer, which knows nothing of the key, or be drawn
          // another key.
          const blind = error.retryable && !(this.deduplicates && named);
          throw blind ? restated(error, { retryable: false }) : error;
        }
        if (!mayBeAnothers(error)) throw error;
        errors.push(error);
        if (options.signal?.aborted && !unsure) throw aborted(this.name, options.signal);
        if (options.signal?.aborted) break;
      }
    }
    throw this.#allFailed(errors, unsure);
  }

  /** Asks the mailers that are left for the recipients that were deferred, and them alone. */
  async #sendDeferred(
    message: PreparedMessage,
    options: SendOptions,
    first: Receipt,
    choices: readonly Choice[],
  ): Promise<Receipt> {
    let receipt = first;
    for (const choice of choices) {
      const recipients = deferredOf(receipt);
      if (recipients.length === 0 || options.signal?.aborted) break;
      if (!choice.mailer.selectsRecipients) continue;
      try {
        receipt = mergeReceipts(receipt, await sendBy(choice.mailer, message, { ...options, recipients }));
      } catch (thrown) {
        const error = asMailError(choice.mailer.name, thrown);
        this.#judge(choice, error);
        receipt = mergeFailure(receipt, error);
      }
    }
    return receipt;
  }

  /** The healthy ones first; among the others the one that is back first. */
  #order(): readonly Choice[] {
    const now = this.#clock.monotonic();
    const down = ({ downUntil }: Choice) => downUntil > now ? downUntil : 0;
    const order = this.#weighted ? drawn(this.#choices) : [...this.#choices];
    return order.sort((a, b) => down(a) - down(b));
  }

  #judge(choice: Choice, error: MailError): void {
    if (UNSUPPORTED_CODES.includes(error.code) || error.code === "aborted") return;
    if (!mayBeAnothers(error) && error.delivery === "not-sent") return; // the message's fault
    if (faultClass(error) === "misconfiguration") this.#onFault(error);
    choice.downUntil = this.#clock.monotonic() +
      Math.max(this.#cooldown, Math.min(error.retryAfter ?? 0, MAX_RETRY_AFTER));
  }

  #allFailed(errors: readonly MailError[], unsure: boolean): MailError {
    const retryable = errors.filter((error) => error.retryable);
    const said = (retryable[0] ?? errors[0])!;
    const soonest = Math.min(...retryable.map(({ retryAfter }) => retryAfter ?? 0));
    return mailError(this.name, said.code, `each of its ${errors.length} mailers failed`, {
      phase: said.phase,
      status: said.status,
      ...(unsure && { delivery: "unknown" }),
      // Repeated, it could be sent once more by a mailer that may have sent it already.
      retryable: !unsure && retryable.length > 0,
      ...(soonest > 0 && soonest < Infinity && { retryAfter: soonest }),
      cause: errors.length === 1 ? errors[0] : new AggregateError(errors),
    });
  }
}

/**
 * Whether another mailer may be asked: the fault passes, or is one of this mailer alone. `in-progress` is
 * neither, as another call with the key may be sending right now.
 */
function mayBeAnothers(error: MailError): boolean {
  if (error.code === "in-progress" || error.code === "aborted") return false;
  return error.retryable || UNSUPPORTED_CODES.includes(error.code) ||
    faultClass(error) === "misconfiguration";
}

/** An order drawn by weight. */
function drawn(choices: readonly Choice[]): Choice[] {
  return choices
    .map((choice) => ({ choice, at: -Math.log(1 - Math.random()) / choice.weight }))
    .sort((a, b) => a.at - b.at)
    .map(({ choice }) => choice);
}
