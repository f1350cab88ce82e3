/** A socket that commands and replies go over, and the account of what happened on it. */
import type { Delivery, MailPhase } from "../../src/mail/mail_error.ts";
import { type Place, Refusal, shown } from "./_faults.ts";
import { Interrupted, type Patience } from "./_patience.ts";
import { type Reply, ReplyReader, WireFault } from "./_reply.ts";
import type { SmtpAddress, SmtpConnector, SmtpSocket } from "./socket.ts";

/** Milliseconds per step. */
export type StepTimeouts = Readonly<Record<"connect" | "greeting" | "command" | "data", number>>;

const UNASKED = "the server spoke without being asked";

/** How long a reply may take that says why the connection is being closed. */
const LAST_WORDS = 1000;

/** The connection itself. */
export class Wire implements Place {
  readonly #timeouts: StepTimeouts;
  #socket: SmtpSocket | undefined;
  #reader!: ReplyReader;
  #writer!: WritableStreamDefaultWriter<Uint8Array>;
  #wait!: Patience;
  phase: MailPhase = "connect";
  delivery: Delivery = "not-sent";
  transcript: string[] = [];
  secrets: readonly string[] = [];

  constructor(timeouts: StepTimeouts) {
    this.#timeouts = timeouts;
  }

  /** Begins something that may take as long as its caller has patience, and is told of on its own. */
  begin(wait: Patience, phase: MailPhase, secrets: readonly string[]): void {
    this.#wait = wait;
    this.phase = phase;
    this.delivery = "not-sent";
    this.transcript = [];
    this.secrets = secrets;
  }

  /** Whether the server has said something that nobody has read, or left. */
  get spoken(): boolean {
    return this.#reader.spoken;
  }

  /** Resolves when the server speaks or leaves; what it said is there for the next reply. */
  more(): Promise<void> {
    return this.#reader.more();
  }

  async connect(connector: SmtpConnector, address: SmtpAddress): Promise<void> {
    this.#socket = await this.#opened(connector.connect(address, this.#wait.signal));
    if (address.security === "tls") await this.#encrypt(address.hostname);
    this.#listen();
  }

  /** Goes on encrypted. Whoever is in between could have anything that came before read as if it had come after. */
  async startTls(serverName: string): Promise<void> {
    if (this.spoken) throw new WireFault(UNASKED);
    this.#reader.release();
    this.#writer.releaseLock();
    await this.#encrypt(serverName);
    this.#listen();
  }

  close(): void {
    this.#socket?.close();
  }

  /** Waits for work of somebody else's. */
  during<T>(work: Promise<T>): Promise<T> {
    return this.#wait.for(work);
  }

  /** Says one command and reads its reply; `secret` is said, but not told of. */
  async command(command: string, secret?: string): Promise<Reply> {
    await this.say([secret === undefined ? command : `${command} ${secret}`.trimStart()]);
    return await this.reply(command.split(" ", 1)[0]!);
  }

  /** Says commands without waiting for replies. */
  async say(commands: readonly string[]): Promise<void> {
    this.#silent();
    await this.write(new TextEncoder().encode(`${commands.join("\r\n")}\r\n`), "command");
  }

  /** Writes bytes of a message. */
  async write(bytes: Uint8Array, step: "command" | "data"): Promise<void> {
    try {
      await this.#wait.for(this.#writer.write(bytes), this.#timeouts[step]);
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      const reply = await this.#lastWords();
      if (reply && reply.code >= 400) throw new Refusal(reply);
      throw new WireFault("the connection was lost", { cause: error });
    }
  }

  /**
   * The next reply.
   *
   * @throws {Refusal} when the server says that it leaves
   */
  async reply(what: string, step: "greeting" | "command" | "data" = "command"): Promise<Reply> {
    const reply = await this.#wait.for(this.#reader.next(), this.#timeouts[step]);
    this.transcript.push(`${what} ${shown(reply)}`);
    if (reply.code === 421) throw new Refusal(reply);
    return reply;
  }

  /** What a server said before it left may still be there to read. */
  async #lastWords(): Promise<Reply | undefined> {
    let timer;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, LAST_WORDS));
    try {
      return await this.#wait.for(Promise.race([this.#reader.next(), late])) ?? undefined;
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

  /** Waits for a socket, and leaves none behind that comes too late. */
  async #opened(opening: Promise<SmtpSocket>): Promise<SmtpSocket> {
    try {
      return await this.#wait.for(opening, this.#timeouts.connect);
    } catch (error) {
      opening.then((socket) => socket.close(), () => {});
      throw error;
    }
  }

  #listen(): void {
    this.#reader = new ReplyReader(this.#socket!.readable);
    this.#writer = this.#socket!.writable.getWriter();
    this.#writer.closed.catch(() => {}); // the next write tells
  }

  /** A reply that nobody asked for would be taken for the next command's, and so on: every message would get another's. */
  #silent(): void {
    if (this.spoken && !this.#reader.leaving) throw new WireFault(UNASKED);
  }
}
