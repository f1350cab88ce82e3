/** Base64 piece by piece, so that a big file is never held a second time in its encoded form. */
import { bytesToBase64 } from "../codec.ts";

/** Bytes in a line of 76 characters. */
const LINE = 57;

/** Bytes that are encoded at once: about 64 KB of text. A multiple of {@linkcode LINE}, which is one of 3. */
const PIECE = LINE * 840;

/** The length of so many bytes in base64, with CRLF between lines of 76. */
export function base64Length(bytes: number): number {
  const breaks = Math.max(0, Math.ceil(bytes / LINE) - 1);
  return Math.ceil(bytes / 3) * 4 + breaks * 2;
}

/** The bytes in base64 with CRLF between lines of 76, and none at the end. */
export function base64Lines(chunks: Iterable<Uint8Array>): Iterable<Uint8Array<ArrayBuffer>> {
  let before = "";
  return base64Chunks(chunks, LINE, (text) => {
    const lines = before + text.replace(/.{76}(?=.)/g, "$&\r\n");
    before = "\r\n";
    return lines;
  });
}

/**
 * The bytes in base64, in pieces of at most 64 KB. But for the last one, each piece is of a multiple of
 * `unit` bytes, which must be one of 3; `edit` changes its text.
 */
export function* base64Chunks(
  chunks: Iterable<Uint8Array>,
  unit = 3,
  edit = (text: string) => text,
): Generator<Uint8Array<ArrayBuffer>> {
  const encode = (bytes: Uint8Array) => new TextEncoder().encode(edit(bytesToBase64(bytes)));
  let rest: number[] = []; // less than one unit
  for (const chunk of chunks) {
    let at = 0;
    if (rest.length > 0) {
      at = unit - rest.length;
      rest.push(...chunk.subarray(0, at));
      if (rest.length < unit) continue;
      yield encode(Uint8Array.from(rest));
    }
    const end = chunk.length - (chunk.length - at) % unit;
    for (; at < end; at += PIECE) yield encode(chunk.subarray(at, Math.min(at + PIECE, end)));
    rest = [...chunk.subarray(end)];
  }
  if (rest.length > 0) yield encode(Uint8Array.from(rest));
}
