import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { unsupported } from "../../src/mail/mail_error.ts";
import {
  type BulkSender,
  checkIdempotencyKey,
  type Mailer,
  type Receipt,
  type SendOptions,
} from "../../src/mail/mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "../../src/mail/message.ts";
import { buildMime } from "../../src/mail/mime.ts";
import { isAuth, type SmtpAuth } from "./_auth.ts";
import { told } from "./_faults.ts";
import { Patience } from "./_patience.ts";
import { Pool, type PoolLimits } from "./_pool.ts";
import { queueId } from "./_queue_id.ts";
import type { SessionSettings } from "./_session.ts";
import type { SmtpConnector, SmtpSecurity } from "./socket.ts";

/** Options of {@linkcode smtpMailer}. */
export interface SmtpMailerOptions {
  /** Where sockets come from: `denoConnector()`, `nodeConnector()` or `cloudflareConnector(connect)`. */
  readonly connector: SmtpConnector;
  /** The server: a name, or an IP address. Its certificate must be valid for it; that is always checked. */
  readonly host: string;
  /**
   * The server's port.
   * @default {465 with "tls", 587 with "starttls", 25 with "none"}
   */
  readonly port?: number | undefined;
  /**
   * How the connection is encrypted. With `starttls` nothing is sent to a server that does not offer it.
   * @default {"tls" on port 465, else "starttls"}
   */
  readonly security?: SmtpSecurity | undefined;
  /**
   * Who we are, by password (PLAIN or LOGIN, whichever the server takes) or by access token (XOAUTH2).
   * @default {nobody}
   */
  readonly auth?: SmtpAuth | undefined;
  /**
   * Lets `auth` go over plain text, for whoever is in between to read.
   * @default {false}
   */
  readonly allowPlaintextAuth?: boolean | undefined;
  /**
   * What to call ourselves: a host name, or an address in brackets.
   * @default {"[127.0.0.1]"}
   */
  readonly clientName?: string | undefined;
  /**
   * How long sending a message may take in all.
   * @default {"5m"}
   */
  readonly timeout?: Duration | undefined;
  /** How long single steps may take. */
  readonly timeouts?: SmtpTimeouts | undefined;
  /**
   * How many connections may be open at once.
   * @default {5}
   */
  readonly maxConnections?: number | undefined;
  /**
   * How many messages go over a connection before it is closed.
   * @default {100}
   */
  readonly maxMessages?: number | undefined;
  /**
   * How long an unused connection stays open for the next message.
   * @default {"10s"}
   */
  readonly idleTimeout?: Duration | undefined;
}

/** How long single steps of a sending may take. */
export interface SmtpTimeouts {
  /**
   * To connect, and to encrypt.
   * @default {"10s"}
   */
  readonly connect?: Duration | undefined;
  /**
   * For the server's greeting.
   * @default {"30s"}
   */
  readonly greeting?: Duration | undefined;
  /**
   * For any other reply.
   * @default {"30s"}
   */
  readonly command?: Duration | undefined;
  /**
   * For each 64 KB of the message, and for the reply to it. Servers check a message before they answer, and giving up too
   * early leaves its fate unknown.
   * @default {"2m"}
   */
  readonly data?: Duration | undefined;
}

/** The server has taken the message. */
export interface SmtpReceipt extends Receipt {
  /** The message's own id, in angle brackets, as bounces and mail programs show it. */
  readonly messageId: string;
}

/** A mailer over SMTP. */
export interface SmtpMailer extends Mailer, AsyncDisposable {
  /** One attempt to send one message. */
  send(message: Message, options?: SendOptions): Promise<SmtpReceipt>;
  /** Closes the connections, busy ones when they are done. Whatever is sent later opens and closes its own. */
  close(): Promise<void>;
}

/**
 * A mailer that speaks to a mail server. It has no idempotency, so a message whose reply was lost is `delivery: "unknown"`
 * and never sent again by itself. Tags, metadata and `sendAt` are `unsupported`.
 *
 * @throws {TypeError} when an option is not valid, or credentials would go over plain text
 * @throws {RangeError} when a number or duration is out of its range
 * @example
 * ```ts
 * import { denoConnector, smtpMailer } from "@holdfast/edge/smtp";
 * await using mailer = smtpMailer({
 *   connector: denoConnector(),
 *   host: "smtp.example.com",
 *   auth: { username: "shop", password: "secret" },
 * });
 * // await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * if (mailer.name !== "smtp") throw new Error("unexpected");
 * ```
 */
export function smtpMailer(options: SmtpMailerOptions): SmtpMailer {
  const { host, auth, clientName = "[127.0.0.1]", connector, timeouts = {} } = options;
  const security = options.security ?? (options.port === 465 ? "tls" : "starttls");
  const port = options.port ?? { none: 25, starttls: 587, tls: 465 }[security];
  need(typeof connector?.connect === "function", "'connector' must be one that opens sockets");
  need(["none", "starttls", "tls"].includes(security), "'security' must be 'none', 'starttls' or 'tls'");
  need(isHost(host) && isHost(clientName), "'host' and 'clientName' must be a host name or an IP address");
  if (auth) {
    need(isAuth(auth), "'auth' must be strings without control characters, and not empty");
    const open = security === "none" && !options.allowPlaintextAuth;
    need(!open, "'auth' would go over plain text: encrypt, or set 'allowPlaintextAuth'");
  }
  const { maxConnections = 5, maxMessages = 100 } = options;
  for (const [name, value] of Object.entries({ port, maxConnections, maxMessages })) {
    if (!(Number.isInteger(value) && value > 0 && (name !== "port" || value < 65536))) {
      throw new RangeError(
        `Cannot make an SMTP mailer as '${name}' must be a positive integer: current value is ${value}`,
      );
    }
  }
  const step = (name: keyof SmtpTimeouts, fallback: Duration) =>
    toMilliseconds(timeouts[name] ?? fallback, `timeouts.${name}`);
  const settings: SessionSettings = {
    host,
    port,
    security,
    auth,
    clientName,
    connector,
    timeouts: {
      connect: step("connect", "10s"),
      greeting: step("greeting", "30s"),
      command: step("command", "30s"),
      data: step("data", "2m"),
    },
  };
  const idleTimeout = toMilliseconds(options.idleTimeout ?? "10s", "idleTimeout");
  const limits: PoolLimits = { maxConnections, maxMessages, idleTimeout };
  return new Smtp(settings, limits, toMilliseconds(options.timeout ?? "5m", "timeout"));
}

function need(condition: boolean, why: string): void {
  if (!condition) throw new TypeError(`Cannot make an SMTP mailer as ${why}`);
}

/** What can be connected to, and said with EHLO. */
function isHost(value: unknown): boolean {
  return typeof value === "string" && /^[\w.-]+$|^\[[\da-f.:]+\]$|^[\da-f]*:[\da-f.:]+$/i.test(value);
}

class Smtp implements SmtpMailer {
  readonly name = "smtp";
  readonly deduplicates = false;
  readonly openBulk: (() => BulkSender) | undefined;
  readonly #newPool: () => Pool;
  readonly #shared: Pool | undefined;
  readonly #timeout: number;

  constructor(settings: SessionSettings, limits: PoolLimits, timeout: number) {
    this.#newPool = () => new Pool(settings, limits);
    this.#shared = settings.connector.perRequest ? undefined : this.#newPool();
    this.#timeout = timeout;
    if (!this.#shared) this.openBulk = () => this.#ownPool();
  }

  async send(message: Message, options: SendOptions = {}): Promise<SmtpReceipt> {
    if (this.#shared) return await this.#send(this.#shared, message, options);
    const pool = this.#newPool();
    try {
      return await this.#send(pool, message, options);
    } finally {
      await pool.close();
    }
  }

  async close(): Promise<void> {
    await this.#shared?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Without a pool that outlives requests, the messages of a bulk still share one. */
  #ownPool(): BulkSender {
    const pool = this.#newPool();
    return {
      size: 1,
      send: ([message], [idempotencyKey], options) => [
        this.#send(pool, message!, { ...options, idempotencyKey }),
      ],
      close: () => pool.close(),
    };
  }

  async #send(pool: Pool, message: Message, options: SendOptions = {}): Promise<SmtpReceipt> {
    const { signal, idempotencyKey, timeout } = options;
    const prepared = prepareMessage(message);
    checkIdempotencyKey(idempotencyKey);
    const total = timeout === undefined ? this.#timeout : toMilliseconds(timeout, "timeout");
    refuseUnsupported(prepared);
    const wait = new Patience(total, signal);
    try {
      const mime = await wait.for(buildMime(prepared, { mailer: this.name, idempotencyKey }));
      const { reply, rejected } = await pool.deliver(mime, wait);
      return {
        mailer: this.name,
        id: queueId(reply),
        messageId: mime.messageId,
        ...(rejected.length > 0 && { rejected }),
      };
    } catch (error) {
      throw told(error, { phase: "prepare", delivery: "not-sent", transcript: [], secrets: [] });
    } finally {
      wait.end();
    }
  }
}

function refuseUnsupported({ tags, metadata, sendAt }: PreparedMessage): void {
  if (tags.length > 0) throw unsupported("smtp", "tags");
  if (Object.keys(metadata).length > 0) throw unsupported("smtp", "metadata");
  if (sendAt) throw unsupported("smtp", "sendAt");
}
