/** What went wrong between a client and its Redis, without a word of what was sent. */
import { HoldfastError, type HoldfastErrorOptions } from "../../src/errors.ts";

/** An error the server answered; its text may quote the command and is never shown. */
export class RedisReplyError extends Error {
  /** Survives minifiers. */
  override readonly name = "RedisReplyError";
}

/** No reply, or none that can be read: a write may have happened. */
export function lost(
  what: string,
  options: Pick<HoldfastErrorOptions, "cause" | "retryAfter"> = {},
): HoldfastError {
  return new HoldfastError("backend-unavailable", `Cannot use Redis as ${what}`, {
    retryable: true,
    ambiguous: true,
    ...options,
  });
}

/** No reply in time. */
export function late(timeout: number): HoldfastError {
  return new HoldfastError("timeout", `Cannot use Redis as it did not reply within ${timeout} ms`, {
    retryable: true,
    ambiguous: true,
  });
}

/** The server turned the request away: nothing happened. */
export function refused(what: string, retryAfter?: number): HoldfastError {
  return new HoldfastError("backend-unavailable", `Cannot use Redis as ${what}`, {
    retryable: true,
    retryAfter,
  });
}

/** Whether an error is the server's own and says this. */
export function says(error: unknown, word: string | RegExp): boolean {
  return error instanceof Error && error.message.search(word) >= 0;
}

/** Clients quote the whole command in their errors, values included: nothing of that is passed on. */
export function fault(error: unknown, writes: boolean): unknown {
  if (error instanceof HoldfastError) return writes || !error.ambiguous ? error : certain(error);
  if (says(error, "WRONGTYPE")) {
    return new HoldfastError(
      "corrupt-record",
      "Cannot read the record as another program wrote under its key",
    );
  }
  if (says(error, "max request size exceeded")) {
    return new HoldfastError("value-too-large", "Cannot send the request as Redis refuses one so large");
  }
  if (says(error, /\b(LOADING|BUSY|TRYAGAIN|CLUSTERDOWN|MASTERDOWN)\b/)) return refused("it is not ready");
  if (
    error instanceof RedisReplyError ||
    says(error, /\b(ERR|NOPERM|NOAUTH|WRONGPASS|OOM|READONLY)\b|Unauthorized/)
  ) {
    return new HoldfastError("backend-unavailable", "Cannot use Redis as it refused the command");
  }
  const failed = lost("the client failed");
  return writes ? failed : certain(failed);
}

/** What only reads leaves nothing in doubt. */
function certain({ code, message, retryable, retryAfter, cause }: HoldfastError): HoldfastError {
  return new HoldfastError(code, message, { retryable, retryAfter, cause });
}
