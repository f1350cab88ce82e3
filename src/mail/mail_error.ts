import { HoldfastError, type HoldfastErrorCode, type HoldfastErrorOptions } from "../errors.ts";

/**
 * The phase of sending that failed. `prepare`: nothing went out. `connect`, `greeting`, `hello`, `tls`,
 * `auth`, `mail`, `rcpt`, `data`: the steps of SMTP before the message itself. `body`: while the request or
 * the message was going out. `reply`: the other side's answer, or waiting for it.
 *
 * @category Mail
 */
export type MailPhase =
  | "prepare"
  | "connect"
  | "greeting"
  | "hello"
  | "tls"
  | "auth"
  | "mail"
  | "rcpt"
  | "data"
  | "body"
  | "reply";

/**
 * The knowledge about a message whose sending failed.
 *
 * @category Mail
 */
export type Delivery = "not-sent" | "unknown";

/**
 * Options of {@linkcode MailError}.
 *
 * @category Mail
 */
export interface MailErrorOptions extends Omit<HoldfastErrorOptions, "ambiguous"> {
  /** Whether it is certain that nothing was sent. */
  readonly delivery: Delivery;
  /** The step that failed. */
  readonly phase: MailPhase;
  /** The mailer that failed. */
  readonly mailer: string;
  /** The status of an HTTP answer, or the code of an SMTP reply. */
  readonly status?: number | undefined;
  /** The enhanced code of an SMTP reply, such as `5.1.1`. */
  readonly enhanced?: string | undefined;
}

/**
 * A message that was not sent, or may not have been. `retryable` means: sending the same again, with the same
 * options, may succeed and cannot send twice. So with `delivery: "unknown"` it is `true` only where the
 * provider was given an idempotency key and honours it. Messages hold no address.
 *
 * @category Mail
 * @example
 * ```ts
 * import { MailError, memoryMailer } from "@holdfast/edge/mail";
 * const mailer = memoryMailer();
 * const abort = AbortSignal.abort();
 * const message = { from: "a@example.com", to: "b@example.com", subject: "Hello", text: "Hello" };
 * const error = await mailer.send(message, { signal: abort }).catch((error) => error);
 * if (!(error instanceof MailError && error.code === "aborted" && error.delivery === "not-sent")) throw error;
 * ```
 */
export class MailError extends HoldfastError {
  /** Survives minifiers. */
  override readonly name = "MailError";
  /** Whether it is certain that nothing was sent. */
  declare readonly delivery: Delivery;
  /** The step that failed. */
  declare readonly phase: MailPhase;
  /** The mailer that failed. */
  declare readonly mailer: string;
  /** The status of an HTTP answer, or the code of an SMTP reply; absent when there was none. */
  declare readonly status: number | undefined;
  /** The enhanced code of an SMTP reply, such as `5.1.1`; absent when there was none. */
  declare readonly enhanced: string | undefined;

  /** Makes an error that knows what became of the message. */
  constructor(code: HoldfastErrorCode, message: string, options: MailErrorOptions) {
    super(code, message, { ...options, ambiguous: options.delivery === "unknown" });
    const { delivery, phase, mailer, status, enhanced } = options;
    Object.assign(this, { delivery, phase, mailer, status, enhanced });
  }
}

/** The error of a mailer, in the wording of all of them; `delivery` is `not-sent` unless given. */
export function mailError(
  mailer: string,
  code: HoldfastErrorCode,
  why: string,
  options: Partial<Omit<MailErrorOptions, "mailer">> = {},
): MailError {
  return new MailError(code, `Cannot send by ${mailer} as ${why}`, {
    delivery: "not-sent",
    phase: "prepare",
    ...options,
    mailer,
  });
}

/** The error of a feature that a mailer does not have; nothing was sent. */
export function unsupported(mailer: string, what: string): MailError {
  return mailError(mailer, "unsupported", `it does not support ${what}`);
}
