/** One connection, from the greeting to the good-bye. */
import { unsupported } from "../../src/mail/mail_error.ts";
import type { MimeMessage } from "../../src/mail/mime.ts";
import { exchange, type SmtpAuth } from "./_auth.ts";
import { told, unfit } from "./_faults.ts";
import type { Patience } from "./_patience.ts";
import { type Delivered, Transaction } from "./_transaction.ts";
import { type StepTimeouts, Wire } from "./_wire.ts";
import type { SmtpConnector, SmtpSecurity } from "./socket.ts";

/** How to connect, all checked. */
export interface SessionSettings {
  readonly host: string;
  readonly port: number;
  readonly security: SmtpSecurity;
  readonly auth: SmtpAuth | undefined;
  readonly clientName: string;
  readonly connector: SmtpConnector;
  readonly timeouts: StepTimeouts;
}

/** A connection to the server: opened once, used for one message after the other. */
export class Session {
  readonly #settings: SessionSettings;
  readonly #wire: Wire;
  #extensions: ReadonlyMap<string, string> = new Map();
  #transaction: Transaction | undefined;
  #open = false;
  #messages = 0;

  constructor(settings: SessionSettings) {
    this.#settings = settings;
    this.#wire = new Wire(settings.timeouts);
  }

  /** How many messages it was asked to send. */
  get messages(): number {
    return this.#messages;
  }

  /** Whether another message may go over it: the last one ended cleanly, and the server has said nothing since. */
  get usable(): boolean {
    return this.#open && this.#transaction?.state !== "broken" && !this.#wire.spoken;
  }

  /** Whether the server has not even answered to the last message's first command: repeating cannot send twice. */
  get untouched(): boolean {
    return this.#transaction?.answered === false;
  }

  /** Resolves when the server speaks or leaves although nobody asked. */
  async disturbed(): Promise<void> {
    await this.#wire.more().catch(() => {});
  }

  /** Connects, encrypts and authenticates. */
  async open(wait: Patience): Promise<void> {
    this.#wire.begin(wait, "connect", this.#secrets([]));
    try {
      await this.#start();
      this.#open = true;
    } catch (error) {
      this.destroy();
      throw told(error, this.#wire);
    }
  }

  /** Sends a message. */
  async deliver(mime: MimeMessage, wait: Patience): Promise<Delivered> {
    const { from, to } = mime.envelope;
    const addresses = [from, ...to].flatMap((
      address,
    ) => [address, address.slice(0, address.lastIndexOf("@"))]);
    const { auth } = this.#settings;
    this.#wire.begin(wait, "mail", auth ? [...addresses, auth.username] : addresses);
    const reset = this.#transaction?.state === "dirty";
    const transaction = this.#transaction = new Transaction(this.#wire, this.#extensions);
    this.#messages++;
    try {
      return await transaction.run(mime, reset);
    } catch (error) {
      if (transaction.state === "broken") this.destroy();
      throw told(error, this.#wire);
    }
  }

  /** Says good-bye, if there is still somebody to hear it, and closes. */
  async quit(wait: Patience): Promise<void> {
    this.#wire.begin(wait, "reply", []);
    if (this.usable) await this.#wire.command("QUIT").catch(() => {});
    this.destroy();
  }

  /** Closes. */
  destroy(): void {
    this.#open = false;
    this.#wire.close();
  }

  #secrets(addresses: readonly string[]): string[] {
    const locals = addresses.map((address) => address.slice(0, address.lastIndexOf("@")));
    const { auth } = this.#settings;
    return auth ? [...locals, auth.username] : locals;
  }

  async #start(): Promise<void> {
    const { host, port, security, auth, connector } = this.#settings;
    const wire = this.#wire;
    await wire.connect(connector, { hostname: host, port, security });
    wire.phase = "greeting";
    const greeting = await wire.reply("greeting", "greeting");
    if (greeting.code !== 220) throw unfit(greeting);
    await this.#hello();
    if (security === "starttls") {
      wire.phase = "tls";
      if (!this.#extensions.has("STARTTLS")) {
        throw unsupported("smtp", "'starttls' with this server: it does not offer it");
      }
      const reply = await wire.command("STARTTLS");
      if (reply.code !== 220) throw unfit(reply);
      await wire.startTls(host);
      await this.#hello(); // what was said in plain text counts no more
    }
    if (auth) await this.#authenticate(auth);
  }

  async #hello(): Promise<void> {
    const wire = this.#wire;
    const { clientName, security, auth } = this.#settings;
    // Workers find out about a certificate at the first use of what it secures.
    if (wire.phase !== "tls") wire.phase = "hello";
    let reply = await wire.command(`EHLO ${clientName}`);
    // A server from before 1995 has no extensions, so neither encryption nor authentication.
    if (reply.code >= 500 && security === "none" && !auth) reply = await wire.command(`HELO ${clientName}`);
    wire.phase = "hello";
    if (reply.code !== 250) throw unfit(reply);
    this.#extensions = new Map(
      reply.lines.slice(1).map((line) => {
        const [, keyword = "", parameters = ""] = /^([^ =]+)[ =]?(.*)$/.exec(line) ?? [];
        return [keyword.toUpperCase(), parameters.toUpperCase()];
      }),
    );
  }

  async #authenticate(auth: SmtpAuth): Promise<void> {
    const wire = this.#wire;
    wire.phase = "auth";
    const offered = new Set(this.#extensions.get("AUTH")?.split(/\s+/));
    const { mechanism, initial, answers } = await wire.during(exchange(auth, offered));
    let reply = await wire.command(`AUTH ${mechanism}`, initial);
    for (const answer of answers) {
      if (reply.code === 334) reply = await wire.command("", answer);
    }
    if (reply.code !== 235) throw unfit(reply);
  }
}
