import { HoldfastError, type HoldfastErrorCode } from "../../src/errors.ts";
import { mistakeOf } from "../../src/mistake.ts";

/** The driver's numbers of server errors that a setting must change. */
const BY_CODE: Readonly<Record<number, [code: HoldfastErrorCode, why: string]>> = {
  13: ["unauthorized", "the user may not use the collection"],
  18: ["unauthorized", "it refused the user or the password"],
  8000: ["unauthorized", "it refused the user or the password"], // Atlas
  20: ["misconfigured", "it is of a kind that lacks the command"],
  59: ["unsupported", "it does not know the command"],
  238: ["unsupported", "it lacks the feature"], // FerretDB: an index that deletes
  10334: ["value-too-large", "it refuses a document so large"],
};

/** Server errors of a node that is no primary any more or shuts down: the driver finds the next primary. */
const OUTAGES = new Set([6, 7, 89, 91, 189, 9001, 10107, 11600, 11602, 13435, 13436]);

/** Whether a document with that id was there. */
export function isDuplicateKey(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 11000;
}

/**
 * Turns an error of the driver into a fault, by its number and class; its message may quote values and is not
 * passed on.
 *
 * @see https://www.mongodb.com/docs/manual/reference/error-codes/
 */
export function mongodbFault(error: unknown, writes: boolean): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const { code, name = "" } = (error ?? {}) as { code?: unknown; name?: string };
  const known = typeof code === "number" ? BY_CODE[code] : undefined;
  if (known) return new HoldfastError(known[0], `Cannot use MongoDB as ${known[1]} (${code})`);
  if (name === "MongoServerSelectionError") {
    return new HoldfastError("backend-unavailable", "Cannot use MongoDB as no server could be reached", {
      retryable: true,
    });
  }
  if (name === "MongoServerError" && typeof code === "number" && !OUTAGES.has(code)) {
    return new HoldfastError("misconfigured", `Cannot use MongoDB as it refused the command (${code})`);
  }
  return mistakeOf("MongoDB", error) ??
    new HoldfastError("backend-unavailable", "Cannot use MongoDB as the connection failed", {
      retryable: true,
      ambiguous: writes,
    });
}
