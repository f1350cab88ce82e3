/** One connection: commands and replies over a socket, and the record of what happened on it. */
import type { Delivery, MailPhase } from "../../src/mail/mail_error.ts";
import { type Deadline, Interrupted } from "./_deadline.ts";
import { type FaultContext, Refusal, shown } from "./_faults.ts";
import { ConnectionFault, type Reply, ReplyReader } from "./_reply.ts";
import type { SmtpAddress, SmtpConnector, SmtpSocket } from "./socket.ts";

/** Milliseconds per step. */
export type StepTimeouts = Readonly<Record<"connect" | "greeting" | "command" | "data", number>>;

const UNEXPECTED = "the server sent data that no command asked for";

/** The time for a last reply that says why the server closes the connection. */
const LAST_REPLY_MS = 1000;

/** Commands in one account of what happened: an error names the last of them. */
const TRANSCRIPT = 20;

/** A connection. */
export class SmtpConnection implements FaultContext {
  readonly #timeouts: StepTimeouts;
  #socket: SmtpSocket | undefined;
  #reader!: ReplyReader;
  #writer!: WritableStreamDefaultWriter<Uint8Array>;
  #deadline!: Deadline;
  phase: MailPhase = "connect";
  delivery: Delivery = "not-sent";
  transcript: string[] = [];
  secrets: readonly string[] = [];

  constructor(timeouts: StepTimeouts) {
    this.#timeouts = timeouts;
  }

  /** Begins a unit of work with its own deadline and its own account. */
  begin(deadline: Deadline, phase: MailPhase, secrets: readonly string[]): void {
    this.#deadline = deadline;
    this.phase = phase;
    this.delivery = "not-sent";
    this.transcript = [];
    this.secrets = secrets;
  }

  /** Whether the server has sent something that no reply has used, or has closed. */
  get hasUnreadData(): boolean {
    return this.#reader.hasUnreadData;
  }

  /** The address of this side of the socket, where the runtime tells. */
  get localAddress(): string | undefined {
    return this.#socket?.localAddress;
  }

  /** Resolves when the server sends something or closes; it is there for the next reply. */
  more(): Promise<void> {
    return this.#reader.more();
  }

  /** Connects, and with `tls` encrypts. */
  async connect(connector: SmtpConnector, address: SmtpAddress): Promise<void> {
    this.#socket = await this.#opened(connector.connect(address, this.#deadline.signal));
    if (address.security === "tls") await this.#encrypt(address.hostname);
    this.#listen();
  }

  /**
   * Encrypts from here on. Unread data is refused: an attacker in between could have put it before the
   * encryption.
   */
  async startTls(serverName: string): Promise<void> {
    if (this.hasUnreadData) throw new ConnectionFault(UNEXPECTED);
    this.#reader.release();
    this.#writer.releaseLock();
    await this.#encrypt(serverName);
    this.#listen();
  }

  /** Closes at once. */
  close(): void {
    this.#socket?.close();
  }

  /** Waits for other work within the deadline. */
  during<T>(work: Promise<T>): Promise<T> {
    return this.#deadline.wait(work);
  }

  /** Sends one command and reads its reply; `secret` is sent as well, but in no account. */
  async command(command: string, secret?: string): Promise<Reply> {
    await this.send([secret === undefined ? command : `${command} ${secret}`.trimStart()]);
    return await this.reply(command.split(" ", 1)[0]!);
  }

  /**
   * Sends commands without waiting for replies.
   *
   * @throws {ConnectionFault} when there is a reply that no command asked for: it would be taken for the next
   * command's, and every message would get the answer to another one. A 421 is read as the reply instead.
   */
  async send(commands: readonly string[]): Promise<void> {
    if (this.hasUnreadData && !this.#reader.isLeaving) throw new ConnectionFault(UNEXPECTED);
    await this.write(new TextEncoder().encode(`${commands.join("\r\n")}\r\n`), "command");
  }

  /** Writes bytes. */
  async write(bytes: Uint8Array, step: "command" | "data"): Promise<void> {
    try {
      await this.#deadline.wait(this.#writer.write(bytes), this.#timeouts[step]);
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      const reply = await this.#lastReply();
      if (reply && reply.code >= 400) throw new Refusal(reply);
      throw new ConnectionFault("the connection was lost", { cause: error });
    }
  }

  /**
   * Reads the next reply.
   *
   * @throws {Refusal} for a 421: the server closes the connection
   */
  async reply(what: string, step: "greeting" | "command" | "data" = "command"): Promise<Reply> {
    const reply = await this.#deadline.wait(this.#reader.next(), this.#timeouts[step]);
    this.transcript.push(`${what} ${shown(reply)}`);
    if (this.transcript.length > TRANSCRIPT) this.transcript.shift();
    if (reply.code === 421) throw new Refusal(reply);
    return reply;
  }

  /** Reads a reply that the server sent before it closed, if there is one. */
  async #lastReply(): Promise<Reply | undefined> {
    let timer;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, LAST_REPLY_MS));
    try {
      return await this.#deadline.wait(Promise.race([this.#reader.next(), late])) ?? undefined;
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  async #encrypt(serverName: string): Promise<void> {
    this.phase = "tls";
    this.#socket = await this.#opened(this.#socket!.startTls(serverName));
  }

  /** Waits for a socket, and closes one that comes too late. */
  async #opened(opening: Promise<SmtpSocket>): Promise<SmtpSocket> {
    try {
      return await this.#deadline.wait(opening, this.#timeouts.connect);
    } catch (error) {
      opening.then((socket) => socket.close(), () => {});
      throw error;
    }
  }

  #listen(): void {
    this.#reader = new ReplyReader(this.#socket!.readable);
    this.#writer = this.#socket!.writable.getWriter();
    this.#writer.closed.catch(() => {}); // the next write reports it
  }
}
