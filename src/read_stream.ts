/**
 * Reads a stream to its end, up to a bound.
 *
 * @returns the bytes, or `undefined` when there are more than `maxBytes`; the rest is cancelled then
 * @throws the stream's own error, or the signal's reason
 */
export async function readStream(
  stream: ReadableStream<Uint8Array> | null,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (stream === null) return new Uint8Array();
  const reader = stream.getReader();
  const abort = () => void reader.cancel(signal!.reason).catch(() => {});
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for (;;) {
      signal?.throwIfAborted();
      const { value, done } = await reader.read();
      signal?.throwIfAborted(); // a cancelled stream looks like one that ended
      if (done) return concatBytes(chunks);
      chunks.push(value);
      size += value.length;
      if (size <= maxBytes) continue;
      reader.cancel().catch(() => {});
      return undefined;
    }
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** The chunks as one array. */
export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
