/**
 * A server of each runtime with real sockets: the key under which throttle() counts a client whose request
 * was replaced.
 */
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { idempotency, throttle } from "@holdfast/edge/hono";

type Serve = (request: Request, env: unknown) => Response | Promise<Response>;

/** A running server. */
interface Running {
  readonly port: number;
  stop(): Promise<unknown> | unknown;
}

/** What Hono's adapters hand to an app as `env`, on a port of the runtime's choice. */
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

/** The statuses of two requests, and the keys that were counted. */
export async function scenario(): Promise<{ statuses: number[]; keys: string[] }> {
  const store = memoryStore();
  const app = new Hono();
  app.use(idempotency({ store, scope: "public" }));
  app.use(throttle({ store, name: "address", limit: 1, window: "1h" }));
  app.post("/", async (c) => c.text(await c.req.text()));
  const server = await listen((request, env) => app.fetch(request, env as Record<string, unknown>));
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
