import { HoldfastError, type HoldfastErrorCode, type HoldfastErrorOptions } from "../../src/errors.ts";
import { mistakeOf } from "../../src/mistake.ts";

/** Connection errors that are certain: no statement was sent. */
const NOT_SENT = /^(53300|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/;

/**
 * The faults by SQLSTATE, system code or the client's own code; the first that matches counts. Those that may
 * be repeated are certain: no statement was executed.
 *
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const BY_CODE: readonly [pattern: RegExp, code: HoldfastErrorCode, why: string, retryable?: true][] = [
  [/^(42P01|42703)$/, "misconfigured", "its table is missing or of another version: run migrate() once"],
  [/^28/, "unauthorized", "it refused the user or the password"],
  [/^(3D000|3F000)$/, "misconfigured", "there is no such database or schema"],
  [/^42501$/, "misconfigured", "the user may not use the table"],
  [/^25006$/, "read-only", "it takes no writes"],
  [/^53100$/, "quota-exceeded", "its disk is full"],
  [/^(54000|22001)$/, "value-too-large", "it refuses a record so large"],
  // Transactions that Postgres rolled back as they met another: repeated, they may succeed.
  [/^(40001|40P01|55P03)$/, "contention", "another transaction won", true],
  [/^57014$/, "timeout", "it cancelled the statement", true],
  [NOT_SENT, "backend-unavailable", "no connection could be made", true],
  // A statement of ours is right: its client sends it in another way, or the table is not ours.
  [/^(22|23|42)/, "misconfigured", "it refused the statement"],
  [/^(NOT_TAGGED_CALL|ERR_INVALID_URL)$/, "misconfigured", "its client refuses the call: see postgresStore"],
  // Certificates that the client does not accept, or a server without TLS.
  [/CERT|TLS|SSL|_ISSUER/, "misconfigured", "no encrypted connection could be made"],
];

/**
 * Whether the statement certainly had no effect and may be sent again at once: a conflict, or another process
 * made the table or its index at the same time, which `if not exists` does not see before it is committed.
 */
export function isConflict(error: unknown): boolean {
  return /^(23505|42P07|42710)$/.test(codeOf(error)) || postgresFault(error, true).code === "contention";
}

/** Turns an error of a client into a fault; its message may quote values and is not passed on. */
export function postgresFault(error: unknown, writes: boolean): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const code = codeOf(error);
  const known = BY_CODE.find(([pattern]) => pattern.test(code));
  if (known) return fault(known[1], `${known[2]} (${code})`, { retryable: known[3] === true });
  // The client `pg` has no code for a login that it cannot finish; its text begins with a literal.
  const { message } = Object(error) as { readonly message?: unknown };
  if (/^SASL: /.test(String(message))) return fault("unauthorized", "the password is missing or wrong");
  // All else ends the connection before the reply.
  const why = `the connection failed${code === "" ? "" : ` (${code})`}`;
  return mistakeOf("Postgres", error) ??
    fault("backend-unavailable", why, { retryable: true, ambiguous: writes });
}

/** A fault of this engine; `why` ends the sentence "Cannot use Postgres as …". */
export function fault(code: HoldfastErrorCode, why: string, options?: HoldfastErrorOptions): HoldfastError {
  return new HoldfastError(code, `Cannot use Postgres as ${why}`, options);
}

/** The SQLSTATE or system code, also of a cause. */
function codeOf(error: unknown): string {
  const { code, cause, sourceError } = (error ?? {}) as Record<string, unknown>;
  if (typeof code === "string" && /^\w{5,}$/.test(code)) return code;
  return cause || sourceError ? codeOf(cause ?? sourceError) : "";
}
