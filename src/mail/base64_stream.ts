/** Base64 piece by piece, so that a big file is never held a second time in its encoded form. */

const DIGITS = new TextEncoder().encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

/** Bytes in a line of 76 characters. */
const LINE = 57;

/** Bytes encoded at once, a multiple of {@linkcode LINE}, which is one of 3: about 64 KB of text. */
const PIECE = LINE * 840;

/** The length of so many bytes in base64, with CRLF between lines of 76. */
export function base64Length(bytes: number): number {
  const breaks = Math.max(0, Math.ceil(bytes / LINE) - 1);
  return Math.ceil(bytes / 3) * 4 + breaks * 2;
}

/**
 * The bytes in base64, in pieces of at most 64 KB; with CRLF between lines of 76, and none at the end. With
 * `reuse`, each piece overwrites the one before.
 */
export function* base64Chunks(
  chunks: Iterable<Uint8Array>,
  reuse = false,
): Generator<Uint8Array<ArrayBuffer>> {
  const buffer = reuse ? new Uint8Array(base64Length(PIECE) + 2) : undefined;
  let rest: Uint8Array = new Uint8Array(); // less than one unit
  let first = true;
  for (const chunk of chunks) {
    let from = 0;
    if (rest.length > 0) {
      from = Math.min(LINE - rest.length, chunk.length);
      rest = joined(rest, chunk.subarray(0, from));
      if (rest.length < LINE) continue;
      yield encoded(rest, first, buffer);
      first = false;
    }
    const end = chunk.length - (chunk.length - from) % LINE;
    for (; from < end; from = Math.min(from + PIECE, end)) {
      yield encoded(chunk.subarray(from, Math.min(from + PIECE, end)), first, buffer);
      first = false;
    }
    rest = chunk.slice(end);
  }
  if (rest.length > 0) yield encoded(rest, first, buffer);
}

/**
 * One piece. It begins with CRLF unless it is the first, and is padded where its length is no multiple of 3.
 */
function encoded(
  bytes: Uint8Array,
  first: boolean,
  buffer: Uint8Array<ArrayBuffer> | undefined,
): Uint8Array<ArrayBuffer> {
  const { length } = bytes;
  const before = first ? 0 : 2;
  const size = before + base64Length(length);
  const content = buffer?.subarray(0, size) ?? new Uint8Array(size);
  let to = 0;
  for (let i = 0; i < length; i += 3) {
    if (i % LINE === 0 && (i > 0 || before > 0)) {
      content[to++] = 13;
      content[to++] = 10;
    }
    const three = bytes[i]! << 16 | bytes[i + 1]! << 8 | bytes[i + 2]!; // what is beyond the end counts as 0
    for (let shift = 18; shift >= 0; shift -= 6) content[to++] = DIGITS[three >> shift & 63]!;
  }
  return content.fill(61, to - (3 - length % 3) % 3);
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
