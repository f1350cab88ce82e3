/** Text and files in a row, of known length, made into bytes only while they are sent. */

/**
 * Bytes that are made when they are needed.
 *
 * @category Mail
 */
export interface LazyBytes {
  /** The number of bytes. */
  readonly size: number;
  /** The bytes, made anew at every call. */
  chunks(): Iterable<Uint8Array<ArrayBuffer>>;
}

/** Text (sent as UTF-8), bytes, or bytes to be made. */
export type Piece = string | Uint8Array<ArrayBuffer> | LazyBytes;

/** The pieces as one. Text between files is encoded at once, so `size` counts bytes and not characters. */
export function inPieces(pieces: readonly Piece[]): LazyBytes {
  const parts: (Uint8Array<ArrayBuffer> | LazyBytes)[] = [];
  let text = "";
  for (const piece of [...pieces, new Uint8Array()]) {
    if (typeof piece === "string") {
      text += piece;
      continue;
    }
    if (text !== "") parts.push(new TextEncoder().encode(text));
    text = "";
    parts.push(piece);
  }
  const size = parts.reduce((sum, part) => sum + (part instanceof Uint8Array ? part.length : part.size), 0);
  return {
    size,
    *chunks() {
      for (const part of parts) {
        if (!(part instanceof Uint8Array)) yield* part.chunks();
        else if (part.length > 0) yield part;
      }
    },
  };
}

/** All bytes in one array. */
export function toBytes({ size, chunks }: LazyBytes): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks()) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
