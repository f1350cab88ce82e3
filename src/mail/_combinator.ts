/** Shared by mailers around mailers. */
import { MailError, mailError, type MailErrorOptions } from "./mail_error.ts";
import { checkSendOptions, type Mailer, type SendOptions } from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "./message.ts";
import { checkMethods } from "../validate.ts";
import { abortReason } from "./outcome.ts";

/**
 * Checks a call as every mailer does, so that a wrapper does nothing for a message that cannot be sent.
 *
 * @throws {TypeError} when the message or an option is not valid
 * @throws {MailError} `aborted` when the signal already is
 */
export function prepareCall(mailer: string, message: Message, options: SendOptions): PreparedMessage {
  checkSendOptions(options);
  const prepared = prepareMessage(message);
  if (options.signal?.aborted) throw aborted(mailer, options.signal);
  return prepared;
}

/**
 * Refuses what is no mailer.
 *
 * @throws {TypeError}
 */
export function checkMailer(task: string, mailer: unknown): void {
  checkMethods(task, "it needs a mailer, such as memoryMailer()", mailer, ["send"]);
  const { name } = mailer as Mailer;
  if (typeof name !== "string") throw new TypeError(`Cannot ${task} as the mailer must have a 'name'`);
}

/** The error of a call that the caller ended before anything was sent. */
export function aborted(mailer: string, signal: AbortSignal): MailError {
  return mailError(mailer, "aborted", "the signal was aborted", { cause: abortReason(signal) });
}

/** The same error with what a wrapper knows better. */
export function restated(
  error: MailError,
  changes: Partial<MailErrorOptions>,
): MailError {
  const { delivery, phase, mailer, status, enhanced, retryable, retryAfter } = error;
  return new MailError(error.code, error.message, {
    delivery,
    phase,
    mailer,
    retryable,
    enhanced,
    ...(status !== undefined && { status }),
    ...(retryAfter !== undefined && { retryAfter }),
    cause: error,
    ...changes,
  });
}
