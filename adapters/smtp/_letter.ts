/** A message as it goes out: its bytes, and the envelope with what is asked of the server beside it. */
import type { PreparedMessage } from "../../src/mail/message.ts";
import type { MimeMessage } from "../../src/mail/mime.ts";
import type { SmtpOptions } from "../../src/mail/provider_options.ts";

/**
 * A message's bytes, and what a server must know of them.
 *
 * @category Mailers
 */
export type LetterContent = Pick<
  MimeMessage,
  "size" | "chunks" | "messageId" | "needsSmtpUtf8" | "eightBit"
>;

/** The message of a transaction, and its recipients. */
export interface Letter {
  readonly mime: LetterContent;
  /** The sender of the envelope; "" for none. */
  readonly from: string;
  readonly to: readonly string[];
  readonly plan?: EnvelopePlan | undefined;
}

/**
 * The envelope options of one message, checked.
 *
 * @category Mailers
 */
export interface EnvelopePlan {
  /** The recipients, those that a call asks for if it does. */
  readonly to: readonly string[];
  /** The sender; "" for none, `undefined` for that of the message. */
  readonly from: string | undefined;
  /** Whether the recipients are others than the message's. */
  readonly ownRecipients: boolean;
  /** The whole message, where it is given as text. */
  readonly mime: LetterContent | undefined;
  /** Whether each recipient has a sender, and so a transaction, of its own. */
  readonly verp: boolean;
  /**
   * The commands of a transaction (MAIL, one RCPT per recipient, DATA) with the parameters that the options
   * ask for.
   *
   * @throws {MailError} `unsupported` when the server does not offer what they need
   */
  edit(commands: readonly string[], extensions: ReadonlyMap<string, string>): readonly string[];
}

/**
 * Reads the options that a message has under `provider.smtp`: {@linkcode smtpEnvelope}.
 *
 * @category Mailers
 */
export interface SmtpEnvelopes {
  /** The names of the options. */
  readonly options: Readonly<Record<string, true>>;
  /** The envelope of a message: its own options over the defaults. */
  plan(
    message: PreparedMessage,
    defaults: SmtpOptions | undefined,
    wanted: readonly string[] | undefined,
  ): EnvelopePlan;
}
