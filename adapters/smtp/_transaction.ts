/**
 * One mail transaction: MAIL, RCPT, DATA and the message, for as many recipients as the server takes at once.
 */
import { mailError, unsupported } from "../../src/mail/mail_error.ts";
import type { Rejection } from "../../src/mail/mailer.ts";
import type { SmtpConnection } from "./_connection.ts";
import { dataPieces } from "./_data.ts";
import { Refusal, unexpectedReply } from "./_faults.ts";
import type { Letter } from "./_letter.ts";
import { ConnectionFault, type Reply } from "./_reply.ts";

/** The server took the message, for these recipients. */
export interface Delivered {
  /** The reply to the message. */
  readonly reply: Reply;
  readonly accepted: readonly string[];
  /** Refused for good. */
  readonly rejected: readonly Rejection[];
  /** Refused for now. */
  readonly deferred: readonly Rejection[];
  /**
   * Those of the deferred that were too many for one transaction: the next transaction may take them at once.
   */
  readonly tooMany: readonly string[];
}

/** The server's extensions, by name in upper case. */
export type Extensions = ReadonlyMap<string, string>;

/**
 * Commands sent before their replies are read: more could fill the buffers of both directions and wait for
 * ever.
 */
const PIPELINE = 50;

/** One transaction on a connection. */
export class Transaction {
  readonly #connection: SmtpConnection;
  readonly #extensions: Extensions;
  readonly #pipeline: number;
  /**
   * The state of the connection afterwards: ready for the next message, ready after RSET, or of no further
   * use.
   */
  state: "clean" | "dirty" | "broken" = "clean";
  /** Whether the server has answered to any of it. */
  answered = false;
  /**
   * Whether MAIL was refused for now: the connection may have carried as many messages as the server allows.
   */
  refusedMail = false;
  /** Recipients that the server had taken when it refused further ones as too many, if it did. */
  recipientLimit: number | undefined;

  constructor(connection: SmtpConnection, extensions: Extensions, pipelining: boolean) {
    this.#connection = connection;
    this.#extensions = extensions;
    this.#pipeline = pipelining && extensions.has("PIPELINING") ? PIPELINE : 1;
  }

  /** Sends the message to these recipients; with `reset`, the transaction before is ended first. */
  async run(letter: Letter, to: readonly string[], reset: boolean): Promise<Delivered> {
    const connection = this.#connection;
    if (reset) this.state = "dirty";
    const written = [this.#mailCommand(letter), ...to.map((address) => `RCPT TO:<${address}>`), "DATA"];
    const commands = letter.plan?.edit(written, this.#extensions) ?? written;
    this.state = "broken"; // until every reply was read
    if (reset && (await connection.command("RSET")).code >= 300) {
      throw new ConnectionFault("RSET was refused");
    }
    const replies = await this.#envelope(commands);
    this.#noteLimits(replies, to.length);
    const refusal = this.#refused(replies, to.length);
    const data = replies[to.length + 1];
    if (refusal) {
      if (data?.code === 354) await connection.command("."); // the server waits for a message without recipients
      this.state = "dirty";
      throw refusal;
    }
    connection.phase = "data";
    if (data!.code !== 354) {
      if (data!.code >= 400) this.state = "dirty";
      throw unexpectedReply(data!);
    }
    const reply = await this.#body(letter);
    this.state = "clean";
    if (reply.code >= 400) throw new Refusal(reply);
    return { reply, ...outcomesOf(replies.slice(1, -1), to) };
  }

  /** The first command, once it is known that this server can take the message. */
  #mailCommand({ mime: { size, needsSmtpUtf8, eightBit }, from }: Letter): string {
    const limit = Number(this.#extensions.get("SIZE") ?? 0);
    if (limit > 0 && size > limit) {
      const why = `the server takes at most ${limit} bytes: current value is ${size}`;
      throw mailError("smtp", "message-too-large", why, { phase: "mail" });
    }
    if (needsSmtpUtf8) this.#needs("SMTPUTF8", "addresses outside ASCII");
    if (eightBit) this.#needs("8BITMIME", "bytes above 127");
    return [
      `MAIL FROM:<${from}>`,
      ...(this.#extensions.has("SIZE") ? [`SIZE=${size}`] : []),
      ...(needsSmtpUtf8 ? ["SMTPUTF8"] : []),
      // Bodies that are built here are 7-bit: else only headers can make a difference.
      ...(eightBit || (needsSmtpUtf8 && this.#extensions.has("8BITMIME")) ? ["BODY=8BITMIME"] : []),
    ].join(" ");
  }

  #needs(extension: string, what: string): void {
    if (!this.#extensions.has(extension)) throw unsupported("smtp", `${what} with this server`);
  }

  /** Sends sender, recipients and DATA; answers the replies, in order, as far as the server let it come. */
  async #envelope(commands: readonly string[]): Promise<readonly Reply[]> {
    const connection = this.#connection;
    const recipients = commands.length - 2;
    const replies: Reply[] = [];
    for (let start = 0; start < commands.length; start += this.#pipeline) {
      const group = commands.slice(start, start + this.#pipeline);
      if (group[0] === "DATA" && this.#refused(replies, recipients)) break;
      connection.phase = phaseOf(group[0]!);
      try {
        await connection.send(group);
        for (const command of group) {
          connection.phase = phaseOf(command);
          const reply = await connection.reply(command.slice(0, 4));
          this.answered = true;
          if (reply.code >= 300 && reply.code < 400 && command !== "DATA") throw unexpectedReply(reply);
          replies.push(reply);
        }
      } catch (error) {
        this.#noteLimits(error instanceof Refusal ? [...replies, error.reply] : replies, recipients);
        throw this.#leftAfter(replies, recipients, error);
      }
      if (replies[0]!.code >= 400) break;
    }
    return replies;
  }

  /** The fault when the connection ended within the envelope: a server may close right after its refusal. */
  #leftAfter(replies: readonly Reply[], recipients: number, error: unknown): unknown {
    const refusal = this.#refused(replies, recipients);
    if (refusal || !(error instanceof ConnectionFault)) return refusal ?? error;
    // The last reply before the end says why, also when other recipients had been taken.
    const last = replies.at(-1);
    if (last === undefined || last.code < 400) return error;
    this.#connection.phase = replies.length === 1 ? "mail" : "rcpt";
    return new Refusal(last);
  }

  /** Notes what the replies tell of the server's limits. */
  #noteLimits([mail, ...others]: readonly Reply[], recipients: number): void {
    if (mail && mail.code >= 400) this.refusedMail = mail.code < 500;
    const answers = others.slice(0, recipients);
    const taken = answers.filter(({ code }) => code < 300).length;
    if (taken > 0 && answers.some(isTooMany)) this.recipientLimit = taken;
    const data = others[recipients];
    // At DATA nothing says how many would have been few enough: half of them may be.
    if (data && data.code !== 354 && isTooMany(data) && taken > 1) this.recipientLimit = taken >> 1;
  }

  /** The refusal when the replies to MAIL and to so many RCPT leave no recipient. */
  #refused([mail, ...others]: readonly Reply[], recipients: number): Refusal | undefined {
    const answers = others.slice(0, recipients);
    const refused = answers.filter(({ code }) => code >= 400);
    if (mail && mail.code >= 400) {
      this.#connection.phase = "mail";
      return new Refusal(mail);
    }
    if (refused.length < recipients) return undefined;
    this.#connection.phase = "rcpt";
    // A temporary refusal comes first: it decides that repeating makes sense.
    return new Refusal(refused.find(({ code }) => code < 500) ?? refused[0]!);
  }

  /** Sends the message and reads the answer to it. */
  async #body({ mime }: Letter): Promise<Reply> {
    const connection = this.#connection;
    connection.phase = "body";
    for (const { bytes, last } of dataPieces(mime.chunks())) {
      if (connection.hasUnreadData) throw unexpectedReply(await connection.reply("message"));
      // From the last piece on the server may have the whole message.
      if (last) connection.delivery = "unknown";
      const writing = connection.write(bytes, "data");
      if (last) await writing;
      else await Promise.race([writing, connection.more()]); // a server that refuses early may read no further
    }
    connection.phase = "reply";
    const reply = await connection.reply("message", "data");
    if (reply.code >= 300 && reply.code < 400) throw unexpectedReply(reply);
    return reply;
  }
}

/** A reply as one line: its code, and the beginning of its text. */
export function textOf({ code, lines }: Reply): string {
  return `${code} ${lines.join(" ").slice(0, 500)}`;
}

/** The outcome for each recipient by the reply to its RCPT. */
function outcomesOf(replies: readonly Reply[], to: readonly string[]): Omit<Delivered, "reply"> {
  const all = replies.map((reply, i) => ({ reply, address: to[i]!, status: reply.code }));
  const rejection = ({ address, status, reply }: typeof all[number]): Rejection => (
    { address, status, reply: textOf(reply) }
  );
  const forNow = ({ reply }: typeof all[number]) =>
    reply.code >= 400 && (reply.code < 500 || isTooMany(reply));
  return {
    accepted: all.filter(({ status }) => status < 400).map(({ address }) => address),
    rejected: all.filter((one) => one.status >= 500 && !forNow(one)).map(rejection),
    deferred: all.filter(forNow).map(rejection),
    tooMany: all.filter(({ reply }) => isTooMany(reply)).map(({ address }) => address),
  };
}

/**
 * Whether a reply says that there are too many recipients for one transaction: 452, in older servers 552,
 * without another reason given.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.10
 */
function isTooMany({ code, enhanced }: Reply): boolean {
  if (enhanced !== undefined) return code >= 400 && /^[45]\.5\.3$/.test(enhanced);
  return code === 452 || code === 552;
}

function phaseOf(command: string): "mail" | "rcpt" | "data" {
  return command === "DATA" ? "data" : command.startsWith("MAIL") ? "mail" : "rcpt";
}
