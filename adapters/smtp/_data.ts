/**
 * A message as DATA sends it: leading dots doubled, the last dot at its end, in pieces worth a packet each.
 */

/** Many small writes cost a round trip each where the other side delays its acknowledgements. */
const PIECE = 64 * 1024;

/** A doubled dot may follow a piece that is full but for one byte. */
const BUFFER = PIECE + 1;

/** Bytes from which a chunk is a piece of its own. */
const WHOLE = 16 * 1024;
const DOT = 46;
const LF = 10;
const END = new Uint8Array([DOT, 13, LF]);

/** A piece to write. */
export interface DataPiece {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether the message ends with it. */
  readonly last: boolean;
}

/** The pieces to write. `chunks` have no line break but CRLF, and the last one ends with one. */
export function* dataPieces(chunks: Iterable<Uint8Array<ArrayBuffer>>): Generator<DataPiece> {
  let piece = new Uint8Array(BUFFER);
  let length = 0;
  let lineStart = true;
  for (const chunk of chunks) {
    // Encoded files have no leading dots: they go as they are, without another copy.
    if (chunk.length >= WHOLE && chunk.length <= PIECE && nextLeadingDot(chunk, 0, lineStart) < 0) {
      if (length > 0) {
        yield { bytes: piece.subarray(0, length), last: false };
        piece = new Uint8Array(BUFFER);
        length = 0;
      }
      yield { bytes: chunk, last: false };
      lineStart = chunk.at(-1) === LF;
      continue;
    }
    for (let from = 0; from < chunk.length;) {
      // Copies up to the next dot at the beginning of a line, which is doubled.
      const dot = nextLeadingDot(chunk, from, lineStart);
      const end = Math.min(dot < 0 ? chunk.length : dot, from + PIECE - 1 - length);
      piece.set(chunk.subarray(from, end), length);
      length += end - from;
      if (end > from) lineStart = chunk[end - 1] === LF;
      from = end;
      if (end === dot) {
        piece[length++] = DOT;
        piece[length++] = DOT;
        lineStart = false;
        from++;
      }
      if (length < PIECE - 1) continue;
      yield { bytes: piece.subarray(0, length), last: false };
      piece = new Uint8Array(BUFFER);
      length = 0;
    }
  }
  const last = new Uint8Array(length + END.length);
  last.set(piece.subarray(0, length));
  last.set(END, length);
  yield { bytes: last, last: true };
}

/** The position of the next dot at the beginning of a line, or -1. */
function nextLeadingDot(chunk: Uint8Array, from: number, lineStart: boolean): number {
  for (let at = chunk.indexOf(DOT, from); at >= 0; at = chunk.indexOf(DOT, at + 1)) {
    if (at === from ? lineStart : chunk[at - 1] === LF) return at;
  }
  return -1;
}
