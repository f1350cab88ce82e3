/** The encoding of body parts: ASCII in lines of bounded length that end with CRLF, whatever was written. */
import { base64Length, base64Lines } from "./base64_stream.ts";
import type { Piece } from "./pieces.ts";

/** A body and the name of its encoding. */
export interface EncodedBody {
  readonly encoding: "7bit" | "quoted-printable" | "base64";
  /** ASCII with CRLF, without one at the end. */
  readonly content: Piece;
}

/** Characters in a line that every server takes. */
const MAX_LINE = 998;

/**
 * Text as it is where every server passes it on unchanged, else in the shorter encoding. Line breaks become
 * CRLF.
 */
export function encodeText(text: string): EncodedBody {
  const body = text.replace(/\r\n?|\n/g, "\r\n");
  if (isPlain(body)) return { encoding: "7bit", content: body };
  const bytes = new TextEncoder().encode(body);
  let high = 0;
  for (const byte of bytes) if (byte > 127) high++;
  if (high * 4 > bytes.length) return encodeBytes(bytes);
  return { encoding: "quoted-printable", content: quotedPrintable(bytes) };
}

/** Bytes in base64. */
export function encodeBytes(bytes: Uint8Array<ArrayBuffer>): EncodedBody {
  const content = {
    size: base64Length(bytes.length),
    chunks: () => base64Lines([bytes]),
  };
  return { encoding: "base64", content };
}

/**
 * Whether a body with CRLF may go as it is: printable ASCII in short lines, none of which ends with a space
 * (some servers cut it off) or begins with "From " (some put a ">" before it). Each character is looked at a
 * few times, whatever the lines are.
 */
function isPlain(body: string): boolean {
  return body.split("\r\n").every((line) => line.length <= MAX_LINE && !/[^\t -~]|[\t ]$|^From /.test(line));
}

/** @see https://www.rfc-editor.org/rfc/rfc2045#section-6.7 */
function quotedPrintable(bytes: Uint8Array): string {
  const lines: string[] = [];
  let line = "";
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === 13) { // all line breaks are CRLF here
      lines.push(line);
      line = "";
      i++;
      continue;
    }
    const next = bytes[i + 1];
    const atEnd = next === undefined || next === 13;
    const blank = byte === 32 || byte === 9;
    const from = byte === 70 && line === ""; // "F", the beginning of "From "
    const plain = blank ? !atEnd : byte > 32 && byte < 127 && byte !== 61 && !from;
    const character = plain
      ? String.fromCharCode(byte)
      : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    if (line.length + character.length > (atEnd ? 76 : 75)) {
      lines.push(`${line}=`);
      line = "";
    }
    line += character;
  }
  lines.push(line);
  return lines.join("\r\n");
}
