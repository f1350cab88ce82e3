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

/** The pieces as one. */
export function inPieces(pieces: readonly Piece[]): LazyBytes {
  const parts = pieces.map((piece) => typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
  return {
    size: parts.reduce((sum, part) => sum + ("size" in part ? part.size : part.length), 0),
    *chunks() {
      for (const part of parts) {
        if ("size" in part) yield* part.chunks();
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
