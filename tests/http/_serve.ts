// deno-lint-ignore-file no-console no-explicit-any
/** A server of the shop under Deno, Node or Bun, in the shape that a framework calls its handlers. Prints its port. */
import { type Handler, honoShop, plainShop } from "./_shop.ts";

/** How a framework hands a request to a handler. */
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

const runtime = globalThis as any;
const [shape] = runtime.Deno?.args ?? runtime.process.argv.slice(2);
const handler = SHAPES[shape]!() as Handler;

if (runtime.Bun) {
  console.log(`port ${runtime.Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: handler }).port}`);
} else if (runtime.Deno) {
  const onListen = ({ port }: { port: number }) => console.log(`port ${port}`);
  runtime.Deno.serve({ port: 0, hostname: "127.0.0.1", onListen }, handler);
} else {
  // Not bundled: the program stands beside node_modules.
  const name = "@hono/node-server";
  const { serve } = await import(name);
  serve({ fetch: handler, port: 0, hostname: "127.0.0.1" }, ({ port }: { port: number }) => {
    console.log(`port ${port}`);
  });
}
