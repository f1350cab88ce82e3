/**
 * The errors of Workers KV, in the classes of `src/fault_class.ts`. The runtime has no code for them: the
 * status stands in the message alone, always at its beginning, before anything of keys and values. So nothing
 * behind it can be taken for a status.
 */
import { HoldfastError, type HoldfastErrorCode, type HoldfastErrorOptions } from "../../src/errors.ts";
import { mistakeOf } from "../../src/mistake.ts";

/** `KV PUT failed: 429 Too Many Requests`, and `KV GET_BULK failed: …`. */
const STATUS = /^(?:Error: )?KV [A-Z_]+ failed: (\d{3})\b/;

/** The daily limit of the free plan: `KV put() limit exceeded for the day.` */
const DAILY_LIMIT = /^(?:Error: )?KV \w+\(\) limit exceeded for the day/;

/** The limit of operations that one request may make. */
const REQUEST_LIMIT = /^(?:Error: )?Too many (?:API requests|subrequests) by single [Ww]orker invocation/;

/** A key takes one write a second. */
const WRITE_INTERVAL = 1000;

type Known = readonly [code: HoldfastErrorCode, why: string, options?: HoldfastErrorOptions];

/** The faults of which it is certain that nothing was written. */
const KNOWN: Readonly<Record<string, Known>> = {
  400: ["misconfigured", "it refused the operation (400)"],
  401: ["unauthorized", "it refused the credentials (401)"],
  403: ["unauthorized", "it refused the credentials (403)"],
  404: ["misconfigured", "the namespace does not exist (404)"],
  413: ["value-too-large", "the value is too large (413)"],
  414: ["misconfigured", "the name is too long (414)"],
  429: ["rate-limited", "it takes one write a second (429)", {
    retryable: true,
    retryAfter: WRITE_INTERVAL,
  }],
  day: ["quota-exceeded", "the limit of operations for the day is reached"],
  request: ["quota-exceeded", "the limit of operations of one request is reached"],
};

/** The error for a failed operation. */
export function kvFault(cause: unknown, writes: boolean): HoldfastError {
  const message = String(cause);
  const status = STATUS.exec(message)?.[1];
  const name = DAILY_LIMIT.test(message) ? "day" : REQUEST_LIMIT.test(message) ? "request" : status;
  const known = name === undefined ? undefined : KNOWN[name];
  if (known !== undefined) {
    const [code, why, options] = known;
    return new HoldfastError(code, `Cannot use Workers KV as ${why}`, { ...options, cause });
  }
  const mistake = mistakeOf("Workers KV", cause);
  if (mistake) return mistake;
  const refused = status !== undefined && status < "500";
  return new HoldfastError(
    "backend-unavailable",
    `Cannot use Workers KV as its operation failed${status === undefined ? "" : ` (${status})`}`,
    { retryable: !refused, ambiguous: writes && !refused, cause },
  );
}
