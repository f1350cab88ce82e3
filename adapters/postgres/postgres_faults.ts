import { HoldfastError, type HoldfastErrorCode } from "../../src/errors.ts";

/** Connection errors of Node and Deno that are certain: no statement was sent. */
const NOT_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);

/** Transactions that Postgres rolled back as they met another: repeated, they may succeed. */
const CONFLICTS = new Set(["40001", "40P01", "55P03"]);

/** Whether the statement certainly had no effect and may be sent again at once. */
export function isConflict(error: unknown): boolean {
  return CONFLICTS.has(codeOf(error));
}

/**
 * Turns an error of a client into a fault, by its SQLSTATE or system code; its message may quote values and
 * is not passed on.
 *
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function postgresFault(error: unknown, writes: boolean): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const code = codeOf(error);
  const fault = (
    name: HoldfastErrorCode,
    why: string,
    options: { retryable?: boolean; ambiguous?: boolean } = {},
  ) => new HoldfastError(name, `Cannot use Postgres as ${why}${code === "" ? "" : ` (${code})`}`, options);
  if (code === "42P01" || code === "42703") {
    return fault("misconfigured", "its table is missing or of another version: run migrate() once");
  }
  if (code.startsWith("28")) return fault("unauthorized", "it refused the user or the password");
  if (code === "3D000" || code === "3F000") {
    return fault("misconfigured", "there is no such database or schema");
  }
  if (code === "42501") return fault("misconfigured", "the user may not use the table");
  if (code === "25006") return fault("read-only", "it takes no writes");
  if (code === "53100") return fault("quota-exceeded", "its disk is full");
  if (code === "54000" || code === "22001") return fault("value-too-large", "it refuses a record so large");
  if (CONFLICTS.has(code)) return fault("contention", "another transaction won", { retryable: true });
  if (code === "57014") return fault("timeout", "it cancelled the statement", { retryable: true });
  if (code === "53300" || NOT_SENT.has(code)) {
    return fault("backend-unavailable", "no connection could be made", { retryable: true });
  }
  // 22, 23 and 42 are refusals of the statement itself; all else ends the connection before the reply.
  if (/^(22|23|42)/.test(code)) return fault("misconfigured", "it refused the statement");
  return fault("backend-unavailable", "the connection failed", { retryable: true, ambiguous: writes });
}

/** The SQLSTATE or system code, also of a cause. */
function codeOf(error: unknown): string {
  const { code, cause, sourceError } = (error ?? {}) as Record<string, unknown>;
  if (typeof code === "string" && /^\w{5,}$/.test(code)) return code;
  return cause || sourceError ? codeOf(cause ?? sourceError) : "";
}
