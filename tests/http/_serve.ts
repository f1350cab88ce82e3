// deno-lint-ignore-file no-explicit-any
/** A server of the shop under Deno, Node or Bun, in the shape that a framework calls its handlers. Prints its port. */
import { argument, listen } from "./_listen.ts";
import { type Handler, honoShop, plainShop } from "./_shop.ts";

/** The way in which a framework hands a request to a handler. */
const SHAPES: Record<string, () => (request: Request, context: any) => Response | Promise<Response>> = {
  /** `Deno.serve(handler)`, `Bun.serve({ fetch: handler })`, `serve({ fetch: handler })` of @hono/node-server. */
  plain: plainShop,
  hono: honoShop,
  /** `export const POST = handler` of a route.ts: a request of Next's own class, and a context of promises. */
  next() {
    const handler = plainShop();
    class NextRequest extends Request {
      readonly nextUrl: URL;
      constructor({ url, method, headers, body }: Request) {
        super(url, { method, headers, body, ...(body && { duplex: "half" }) });
        this.nextUrl = new URL(url);
      }
    }
    return (request) => handler(new NextRequest(request), { params: Promise.resolve({}) });
  },
  /** `export const handle = ({ event }) => handler(event.request, event)` of hooks.server.ts. */
  sveltekit() {
    const handler = plainShop();
    const handle = ({ event }: { event: { request: Request } }) => handler(event.request, event);
    return (request) => {
      const event = {
        request,
        url: new URL(request.url),
        params: {},
        locals: {},
        platform: undefined,
        getClientAddress: () => "127.0.0.1",
      };
      return handle({ event }) as Promise<Response>;
    };
  },
};

const handler = SHAPES[argument()]!() as Handler;
await listen(handler);
