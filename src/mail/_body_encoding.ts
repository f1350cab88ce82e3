/** How bodies travel: only ASCII, only CRLF, no line too long, whatever was written. */
/** A body and the name of its encoding. */
export interface EncodedBody {
  readonly encoding: "7bit" | "quoted-printable" | "base64";
  /** ASCII with CRLF, without one at the end. */
  readonly content: string | Uint8Array;
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

const DIGITS = new TextEncoder().encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

/** Bytes in base64, in lines of 76: written as bytes, for as strings big files keep the garbage collector busy. */
export function encodeBytes(bytes: Uint8Array): EncodedBody {
  const { length } = bytes;
  const breaks = Math.max(0, Math.ceil(length / 57) - 1);
  const content = new Uint8Array(Math.ceil(length / 3) * 4 + breaks * 2);
  let to = 0;
  for (let i = 0; i < length; i += 3) {
    if (i > 0 && i % 57 === 0) {
      content[to++] = 13;
      content[to++] = 10;
    }
    const three = bytes[i]! << 16 | bytes[i + 1]! << 8 | bytes[i + 2]!; // what is beyond the end counts as 0
    for (let shift = 18; shift >= 0; shift -= 6) content[to++] = DIGITS[three >> shift & 63]!;
  }
  return { encoding: "base64", content: content.fill(61, to - (3 - length % 3) % 3) };
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
