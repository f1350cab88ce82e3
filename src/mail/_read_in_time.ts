/**
 * Reads attachments within the time of a call, for callers that make no attempt of their own: the outbox,
 * `idempotent()` and the memory mailer.
 */
import { interruptible, withTimeout } from "../deadline.ts";
import { toMilliseconds } from "../duration.ts";
import { readAttachments } from "./attachment.ts";
import { mailError } from "./mail_error.ts";
import type { SendOptions } from "./mailer.ts";
import type { PreparedMessage } from "./message.ts";
import { abortReason } from "./outcome.ts";

/**
 * Reads every file of a message within the time of a call. A file is kept once it was read, so whatever reads
 * it next has it at once. A source that hangs is left alone: another attempt waits for the same reading.
 *
 * @throws {MailError} `attachment-unreadable`, `aborted` or `timeout`; nothing was sent
 */
export async function readInTime(
  message: PreparedMessage,
  mailer: string,
  { signal, timeout }: SendOptions,
): Promise<void> {
  if (message.attachments.length === 0) return;
  const reading = readAttachments(message, mailer);
  const late = () => mailError(mailer, "timeout", "its attachments were not read in time");
  try {
    await (timeout === undefined
      ? interruptible(reading, signal)
      : withTimeout(reading, toMilliseconds(timeout, "timeout"), signal, late));
  } catch (error) {
    if (!signal?.aborted) throw error;
    throw mailError(mailer, "aborted", "the signal was aborted", { cause: abortReason(signal) });
  }
}
