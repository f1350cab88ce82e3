/** How bodies travel: only ASCII, only CRLF, no line too long, whatever was written. */
import { bytesToBase64 } from "../codec.ts";

/** A body and the name of its encoding. */
export interface EncodedBody {
  readonly encoding: "7bit" | "quoted-printable" | "base64";
  /** ASCII with CRLF, without one at the end. */
  readonly content: string;
}

/** Text as it is where that is safe on every way, else in what is shorter. Line breaks of any kind become CRLF. */
export function encodeText(text: string): EncodedBody {
  const body = text.replace(/\r\n?|\n/g, "\r\n");
  // A space at the end of a line gets lost on the way, and "From " at its beginning gets quoted.
  if (/^[\t\r\n -~]*$/.test(body) && !/[\t ](?:\r|$)|^From |[^\r\n]{999}/m.test(body)) {
    return { encoding: "7bit", content: body };
  }
  const bytes = new TextEncoder().encode(body);
  let high = 0;
  for (const byte of bytes) if (byte > 127) high++;
  if (high * 4 > bytes.length) return encodeBytes(bytes);
  return { encoding: "quoted-printable", content: quotedPrintable(bytes) };
}

/** Bytes in base64, in lines of 76. */
export function encodeBytes(bytes: Uint8Array): EncodedBody {
  const chunks: string[] = [];
  for (let i = 0; i < bytes.length; i += 57 * 500) {
    chunks.push(bytesToBase64(bytes.subarray(i, i + 57 * 500)).replace(/.{76}(?!$)/g, "$&\r\n"));
  }
  return { encoding: "base64", content: chunks.join("\r\n") };
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
