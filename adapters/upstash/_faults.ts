/**
 * Faults between a client and Redis. A fault is classified by structure: the error word that begins the
 * server's own reply, the HTTP status, or the client's error class. Text that a reply quotes (a command, a
 * value) never decides anything, and no message shows it.
 */
import { HoldfastError, type HoldfastErrorCode, type HoldfastErrorOptions } from "../../src/errors.ts";
import { mistakeOf } from "../../src/mistake.ts";

/** An error reply of the server. Its message may quote the command and is never shown. */
export class RedisReplyError extends Error {
  /** A literal, since minifiers rename classes. */
  override readonly name = "RedisReplyError";

  /** Keeps the reply's text, the HTTP status and the delay of a Retry-After header. */
  constructor(text: string, readonly status: number, readonly retryAfter?: number) {
    super(text);
  }
}

/** An unknown outcome: no reply, or none that can be read. A write may have happened. */
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

/** No reply in time. A request that was never sent leaves nothing in doubt. */
export function late(timeout: number, sent = true): HoldfastError {
  return new HoldfastError("timeout", `Cannot use Redis as it did not reply within ${timeout} ms`, {
    retryable: true,
    ambiguous: sent,
  });
}

/** The meaning of an error reply. */
interface Meaning {
  readonly code: HoldfastErrorCode;
  /** Ends the sentence "Cannot use Redis as …". */
  readonly what: string;
  /** Whether the same call may succeed later. */
  readonly retryable?: boolean;
  /**
   * Whether every copy of the request is refused alike, so that none can have been executed. Where this is
   * absent, a refused write is ambiguous: clients and a runtime's own fetch send a request again when a
   * reused connection breaks, and the first copy may have been executed before the second one was refused.
   */
  readonly certain?: boolean;
}

const unauthorized: Meaning = {
  code: "unauthorized",
  what: "it refused the credentials: check the token or password",
  certain: true,
};
const misconfigured = (what: string): Meaning => ({ code: "misconfigured", what, certain: true });
const notReady: Meaning = { code: "backend-unavailable", what: "it is not ready", retryable: true };
const tooLarge: Meaning = {
  code: "value-too-large",
  what: "the request is larger than the server takes",
  certain: true,
};
const quota: Meaning = { code: "quota-exceeded", what: "the plan's limit is reached" };
const tooOften: Meaning = { code: "rate-limited", what: "it is asked too often", retryable: true };
const unsupported: Meaning = {
  code: "unsupported",
  what: "the server does not have the command",
  certain: true,
};

/** By the first word of an error reply. */
const WORDS: Readonly<Record<string, Meaning>> = {
  WRONGPASS: unauthorized,
  NOAUTH: unauthorized,
  Unauthorized: unauthorized,
  // A replica takes no writes. During a failover the copy that was sent first may have met the old primary:
  // not certain.
  READONLY: { code: "read-only", what: "the server is a read-only replica" },
  WRONGTYPE: {
    code: "corrupt-record",
    what: "another program wrote under the record's key",
    certain: true,
  },
  // The same condition as a full memory store: records expire by themselves, and what protects must fail
  // closed.
  OOM: { code: "store-full", what: "its memory is full", retryable: true },
  LOADING: notReady,
  BUSY: notReady,
  TRYAGAIN: notReady,
  CLUSTERDOWN: notReady,
  MASTERDOWN: notReady,
  NOREPLICAS: notReady,
  NOSCRIPT: notReady,
  MISCONF: misconfigured("the server cannot write its snapshot to disk and takes no writes"),
  DENIED: misconfigured("the server is in protected mode"),
  NOPROTO: misconfigured("the server does not speak the client's protocol"),
  CROSSSLOT: misconfigured("the server is a cluster: give 'prefix' a hash tag, for example \"{holdfast}\""),
  MOVED: misconfigured("the server is a cluster: use a cluster client"),
  ASK: misconfigured("the server is a cluster: use a cluster client"),
};

/**
 * By the beginning of what follows the word ERR: Upstash has no words of its own.
 *
 * @see https://upstash.com/docs/redis/troubleshooting/max_daily_request_limit
 */
const ERR_TEXTS: readonly (readonly [RegExp, Meaning])[] = [
  [/^max (?:\w+ )?requests? limit exceeded/, quota],
  [/^DB capacity quota exceeded/, quota],
  [/^max [\w ]*size exceeded/, tooLarge],
  [/^max (?:concurrent connections|commands per sec)/, tooOften],
  [/^(?:unknown command|Command is not available|Unknown Redis command)/, unsupported],
  [/^(?:invalid password|Client sent AUTH)/, unauthorized],
  [/^(?:user_script|Error running script)/, {
    code: "corrupt-record",
    what: "its script failed on the stored record",
  }],
];

/** By the HTTP status, where the reply's text is unknown. */
const STATUSES: Readonly<Record<number, Meaning>> = {
  401: unauthorized,
  403: misconfigured("access was forbidden: check the URL and the database's allow list"),
  404: misconfigured("no database answers at the URL: it may be deleted"),
  413: tooLarge,
  429: tooOften,
};

/** A server's error reply, taken apart. */
interface ErrorReply {
  /** The first word, in capitals. */
  readonly word: string;
  /** The text after it. */
  readonly rest: string;
}

/** The text that the official client writes in front of an error reply. */
const SDK_PREFIX = /^Command (?:\d+ \[ \w+ \] )?failed: /;

/** The text that Redis before 7 writes in front of an error of a command in a script. */
const SCRIPT_PREFIX = /^ERR Error running script \(call to f_\w+\): (?:@user_script: ?\d+: )+-?(?=[A-Z]+ )/;

/** The server's reply inside an error of any client, or `undefined` when the error is the client's own. */
function replyIn(error: unknown): ErrorReply | undefined {
  if (!(error instanceof Error)) return undefined;
  let text = error.message;
  if (error.name === "UpstashError") text = text.replace(SDK_PREFIX, "");
  const found = /^([A-Z]{2,}|Unauthorized)(?:[ ,]|$)/.exec(text.replace(SCRIPT_PREFIX, ""));
  if (!found) return undefined;
  return { word: found[1]!, rest: text.replace(SCRIPT_PREFIX, "").slice(found[0].length) };
}

/** Whether the server does not know the script: nothing was executed. */
export function isUnknownScript(error: unknown): boolean {
  return replyIn(error)?.word === "NOSCRIPT";
}

/**
 * Whether the server refused to compile a script for its first line, as Redis and Valkey do with Upstash's
 * flag. Looks only at what precedes the first colon, since compilers quote the script after it.
 */
export function refusesKeyLocking(error: unknown): boolean {
  const reply = replyIn(error);
  return reply?.word === "ERR" && /^[^:]*\b(?:shebang|compiling script|scripting engine)/.test(reply.rest);
}

/** The fault that a caller gets for an error of any client. */
export function fault(error: unknown, writes: boolean): unknown {
  if (error instanceof HoldfastError) return writes || !error.ambiguous ? error : certain(error);
  const reply = replyIn(error);
  const { status, retryAfter } = error instanceof RedisReplyError
    ? error
    : { status: undefined, retryAfter: undefined };
  // A gateway's 5xx says nothing about what happened behind it, whatever its text is.
  if (status !== undefined && status >= 500) {
    return faultOf(
      { code: "backend-unavailable", what: "it failed", retryable: true },
      `status ${status}`,
      writes,
      retryAfter,
    );
  }
  const known = reply && meaningOf(reply, writes);
  if (known) return faultOf(known, reply.word, writes, retryAfter);
  if (status !== undefined) return ofStatus(status, reply, writes, retryAfter);
  // The official client does not tell a 500 from a 400, so an unknown ERR of its may be either.
  if (reply && (error as Error).name !== "UpstashError") return ofStatus(400, reply, writes);
  if (isUnknownHost(error)) {
    return faultOf(misconfigured("no server has the name in the URL"), "ENOTFOUND", writes);
  }
  const mistake = mistakeOf("Redis", error);
  if (mistake) return mistake;
  const failed = lost(reply ? `it failed: ${reply.word}` : "the client failed");
  return writes ? failed : certain(failed);
}

function meaningOf({ word, rest }: ErrorReply, writes: boolean): Meaning | undefined {
  if (word === "ERR") return ERR_TEXTS.find(([pattern]) => pattern.test(rest))?.[1];
  if (word === "NOPERM") {
    return writes
      ? { code: "read-only", what: "the token or user may not write", certain: true }
      : misconfigured("the token or user may not run scripts");
  }
  return Object.hasOwn(WORDS, word) ? WORDS[word] : undefined;
}

function ofStatus(
  status: number,
  reply: ErrorReply | undefined,
  writes: boolean,
  retryAfter?: number,
): HoldfastError {
  const known = STATUSES[status];
  if (known) return faultOf(known, `status ${status}`, writes, retryAfter);
  if (status === 0 || (status >= 300 && status < 400)) {
    return faultOf(
      misconfigured("the URL redirects, and a token follows no redirect"),
      `status ${status}`,
      writes,
    );
  }
  if (status === 408 || status === 425) return faultOf(notReady, `status ${status}`, writes, retryAfter);
  // A refusal that this module does not know does not pass by itself, and what it leaves behind is unknown.
  return faultOf(
    { code: "misconfigured", what: "it refused the command" },
    reply?.word ?? `status ${status}`,
    writes,
  );
}

function faultOf(
  { code, what, retryable = false, certain = false }: Meaning,
  word: string,
  writes: boolean,
  retryAfter?: number,
): HoldfastError {
  const ambiguous = writes && !certain;
  return new HoldfastError(code, `Cannot use Redis as ${what}: ${word}`, {
    retryable,
    ambiguous,
    retryAfter,
  });
}

/**
 * Whether the name in the URL does not exist. Upstash removes the name of a deleted database. Runtimes tell
 * it by a code, Deno by the end of its message.
 */
export function isUnknownHost(error: unknown): boolean {
  // Bounded, since a chain of causes may be a circle.
  for (let depth = 0; error instanceof Error && depth < 5; depth++, error = error.cause) {
    if ((error as { readonly code?: unknown }).code === "ENOTFOUND") return true;
    if (
      /: dns error: [^:]*: (?:Name or service not known|nodename nor servname provided[^:]*)$/.test(
        error.message,
      )
    ) {
      return true;
    }
  }
  return false;
}

/** The same fault of a call that only reads. */
function certain({ code, message, retryable, retryAfter, cause }: HoldfastError): HoldfastError {
  return new HoldfastError(code, message, { retryable, retryAfter, cause });
}
