/** Mechanisms of authentication beside PLAIN, LOGIN and XOAUTH2: each is handed in, and none is built in. */
import { base64ToBytes } from "../../src/codec.ts";
import { mailError } from "../../src/mail/mail_error.ts";
import { base64, MAX_COMMAND } from "./_auth_line.ts";
import type { Reply } from "./_reply.ts";

/**
 * A mechanism of authentication, such as {@linkcode scramSha256}.
 *
 * @see https://www.rfc-editor.org/rfc/rfc4954
 * @category Mailers
 */
export interface SmtpMechanism {
  /** Its name in EHLO's AUTH line. */
  readonly name: string;
  /**
   * Authenticates, and answers the server's last reply: 235 when it accepts. `send` sends a line and reads
   * the reply; its second argument is appended, and kept out of errors.
   */
  authenticate(
    credentials: SmtpCredentials,
    send: (line: string, secret?: string) => Promise<SmtpAuthReply>,
  ): Promise<SmtpAuthReply>;
}

/**
 * An account and its secret: the password, or the token in force.
 *
 * @category Mailers
 */
export interface SmtpCredentials {
  /** The account. */
  readonly username: string;
  /** The password or token. */
  readonly secret: string;
}

/**
 * A server's reply.
 *
 * @category Mailers
 */
export type SmtpAuthReply = Reply;

/** A mechanism's side of the exchange: `begin` first, if it may, then `respond` to each challenge. */
export interface SaslExchange {
  /** The first response, where the client begins. */
  readonly begin?: string;
  /** The response to a challenge; `undefined` when there is nothing more to say. */
  respond(challenge: string): string | undefined | Promise<string | undefined>;
  /** Throws when the server accepted without having proven what it must. */
  complete?(): void;
}

/**
 * Goes through an exchange, and answers the server's last reply: 235 when it accepts.
 *
 * @throws {MailError} `unauthorized` when the server's part is not right
 */
export async function runSasl(
  name: string,
  { begin, respond, complete }: SaslExchange,
  send: (line: string, secret?: string) => Promise<Reply>,
): Promise<Reply> {
  const first = begin === undefined ? undefined : base64(begin);
  const inline = first !== undefined && `AUTH ${name} ${first}\r\n`.length <= MAX_COMMAND;
  let reply = await send(`AUTH ${name}`, inline ? first : undefined);
  if (first !== undefined && !inline && reply.code === 334) reply = await send("", first);
  while (reply.code === 334) {
    let response: string | undefined;
    try {
      response = await respond(decode(reply.lines.join("").trim()));
    } catch (cause) {
      await send("*"); // cancels
      throw unauthorized(`the server's part of ${name} is not right`, cause);
    }
    if (response === undefined) {
      await send("*");
      throw unauthorized(`the server asks for more than ${name} consists of`);
    }
    reply = await send("", base64(response));
  }
  try {
    if (reply.code === 235) complete?.();
  } catch (cause) {
    throw unauthorized(`the server's part of ${name} is not right`, cause);
  }
  return reply;
}

function unauthorized(why: string, cause?: unknown): Error {
  return mailError("smtp", "unauthorized", why, { phase: "auth", cause });
}

function decode(text: string): string {
  return new TextDecoder().decode(base64ToBytes(text));
}
