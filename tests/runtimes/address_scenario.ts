/**
 * A server of each runtime with real sockets: the key under which throttle() counts a client whose request
 * was replaced.
 */
import { Hono } from "hono";
import { type AtomicStore, memoryStore } from "@holdfast/edge";
import { idempotency, throttle } from "@holdfast/edge/hono";
import { withIdempotency, withThrottle } from "@holdfast/edge/http";

type Serve = (request: Request, env: unknown) => Response | Promise<Response>;

/** A running server. */
interface Running {
  readonly port: number;
  stop(): Promise<unknown> | unknown;
}

/** The `env` that Hono's adapters hand to an app, on a port of the runtime's choice. */
async function listen(serve: Serve): Promise<Running> {
  // deno-lint-ignore no-explicit-any
  const { Deno, Bun } = globalThis as any;
  if (Bun) {
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: serve });
    return { port: server.port, stop: () => server.stop(true) };
  }
  if (Deno) {
    const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, serve);
    return { port: server.addr.port, stop: () => server.shutdown() };
  }
  const name = "node:http";
  const { createServer } = await import(name);
  // deno-lint-ignore no-explicit-any
  const server = createServer(async (incoming: any, outgoing: any) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const request = new Request(`http://127.0.0.1${incoming.url}`, {
      method: incoming.method,
      headers: incoming.headers,
      body: new Blob(chunks as BlobPart[]),
    });
    const response = await serve(request, { incoming, outgoing });
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(await response.text());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: server.address().port,
    stop: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}

/** The statuses of two requests, and the keys that were counted, by Hono's helpers and by those without a framework. */
export async function scenario(): Promise<Record<string, { statuses: number[]; keys: string[] }>> {
  const rule = { name: "address", limit: 1, window: "1h" } as const;
  const [one, two] = [memoryStore(), memoryStore()];
  const app = new Hono();
  app.use(idempotency({ store: one, scope: "public" }));
  app.use(throttle({ ...rule, store: one }));
  app.post("/", async (c) => c.text(await c.req.text()));
  const plain = withIdempotency(
    withThrottle(async (request) => new Response(await request.text()), { ...rule, store: two }),
    { store: two, scope: "public" },
  );
  return {
    hono: await ask((request, env) => app.fetch(request, env as Record<string, unknown>), one),
    plain: await ask((request, env) => plain(request, env as object), two),
  };
}

async function ask(serve: Serve, store: AtomicStore): Promise<{ statuses: number[]; keys: string[] }> {
  const server = await listen(serve);
  const statuses: number[] = [];
  for (let i = 0; i < 2; i++) {
    const response = await fetch(`http://127.0.0.1:${server.port}/`, {
      method: "POST",
      headers: {
        "idempotency-key": crypto.randomUUID(),
        "x-forwarded-for": `10.0.0.${i}`,
        connection: "close",
      },
      body: "a body",
    });
    statuses.push(response.status);
    await response.text();
  }
  await server.stop();
  const keys: string[] = [];
  for await (const key of store.namespace("throttle").namespace("address").list()) keys.push(key);
  return { statuses, keys };
}
