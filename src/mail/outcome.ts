/** How a sending ends: as an error that says what is known of the message, and no later than its signal. */
import { MailError, mailError } from "./mail_error.ts";

/** Whatever was thrown, as an error that says what is known of the message. */
export function asMailError(mailer: string, cause: unknown): MailError {
  if (cause instanceof MailError) return cause;
  return cause instanceof TypeError || cause instanceof RangeError
    ? mailError(mailer, "invalid-message", "it is not valid", { cause })
    : mailError(mailer, "backend-unavailable", "it failed", { delivery: "unknown", phase: "body", cause });
}

/** Waits for the work, but no longer than for the signal. */
export function abortable<T>(signal: AbortSignal | undefined, work: () => T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => reject(signal!.reason);
    signal?.addEventListener("abort", abort);
    Promise.resolve(work()).then(resolve, reject).finally(() => signal?.removeEventListener("abort", abort));
  });
}
