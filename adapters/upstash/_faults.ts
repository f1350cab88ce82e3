/**
 * Faults between a client and Redis. A fault is classified by structure: the error word that begins the
 * server's own reply, the HTTP status, or the client's error class. Text that a reply quotes (a command, a
 * value) never decides anything, and no message shows it.
 */
import { HoldfastError, type HoldfastErrorCode, type HoldfastErrorOptions } from "../../src/errors.ts";
import { mistakeOf } from "../../src/mistake.ts";

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

/**
 * The meaning of an error reply: the code, and the end of the sentence "Cannot use Redis as …".
 *
 * `again`: the same call may succeed later. `certain`: every copy of the request is refused alike, so that
 * none can have been executed. Where neither is said, a refused write is ambiguous all the same: clients and
 * a runtime's own fetch send a request again when a reused connection breaks, and the first copy may have
 * been executed before the second one was refused.
 */
export type Meaning = readonly [code: HoldfastErrorCode, what: string, how?: "again" | "certain"];

const misconfigured = (what: string): Meaning => ["misconfigured", what, "certain"];
export const unauthorized: Meaning = [
  "unauthorized",
  "it refused the credentials: check the token or password",
  "certain",
];
export const notReady: Meaning = ["backend-unavailable", "it is not ready", "again"];
export const tooLarge: Meaning = [
  "value-too-large",
  "the request is larger than the server takes",
  "certain",
];
export const tooOften: Meaning = ["rate-limited", "it is asked too often", "again"];
const clustered = misconfigured("the server is a cluster: use a cluster client");

/** Of a refusal that is unknown: it does not pass by itself, and what it leaves behind is unknown. */
export const refused: Meaning = ["misconfigured", "it refused the command"];

/** By the first word of an error reply. */
const WORDS: Readonly<Record<string, Meaning>> = {
  WRONGPASS: unauthorized,
  NOAUTH: unauthorized,
  Unauthorized: unauthorized,
  // A replica takes no writes. During a failover the copy that was sent first may have met the old primary:
  // not certain.
  READONLY: ["read-only", "the server is a read-only replica"],
  WRONGTYPE: ["corrupt-record", "another program wrote under the record's key", "certain"],
  // The same condition as a full memory store: records expire by themselves, and what protects must fail
  // closed.
  OOM: ["store-full", "its memory is full", "again"],
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
  MOVED: clustered,
  ASK: clustered,
};

/**
 * By the beginning of what follows the word ERR: Upstash has no words of its own.
 *
 * @see https://upstash.com/docs/redis/troubleshooting/max_daily_request_limit
 */
const ERR_TEXTS: readonly (readonly [RegExp, Meaning])[] = [
  [/^(?:max (?:\w+ )?requests? limit|DB capacity quota) exceeded/, [
    "quota-exceeded",
    "the plan's limit is reached",
  ]],
  [/^max [\w ]*size exceeded/, tooLarge],
  [/^max (?:concurrent connections|commands per sec)/, tooOften],
  [/^(?:unknown command|Command is not available|Unknown Redis command)/, [
    "unsupported",
    "the server does not have the command",
    "certain",
  ]],
  [/^(?:invalid password|Client sent AUTH)/, unauthorized],
  [/^The user executing the script can't/, [
    "misconfigured",
    "the user may not run a command of its scripts",
  ]],
  [/^(?:user_script|Error running script)/, ["corrupt-record", "its script failed on the stored record"]],
];

/** A server's error reply, taken apart. */
export interface ErrorReply {
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
export function replyIn(error: unknown): ErrorReply | undefined {
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
  const known = reply && meaningOf(reply, writes);
  if (known) return faultOf(known, reply.word, writes);
  // The official client does not tell a 500 from a 400, so an unknown ERR of its may be either.
  if (reply && (error as Error).name !== "UpstashError") return faultOf(refused, reply.word, writes);
  if (isUnknownHost(error)) {
    return faultOf(misconfigured("no server has the name in the URL"), "ENOTFOUND", writes);
  }
  const mistake = mistakeOf("Redis", error);
  if (mistake) return mistake;
  const failed = lost(reply ? `it failed: ${reply.word}` : "the client failed");
  return writes ? failed : certain(failed);
}

/** The meaning of a reply that is known. */
export function meaningOf({ word, rest }: ErrorReply, writes: boolean): Meaning | undefined {
  if (word === "ERR") return ERR_TEXTS.find(([pattern]) => pattern.test(rest))?.[1];
  if (word === "NOPERM") {
    return writes
      ? ["read-only", "the token or user may not write", "certain"]
      : misconfigured("the token or user may not run scripts");
  }
  return Object.hasOwn(WORDS, word) ? WORDS[word] : undefined;
}

/** The fault of a meaning. Its message ends with the server's own word. */
export function faultOf(
  [code, what, how]: Meaning,
  word: string,
  writes: boolean,
  retryAfter?: number,
): HoldfastError {
  return new HoldfastError(code, `Cannot use Redis as ${what}: ${word}`, {
    retryable: how === "again",
    ambiguous: writes && how !== "certain",
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
