import { peekBody } from "../../src/http/request_body.ts";
import type { Exchange } from "../../src/http/exchange.ts";
import { RequestValues } from "../../src/http/request_values.ts";
import { type RouteContext, standInFor } from "./_context.ts";

/** The `BodyReader` of a route. */
export function readRouteBody(
  { context }: Pick<Exchange<RouteContext>, "context">,
  maxBytes: number,
  fault: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return readBody(context, maxBytes, fault);
}

/** The bodies that were read whole, and are handed on. */
const bodies = /* @__PURE__ */ new RequestValues<Uint8Array<ArrayBuffer>>();

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
  const known = bodies.get(c.req);
  if (known !== undefined) return known.length > maxBytes ? undefined : known;
  const { raw } = c.req;
  if (!raw.bodyUsed && !raw.body?.locked) return await readUnread(c, raw, maxBytes);
  try {
    const bytes = new Uint8Array(await c.req.arrayBuffer()); // Hono keeps what was read through it
    return bytes.length > maxBytes ? undefined : bytes;
  } catch {
    throw new TypeError(fault);
  }
}

/**
 * Reads a body of an announced length whole, and hands it on: a clone, both sides of which are read as
 * streams, costs ten times as much. Bun knows a connection by the very request, which so must stay.
 */
async function readUnread(
  c: RouteContext,
  raw: Request,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const announced = Number(raw.headers.get("content-length") ?? 0);
  if (!(announced > 0 && announced <= maxBytes) || "Bun" in globalThis) return await peekBody(raw, maxBytes);
  const bytes = new Uint8Array(await raw.arrayBuffer());
  // Node ends the body of a client that left as if it were whole: see peekBody().
  if (bytes.length < announced) throw new TypeError("Cannot read the request as its body ended early");
  if (bytes.length > maxBytes) return undefined;
  handOn(c, raw, bytes);
  return bytes;
}

/**
 * Gives the routes the bytes that were read: as text and JSON at once, in any other way by a request that is
 * made when it is looked for.
 */
function handOn(c: RouteContext, raw: Request, bytes: Uint8Array<ArrayBuffer>): void {
  const { req } = c;
  const own = req as unknown as { text?: () => Promise<string>; json?: () => Promise<unknown> };
  let text: Promise<string> | undefined;
  own.text = () => text ??= Promise.resolve(new TextDecoder().decode(bytes));
  own.json = () => own.text!().then(JSON.parse);
  bodies.set(req, bytes);
  standInFor(c, {
    make: () => new Request(raw, { body: bytes }),
    replaced() {
      delete own.text;
      delete own.json;
      bodies.set(req, undefined);
    },
  });
}
