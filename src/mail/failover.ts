/** Several mailers as one: the next is asked when it is certain that the one before did not send. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { randomToken } from "../secret.ts";
import { aborted, positiveInteger, prepareCall, restated } from "./_combinator.ts";
import { type MailError, mailError } from "./mail_error.ts";
import type { Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message } from "./message.ts";
import { asMailError } from "./outcome.ts";

/** Options of {@linkcode failover}. */
export interface FailoverOptions {
  /**
   * How much of the mail each mailer gets, as positive integers in the order of the mailers. With weights the order is drawn
   * for every message.
   * @default {undefined} (always in the order given)
   */
  readonly weights?: readonly number[] | undefined;
  /**
   * How long a mailer that failed is tried after the others; a longer Retry-After counts in full. This is known to this
   * isolate alone.
   * @default {"30s"}
   */
  readonly cooldown?: Duration | undefined;
  /**
   * Whose time the cooldown is.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/** What another mailer could do, although this one is as healthy as ever. */
const BEYOND_IT: readonly string[] = ["unsupported", "message-too-large"];

/** What tells of the mailer and not of the message, although repeating it there would not help. */
const ITS_OWN: readonly string[] = ["unauthorized", "quota-exceeded"];

/**
 * A mailer that asks the next one when the one before certainly did not send: it was down, refused the key, had no quota
 * left, or cannot do what the message needs. It never asks another one after `delivery: "unknown"`, nor when the message
 * itself was refused. A mailer that failed lately is tried last.
 *
 * All are asked under one key, drawn if the caller gave none. It keeps a message from being sent twice by one provider, not by two. So an unknown outcome is never retryable here: let
 * each mailer retry for itself (`failover([retrying(a), retrying(b)])`), and put {@linkcode idempotent} around the whole where
 * the caller may repeat.
 *
 * {@linkcode sendBulk} sends through it one by one: what one provider refused of a batch another may take.
 *
 * @throws {RangeError} when there is no mailer, or not a positive weight for each
 * @example
 * ```ts
 * import { failover, memoryMailer, retrying } from "@holdfast/edge";
 * const [first, second] = [memoryMailer(), memoryMailer()];
 * const mailer = failover([retrying(first), retrying(second)], { cooldown: "1m" });
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * if (first.outbox.length !== 1) throw new Error("unexpected");
 * ```
 */
export function failover(mailers: readonly Mailer[], options: FailoverOptions = {}): Mailer {
  const { weights } = options;
  if (mailers.length === 0) throw new RangeError("Cannot make a mailer as there must be one to ask");
  if (weights !== undefined && weights.length !== mailers.length) {
    throw new RangeError(
      `Cannot make a mailer as 'weights' must hold one for each of ${mailers.length}: current length is ${weights.length}`,
    );
  }
  weights?.forEach((weight, i) => positiveInteger(weight, `weights[${i}]`));
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
  readonly #choices: readonly Choice[];
  readonly #weighted: boolean;
  readonly #cooldown: number;
  readonly #clock: Clock;

  constructor(mailers: readonly Mailer[], { weights, cooldown, clock }: FailoverOptions) {
    this.name = [...new Set(mailers.map(({ name }) => name))].join(" or ");
    this.#choices = mailers.map((mailer, i) => ({ mailer, weight: weights?.[i] ?? 1, downUntil: -Infinity }));
    this.deduplicates = mailers.length === 1 && mailers[0]!.deduplicates;
    this.#weighted = weights !== undefined;
    this.#cooldown = toMilliseconds(cooldown ?? "30s", "cooldown");
    this.#clock = clock ?? systemClock;
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const prepared = prepareCall(this.name, message, options);
    const named = options.idempotencyKey !== undefined;
    const keyed = { ...options, idempotencyKey: options.idempotencyKey ?? randomToken(16) };
    const errors: MailError[] = [];
    for (const choice of this.#order()) {
      try {
        const receipt = await choice.mailer.send(prepared, keyed);
        choice.downUntil = -Infinity;
        return receipt;
      } catch (thrown) {
        if (thrown instanceof TypeError || thrown instanceof RangeError) throw thrown; // the caller's own
        const error = asMailError(choice.mailer.name, thrown);
        this.#judge(choice, error);
        if (error.delivery === "unknown") {
          // Repeated from here it could reach another mailer, which knows nothing of the key, or be drawn another key.
          const blind = error.retryable && !(this.deduplicates && named);
          throw blind ? restated(error, { retryable: false }) : error;
        }
        if (!goesOn(error)) throw error;
        errors.push(error);
        if (options.signal?.aborted) throw aborted(this.name, options.signal);
      }
    }
    throw this.#allFailed(errors);
  }

  /** The healthy ones first; among the others the one that is back first. */
  #order(): readonly Choice[] {
    const now = this.#clock.monotonic();
    const down = ({ downUntil }: Choice) => downUntil > now ? downUntil : 0;
    const order = this.#weighted ? drawn(this.#choices) : [...this.#choices];
    return order.sort((a, b) => down(a) - down(b));
  }

  #judge(choice: Choice, error: MailError): void {
    if (BEYOND_IT.includes(error.code) || error.code === "aborted") return;
    if (!goesOn(error) && error.delivery === "not-sent") return; // the message's fault
    choice.downUntil = this.#clock.monotonic() + Math.max(this.#cooldown, error.retryAfter ?? 0);
  }

  #allFailed(errors: readonly MailError[]): MailError {
    const retryable = errors.filter((error) => error.retryable);
    const said = (retryable[0] ?? errors[0])!;
    const soonest = Math.min(...retryable.map(({ retryAfter }) => retryAfter ?? 0));
    return mailError(this.name, said.code, `each of its ${errors.length} mailers failed`, {
      phase: said.phase,
      status: said.status,
      retryable: retryable.length > 0,
      ...(soonest > 0 && soonest < Infinity && { retryAfter: soonest }),
      cause: errors.length === 1 ? errors[0] : new AggregateError(errors),
    });
  }
}

/** Whether another mailer may be asked. Another call with the key may be sending right now, so `in-progress` is none. */
function goesOn({ code, retryable }: MailError): boolean {
  if (code === "in-progress" || code === "aborted") return false;
  return retryable || BEYOND_IT.includes(code) || ITS_OWN.includes(code);
}

/** An order drawn by weight. */
function drawn(choices: readonly Choice[]): Choice[] {
  return choices
    .map((choice) => ({ choice, at: -Math.log(1 - Math.random()) / choice.weight }))
    .sort((a, b) => a.at - b.at)
    .map(({ choice }) => choice);
}
