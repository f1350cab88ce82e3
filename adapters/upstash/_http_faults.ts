/** Faults of Upstash's HTTP endpoint: what a status says where the server's own word says nothing. */
import {
  fault,
  faultOf,
  type Meaning,
  meaningOf,
  notReady,
  refused,
  replyIn,
  tooLarge,
  tooOften,
  unauthorized,
} from "./_faults.ts";

/** An error reply of the server. Its message may quote the command and is never shown. */
export class RedisReplyError extends Error {
  /** A literal, since minifiers rename classes. */
  override readonly name = "RedisReplyError";

  /** Keeps the reply's text, the HTTP status and the delay of a Retry-After header. */
  constructor(text: string, readonly status: number, readonly retryAfter?: number) {
    super(text);
  }
}

const redirects: Meaning = [
  "misconfigured",
  "the URL redirects, and a token follows no redirect",
  "certain",
];

/** By the HTTP status, where the reply's text is unknown; 0 is a redirect in a browser. */
const STATUSES: Readonly<Record<number, Meaning>> = {
  0: redirects,
  401: unauthorized,
  403: ["misconfigured", "access was forbidden: check the URL and the database's allow list", "certain"],
  404: ["misconfigured", "no database answers at the URL: it may be deleted", "certain"],
  408: notReady,
  413: tooLarge,
  425: notReady,
  429: tooOften,
};

/** The fault that a caller gets for an error of the transport. */
export function httpFault(error: unknown, writes: boolean): unknown {
  if (!(error instanceof RedisReplyError)) return fault(error, writes);
  const { status, retryAfter } = error;
  const reply = replyIn(error);
  // A gateway's 5xx says nothing about what happened behind it, whatever its text is.
  const failed: Meaning | undefined = status >= 500
    ? ["backend-unavailable", "it failed", "again"]
    : undefined;
  const known = failed ? undefined : reply && meaningOf(reply, writes);
  if (known) return faultOf(known, reply!.word, writes, retryAfter);
  const meaning = failed ?? STATUSES[status >= 300 && status < 400 ? 0 : status];
  const word = meaning === undefined && reply ? reply.word : `status ${status}`;
  return faultOf(meaning ?? refused, word, writes, retryAfter);
}
