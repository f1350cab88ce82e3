/** The encoding of body parts: ASCII in lines of bounded length that end with CRLF, whatever was written. */
import { inBase64, type Piece } from "./pieces.ts";

/** A body and the name of its encoding. */
export interface EncodedBody {
  readonly encoding: "7bit" | "quoted-printable" | "base64";
  /** ASCII with CRLF, without one at the end. */
  readonly content: Piece;
}

/** Characters in a line that every server takes. */
const MAX_LINE = 998;

/** Text as it is where every server passes it on unchanged, else in the shorter encoding. Line breaks become CRLF. */
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
  return { encoding: "base64", content: inBase64(bytes, true) };
}

/**
 * Whether a body with CRLF may go as it is: printable ASCII in short lines, none of which ends with a space (some servers cut
 * it off) or begins with "From " (some put a ">" before it). One pass: each character is looked at once.
 */
function isPlain(body: string): boolean {
  let lineStart = 0;
  for (let i = 0; i < body.length; i++) {
    const code = body.charCodeAt(i);
    if (code === 13) {
      if (endsWithBlank(body, lineStart, i)) return false;
      lineStart = ++i + 1; // the LF
      continue;
    }
    if (code !== 9 && (code < 32 || code > 126)) return false;
    if (i - lineStart >= MAX_LINE) return false;
    if (i === lineStart && code === 70 && body.startsWith("From ", i)) return false;
  }
  return !endsWithBlank(body, lineStart, body.length);
}

function endsWithBlank(body: string, start: number, end: number): boolean {
  const last = end > start ? body.charCodeAt(end - 1) : 0;
  return last === 32 || last === 9;
}

const HEX = Array.from({ length: 256 }, (_, i) => "=" + i.toString(16).toUpperCase().padStart(2, "0"));

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
    const shown = plain ? String.fromCharCode(byte) : HEX[byte]!;
    if (line.length + shown.length > (atEnd ? 76 : 75)) {
      lines.push(line + "=");
      line = "";
    }
    line += shown;
  }
  lines.push(line);
  return lines.join("\r\n");
}
