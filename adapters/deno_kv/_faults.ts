/** The errors of Deno KV, in the classes of `src/fault_class.ts`. */
import { HoldfastError } from "../../src/errors.ts";

/** Whether SQLite refused before anything happened, as another process was writing. */
export function isLocked(cause: unknown): boolean {
  return messageOf(cause) === "database is locked";
}

/** The error for a failed operation. Its class is told by the name of Deno's error. */
export function denoKvFault(cause: unknown, writes: boolean): HoldfastError {
  const { name } = Object(cause) as { name?: unknown };
  if (isLocked(cause)) {
    const message = "Cannot use Deno KV as other processes keep the database locked";
    return new HoldfastError("contention", message, { retryable: true, cause });
  }
  if (name === "BadResource") {
    return new HoldfastError("misconfigured", "Cannot use Deno KV as the database was closed", { cause });
  }
  if (name === "NotCapable" || name === "PermissionDenied") {
    return new HoldfastError("unauthorized", "Cannot use Deno KV as Deno denies access to it", { cause });
  }
  // Deno checks keys, values and the size of commits before it sends them.
  if (cause instanceof TypeError) {
    return new HoldfastError("value-too-large", "Cannot use Deno KV as the call is beyond its limits", {
      cause,
    });
  }
  return new HoldfastError("backend-unavailable", "Cannot use Deno KV as its operation failed", {
    retryable: true,
    ambiguous: writes,
    cause,
  });
}

function messageOf(cause: unknown): unknown {
  return (Object(cause) as { message?: unknown }).message;
}
