/** A message as DATA wants it: dots stuffed, the last dot at its end, in pieces that are worth a packet each. */

/** Many small writes cost a round trip each where the other side waits before it acknowledges. */
const PIECE = 64 * 1024;
const DOT = 46;
const LF = 10;
const END = new Uint8Array([DOT, 13, LF]);

/** The pieces to write. `bytes` has no line break but CRLF, and ends with one. */
export function* dataPieces(
  bytes: Uint8Array,
): Generator<{ readonly piece: Uint8Array<ArrayBuffer>; readonly last: boolean }> {
  let lineStart = true;
  for (let start = 0;; start += PIECE) {
    const part = bytes.subarray(start, start + PIECE);
    const last = start + PIECE >= bytes.length;
    // Where a line begins with a dot, another one goes before it.
    const dots: number[] = [];
    for (let at = part.indexOf(DOT); at >= 0; at = part.indexOf(DOT, at + 1)) {
      if (at === 0 ? lineStart : part[at - 1] === LF) dots.push(at);
    }
    lineStart = part.at(-1) === LF;
    const piece = new Uint8Array(part.length + dots.length + (last ? END.length : 0));
    let from = 0;
    dots.forEach((at, i) => {
      piece.set(part.subarray(from, at), from + i);
      piece[at + i] = DOT;
      from = at;
    });
    piece.set(part.subarray(from), from + dots.length);
    if (last) piece.set(END, piece.length - END.length);
    yield { piece, last };
    if (last) return;
  }
}
