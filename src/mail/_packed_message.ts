/** A message as flat text, to be stored and to be compared. */
import { base64ToBytes, bytesToBase64 } from "../codec.ts";
import { HoldfastError } from "../errors.ts";
import { sha256 } from "../secret.ts";
import type { Fields } from "../store/transition.ts";
import { readAttachments } from "./attachment.ts";
import type { Message, PreparedMessage } from "./message.ts";

/**
 * The fingerprint of a message: two messages with the same hash are the same message, bytes of attachments
 * included.
 *
 * @throws {MailError} `attachment-unreadable`
 */
export async function fingerprintOf(message: PreparedMessage, mailer: string): Promise<string> {
  const files = await readAttachments(message, mailer);
  const hashes = await Promise.all(files.map(({ bytes }) => sha256(bytes)));
  return await sha256(JSON.stringify([message, hashes]));
}

/**
 * A message as fields: `body` is its JSON without the content of its files; `file0`, `file1` … are those in
 * base64, each a field of its own so that text outside Latin-1 does not double what they take. When it is to
 * be sent is not part of it.
 *
 * @throws {MailError} `attachment-unreadable`
 */
export async function packMessage(message: PreparedMessage, mailer: string): Promise<Fields> {
  const { sendAt: _, ...rest } = message;
  const fields: Record<string, string> = { body: JSON.stringify(rest) };
  (await readAttachments(message, mailer)).forEach(({ bytes }, i) =>
    fields[`file${i}`] = bytesToBase64(bytes)
  );
  return fields;
}

/**
 * The message again.
 *
 * @throws {HoldfastError} `corrupt-record` when the fields are not those of a packed message
 */
export function unpackMessage(fields: Fields): Message {
  try {
    const message = JSON.parse(fields.body!) as PreparedMessage;
    const attachments = message.attachments.map((file, i) => ({
      ...file,
      content: base64ToBytes(fields[`file${i}`]!),
    }));
    return { ...message, attachments };
  } catch (cause) {
    throw new HoldfastError("corrupt-record", "Cannot read the message as it was not stored by this module", {
      cause,
    });
  }
}
