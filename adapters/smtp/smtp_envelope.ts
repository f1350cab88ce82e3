/** The options of a message over SMTP: its own envelope, VERP, notifications, and a message given whole. */
import { need, parseAddress } from "../../src/mail/address.ts";
import { needBody, type PreparedMessage } from "../../src/mail/message.ts";
import { unsupported } from "../../src/mail/mail_error.ts";
import { optionsFor } from "../../src/mail/own_options.ts";
import { selectRecipients } from "../../src/mail/partial.ts";
import type { SmtpNotifications, SmtpOptions } from "../../src/mail/provider_options.ts";
import { checkNames, checkOneOf, type OptionNames } from "../../src/validate.ts";
import type { EnvelopePlan, LetterContent, SmtpEnvelopes } from "./_letter.ts";
import { verpAddress } from "./verp.ts";

const MESSAGE = {
  envelope: true,
  verp: true,
  dsn: true,
  requireTls: true,
  raw: true,
} satisfies OptionNames<SmtpOptions>;
const ENVELOPE = { from: true, to: true } satisfies OptionNames<NonNullable<SmtpOptions["envelope"]>>;
const DSN = { notify: true, return: true, envelopeId: true } satisfies OptionNames<SmtpNotifications>;
const TASK = "send as 'provider.smtp'";

/**
 * Reads the options that a message has under `provider.smtp`: its own envelope, VERP, notifications (RFC
 * 3461), REQUIRETLS and a whole message as text. Handed to `smtpMailer`; it is not built in, as most do
 * without.
 *
 * @category Mailers
 * @example
 * ```ts
 * import { denoConnector, smtpEnvelope, smtpMailer } from "@holdfast/edge/smtp";
 * const mailer = smtpMailer({ connector: denoConnector(), host: "smtp.example.com", envelope: smtpEnvelope });
 * const message = {
 *   from: "shop@example.com",
 *   to: ["jane@example.com", "john@example.com"],
 *   subject: "Hello",
 *   text: "Hello",
 *   provider: { smtp: { verp: "bounces@example.com", dsn: { notify: ["failure"] } } },
 * } as const;
 * // await mailer.send(message);
 * if (mailer.name !== "smtp" || message.provider.smtp.dsn.notify.length !== 1) throw new Error("unexpected");
 * ```
 */
export const smtpEnvelope: SmtpEnvelopes = {
  options: MESSAGE,
  plan(message, defaults, wanted) {
    const options = optionsFor<SmtpOptions>("smtp", message, MESSAGE, defaults);
    needBody(message, options.raw);
    checkOptions(options);
    const { envelope, verp, raw } = options;
    const from = verp ?? envelope?.from;
    const sender = from && parseAddress(from, verp ? "verp" : "envelope.from").address;
    return {
      to: recipientsOf(message, envelope?.to, wanted),
      from: sender,
      ownRecipients: envelope?.to !== undefined,
      mime: raw === undefined ? undefined : rawMime(raw),
      verp: verp !== undefined,
      edit: (commands, extensions) => edited(commands, extensions, options),
    };
  },
};

/** The commands of a transaction with what the options ask for. */
function edited(
  commands: readonly string[],
  extensions: ReadonlyMap<string, string>,
  { dsn, requireTls, verp }: SmtpOptions,
): string[] {
  const needs = (extension: string, what: string) => {
    if (!extensions.has(extension)) throw unsupported("smtp", `${what} with this server`);
  };
  if (dsn) needs("DSN", "'dsn'");
  if (requireTls) needs("REQUIRETLS", "'requireTls'");
  return commands.map((command) => {
    if (command === "DATA") return command;
    const address = /<(.*)>/.exec(command)![1]!;
    if (command.startsWith("RCPT")) return command + recipientParameters(dsn, address);
    const sender = verp ? verpAddress(address, /<(.*)>/.exec(commands[1]!)![1]!) : address;
    return [command.replace(/<.*>/, () => `<${sender}>`), ...mailParameters({ dsn, requireTls })].join(" ");
  });
}

function recipientsOf(
  message: PreparedMessage,
  own: readonly string[] | undefined,
  wanted: readonly string[] | undefined,
): EnvelopePlan["to"] {
  if (own === undefined) return selectRecipients(message, wanted);
  const all = own.map((address) => parseAddress(address, "envelope.to").address);
  need(all.length > 0, "envelope.to", "must not be empty");
  need(!wanted || wanted.every((one) => all.includes(one)), "recipients", "must be those of the envelope");
  return wanted ?? all;
}

function checkOptions({ envelope, verp, dsn = {}, raw }: SmtpOptions): void {
  checkNames(`${TASK}.envelope`, envelope, ENVELOPE);
  checkNames(`${TASK}.dsn`, dsn, DSN);
  need(!verp || envelope?.from === undefined, "verp", "takes the place of 'envelope.from'");
  if (dsn.notify !== undefined && dsn.notify !== "never") {
    need(Array.isArray(dsn.notify) && dsn.notify.length > 0, "dsn.notify", 'must be a list, or "never"');
    for (const event of dsn.notify) checkOneOf(TASK, "dsn.notify", event, ["success", "failure", "delay"]);
  }
  if (dsn.return !== undefined) checkOneOf(TASK, "dsn.return", dsn.return, ["headers", "full"]);
  const { envelopeId = "a" } = dsn;
  need(/^[!-~]{1,100}$/.test(envelopeId), "dsn.envelopeId", "must be 1 to 100 visible ASCII characters");
  const isText = typeof raw === "string" && raw.isWellFormed() && !/[^\r\n]{999}|\0/.test(raw);
  need(raw === undefined || isText, "raw", "must be text with lines below 999 characters, without NUL");
}

/** A whole message as text, which was checked. */
function rawMime(raw: string): LetterContent {
  const text = raw.replace(/\r\n?|\n/g, "\r\n").replace(/(?:\r\n)?$/, "\r\n");
  const bytes = new TextEncoder().encode(text);
  const head = text.slice(0, text.search(/\r\n\r\n/) + 1);
  return {
    size: bytes.length,
    chunks: () => [bytes],
    messageId: /^message-id:\s*(<[!-~]+>)/im.exec(head)?.[1] ?? "",
    needsSmtpUtf8: /[^\0-\x7f]/.test(head),
    eightBit: bytes.length > text.length,
  };
}

/** The parameters of MAIL (RFC 3461, 4.3 and 4.4; RFC 8689). */
function mailParameters({ dsn, requireTls }: SmtpOptions): string[] {
  return [
    ...(requireTls ? ["REQUIRETLS"] : []),
    ...(dsn?.return ? [`RET=${dsn.return === "full" ? "FULL" : "HDRS"}`] : []),
    ...(dsn?.envelopeId ? [`ENVID=${xtext(dsn.envelopeId)}`] : []),
  ];
}

/** The parameters of RCPT (RFC 3461, 4.1 and 4.2). */
function recipientParameters(dsn: SmtpNotifications | undefined, address: string): string {
  if (!dsn) return "";
  const notify = dsn.notify && ` NOTIFY=${[dsn.notify].flat().join().toUpperCase()}`;
  // The address is ASCII only where the server needs no SMTPUTF8; else the notification names what it knows.
  return `${notify ?? ""}${/^[!-~]+$/.test(address) ? ` ORCPT=rfc822;${xtext(address)}` : ""}`;
}

/** Visible ASCII in a parameter: `+` and `=` become `+` and two digits (RFC 3461, 4). */
function xtext(text: string): string {
  return text.replace(/[+=]/g, (sign) => sign === "+" ? "+2B" : "+3D");
}
