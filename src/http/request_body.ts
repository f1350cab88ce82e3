import { readStream } from "../read_stream.ts";

/**
 * Reads the bytes of a request's body and leaves the request unread: its `json()`, `text()`, `formData()` and
 * `clone()` work afterwards. The request stays the same object, as runtimes know it by its identity (Bun's
 * `requestIP` does).
 *
 * @returns `undefined` when there are more than `maxBytes`; the rest of the body is cancelled then
 * @throws {TypeError} when the body was read before
 */
export async function peekBody(
  request: Request,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) return undefined;
  if (request.body === null) return new Uint8Array();
  // A clone shares the source: what is read here waits in memory for the other reader, so the bound holds for
  // both.
  const bytes = await readStream(request.clone().body, maxBytes);
  if (bytes === undefined) request.body?.cancel().catch(() => {});
  return bytes;
}
