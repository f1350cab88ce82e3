/**
 * A server of each runtime with real sockets: the key under which throttle() counts a client whose request
 * was replaced.
 */
import { Hono } from "hono";
import { type AtomicStore, memoryStore } from "@holdfast/edge";
import { idempotency, throttle } from "@holdfast/edge/hono";
import { withIdempotency, withThrottle } from "@holdfast/edge/http";
import { systemClock } from "../../src/clock.ts";
import { deferred } from "../../src/deferred.ts";

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
      ...(chunks.length > 0 && { body: new Blob(chunks as BlobPart[]) }),
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

interface Counted {
  readonly statuses: number[];
  readonly keys: string[];
}

/** What is found: see the functions below. */
export interface Found {
  readonly hono: Counted;
  readonly plain: Counted;
  readonly left: Left;
}

/** The statuses of two requests, and the keys that were counted, by Hono's helpers and by those without a framework. */
export async function scenario(): Promise<Found> {
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
    left: await leave(),
  };
}

/** The faults of throttles behind slow work whose client left meanwhile. */
interface Left {
  readonly faults: string[];
  readonly errors: string[];
}

/**
 * A client leaves before its address is asked for. It is counted, where the runtime still knows it, or its request
 * ends: it is no fault of the app's settings.
 */
async function leave(): Promise<Left> {
  const left: Left = { faults: [], errors: [] };
  const rule = {
    store: memoryStore(),
    name: "left",
    limit: 9,
    window: "1h",
    onFault: (error: unknown) => void left.faults.push(String(error)),
  } as const;
  const app = new Hono();
  const plain = withThrottle(() => new Response("plain"), rule);
  app.onError((error, c) => (left.errors.push(String(error)), c.text("failed", 500)));
  app.get("/hono", throttle(rule), (c) => c.text("hono"));
  app.get("/plain", (c) => plain(c.req.raw, c.env as object));
  const name = "node:net"; // not for the bundler: every runtime of these has it
  const { connect } = await import(name);
  for (const path of ["/hono", "/plain"]) {
    const [came, gone, ended] = [deferred<void>(), deferred<void>(), deferred<void>()];
    const server = await listen(async (request, env) => {
      came.resolve();
      await gone.promise;
      await systemClock.sleep(200); // until the runtime has seen it
      const response = await app.fetch(request, env as Record<string, unknown>);
      ended.resolve();
      return response;
    });
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.on("close", () => gone.resolve());
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
    await came.promise;
    socket.destroy();
    await ended.promise;
    await server.stop();
  }
  return left;
}

async function ask(serve: Serve, store: AtomicStore): Promise<Counted> {
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
