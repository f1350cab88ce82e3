import { checkNeededNames, type OptionNames } from "../validate.ts";
import { need, shortText } from "./address.ts";
import { mailError } from "./mail_error.ts";

/**
 * The content of a file. A string is its text in UTF-8, never base64.
 *
 * @category Mail
 */
export type AttachmentData = string | Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array>;

/**
 * A file that goes with a message.
 *
 * @category Mail
 */
export interface Attachment {
  /** The file's name. Of a path only the last part is sent. */
  readonly filename: string;
  /**
   * Its content, or a function that gets it. A stream can be read once; a function is called again when
   * reading failed. Nothing is ever read from a path or a URL.
   */
  readonly content: AttachmentData | (() => AttachmentData | Promise<AttachmentData>);
  /**
   * Its media type.
   * @default {the blob's own type, or "application/octet-stream"}
   */
  readonly contentType?: string | undefined;
  /**
   * Makes it a part of the HTML, which refers to it as `cid:` and this id: letters, digits, `.`, `_`, `-`,
   * `+` and `@`.
   */
  readonly contentId?: string | undefined;
}

/**
 * A file that was checked; its content is read at most once and then kept.
 *
 * @category Mail
 */
export interface PreparedAttachment extends Attachment {
  /** Its media type. */
  readonly contentType: string;
  /** Reads the content. */
  readonly content: () => Promise<Uint8Array<ArrayBuffer>>;
}

const TOKEN = "[a-z\\d!#$&^_.+-]{1,127}";
/** Parts within parts cannot be sent as opaque bytes. */
const MEDIA_TYPE = new RegExp(
  `^(?!multipart/|message/)${TOKEN}/${TOKEN}(?:; ?${TOKEN}=(?:${TOKEN}|"[ !#-:<-\\[\\]-~]{0,200}")){0,8}$`,
  "i",
);

const ATTACHMENT = {
  filename: true,
  content: true,
  contentType: true,
  contentId: true,
} satisfies OptionNames<Attachment>;

/** Checks a file and copies its bytes, so that later changes to them are not sent. */
export function prepareAttachment(attachment: Attachment, index: number): PreparedAttachment {
  const what = `attachments[${index}]`;
  checkNeededNames(`send as '${what}' is given`, attachment, ATTACHMENT, "an object");
  const { content, contentId } = attachment;
  // The last part of a path: where the recipient's program would put the file is not the sender's choice.
  const filename = shortText(attachment.filename, `${what}.filename`).replace(/^.*[/\\]/, "");
  need(!/^\s*\.{0,2}\s*$/.test(filename), `${what}.filename`, "must end with a file's name");
  const contentType = attachment.contentType ??
    ((content instanceof Blob && content.type) || "application/octet-stream");
  need(
    typeof contentType === "string" && MEDIA_TYPE.test(contentType),
    `${what}.contentType`,
    "must be a media type, no multipart or message",
  );
  need(
    contentId === undefined || (typeof contentId === "string" && /^[\w.+@-]{1,127}$/.test(contentId)),
    `${what}.contentId`,
    "must be letters, digits and '.-_+@'",
  );
  const data = content instanceof Uint8Array || content instanceof ArrayBuffer
    ? new Uint8Array(content)
    : content;
  if (typeof data !== "function") checkData(data, `${what}.content`);
  let reading: Promise<Uint8Array<ArrayBuffer>> | undefined;
  return Object.freeze({
    filename,
    contentType,
    contentId,
    content: () =>
      reading ??= read(data, what).catch((error) => {
        if (!(data instanceof ReadableStream)) reading = undefined; // the next attempt reads again
        throw error;
      }),
  });
}

/**
 * Reads every file of a message.
 *
 * @throws {MailError} `attachment-unreadable` when one fails; nothing was sent
 */
export async function readAttachments(
  message: { readonly attachments: readonly PreparedAttachment[] },
  mailer: string,
): Promise<(PreparedAttachment & { readonly bytes: Uint8Array<ArrayBuffer> })[]> {
  try {
    return await Promise.all(
      message.attachments.map(async (file) => ({ ...file, bytes: await file.content() })),
    );
  } catch (cause) {
    throw mailError(mailer, "attachment-unreadable", "an attachment could not be read", { cause });
  }
}

function checkData(data: AttachmentData, what: string): void {
  need(
    typeof data === "string"
      ? data.isWellFormed()
      : [Uint8Array, ArrayBuffer, Blob, ReadableStream].some((kind) => data instanceof kind),
    what,
    "must be well-formed text, bytes, a Blob or a stream",
  );
}

async function read(data: Attachment["content"], what: string): Promise<Uint8Array<ArrayBuffer>> {
  const got = typeof data === "function" ? await data() : data;
  checkData(got, `${what}.content`);
  // Bytes that were given are a copy already; those that a function makes are not copied once more.
  if (got instanceof Uint8Array) {
    return got.buffer instanceof ArrayBuffer ? got as Uint8Array<ArrayBuffer> : new Uint8Array(got);
  }
  // A Response reads every other kind, text as UTF-8, and refuses streams of anything but bytes.
  return new Uint8Array(await new Response(got as BodyInit).arrayBuffer());
}
