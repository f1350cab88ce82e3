/**
 * Turns faults of a connection into errors that say what became of the message, and hold no address and no
 * secret.
 */
import type { HoldfastErrorCode } from "../../src/errors.ts";
import { type Delivery, MailError, mailError, type MailPhase } from "../../src/mail/mail_error.ts";
import { Interrupted } from "./_deadline.ts";
import { ConnectionFault, type Reply } from "./_reply.ts";

/** The server refused with this reply. */
export class Refusal extends Error {
  constructor(readonly reply: Reply) {
    super("the server refused");
  }
}

/** The error for a reply other than the expected one: a refusal, or a reply that does not fit here. */
export function unexpectedReply(reply: Reply): Error {
  return reply.code >= 400 ? new Refusal(reply) : new ConnectionFault("the server's reply does not fit");
}

/** The circumstances of a fault. */
export interface FaultContext {
  readonly phase: MailPhase;
  readonly delivery: Delivery;
  /** The last commands and their reply codes. */
  readonly transcript: readonly string[];
  /** Words that no error may repeat: the addresses and names that were sent to the server. */
  readonly secrets: readonly string[];
}

const REFUSED: Readonly<Partial<Record<MailPhase, string>>> = {
  greeting: "the connection",
  hello: "our greeting",
  tls: "to encrypt",
  auth: "the credentials",
  mail: "the sender",
  rcpt: "every recipient",
};

/** The error for whatever was thrown. */
export function toMailError(error: unknown, context: FaultContext): MailError {
  if (error instanceof MailError) return error;
  if (error instanceof Refusal) return refusedError(error.reply, context);
  const { phase, delivery, transcript } = context;
  const steps = transcript.join(", ");
  const notSent = delivery === "not-sent";
  if (error instanceof Interrupted) {
    return mailError("smtp", error.code, error.message, {
      phase,
      delivery,
      retryable: notSent && error.code === "timeout",
      cause: error.cause ?? new Error(steps || `in the phase ${phase}`),
    });
  }
  const { code, why } = phase === "connect" ? connectFault(error) : brokenConnection(error, phase);
  return mailError("smtp", code, why, {
    phase,
    delivery,
    retryable: notSent && code === "backend-unavailable",
    cause: steps === "" ? error : new Error(steps, { cause: error }),
  });
}

function refusedError(reply: Reply, { phase, transcript, secrets }: FaultContext): MailError {
  const code = codeOf(reply, phase);
  const why = `the server refused ${REFUSED[phase] ?? "the message"}: reply is ${shown(reply)}`;
  return mailError("smtp", code, why, { // a refusal is certain, also after the last dot
    phase,
    status: reply.code,
    enhanced: reply.enhanced,
    retryable: reply.code < 500 && code !== "quota-exceeded",
    cause: new Error(`${transcript.join(", ")}: ${redactedReply(reply, phase, secrets)}`),
  });
}

interface Classified {
  readonly code: HoldfastErrorCode;
  readonly why: string;
}

/** Reasons for a failed connection, in the words of Deno, Node and Bun. Workers give no reason. */
const CONNECT: readonly (readonly [words: RegExp, code: HoldfastErrorCode, why: string])[] = [
  [
    /ENOTFOUND|nodename nor servname|No address associated|not known/i,
    "misconfigured",
    "there is no such host: check 'host'",
  ],
  [
    /EAI_AGAIN|Temporary failure in name resolution|lookup address|getaddrinfo|DNS/i,
    "backend-unavailable",
    "the host's name could not be looked up",
  ],
  [
    /NotCapable|PermissionDenied|ERR_ACCESS_DENIED|Requires net access/i,
    "misconfigured",
    "the runtime does not permit the connection",
  ],
  [
    /ECONNREFUSED|refused/i,
    "backend-unavailable",
    "the host refused the connection: nothing listens at the port",
  ],
  [/^/, "backend-unavailable", "no connection came about"],
];

function connectFault(error: unknown): Classified {
  const { code, name, message } = error as { code?: string; name?: string; message?: string };
  const [, found, why] = CONNECT.find(([words]) => words.test(`${code} ${name} ${message}`))!;
  return { code: found, why };
}

function brokenConnection(error: unknown, phase: MailPhase): Classified {
  if (phase !== "tls") return { code: "backend-unavailable", why: "the connection broke" };
  // The runtimes have no common name for it, and Workers give no reason.
  return /cert|issuer|altname|hostname/i.test(String(error))
    ? { code: "unauthorized", why: "the server's certificate is not valid for its name" }
    : { code: "backend-unavailable", why: "the connection could not be encrypted" };
}

/** The codes alone: the text of a reply may hold anything. */
export function shown({ code, enhanced }: Reply): string {
  return enhanced === undefined ? String(code) : `${code} ${enhanced}`;
}

function codeOf({ code, enhanced = "", lines }: Reply, phase: MailPhase): HoldfastErrorCode {
  if (code === 421) return "backend-unavailable";
  if (phase === "auth") return code < 500 ? "backend-unavailable" : "unauthorized";
  if (code === 530 || code === 534 || code === 535 || code === 538) return "unauthorized";
  if (phase === "greeting" || phase === "hello" || phase === "tls") return "backend-unavailable";
  // Amazon's servers answer 454 when a rate is exceeded; elsewhere it belongs to authentication.
  if (code === 454) return /quota/i.test(lines[0] ?? "") ? "quota-exceeded" : "rate-limited";
  if (/^5\.(?:3\.4|2\.3)$/.test(enhanced)) return "message-too-large";
  if (code === 552 && phase !== "rcpt" && enhanced !== "5.2.2") return "message-too-large";
  if (code === 555 || /\.6\.7$/.test(enhanced)) return "unsupported";
  return "message-rejected";
}

/**
 * Characters of a reply's text that an error repeats; the rest is not looked at, so that a long reply costs
 * nothing.
 */
const TEXT = 300;

/** The text of a reply, short and in one line, without words that are or hold an address or a secret. */
function redactedReply(
  { code, lines, enhanced }: Reply,
  phase: MailPhase,
  secrets: readonly string[],
): string {
  if (phase === "auth") return shown({ code, enhanced, lines }); // the text may hold a challenge
  const hidden = new Set(secrets.map((secret) => secret.toLowerCase()));
  const text = lines.slice(0, 5).map((line) => line.slice(0, 2 * TEXT)).join(" ").slice(0, 2 * TEXT);
  // Word by word, in one pass: no expression here looks at a character more than a few times.
  const words = text.split(/[^!-~]+/).map((word) => {
    if (word.includes("@")) return "…";
    return word.replace(/[\w.+-]+/g, (part) => {
      const name = part.endsWith(".") ? part.slice(0, -1) : part;
      return hidden.has(name.toLowerCase()) ? "…" : part;
    });
  });
  return `${code} ${words.join(" ").slice(0, TEXT)}`;
}
