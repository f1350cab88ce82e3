/** What mailers that wrap mailers have in common. */
import { MailError, mailError, type MailErrorOptions } from "./mail_error.ts";
import { checkSendOptions, type SendOptions } from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "./message.ts";

/**
 * Checks a call the way every mailer does, so that nothing a wrapper does happens for a message that cannot be sent.
 *
 * @throws {TypeError} when the message or its key is not valid
 * @throws {MailError} `aborted` when the signal already is
 */
export function prepareCall(mailer: string, message: Message, options: SendOptions): PreparedMessage {
  const prepared = prepareMessage(message);
  checkSendOptions(options);
  if (options.signal?.aborted) throw aborted(mailer, options.signal);
  return prepared;
}

/** Nothing went out, for the caller gave up first. */
export function aborted(mailer: string, signal: AbortSignal): MailError {
  return mailError(mailer, "aborted", "the signal was aborted", { cause: signal.reason });
}

/** The same error, but for what a wrapper knows better. */
export function restated(
  error: MailError,
  changes: Partial<MailErrorOptions>,
): MailError {
  const { delivery, phase, mailer, status, retryable, retryAfter } = error;
  return new MailError(error.code, error.message, {
    delivery,
    phase,
    mailer,
    retryable,
    ...(status !== undefined && { status }),
    ...(retryAfter !== undefined && { retryAfter }),
    cause: error,
    ...changes,
  });
}

/** Anywhere between nothing and `delay` doubled per attempt (full jitter), but never before the other side wants to be asked. */
export function backoff(attempt: number, delay: number, maxDelay: number, retryAfter = 0): number {
  const most = Math.min(maxDelay, delay * 2 ** (attempt - 1));
  // Whoever is told the same time by the same server should not all come back at it.
  return Math.ceil(retryAfter + Math.random() * (retryAfter > 0 ? Math.min(most, delay) : most));
}

/**
 * Refuses a count that is none.
 *
 * @throws {RangeError} unless it is a positive integer
 */
export function positiveInteger(value: number, name: string): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new RangeError(
    `Cannot make a mailer as '${name}' must be a positive integer: current value is ${value}`,
  );
}
