/** Sends again what was not sent, and only that: the one owner of retries. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { randomToken } from "../secret.ts";
import { aborted, backoff, positiveInteger, prepareCall, restated } from "./_combinator.ts";
import { MailError, mailError } from "./mail_error.ts";
import type { Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message } from "./message.ts";
import { asMailError } from "./outcome.ts";

/** Options of {@linkcode retrying}. */
export interface RetryingOptions {
  /**
   * How often to try at most, the first time included.
   * @default {4}
   */
  readonly attempts?: number | undefined;
  /**
   * The longest wait before the second attempt; it doubles with each further one. The wait itself is a random part of it.
   * @default {"500ms"}
   */
  readonly delay?: Duration | undefined;
  /**
   * What the doubling ends at. A Retry-After counts in full, whatever this is.
   * @default {"30s"}
   */
  readonly maxDelay?: Duration | undefined;
  /**
   * How long it may take altogether, attempts and waits. An attempt under way is given up then, and a wait that would go
   * beyond it is not begun.
   * @default {"1m"}
   */
  readonly deadline?: Duration | undefined;
  /**
   * Who waits, and whose time the deadline is.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * A mailer that tries again: when it is certain that nothing was sent, or when the other mailer deduplicates by a key, which
 * is fixed before the first attempt (drawn, if the caller gave none). An outcome that was unknown once stays unknown, whatever
 * later attempts say, until one succeeds.
 *
 * Put it around mailers that send, not around each other: attempts multiply. To fail over, wrap each provider and not the
 * whole: `failover([retrying(a), retrying(b)])`.
 *
 * {@linkcode sendBulk} sends through it one by one: a batch that failed in part could not be repeated in part under its key.
 *
 * @throws {RangeError} when an option is not positive
 * @example
 * ```ts
 * import { memoryMailer, retrying } from "@holdfast/edge";
 * const mailer = retrying(memoryMailer(), { attempts: 3, deadline: "20s" });
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * ```
 */
export function retrying(mailer: Mailer, options: RetryingOptions = {}): Mailer {
  return new Retrying(mailer, options);
}

class Retrying implements Mailer {
  readonly name: string;
  readonly deduplicates: boolean;
  readonly #mailer: Mailer;
  readonly #attempts: number;
  readonly #delay: number;
  readonly #maxDelay: number;
  readonly #deadline: number;
  readonly #clock: Clock;

  constructor(mailer: Mailer, options: RetryingOptions) {
    this.name = mailer.name;
    this.deduplicates = mailer.deduplicates;
    this.#mailer = mailer;
    this.#attempts = positiveInteger(options.attempts ?? 4, "attempts");
    this.#delay = toMilliseconds(options.delay ?? "500ms", "delay");
    this.#maxDelay = toMilliseconds(options.maxDelay ?? "30s", "maxDelay");
    this.#deadline = toMilliseconds(options.deadline ?? "1m", "deadline");
    this.#clock = options.clock ?? systemClock;
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const prepared = prepareCall(this.name, message, options);
    const idempotencyKey = options.idempotencyKey ?? randomToken(16);
    const giveUpAt = this.#clock.monotonic() + this.#deadline;
    const over = new AbortController();
    const late = new AbortController();
    this.#clock.sleep(this.#deadline, over.signal).then(() => late.abort(), () => {});
    const signal = options.signal ? AbortSignal.any([options.signal, late.signal]) : late.signal;
    let unsure = false;
    /** What the caller needs to know of an error in the end. */
    const last = (error: MailError) => {
      const known = unsure && error.delivery === "not-sent"
        ? restated(error, { delivery: "unknown" })
        : error;
      const withTimeout = late.signal.aborted && known.code === "aborted"
        ? mailError(known.mailer, "timeout", "the deadline of all attempts passed", {
          delivery: known.delivery,
          phase: known.phase,
          cause: known,
        })
        : known;
      // A key that was drawn here is not the caller's: calling again would be another sending.
      const blind = unsure && withTimeout.retryable && options.idempotencyKey === undefined;
      return blind ? restated(withTimeout, { retryable: false }) : withTimeout;
    };
    try {
      for (let attempt = 1;; attempt++) {
        const error = await this.#attempt(prepared, { ...options, signal, idempotencyKey });
        if (!(error instanceof MailError)) return error;
        unsure ||= error.delivery === "unknown"; // for good: a later "not sent" says nothing of an earlier attempt
        const again = error.retryable && (!unsure || this.deduplicates);
        if (!again || attempt >= this.#attempts || signal.aborted) throw last(error);
        const wait = backoff(attempt, this.#delay, this.#maxDelay, error.retryAfter);
        if (this.#clock.monotonic() + wait >= giveUpAt) throw last(error);
        await this.#clock.sleep(wait, signal).catch(() => {
          throw last(aborted(this.name, signal));
        });
      }
    } finally {
      over.abort();
    }
  }

  async #attempt(message: Message, options: SendOptions): Promise<Receipt | MailError> {
    try {
      return await this.#mailer.send(message, options);
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error; // the caller's own
      return asMailError(this.name, error);
    }
  }
}
