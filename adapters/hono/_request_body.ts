import { replaceRequest, type RouteContext } from "./_context.ts";

/**
 * The bytes of a request, or `undefined` when there are more than `most`; the handler still reads them in any way it likes.
 *
 * @throws {TypeError} when somebody read the body before, past Hono
 */
export async function readBody(
  c: RouteContext,
  most: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const { raw } = c.req;
  if (Number(c.req.header("content-length") ?? 0) > most) return undefined;
  if (raw.body === null) return new Uint8Array();
  if (raw.bodyUsed || raw.body.locked) {
    try {
      const bytes = new Uint8Array(await c.req.arrayBuffer()); // Hono keeps what was read through it
      return bytes.length > most ? undefined : bytes;
    } catch {
      throw new TypeError(
        "Cannot compare the request as its body is already being read: mount idempotency() before that",
      );
    }
  }
  const bytes = await upTo(most, raw.body.getReader());
  if (bytes !== undefined) replaceRequest(c, new Request(raw, { body: bytes }));
  return bytes;
}

async function upTo(
  most: number,
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return joined(chunks);
    chunks.push(value);
    size += value.length;
    if (size > most) {
      reader.cancel().catch(() => {});
      return undefined;
    }
  }
}

/** The chunks as one. */
export function joined(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
