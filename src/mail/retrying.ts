/** Repeats what was not sent, and only that: the one owner of retries. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";
import { checkMailer } from "./_combinator.ts";
import { Retrying } from "./_retrying_mailer.ts";
import type { Mailer } from "./mailer.ts";

/**
 * Options of {@linkcode retrying}.
 *
 * @category Mail
 */
export interface RetryingOptions {
  /**
   * The maximum number of attempts, the first included.
   * @default {4}
   */
  readonly attempts?: number | undefined;
  /**
   * The longest wait before the second attempt; it doubles with each further one. The wait itself is a random
   * part of it.
   * @default {"500ms"}
   */
  readonly delay?: Duration | undefined;
  /**
   * The maximum of the doubling. A Retry-After counts in full, up to a day.
   * @default {"30s"}
   */
  readonly maxDelay?: Duration | undefined;
  /**
   * The maximum time in all, attempts and waits; the `timeout` of a call takes its place. An attempt under
   * way is given up then, and a wait that would go beyond it is not begun.
   * @default {"1m"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The maximum time of one attempt.
   * @default {the mailer's own timeout}
   */
  readonly attemptTimeout?: Duration | undefined;
  /**
   * The clock for waits and for the timeout.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const TASK = "make a retrying mailer";
const OPTIONS = {
  attempts: true,
  delay: true,
  maxDelay: true,
  timeout: true,
  attemptTimeout: true,
  clock: true,
} satisfies OptionNames<RetryingOptions>;

/**
 * A mailer that tries again: when it is certain that nothing was sent, or when the other mailer deduplicates
 * by a key, which is fixed before the first attempt (drawn, if the caller gave none). An outcome that was
 * unknown once stays unknown, whatever later attempts say, until one succeeds.
 *
 * When a message was taken for some recipients and refused for now for others (SMTP: 4xx, as in greylisting),
 * later attempts go to those others alone. The receipt is that of all attempts; those still refused in the
 * end are its `deferred`.
 *
 * Put it around mailers that send, not around each other: attempts multiply. To fail over, wrap each provider
 * and not the whole: `failover([retrying(a), retrying(b)])`.
 *
 * {@linkcode sendBulk} keeps batches: what a batch failed to send goes into a smaller one. After a refusal
 * for the rate, the bulk sends one request at a time and keeps to the wait that the provider asks for; such
 * refusals count as no attempts, so only the timeout ends them. It begins with the batch's turn.
 *
 * @throws {TypeError} when an option is not known
 * @throws {RangeError} when an option is not positive
 * @category Mail
 * @example
 * ```ts
 * import { memoryMailer, retrying } from "@holdfast/edge/mail";
 * const mailer = retrying(memoryMailer(), { attempts: 3, timeout: "20s" });
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * ```
 */
export function retrying(mailer: Mailer, options: RetryingOptions = {}): Mailer {
  checkMailer(TASK, mailer);
  checkOptionNames(TASK, options, OPTIONS);
  const { attemptTimeout } = options;
  if (attemptTimeout !== undefined) toMilliseconds(attemptTimeout, "attemptTimeout");
  return new Retrying(mailer, {
    attempts: checkInteger(TASK, "attempts", options.attempts ?? 4),
    delay: toMilliseconds(options.delay ?? "500ms", "delay"),
    maxDelay: toMilliseconds(options.maxDelay ?? "30s", "maxDelay"),
    timeout: toMilliseconds(options.timeout ?? "1m", "timeout"),
    attemptTimeout,
    clock: options.clock ?? systemClock,
  });
}
