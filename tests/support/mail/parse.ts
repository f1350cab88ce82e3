/** MIME and addresses read by an independent parser: postal-mime shares no code with us. */
import { Buffer } from "node:buffer";
import PostalMime, { addressParser, decodeWords, type Email } from "postal-mime";
import type { AcceptedMail, Mailbox } from "./http_server.ts";
import { Refusal } from "./http_server.ts";

/** One mailbox written as text, or a refusal. */
export function mailbox(text: unknown, what: string): Mailbox {
  if (typeof text !== "string" || /[\p{Cc}]/u.test(text)) {
    throw new Refusal(422, `${what} is not valid`, "invalid");
  }
  const found = addressParser(text);
  const [one] = found;
  if (found.length !== 1 || !one?.address || !/^[^@]+@[^@\s]+$/.test(one.address)) {
    throw new Refusal(422, `${what} is not valid`, "invalid");
  }
  return { name: decodeWords(one.name ?? ""), address: one.address };
}

/** A list of mailboxes. */
export function mailboxes(list: unknown, what: string): Mailbox[] {
  if (list === undefined) return [];
  return (Array.isArray(list) ? list : [list]).map((text, i) => mailbox(text, `${what}.${i}`));
}

type Parsed = Omit<AcceptedMail, "id" | "bcc" | "tags" | "metadata" | "sendAt">;

/**
 * Checks that hold for any MIME message: only CRLF, no long lines, 7 bits unless told otherwise, no
 * `Bcc`.
 */
export function checkMime(bytes: Uint8Array, { eightBit = false } = {}): void {
  const text = Buffer.from(bytes).toString("latin1");
  if (/\r(?!\n)|(?<!\r)\n/.test(text)) throw new Refusal(400, "bare CR or LF", "mime");
  if (text.split("\r\n").some((line) => line.length > 998)) throw new Refusal(400, "line too long", "mime");
  if (!text.endsWith("\r\n")) throw new Refusal(400, "no CRLF at the end", "mime");
  if (/\0/.test(text) || (!eightBit && /[^\0-\x7f]/.test(text))) throw new Refusal(400, "not 7-bit", "mime");
  const head = text.slice(0, text.indexOf("\r\n\r\n"));
  if (/^(?:bcc|resent-bcc)[ \t]*:/im.test(head)) throw new Refusal(400, "a Bcc header", "mime");
  // A message has a signature for each key.
  const names = [...head.matchAll(/^([!-9;-~]+):/gm)].map(([, name]) => name!.toLowerCase())
    .filter((name) => name !== "dkim-signature");
  if (new Set(names).size < names.length) throw new Refusal(400, "a header is there twice", "mime");
  for (const line of head.split("\r\n")) {
    if (!/^(?:[!-9;-~]+:|[ \t]+\S)/.test(line)) {
      throw new Refusal(400, "a line of the head is no header", "mime");
    }
  }
}

/** Reads a MIME message. */
export async function parseMime(raw: Uint8Array): Promise<Parsed> {
  const email = await new PostalMime().parse(raw);
  return {
    from: one(email.from),
    to: (email.to ?? []).map(one),
    cc: (email.cc ?? []).map(one),
    replyTo: (email.replyTo ?? []).map(one),
    subject: email.subject ?? "",
    text: body(email.text),
    html: body(email.html),
    headers: Object.fromEntries(email.headers.map(({ key, value }) => [key, decodeWords(value)])),
    attachments: email.attachments.filter(({ mimeType }) => mimeType !== "text/calendar").map((file) => ({
      filename: file.filename ?? "",
      contentType: file.mimeType,
      contentId: file.contentId?.replace(/^<|>$/g, ""),
      bytes: bytesOf(file.content),
    })),
    raw,
  };
}

/** The invitation of a MIME message, if it has one. */
export async function calendarOf(
  raw: Uint8Array,
): Promise<{ method: string | undefined; content: string } | undefined> {
  const { attachments } = await new PostalMime().parse(raw);
  const found = attachments.find(({ mimeType }) => mimeType === "text/calendar");
  return found && { method: found.method, content: new TextDecoder().decode(bytesOf(found.content)) };
}

function one(found: Email["from"]): Mailbox {
  return { name: found?.name ?? "", address: found?.address ?? "" };
}

/** postal-mime ends some bodies with a line break of its own. */
function body(text: string | undefined): string | undefined {
  return text?.replaceAll("\r\n", "\n").replace(/\n$/, "");
}

function bytesOf(content: string | ArrayBuffer | Uint8Array): Uint8Array {
  return typeof content === "string" ? new TextEncoder().encode(content) : new Uint8Array(content);
}
