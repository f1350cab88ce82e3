/** A session: one connection from the greeting to QUIT, and the messages that go over it. */
import { type MailError, unsupported } from "../../src/mail/mail_error.ts";
import type { Rejection } from "../../src/mail/mailer.ts";
import { mechanismsFor, type SmtpAuth } from "./_auth.ts";
import { SmtpConnection, type StepTimeouts } from "./_connection.ts";
import type { Deadline } from "./_deadline.ts";
import { toMailError, unexpectedReply } from "./_faults.ts";
import type { Letter } from "./_letter.ts";
import type { Reply } from "./_reply.ts";
import { type Delivered, type Extensions, Transaction } from "./_transaction.ts";
import type { SmtpConnector, SmtpSecurity } from "./socket.ts";

/** The settings of a connection, all checked. */
export interface SessionSettings {
  readonly host: string;
  readonly port: number;
  readonly security: SmtpSecurity;
  readonly auth: SmtpAuth | undefined;
  /** The name for EHLO; `undefined` means that of the runtime, or else the socket's address. */
  readonly name: string | undefined;
  readonly pipelining: boolean;
  readonly connector: SmtpConnector;
  readonly timeouts: StepTimeouts;
}

/** Limits of the server as far as they are known, shared by all connections to it. */
export interface ServerLimits {
  /** Recipients in a transaction. */
  recipients: number;
  /** Messages on a connection. */
  messages: number;
}

/** The outcome of a message, over all its transactions. */
export interface Outcome {
  /** The reply to the first transaction. */
  readonly reply: Reply;
  readonly accepted: readonly string[];
  readonly rejected: readonly Rejection[];
  readonly deferred: readonly Rejection[];
  readonly unknown: readonly string[];
}

/** A connection to the server: opened once, used for one message after the other. */
export class Session {
  readonly #settings: SessionSettings;
  readonly #limits: ServerLimits;
  readonly #connection: SmtpConnection;
  #extensions: Extensions = new Map();
  #transaction: Transaction | undefined;
  #open = false;
  #messages = 0;

  constructor(settings: SessionSettings, limits: ServerLimits) {
    this.#settings = settings;
    this.#limits = limits;
    this.#connection = new SmtpConnection(settings.timeouts);
  }

  /** Whether it was opened and not destroyed. */
  get isOpen(): boolean {
    return this.#open;
  }

  /** The number of transactions it was used for. */
  get messages(): number {
    return this.#messages;
  }

  /**
   * Whether another message may go over it: the last one ended cleanly, and the server has sent nothing
   * since.
   */
  get usable(): boolean {
    return this.#open && this.#transaction?.state !== "broken" && !this.#connection.hasUnreadData;
  }

  /** Whether it should carry no further message: its MAIL was refused for now, or it has carried enough. */
  get worn(): boolean {
    return this.refusedMail || this.#messages >= this.#limits.messages;
  }

  /** Whether the last transaction's MAIL was refused for now. */
  get refusedMail(): boolean {
    return this.#transaction?.refusedMail ?? false;
  }

  /**
   * Whether the server has not even answered to the last message's first command: repeating cannot send
   * twice.
   */
  get untouched(): boolean {
    return this.#transaction?.answered === false;
  }

  /** Whether the last transaction showed a smaller limit of recipients than it had. */
  get foundLimit(): boolean {
    return this.#transaction?.recipientLimit !== undefined;
  }

  /** Resolves when the server sends something or closes while no command is under way. */
  async disturbed(): Promise<void> {
    await this.#connection.more().catch(() => {});
  }

  /** Connects, encrypts and authenticates. */
  async open(deadline: Deadline): Promise<void> {
    this.#connection.begin(deadline, "connect", this.#secrets([]));
    try {
      await this.#start();
      this.#open = true;
    } catch (error) {
      this.destroy();
      throw toMailError(error, this.#connection);
    }
  }

  /**
   * Sends a message, in as many transactions as the server's limit of recipients needs.
   *
   * @throws {MailError} when the first transaction fails; a later one's failure is part of the outcome
   */
  async deliver(letter: Letter, deadline: Deadline): Promise<Outcome> {
    const accepted: string[] = [];
    const rejected: Rejection[] = [];
    const deferred: Rejection[] = [];
    let first: Reply | undefined;
    for (let left = letter.to; left.length > 0;) {
      // With VERP each recipient has a sender, and so a transaction, of its own.
      const group = left.slice(0, letter.plan?.verp ? 1 : this.#limits.recipients);
      let delivered: Delivered;
      try {
        delivered = await this.#transact(letter, group, deadline);
      } catch (error) {
        // Refused at DATA for their number: nothing was sent, and the limit is smaller now.
        if (this.usable && this.foundLimit && this.#limits.recipients < group.length) continue;
        const { delivery, status } = error as MailError;
        // With VERP a refusal is that recipient's alone, as long as another one is left to try.
        const next = left.slice(group.length);
        if (letter.plan?.verp && delivery === "not-sent" && this.usable && (first || next.length > 0)) {
          (status! < 500 ? deferred : rejected).push({ address: group[0]!, status });
          left = next;
          continue;
        }
        if (first === undefined) throw error;
        const lost = delivery === "unknown";
        const rest = lost ? next : left;
        const later = rest.map((address) => ({ address, status: lost ? undefined : status }));
        return {
          reply: first,
          accepted,
          rejected,
          deferred: [...deferred, ...later],
          unknown: lost ? group : [],
        };
      }
      first ??= delivered.reply;
      accepted.push(...delivered.accepted);
      rejected.push(...delivered.rejected);
      deferred.push(...delivered.deferred.filter(({ address }) => !delivered.tooMany.includes(address)));
      // Those that were too many go next: this transaction took at least one, so it ends.
      left = [...delivered.tooMany, ...left.slice(group.length)];
    }
    return { reply: first!, accepted, rejected, deferred, unknown: [] };
  }

  /** Sends QUIT, unless the connection is of no use any more, and closes. */
  async quit(deadline: Deadline): Promise<void> {
    this.#connection.begin(deadline, "reply", []);
    if (this.usable) await this.#connection.command("QUIT").catch(() => {});
    this.destroy();
  }

  /** Closes. */
  destroy(): void {
    this.#open = false;
    this.#connection.close();
  }

  async #transact(letter: Letter, to: readonly string[], deadline: Deadline): Promise<Delivered> {
    this.#connection.begin(deadline, "mail", this.#secrets([letter.from, ...to]));
    const reset = this.#transaction?.state === "dirty";
    const transaction = new Transaction(this.#connection, this.#extensions, this.#settings.pipelining);
    this.#transaction = transaction;
    this.#messages++;
    try {
      return await transaction.run(letter, to, reset);
    } catch (error) {
      if (transaction.state === "broken") this.destroy();
      throw toMailError(error, this.#connection);
    } finally {
      const found = transaction.recipientLimit;
      if (found !== undefined) this.#limits.recipients = Math.min(this.#limits.recipients, found);
    }
  }

  /** The words that no error repeats: addresses, their local parts, and the account. */
  #secrets(addresses: readonly string[]): string[] {
    const locals = addresses.map((address) => address.slice(0, address.lastIndexOf("@")));
    const { auth } = this.#settings;
    return [...addresses, ...locals, ...(auth ? [auth.username] : [])];
  }

  async #start(): Promise<void> {
    const { host, port, security, auth, connector } = this.#settings;
    const connection = this.#connection;
    await connection.connect(connector, { hostname: host, port, security });
    connection.phase = "greeting";
    const greeting = await connection.reply("greeting", "greeting");
    if (greeting.code !== 220) throw unexpectedReply(greeting);
    await this.#hello();
    if (security === "starttls") {
      connection.phase = "tls";
      if (!this.#extensions.has("STARTTLS")) {
        throw unsupported("smtp", "'starttls' with this server: it does not offer it");
      }
      const reply = await connection.command("STARTTLS");
      if (reply.code !== 220) throw unexpectedReply(reply);
      await connection.startTls(host);
      await this.#hello(); // what was offered in plain text counts no more
    }
    this.#readLimits();
    if (auth) await this.#authenticate(auth);
  }

  async #hello(): Promise<void> {
    const connection = this.#connection;
    const { security, auth, connector } = this.#settings;
    const name = this.#settings.name ?? ehloName(connector.hostname?.(), connection.localAddress);
    // Workers find out about a certificate at the first use of what it secures.
    if (connection.phase !== "tls") connection.phase = "hello";
    let reply = await connection.command(`EHLO ${name}`);
    // A server from before 1995 has no extensions, so neither encryption nor authentication.
    if (reply.code >= 500 && security === "none" && !auth) reply = await connection.command(`HELO ${name}`);
    connection.phase = "hello";
    if (reply.code !== 250) throw unexpectedReply(reply);
    this.#extensions = new Map(
      reply.lines.slice(1).map((line) => {
        const [, keyword = "", parameters = ""] = /^([^ =]+)[ =]?(.*)$/.exec(line) ?? [];
        return [keyword.toUpperCase(), parameters.toUpperCase()];
      }),
    );
  }

  /**
   * The limits that a server announces.
   *
   * @see https://www.rfc-editor.org/rfc/rfc9422
   */
  #readLimits(): void {
    for (const limit of (this.#extensions.get("LIMITS") ?? "").split(" ")) {
      const [, name, value] = /^(RCPTMAX|MAILMAX)=(\d{1,6})$/.exec(limit) ?? [];
      if (value === undefined || Number(value) === 0) continue;
      const field = name === "RCPTMAX" ? "recipients" : "messages";
      this.#limits[field] = Math.min(this.#limits[field], Number(value));
    }
  }

  async #authenticate(auth: SmtpAuth): Promise<void> {
    const connection = this.#connection;
    connection.phase = "auth";
    const offered = new Set(this.#extensions.get("AUTH")?.split(/\s+/));
    const mechanisms = await connection.during(mechanismsFor(auth, offered));
    for (const [i, mechanism] of mechanisms.entries()) {
      const reply = await mechanism((...call) => connection.command(...call));
      if (reply.code === 235) return;
      // 504: the mechanism is not there after all. Any other refusal is about the credentials.
      if (reply.code !== 504 || i === mechanisms.length - 1) throw unexpectedReply(reply);
    }
  }
}

/**
 * The name for EHLO: the runtime's host name if it is one of several labels, as RFC 5321 wants it, else the
 * socket's address in brackets. Where the runtime tells neither (Workers), it is `[127.0.0.1]`: valid by the
 * grammar, and true of no other host.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5321#section-4.1.4
 */
export function ehloName(hostname: string | undefined, address: string | undefined): string {
  if (hostname !== undefined && /^(?=.{4,253}$)[a-z\d-]{1,63}(?:\.[a-z\d-]{1,63})+$/i.test(hostname)) {
    if (!/^[\d.]+$/.test(hostname)) return hostname;
  }
  if (address === undefined) return "[127.0.0.1]";
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");
  if (/^[\d.]{7,15}$/.test(plain)) return `[${plain}]`;
  return /^[\da-f:.]{2,45}$/i.test(plain) ? `[IPv6:${plain}]` : "[127.0.0.1]";
}
