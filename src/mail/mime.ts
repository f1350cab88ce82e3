/**
 * The one MIME builder: it feeds SMTP, the raw forms of SES and Mailgun, and the memory mailer. The result is
 * 7-bit but for addresses outside ASCII, every line ends with CRLF and stays below 998 bytes, and no header
 * names `bcc`.
 */
import { sha256 } from "../secret.ts";
import { checkNames, type OptionNames } from "../validate.ts";
import { type Address, need, needsSmtpUtf8 } from "./address.ts";
import { type PreparedAttachment, readAttachments } from "./attachment.ts";
import { encodeBytes, type EncodedBody, encodeText } from "./_body_encoding.ts";
import { addressWords, encodedWords, headerWords, textWords } from "./encoded_word.ts";
import { type Message, type PreparedMessage, prepareMessage } from "./message.ts";
import { selectRecipients } from "./partial.ts";
import { inPieces, type LazyBytes, type Piece, toBytes } from "./pieces.ts";

/**
 * Options of {@linkcode buildMime}.
 *
 * @category Mail
 */
export interface MimeOptions {
  /**
   * The mailer's name in errors.
   * @default {"MIME"}
   */
  readonly mailer?: string | undefined;
  /**
   * Makes the Message-ID the same for every attempt.
   * @default {random}
   */
  readonly idempotencyKey?: string | undefined;
  /**
   * The `Date` header.
   * @default {now}
   */
  readonly date?: Date | undefined;
  /**
   * The part of boundaries that makes them unique: 1 to 56 letters, digits and dashes.
   * @default {random}
   */
  readonly boundary?: string | undefined;
  /**
   * Those of the message's recipients that the envelope is for; headers name all of to and cc.
   * @default {all of to, cc and bcc}
   */
  readonly recipients?: readonly string[] | undefined;
}

/**
 * A message as it is sent. Files are encoded while it is read, so that a big one is not held twice.
 *
 * @category Mail
 */
export interface MimeMessage extends LazyBytes {
  /** The number of bytes of the whole message. */
  readonly size: number;
  /** The whole message; ends with CRLF, dots are not doubled. */
  chunks(): Iterable<Uint8Array<ArrayBuffer>>;
  /** The same in one array, assembled at every access. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The sender and the recipients: the only place that names `bcc`. */
  readonly envelope: { readonly from: string; readonly to: readonly string[] };
  /** The Message-ID, in angle brackets. */
  readonly messageId: string;
  /** Whether headers or envelope need SMTPUTF8 (and with it 8BITMIME). */
  readonly needsSmtpUtf8: boolean;
  /**
   * Whether the body has bytes above 127, which only a server with 8BITMIME takes.
   * @default {false} (as with every message that is built here)
   */
  readonly eightBit?: boolean | undefined;
}

/**
 * Builds a message's MIME form; a mailer that is handed this builds messages here.
 *
 * @category Mail
 */
export type MimeBuilder = typeof buildMime;

/** A body part: its headers, each a list of words, and its content. */
interface Part {
  readonly headers: readonly (readonly [name: string, words: readonly string[]])[];
  readonly content: readonly Piece[];
}

const OPTIONS = {
  mailer: true,
  idempotencyKey: true,
  date: true,
  boundary: true,
  recipients: true,
} satisfies OptionNames<MimeOptions>;

/**
 * Builds the MIME form of a message. Tags, metadata and `sendAt` have no place in it.
 *
 * @throws {TypeError} when the message or an option is not valid
 * @throws {MailError} `attachment-unreadable`
 * @category Mail
 * @example
 * ```ts
 * import { buildMime } from "@holdfast/edge/mail";
 * const { bytes, envelope } = await buildMime({
 *   from: "shop@example.com",
 *   to: "jane@example.com",
 *   bcc: "log@example.com",
 *   subject: "Grüße",
 *   text: "Hallo",
 * });
 * const text = new TextDecoder().decode(bytes);
 * if (!text.includes("\r\nSubject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n")) throw new Error("unexpected");
 * if (text.includes("log@example.com") || envelope.to.length !== 2) throw new Error("unexpected");
 * ```
 */
export async function buildMime(message: Message, options: MimeOptions = {}): Promise<MimeMessage> {
  checkNames("build a message", options, OPTIONS);
  const prepared = prepareMessage(message);
  const { mailer = "MIME", idempotencyKey, date = new Date(), boundary = crypto.randomUUID() } = options;
  need(/^[\w-]{1,56}$/.test(boundary), "boundary", "must be [\\w-]{1,56}");
  const files = await readAttachments(prepared, mailer);
  const domain = prepared.from.address.slice(prepared.from.address.lastIndexOf("@") + 1);
  const messageId = `<${idempotencyKey ? await sha256(idempotencyKey) : crypto.randomUUID()}@${domain}>`;
  const to = selectRecipients(prepared, options.recipients);
  const part = bodyPart(prepared, files, boundary);
  const content = inPieces([
    header("Date", [date.toUTCString().replace("GMT", "+0000")]),
    header("Message-ID", [messageId]),
    header("From", addressWords(prepared.from)),
    addressHeader("To", prepared.to),
    addressHeader("Cc", prepared.cc),
    addressHeader("Reply-To", prepared.replyTo),
    prepared.subject && header("Subject", textWords(prepared.subject)),
    ...Object.entries(prepared.headers).map(([name, value]) => header(name, headerWords(value))),
    header("MIME-Version", ["1.0"]),
    ...written(part),
    "\r\n",
  ]);
  return {
    size: content.size,
    chunks: () => content.chunks(),
    get bytes() {
      return toBytes(content);
    },
    envelope: { from: prepared.from.address, to },
    messageId,
    needsSmtpUtf8: [prepared.from, ...prepared.replyTo, ...prepared.to, ...prepared.cc].some(needsSmtpUtf8) ||
      to.some((address) => needsSmtpUtf8({ address })),
  };
}

/**
 * mixed( alternative( text, related( html, pictures ), invitation ), files ), as far as there is any of it.
 */
function bodyPart(
  { text, html, calendar }: PreparedMessage,
  files: readonly (PreparedAttachment & { readonly bytes: Uint8Array<ArrayBuffer> })[],
  boundary: string,
): Part {
  // "=_" cannot occur in an encoded part, and in a plain one the random part keeps it from being the
  // boundary.
  const multipart = (kind: string, parts: readonly Part[]): Part => {
    if (parts.length === 1) return parts[0]!;
    const own = `=_${boundary}_${kind}`;
    return {
      headers: [["Content-Type", [`multipart/${kind};`, `boundary="${own}"`]]],
      content: [...parts.flatMap((part) => [`--${own}\r\n`, ...written(part), "\r\n"]), `--${own}--`],
    };
  };
  const shown = (file: typeof files[number]) => html !== undefined && file.contentId !== undefined;
  const alternatives: Part[] = [];
  // Without a body a template brings it: only mailers for tests build such a message.
  if (text !== undefined || (html ?? calendar) === undefined) {
    alternatives.push(textPart("text/plain; charset=utf-8", text ?? ""));
  }
  if (html !== undefined) {
    const page = textPart("text/html; charset=utf-8", html);
    alternatives.push(multipart("related", [page, ...files.filter(shown).map(filePart)]));
  }
  if (calendar) {
    alternatives.push(textPart(`text/calendar; charset=utf-8; method=${calendar.method}`, calendar.content));
  }
  const others = files.filter((file) => !shown(file)).map(filePart);
  return multipart("mixed", [multipart("alternative", alternatives), ...others]);
}

function textPart(type: string, text: string): Part {
  return part(type.split(" "), [], encodeText(text));
}

function filePart(file: PreparedAttachment & { readonly bytes: Uint8Array<ArrayBuffer> }): Part {
  const { filename, contentType, contentId, bytes } = file;
  const disposition = contentId === undefined ? "attachment;" : "inline;";
  const headers: Part["headers"][number][] = [["Content-Disposition", [disposition, ...fileName(filename)]]];
  if (contentId !== undefined) headers.push(["Content-ID", [`<${contentId}>`]]);
  return part(typeWords(contentType, filename), headers, encodeBytes(bytes));
}

function part(type: readonly string[], headers: Part["headers"], { encoding, content }: EncodedBody): Part {
  return {
    headers: [["Content-Type", type], ...headers, ["Content-Transfer-Encoding", [encoding]]],
    content: [content],
  };
}

function written({ headers, content }: Part): Piece[] {
  return [...headers.map(([name, words]) => header(name, words)), "\r\n", ...content];
}

function addressHeader(name: string, addresses: readonly Address[]): string {
  if (addresses.length === 0) return "";
  const last = addresses.length - 1;
  return header(
    name,
    addresses.flatMap((address, i) => {
      const words = addressWords(address);
      return i === last ? words : [...words.slice(0, -1), `${words.at(-1)},`];
    }),
  );
}

/** The characters a line should stay within, and those it must. */
const SHOULD = 76;
const MUST = 998;

/**
 * One header, folded between words. The first word stays beside the name unless the line would be too long
 * for a server.
 */
function header(name: string, words: readonly string[]): string {
  let text = "";
  let line = `${name}:`;
  words.forEach((word, i) => {
    if (line.length + 1 + word.length > (i > 0 ? SHOULD : MUST)) {
      text += `${line}\r\n`;
      line = "";
    }
    line += ` ${word}`;
  });
  return `${text}${line}\r\n`;
}

/** Tells whether a file's name can be a plain quoted parameter. */
function isPlainName(name: string): boolean {
  return /^[ -~]{1,60}$/.test(name) && !name.includes("=?");
}

/**
 * A media type, and for a name that is no plain parameter its form for mail programs that do not know RFC
 * 2231: encoded words in a quoted `name`, which no standard allows and most programs read.
 */
function typeWords(contentType: string, filename: string): string[] {
  const words = contentType.split(/(?<=;) ?/);
  if (isPlainName(filename) || /; ?name=/i.test(contentType)) return words;
  const encoded = encodedWords(filename);
  const name = `name="${encoded.join(" ")}"`.split(" ");
  return [...words.slice(0, -1), `${words.at(-1)};`, ...name];
}

/**
 * A file's name as parameters: quoted where it is short ASCII, else in numbered pieces.
 *
 * @see https://www.rfc-editor.org/rfc/rfc2231
 */
function fileName(name: string): string[] {
  if (isPlainName(name)) {
    return [`filename="${name.replace(/["\\]/g, "\\$&")}"`];
  }
  const pieces = [""];
  for (const character of name) {
    const escaped = encodeURIComponent(character).replace(
      /[!'()*]/g,
      (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase(),
    );
    if (pieces.at(-1)!.length + escaped.length > 50) pieces.push("");
    pieces[pieces.length - 1] += escaped;
  }
  const last = pieces.length - 1;
  return pieces.map((piece, i) =>
    `filename*${i}*=${i === 0 ? "utf-8''" : ""}${piece}${i === last ? "" : ";"}`
  );
}
