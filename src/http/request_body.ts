import { readStream } from "../read_stream.ts";
import type { Exchange } from "./exchange.ts";

/** The `BodyReader` of a plain fetch handler. */
export async function readBody(
  { request }: Pick<Exchange<unknown>, "request">,
  maxBytes: number,
  fault: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (request.bodyUsed || request.body?.locked) throw new TypeError(fault);
  return await peekBody(request, maxBytes);
}

/**
 * Reads the bytes of a request's body and leaves the request unread: its `json()`, `text()`, `formData()` and
 * `clone()` work afterwards. The request stays the same object, as runtimes know it by its identity (Bun's
 * `requestIP` does).
 *
 * @returns `undefined` when there are more than `maxBytes`; the rest of the body is cancelled then
 * @throws {TypeError} when the body was read before, or ended before its announced length: Node ends the body
 *   of a
 * client that left as if it were whole, and a part of a request must not run as one
 */
export async function peekBody(
  request: Request,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > maxBytes) return undefined;
  // A clone shares the source: what is read here waits in memory for the other reader, so the bound holds for
  // both.
  const bytes = request.body === null ? new Uint8Array() : await readStream(request.clone().body, maxBytes);
  if (bytes === undefined) request.body?.cancel().catch(() => {});
  else if (bytes.length < announced) throw new TypeError("Cannot read the request as its body ended early");
  return bytes;
}
