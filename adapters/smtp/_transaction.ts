/** One message's way over a connection. */
import { mailError, unsupported } from "../../src/mail/mail_error.ts";
import type { Rejection } from "../../src/mail/mailer.ts";
import type { MimeMessage } from "../../src/mail/mime.ts";
import { dataPieces } from "./_data.ts";
import { Refusal, unfit } from "./_faults.ts";
import { type Reply, WireFault } from "./_reply.ts";
import type { Wire } from "./_wire.ts";

/** The server took the message. */
export interface Delivered {
  readonly reply: Reply;
  readonly rejected: readonly Rejection[];
}

/** How many commands go out before their replies are read: more could fill both directions and wait for ever. */
const PIPELINE = 50;

/** MAIL, RCPT, DATA and the message. */
export class Transaction {
  readonly #wire: Wire;
  readonly #extensions: ReadonlyMap<string, string>;
  /** What it leaves behind: a connection for the next, one that needs RSET, or none. */
  state: "clean" | "dirty" | "broken" = "clean";
  /** Whether the server has answered to any of it. */
  answered = false;

  constructor(wire: Wire, extensions: ReadonlyMap<string, string>) {
    this.#wire = wire;
    this.#extensions = extensions;
  }

  async run(mime: MimeMessage, reset: boolean): Promise<Delivered> {
    const wire = this.#wire;
    if (reset) this.state = "dirty";
    const mail = this.#mail(mime);
    this.state = "broken"; // until every reply was read
    if (reset && (await wire.command("RSET")).code >= 300) {
      throw new WireFault("RSET was refused");
    }
    const { to } = mime.envelope;
    const replies = await this.#envelope(mail, to);
    const refusal = this.#refused(replies, to.length);
    const data = replies[to.length + 1];
    if (refusal) {
      if (data?.code === 354) await wire.command("."); // it waits for a message that nobody would get
      this.state = "dirty";
      throw refusal;
    }
    wire.phase = "data";
    if (data!.code !== 354) {
      if (data!.code >= 400) this.state = "dirty";
      throw unfit(data!);
    }
    const reply = await this.#body(mime.bytes);
    this.state = "clean";
    if (reply.code >= 400) throw new Refusal(reply);
    const rejected = replies.slice(1, -1).flatMap(({ code }, i) => {
      return code >= 400 ? [{ address: to[i]!, status: code }] : [];
    });
    return { reply, rejected };
  }

  /** The first command, once it is known that this server can take the message. */
  #mail({ envelope, bytes, needsSmtpUtf8 }: MimeMessage): string {
    const limit = Number(this.#extensions.get("SIZE") ?? 0);
    if (limit > 0 && bytes.length > limit) {
      const why = `the server takes at most ${limit} bytes: current value is ${bytes.length}`;
      throw mailError("smtp", "message-too-large", why, { phase: "mail" });
    }
    if (needsSmtpUtf8 && !this.#extensions.has("SMTPUTF8")) {
      throw unsupported("smtp", "addresses outside ASCII with this server");
    }
    return [
      `MAIL FROM:<${envelope.from}>`,
      ...(this.#extensions.has("SIZE") ? [`SIZE=${bytes.length}`] : []),
      ...(needsSmtpUtf8 ? ["SMTPUTF8"] : []),
      // Bodies are always 7-bit: only headers can make a difference.
      ...(needsSmtpUtf8 && this.#extensions.has("8BITMIME") ? ["BODY=8BITMIME"] : []),
    ].join(" ");
  }

  /** Who it is from and for, and whether the server wants the message: the replies, in order, as far as they came. */
  async #envelope(mail: string, to: readonly string[]): Promise<readonly Reply[]> {
    const wire = this.#wire;
    const commands = [mail, ...to.map((address) => `RCPT TO:<${address}>`), "DATA"];
    const size = this.#extensions.has("PIPELINING") ? PIPELINE : 1;
    const replies: Reply[] = [];
    for (let start = 0; start < commands.length; start += size) {
      const group = commands.slice(start, start + size);
      if (group[0] === "DATA" && this.#refused(replies, to.length)) break;
      wire.phase = phaseOf(group[0]!);
      await wire.say(group);
      for (const command of group) {
        wire.phase = phaseOf(command);
        try {
          const reply = await wire.reply(command.slice(0, 4));
          this.answered = true;
          if (reply.code >= 300 && reply.code < 400 && command !== "DATA") throw unfit(reply);
          replies.push(reply);
        } catch (error) {
          throw this.#refused(replies, to.length) ?? error; // a server may leave after its no
        }
      }
      if (replies[0]!.code >= 400) break;
    }
    return replies;
  }

  /** Whether nobody gets the message, by the replies to MAIL and to so many RCPT. */
  #refused([mail, ...others]: readonly Reply[], recipients: number): Refusal | undefined {
    const answers = others.slice(0, recipients);
    const refused = answers.filter(({ code }) => code >= 400);
    if (mail && mail.code >= 400) {
      this.#wire.phase = "mail";
      return new Refusal(mail);
    }
    if (refused.length < recipients) return undefined;
    this.#wire.phase = "rcpt";
    // One that may change its mind comes first: it decides whether repeating makes sense.
    return new Refusal(refused.find(({ code }) => code < 500) ?? refused[0]!);
  }

  /** The message and the answer to it. */
  async #body(bytes: Uint8Array): Promise<Reply> {
    const wire = this.#wire;
    wire.phase = "body";
    for (const { piece, last } of dataPieces(bytes)) {
      if (wire.spoken) throw unfit(await wire.reply("message"));
      if (last) wire.delivery = "unknown";
      const writing = wire.write(piece, "data");
      if (last) await writing;
      else await Promise.race([writing, wire.more()]); // a server that has seen enough may read no further
    }
    wire.phase = "reply";
    const reply = await wire.reply("message", "data");
    if (reply.code >= 300 && reply.code < 400) throw unfit(reply);
    return reply;
  }
}

function phaseOf(command: string): "mail" | "rcpt" | "data" {
  return command === "DATA" ? "data" : command.startsWith("MAIL") ? "mail" : "rcpt";
}
