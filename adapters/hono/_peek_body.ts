import { readStream } from "../../src/read_stream.ts";
import type { RouteContext } from "./_context.ts";

/**
 * The bytes of a request, or `undefined` when there are more than `maxBytes`. The runtime's own request stays
 * what it is and unread: the handler reads it in any way, and the runtime still knows its client's address.
 *
 * @throws {TypeError} when the body was read before, and not through Hono
 */
export async function peekBody(
  c: RouteContext,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const { raw } = c.req;
  if (Number(c.req.header("content-length") ?? 0) > maxBytes) return undefined;
  if (raw.bodyUsed || raw.body?.locked) {
    try {
      const bytes = new Uint8Array(await c.req.arrayBuffer()); // Hono keeps what was read through it
      return bytes.length > maxBytes ? undefined : bytes;
    } catch {
      throw new TypeError(
        "Cannot read the form as its body was read before: mount requireCsrfToken() before that",
      );
    }
  }
  if (raw.body === null) return new Uint8Array();
  // A clone shares what is read with the original, which keeps it for the handler: no more than the bound.
  return await readStream(raw.clone().body, maxBytes);
}
