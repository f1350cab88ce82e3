import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { unsupported } from "../../src/mail/mail_error.ts";
import {
  type BulkSender,
  checkSendOptions,
  type Mailer,
  type Receipt,
  type SendOptions,
} from "../../src/mail/mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "../../src/mail/message.ts";
import { buildMime, type MimeBuilder } from "../../src/mail/mime.ts";
import { partialReceipt, selectRecipients } from "../../src/mail/partial.ts";
import type { SmtpOptions } from "../../src/mail/provider_options.ts";
import {
  checkInteger,
  checkNames,
  checkNeededNames,
  checkSignal,
  type OptionNames,
} from "../../src/validate.ts";
import { isAuth, type SmtpAuth } from "./_auth.ts";
import type { StepTimeouts } from "./_connection.ts";
import { Deadline } from "./_deadline.ts";
import { toMailError } from "./_faults.ts";
import type { SmtpEnvelopes } from "./_letter.ts";
import { Pool, type PoolLimits } from "./_pool.ts";
import { queueId } from "./_queue_id.ts";
import { Session, type SessionSettings } from "./_session.ts";
import { textOf } from "./_transaction.ts";
import type { SmtpConnector, SmtpSecurity } from "./socket.ts";

/**
 * Options of {@linkcode smtpMailer}.
 *
 * @category Mailers
 */
export interface SmtpMailerOptions {
  /** Opens the sockets: `denoConnector()`, `nodeConnector()` or `cloudflareConnector(connect)`. */
  readonly connector: SmtpConnector;
  /** The server: a name, or an IP address. Its certificate must be valid for it; that is always checked. */
  readonly host: string;
  /**
   * The server's port.
   * @default {465 with "tls", 587 with "starttls", 25 with "none"}
   */
  readonly port?: number | undefined;
  /**
   * The encryption of the connection. With `starttls` nothing is sent to a server that does not offer it.
   * @default {"tls" on port 465, else "starttls"}
   */
  readonly security?: SmtpSecurity | undefined;
  /**
   * The credentials: a password (PLAIN, or LOGIN where the server does not take PLAIN) or an access token
   * (XOAUTH2). With a `mechanism` that one alone.
   * @default {undefined} (no authentication)
   */
  readonly auth?: SmtpAuth | undefined;
  /**
   * Sends `auth` in plain text, readable on the way to the server.
   * @default {false}
   */
  readonly allowPlaintextAuth?: boolean | undefined;
  /**
   * The client's name in EHLO: a host name, or an address in brackets.
   * @default {the machine's host name where the runtime tells it and it has a domain; else the socket's
   * address in brackets; `[127.0.0.1]` on Workers, which tell neither}
   */
  readonly name?: string | undefined;
  /**
   * Whether commands go out together where the server offers PIPELINING.
   * @default {true}
   */
  readonly pipelining?: boolean | undefined;
  /**
   * The maximum time for sending a message in all, waiting for a connection included.
   * @default {"5m"}
   */
  readonly timeout?: Duration | undefined;
  /** The maximum times of single steps. */
  readonly timeouts?: SmtpTimeouts | undefined;
  /**
   * The maximum number of connections at once. When the server admits fewer, messages wait for those it
   * admitted.
   * @default {5}
   */
  readonly maxConnections?: number | undefined;
  /**
   * The maximum number of messages on a connection before it is closed. A connection whose MAIL the server
   * refuses for now is closed at once, so a smaller limit of the server costs one more connection and no
   * message.
   * @default {100}
   */
  readonly maxMessages?: number | undefined;
  /**
   * The maximum number of messages that wait for a connection; further ones are refused as `queue-full`,
   * retryable.
   * @default {1000}
   */
  readonly maxWaiting?: number | undefined;
  /**
   * The time after which an unused connection is closed.
   * @default {"10s"}
   */
  readonly idleTimeout?: Duration | undefined;
  /**
   * Builds the messages: one of your own, or one around `buildMime` that signs what it built, as `dkimSigned`
   * of `@holdfast/edge/dkim` does.
   * @default {buildMime}
   */
  readonly mime?: MimeBuilder | undefined;
  /**
   * Reads the options that a message has under `provider.smtp`: hand in `smtpEnvelope`. It is not built in,
   * as most do without.
   * @default {messages with such options are refused}
   */
  readonly envelope?: SmtpEnvelopes | undefined;
  /** Options for messages that have none of their own under `provider.smtp`; it needs `envelope`. */
  readonly defaults?: SmtpOptions | undefined;
}

/**
 * The maximum times of single steps.
 *
 * @category Mailers
 */
export interface SmtpTimeouts {
  /**
   * Connecting and encrypting.
   * @default {"10s"}
   */
  readonly connect?: Duration | undefined;
  /**
   * The server's greeting.
   * @default {"30s"}
   */
  readonly greeting?: Duration | undefined;
  /**
   * Any other reply.
   * @default {"30s"}
   */
  readonly command?: Duration | undefined;
  /**
   * Each 64 KB of the message, and the reply to it. Servers check a message before they answer, and a timeout
   * that is too short leaves the message's delivery unknown.
   * @default {"2m"}
   */
  readonly data?: Duration | undefined;
}

/**
 * The server has taken the message, for all recipients but the listed ones.
 *
 * @category Mailers
 */
export interface SmtpReceipt extends Receipt {
  /** The recipients that the server took the message for. */
  readonly accepted: readonly string[];
  /**
   * The message's own id, in angle brackets, as bounces and mail programs show it; "" where a raw message has
   * none.
   */
  readonly messageId: string;
  /** The server's reply to the message in one line, such as `250 2.0.0 Ok: queued as 4F7A`. */
  readonly reply: string;
}

/**
 * A mailer over SMTP.
 *
 * @category Mailers
 */
export interface SmtpMailer extends Mailer, AsyncDisposable {
  /** One attempt to send one message. */
  send(message: Message, options?: SendOptions): Promise<SmtpReceipt>;
  /** Closes the connections, busy ones when they are done. Later messages open and close their own. */
  close(): Promise<void>;
}

/**
 * A mailer that sends to a mail server over SMTP. It has no idempotency, so a message whose reply was lost is
 * `delivery: "unknown"` and never sent again by itself. Tags, metadata and `sendAt` are `unsupported`.
 *
 * A server answers for each recipient. When it takes the message for some of them, the receipt tells which
 * were `accepted`, `rejected` for good and `deferred` for now; `retrying` and `outbox` send to the deferred
 * ones again, and to them alone. Recipients that are too many for one transaction are sent to in further ones
 * at once.
 *
 * @throws {TypeError} when an option is not valid, or credentials would go over plain text
 * @throws {RangeError} when a number or duration is out of its range
 * @category Mailers
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
  checkNeededNames(TASK, options, OPTIONS, "'connector' and 'host'");
  const { maxConnections = 5, maxMessages = 100, maxWaiting = 1000 } = options;
  const settings = settingsOf(options);
  const limits: PoolLimits = {
    maxConnections: checkInteger(TASK, "maxConnections", maxConnections),
    maxMessages: checkInteger(TASK, "maxMessages", maxMessages),
    maxWaiting: checkInteger(TASK, "maxWaiting", maxWaiting),
    idleTimeout: toMilliseconds(options.idleTimeout ?? "10s", "idleTimeout"),
  };
  need(!options.mime || typeof options.mime === "function", "'mime' must be a function");
  checkNames(`${TASK} with these 'defaults'`, options.defaults, options.envelope?.options ?? {});
  return new Smtp(settings, limits, toMilliseconds(options.timeout ?? "5m", "timeout"), options);
}

const TASK = "make an SMTP mailer";

const OPTIONS = {
  connector: true,
  host: true,
  port: true,
  security: true,
  auth: true,
  allowPlaintextAuth: true,
  name: true,
  pipelining: true,
  timeout: true,
  timeouts: true,
  maxConnections: true,
  maxMessages: true,
  maxWaiting: true,
  idleTimeout: true,
  mime: true,
  envelope: true,
  defaults: true,
} satisfies OptionNames<SmtpMailerOptions>;

const AUTH = { username: true, password: true, accessToken: true, mechanism: true } satisfies OptionNames<
  SmtpAuth
>;

const TIMEOUTS = {
  connect: true,
  greeting: true,
  command: true,
  data: true,
} satisfies OptionNames<SmtpTimeouts>;

function settingsOf(options: SmtpMailerOptions): SessionSettings {
  const { host, auth, name, connector, pipelining = true } = options;
  const security = options.security ?? (options.port === 465 ? "tls" : "starttls");
  need(/^(?:none|starttls|tls)$/.test(security), '\'security\' must be "none", "starttls" or "tls"');
  need(typeof pipelining === "boolean", "'pipelining' must be true or false");
  need(typeof connector?.connect === "function", "'connector' must be one that opens sockets");
  need(isHost(host), "'host' must be a host name or an IP address");
  need(name === undefined || isHost(name), "'name' must be a host name or an address in brackets");
  if (auth !== undefined) {
    checkNames(`${TASK} with this 'auth'`, auth, AUTH);
    const fields = "'auth' must be { username, password } or { username, accessToken }";
    need(isAuth(auth), `${fields}, of strings without control characters, and not empty`);
    const open = security === "none" && !options.allowPlaintextAuth;
    need(!open, "'auth' would go over plain text: encrypt, or set 'allowPlaintextAuth'");
  }
  const port = checkInteger(
    TASK,
    "port",
    options.port ?? { none: 25, starttls: 587, tls: 465 }[security],
    1,
    65_535,
  );
  return {
    host,
    port,
    security,
    auth,
    name,
    pipelining,
    connector,
    timeouts: stepTimeouts(options.timeouts),
  };
}

function stepTimeouts(timeouts: SmtpTimeouts = {}): StepTimeouts {
  checkNames(TASK, timeouts, TIMEOUTS);
  const step = (name: keyof SmtpTimeouts, fallback: Duration) =>
    toMilliseconds(timeouts[name] ?? fallback, `timeouts.${name}`);
  return {
    connect: step("connect", "10s"),
    greeting: step("greeting", "30s"),
    command: step("command", "30s"),
    data: step("data", "2m"),
  };
}

function need(condition: boolean, why: string): void {
  if (!condition) throw new TypeError(`Cannot ${TASK} as ${why}`);
}

/** Tells whether it can be connected to, and named in EHLO. */
function isHost(value: unknown): boolean {
  return typeof value === "string" &&
    /^[\w.-]+$|^\[(?:IPv6:)?[\da-f.:]+\]$|^[\da-f]*:[\da-f.:]+$/i.test(value);
}

class Smtp implements SmtpMailer {
  readonly name = "smtp";
  readonly deduplicates = false;
  readonly selectsRecipients = true;
  readonly openBulk: (() => BulkSender) | undefined;
  readonly #newPool: () => Pool;
  readonly #shared: Pool | undefined;
  readonly #timeout: number;
  readonly #given: Pick<SmtpMailerOptions, "mime" | "envelope" | "defaults">;

  constructor(
    settings: SessionSettings,
    limits: PoolLimits,
    timeout: number,
    given: Pick<SmtpMailerOptions, "mime" | "envelope" | "defaults">,
  ) {
    this.#given = given;
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

  /** A pool for one bulk: where sockets die with their request, the messages of a bulk still share some. */
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

  async #send(pool: Pool, message: Message, options: SendOptions): Promise<SmtpReceipt> {
    checkSendOptions(options);
    const prepared = prepareMessage(message);
    const { mime: build = buildMime, envelope, defaults } = this.#given;
    if (prepared.provider && !envelope) throw unsupported(this.name, "'provider' without 'envelope'");
    const plan = envelope?.plan(prepared, defaults, options.recipients);
    const to = plan?.to ?? selectRecipients(prepared, options.recipients);
    refuseUnsupported(prepared);
    const deadline = new Deadline(
      toMilliseconds(options.timeout ?? this.#timeout, "timeout"),
      options.signal,
    );
    try {
      const recipients = plan?.ownRecipients ? undefined : to;
      const { idempotencyKey } = options;
      const mime = plan?.mime ??
        await deadline.wait(build(prepared, { mailer: this.name, idempotencyKey, recipients }));
      const letter = { mime, from: plan?.from ?? prepared.from.address, to, plan };
      const { reply, ...lists } = await pool.deliver(letter, deadline);
      const { messageId } = mime;
      return {
        ...partialReceipt({ mailer: this.name, id: queueId(reply), messageId, reply: textOf(reply) }, lists),
        accepted: lists.accepted,
      };
    } catch (error) {
      throw toMailError(error, NOT_BEGUN);
    } finally {
      deadline.end();
    }
  }
}

/** The circumstances of a fault outside a connection. */
const NOT_BEGUN = { phase: "prepare", delivery: "not-sent", transcript: [], secrets: [] } as const;

/**
 * Options of {@linkcode verifySmtp}.
 *
 * @category Mailers
 */
export type SmtpVerifyOptions = Pick<SendOptions, "signal" | "timeout">;

/**
 * Connects, encrypts and authenticates as a mailer with these options does for a message, and closes. Host,
 * encryption and credentials are right when it resolves; nothing is sent.
 *
 * @throws {MailError} that says which step failed
 * @throws {TypeError} when an option is not valid
 * @category Mailers
 * @example
 * ```ts
 * import { denoConnector, verifySmtp } from "@holdfast/edge/smtp";
 * const options = { connector: denoConnector(), host: "localhost", port: 9, security: "none" } as const;
 * const error = await verifySmtp(options, { timeout: "1s" }).catch((error) => error);
 * if (error.delivery !== "not-sent") throw error;
 * ```
 */
export async function verifySmtp(options: SmtpMailerOptions, call: SmtpVerifyOptions = {}): Promise<void> {
  checkNeededNames(TASK, options, OPTIONS, "'connector' and 'host'");
  checkNames("verify", call, { signal: true, timeout: true } satisfies OptionNames<SmtpVerifyOptions>);
  if (call.signal !== undefined) checkSignal("verify", call.signal);
  const timeout = toMilliseconds(call.timeout ?? options.timeout ?? "5m", "timeout");
  const session = new Session(settingsOf(options), { recipients: Infinity, messages: Infinity });
  const deadline = new Deadline(timeout, call.signal);
  try {
    await session.open(deadline);
    await session.quit(deadline);
  } catch (error) {
    throw toMailError(error, NOT_BEGUN);
  } finally {
    deadline.end();
  }
}

function refuseUnsupported({ tags, metadata, sendAt }: PreparedMessage): void {
  if (tags.length > 0) throw unsupported("smtp", "tags");
  if (Object.keys(metadata).length > 0) throw unsupported("smtp", "metadata");
  if (sendAt) throw unsupported("smtp", "sendAt");
}
