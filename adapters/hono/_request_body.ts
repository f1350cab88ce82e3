import { peekBody } from "../../src/http/request_body.ts";
import type { Exchange } from "../../src/http/exchange.ts";
import type { RouteContext } from "./_context.ts";

/** The `BodyReader` of a route. */
export function readRouteBody(
  { context }: Pick<Exchange<RouteContext>, "context">,
  maxBytes: number,
  fault: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return readBody(context, maxBytes, fault);
}

/**
 * The bytes of a request, or `undefined` when there are more than `maxBytes`; the handler still reads them in
 * any way.
 *
 * @param fault the error's text when the body was read before, but not through Hono
 * @throws {TypeError} with that text
 */
export async function readBody(
  c: RouteContext,
  maxBytes: number,
  fault: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const { raw } = c.req;
  if (!raw.bodyUsed && !raw.body?.locked) return await peekBody(raw, maxBytes);
  try {
    const bytes = new Uint8Array(await c.req.arrayBuffer()); // Hono keeps what was read through it
    return bytes.length > maxBytes ? undefined : bytes;
  } catch {
    throw new TypeError(fault);
  }
}
