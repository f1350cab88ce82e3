/**
 * A message as DATA sends it: leading dots doubled, the last dot at its end, in pieces worth a packet each.
 */

/**
 * Bytes in a piece: many small writes cost a round trip each where the other side delays its
 * acknowledgements.
 */
const PIECE = 64 * 1024;
const DOT = 46;
const LF = 10;
const END = [DOT, 13, LF];

/** A piece to write. */
export interface DataPiece {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether the message ends with it. */
  readonly last: boolean;
}

/** The pieces to write. `chunks` have no line break but CRLF, and the last one ends with one. */
export function* dataPieces(chunks: Iterable<Uint8Array<ArrayBuffer>>): Generator<DataPiece> {
  // With space for the end, or for a doubled dot behind a piece that is full but for one byte.
  const empty = () => new Uint8Array(PIECE + END.length);
  let piece = empty();
  let length = 0;
  let before = LF;
  for (const chunk of chunks) {
    for (let i = 0; i < chunk.length; i++) {
      if (length >= PIECE) {
        yield { bytes: piece.subarray(0, length), last: false };
        piece = empty();
        length = 0;
      }
      const byte = chunk[i]!;
      if (byte === DOT && before === LF) piece[length++] = DOT;
      piece[length++] = before = byte;
    }
  }
  piece.set(END, length);
  yield { bytes: piece.subarray(0, length + END.length), last: true };
}
