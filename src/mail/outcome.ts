/**
 * Turns what was thrown into an error that tells what is known of the message, and bounds work by a signal.
 */
import { MailError, mailError } from "./mail_error.ts";

/** An error that tells what is known of the message, whatever was thrown. */
export function asMailError(mailer: string, cause: unknown): MailError {
  if (cause instanceof MailError) return cause;
  return cause instanceof TypeError || cause instanceof RangeError
    ? mailError(mailer, "invalid-message", `it is not valid${fieldAtFault(cause)}`, { cause })
    : mailError(mailer, "backend-unavailable", "it failed", { delivery: "unknown", phase: "body", cause });
}

/**
 * The message of our own checks about a field, which never holds its value; of other errors the text stays
 * apart.
 */
function fieldAtFault({ message }: Error): string {
  const [, needs] = /^Cannot send as (.+)$/s.exec(message) ?? [];
  return needs === undefined ? "" : `: ${needs}`;
}

/**
 * The reason of an aborted signal, never `null`: `controller.abort(null)` is allowed, and `null` is no error.
 */
export function abortReason(signal: AbortSignal): unknown {
  return signal.reason ?? new DOMException("The operation was aborted", "AbortError");
}

/** Waits for the work, and rejects with the signal's reason when that comes first. */
export function abortable<T>(signal: AbortSignal | undefined, work: () => T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(abortReason(signal!));
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort);
    // Inside an async function, since the work may also throw before it returns a promise.
    (async () => await work())().then(resolve, reject).finally(() =>
      signal?.removeEventListener("abort", abort)
    );
  });
}
