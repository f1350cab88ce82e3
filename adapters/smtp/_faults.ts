/** What went wrong, as an error that says what became of the message, and holds no address and no secret. */
import { type Delivery, MailError, type MailPhase } from "../../src/email/mail_error.ts";
import type { HoldfastErrorCode } from "../../src/errors.ts";
import { Interrupted } from "./_patience.ts";
import type { Reply } from "./_reply.ts";

/** The server said no. */
export class Refusal extends Error {
  constructor(readonly reply: Reply) {
    super("the server refused");
  }
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
export function mailError(error: unknown, { phase, delivery, transcript, secrets }: Place): MailError {
  if (error instanceof MailError) return error;
  const steps = transcript.slice(-20).join(", ");
  if (error instanceof Refusal) {
    const { reply } = error;
    const code = codeOf(reply, phase);
    return new MailError(
      code,
      `Cannot send by smtp as the server refused ${REFUSED[phase] ?? "the message"}: reply is ${
        shown(reply)
      }`,
      {
        delivery: "not-sent", // an answer is an answer, also after the last dot
        phase,
        mailer: "smtp",
        status: reply.code,
        retryable: reply.code < 500 && code !== "quota-exceeded",
        cause: new Error(`${steps}: ${spoken(reply, phase, secrets)}`),
      },
    );
  }
  const interrupted = error instanceof Interrupted;
  const why = interrupted
    ? error.message
    : phase === "tls"
    ? "it could not be encrypted"
    : "the connection broke";
  const detail = error instanceof Error ? error.message : "";
  const hopeless = phase === "tls" && /cert|issuer|self.signed|altname|hostname|name mismatch/i.test(detail);
  return new MailError(
    interrupted ? error.code : phase === "tls" && hopeless ? "unauthorized" : "backend-unavailable",
    `Cannot send by smtp as ${hopeless ? "the server's certificate is not valid for its name" : why}`,
    {
      delivery,
      phase,
      mailer: "smtp",
      retryable: delivery === "not-sent" && !hopeless && !(interrupted && error.code === "aborted"),
      cause: interrupted && error.cause !== undefined ? error.cause : new Error(steps, { cause: error }),
    },
  );
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
