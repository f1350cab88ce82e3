/** What went wrong, as an error that says what became of the message, and holds no address and no secret. */
import { type Delivery, MailError, mailError, type MailPhase } from "../../src/mail/mail_error.ts";
import type { HoldfastErrorCode } from "../../src/errors.ts";
import { Interrupted } from "./_patience.ts";
import { type Reply, WireFault } from "./_reply.ts";

/** The server said no. */
export class Refusal extends Error {
  constructor(readonly reply: Reply) {
    super("the server refused");
  }
}

/** A reply other than the one that goes on: a no, or nothing that could be said here. */
export function unfit(reply: Reply): Error {
  return reply.code >= 400 ? new Refusal(reply) : new WireFault("the server's reply does not fit");
}

/** Where a fault found us. */
export interface Place {
  readonly phase: MailPhase;
  readonly delivery: Delivery;
  /** Commands and reply codes so far. */
  readonly transcript: readonly string[];
  /** What must not be repeated: addresses and names, as we gave them to the server. */
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

/** Whatever was thrown, as the error our caller gets. */
export function told(error: unknown, { phase, delivery, transcript, secrets }: Place): MailError {
  if (error instanceof MailError) return error;
  const steps = transcript.slice(-20).join(", ");
  if (error instanceof Refusal) {
    const { reply } = error;
    const code = codeOf(reply, phase);
    const why = `the server refused ${REFUSED[phase] ?? "the message"}: reply is ${shown(reply)}`;
    return mailError("smtp", code, why, { // an answer is an answer, also after the last dot
      phase,
      status: reply.code,
      retryable: reply.code < 500 && code !== "quota-exceeded",
      cause: new Error(`${steps}: ${spoken(reply, phase, secrets)}`),
    });
  }
  const notSent = delivery === "not-sent";
  if (error instanceof Interrupted) {
    const retryable = notSent && error.code === "timeout";
    return mailError("smtp", error.code, error.message, {
      phase,
      delivery,
      retryable,
      cause: error.cause ?? new Error(steps),
    });
  }
  // The runtimes have no word in common for it; Workers say nothing.
  const certificate = phase === "tls" && /cert|issuer|altname|hostname/i.test(String(error));
  const why = certificate
    ? "the server's certificate is not valid for its name"
    : phase === "tls"
    ? "it could not be encrypted"
    : "the connection broke";
  return mailError("smtp", certificate ? "unauthorized" : "backend-unavailable", why, {
    phase,
    delivery,
    retryable: notSent && !certificate,
    cause: new Error(steps, { cause: error }),
  });
}

/** Codes alone: the text of a reply may hold anything. */
export function shown({ code, enhanced }: Reply): string {
  return enhanced === undefined ? String(code) : `${code} ${enhanced}`;
}

function codeOf({ code, enhanced = "", lines }: Reply, phase: MailPhase): HoldfastErrorCode {
  if (code === 421) return "backend-unavailable";
  if (phase === "auth") return code < 500 ? "backend-unavailable" : "unauthorized";
  if (code === 530 || code === 534 || code === 535 || code === 538) return "unauthorized";
  if (phase === "greeting" || phase === "hello" || phase === "tls") return "backend-unavailable";
  // Amazon's servers answer so; elsewhere it belongs to authentication.
  if (code === 454) return /quota/i.test(lines.join(" ")) ? "quota-exceeded" : "rate-limited";
  if (/^5\.(?:3\.4|2\.3)$/.test(enhanced)) return "message-too-large";
  if (code === 552 && phase !== "rcpt" && enhanced !== "5.2.2") return "message-too-large";
  if (code === 555 || /\.6\.7$/.test(enhanced)) return "unsupported";
  return "message-rejected";
}

/** The text of a reply without anything like an address, short and in one line. */
function spoken(reply: Reply, phase: MailPhase, secrets: readonly string[]): string {
  if (phase === "auth") return shown(reply); // it may hold a challenge
  let text = reply.lines.join(" ").replace(/[^ -~]+/g, " ").replace(/\S*@\S*/g, "…");
  for (const secret of secrets) {
    const word = secret.replace(/[^\w]/g, "\\$&");
    text = text.replace(new RegExp(`(?<![\\w.])${word}(?![\\w])`, "gi"), "…");
  }
  return `${reply.code} ${text.slice(0, 300)}`;
}
