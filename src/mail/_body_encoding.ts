/** The encoding of body parts: ASCII in lines of bounded length that end with CRLF, whatever was written. */
import { base64Length, base64Lines } from "./base64_stream.ts";
import type { LazyBytes, Piece } from "./pieces.ts";

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
 * (some servers cut it off) or begins with "From " (some put a ">" before it). One pass: each character is
 * looked at once.
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

const HEX = new TextEncoder().encode("0123456789ABCDEF");

/** Bytes of quoted-printable text that are kept in one array. */
const BLOCK = 64 * 1024;

/** The most bytes that one byte becomes: a soft line break and three characters. */
const MAX_STEP = 6;

/** @see https://www.rfc-editor.org/rfc/rfc2045#section-6.7 */
function quotedPrintable(bytes: Uint8Array): LazyBytes {
  const blocks: Uint8Array<ArrayBuffer>[] = [];
  let block = new Uint8Array(BLOCK);
  let to = 0;
  let column = 0;
  for (let i = 0; i < bytes.length; i++) {
    if (to > BLOCK - MAX_STEP) {
      blocks.push(block.subarray(0, to));
      block = new Uint8Array(BLOCK);
      to = 0;
    }
    const byte = bytes[i]!;
    if (byte === 13) { // all line breaks are CRLF here
      block[to++] = 13;
      block[to++] = 10;
      column = 0;
      i++;
      continue;
    }
    const next = bytes[i + 1];
    const atEnd = next === undefined || next === 13;
    const blank = byte === 32 || byte === 9;
    const from = byte === 70 && column === 0; // "F", the beginning of "From "
    const plain = blank ? !atEnd : byte > 32 && byte < 127 && byte !== 61 && !from;
    const width = plain ? 1 : 3;
    if (column + width > (atEnd ? 76 : 75)) {
      block[to++] = 61;
      block[to++] = 13;
      block[to++] = 10;
      column = 0;
    }
    column += width;
    if (plain) block[to++] = byte;
    else {
      block[to++] = 61;
      block[to++] = HEX[byte >> 4]!;
      block[to++] = HEX[byte & 15]!;
    }
  }
  blocks.push(block.subarray(0, to));
  return { size: blocks.reduce((sum, { length }) => sum + length, 0), chunks: () => blocks };
}
