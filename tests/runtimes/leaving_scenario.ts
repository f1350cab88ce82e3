/**
 * Clients that leave, over real sockets: while they upload, while the handler works, in the middle of a
 * streamed answer. Each comes back later. Also what a handler can still read of a request under
 * idempotency().
 */
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { idempotency, type IdempotencyVariables } from "@holdfast/edge/hono";

/** The paths that the runtime's server needs. */
export interface LeavingInput {
  /** The module of @hono/node-server, for Node. */
  readonly nodeServer: string;
  /** The number of clients that leave at each kind of moment. */
  readonly clients: number;
}

/** The counts of clients that left at one kind of moment, by what they saw. */
export interface Left {
  readonly clients: number;
  readonly oneRun: number;
  readonly overlapped: number;
  readonly rightAnswers: number;
}

interface Work {
  runs: number;
  live: number;
  overlapped: boolean;
  step: number;
  made: string;
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const works = new Map<string, Work>();

function begin(key: string): Work {
  const work = works.get(key) ?? { runs: 0, live: 0, overlapped: false, step: 0, made: "" };
  works.set(key, work);
  work.runs++;
  work.overlapped ||= work.live > 0;
  work.live++;
  work.made = "";
  return work;
}

type Bindings = { server?: { requestIP(request: Request): { address: string } | null } };

function makeApp(): Hono<{ Bindings: Bindings; Variables: IdempotencyVariables }> {
  const app = new Hono<{ Bindings: Bindings; Variables: IdempotencyVariables }>();
  app.use(idempotency({ store: memoryStore(), scope: "public", lease: "5s" }));
  app.post("/pay", async (c) => {
    const work = begin(c.var.idempotency.key);
    const { order } = await c.req.json();
    for (; work.step < 4; work.step++) await sleep(10);
    work.live--;
    return c.body(work.made = JSON.stringify({ order, receipt: crypto.randomUUID() }));
  });
  app.post("/stream", async (c) => {
    const work = begin(c.var.idempotency.key);
    await c.req.text();
    let left = 6;
    return c.body(
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          if (left-- > 0) {
            await sleep(10);
            work.step++;
            const chunk = `<${crypto.randomUUID()}>`;
            work.made += chunk;
            return controller.enqueue(new TextEncoder().encode(chunk));
          }
          work.live--;
          controller.close();
        },
        cancel: () => void work.live--,
      }),
    );
  });
  app.post("/address", (c) => c.json(c.env?.server?.requestIP(c.req.raw)?.address ?? "unknown"));
  app.post("/read/:how", async (c) => {
    switch (c.req.param("how")) {
      case "json":
        return c.json((await c.req.json()).a);
      case "text":
        return c.json(await c.req.text());
      case "arrayBuffer":
        return c.json((await c.req.arrayBuffer()).byteLength);
      case "formData":
        return c.json((await c.req.formData()).get("a"));
      case "parseBody":
        return c.json((await c.req.parseBody()).a);
      case "raw":
        return c.json(await c.req.raw.text());
      default:
        return c.json([await c.req.raw.clone().text(), await c.req.text()]);
    }
  });
  return app;
}

/** The runtime's own server with the app on a free port. */
async function serve({ nodeServer }: LeavingInput): Promise<{ port: number; stop(): Promise<unknown> }> {
  // deno-lint-ignore no-explicit-any
  const { Deno, Bun } = globalThis as any;
  const app = makeApp();
  if (Bun) {
    const fetch = (request: Request, server: Required<Bindings>["server"]) => app.fetch(request, { server });
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
    return { port: server.port, stop: () => server.stop(true) };
  }
  if (Deno) {
    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      (request: Request) => app.fetch(request),
    );
    return { port: server.addr.port, stop: () => server.shutdown() };
  }
  const { serve } = await import(nodeServer);
  return await new Promise((resolve) => {
    const server = serve(
      { fetch: app.fetch, port: 0, hostname: "127.0.0.1" },
      ({ port }: { port: number }) => {
        const stop = () =>
          new Promise((done) => {
            server.close(done);
            server.closeAllConnections();
          });
        resolve({ port, stop });
      },
    );
  });
}

/**
 * Sends a request over a socket of its own, perhaps only a part of it, and destroys the socket when `leave`
 * resolves.
 */
async function sendAndLeave(port: number, text: string, leave: () => Promise<void>): Promise<void> {
  const name = "node:net"; // not for the bundler: every runtime of these has it
  const { connect } = await import(name);
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await new Promise((resolve) => socket.on("connect", resolve));
  socket.on("data", () => {});
  socket.write(text);
  await leave();
  socket.destroy();
}

function requestText(port: number, path: string, key: string, body: string, sent = body): string {
  return [
    `POST ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    `Idempotency-Key: "${key}"`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    "",
    sent,
  ].join("\r\n");
}

async function leaving(port: number, clients: number, path: string, step: number): Promise<Left> {
  const seen = await Promise.all(Array.from({ length: clients }, async (_, i) => {
    await sleep(i * 4);
    const key = crypto.randomUUID();
    const body = JSON.stringify({ order: key });
    const uploading = step < 0;
    const reached = async () => {
      if (uploading) return await sleep(15);
      for (let n = 0; n < 20_000 && !((works.get(key)?.step ?? -1) >= step); n++) await sleep(1);
    };
    await sendAndLeave(
      port,
      requestText(port, path, key, body, uploading ? body.slice(0, 9) : body),
      reached,
    );
    const post = async () => {
      for (let tries = 0; tries < 1500; tries++) {
        const response = await fetch(`http://127.0.0.1:${port}${path}`, {
          method: "POST",
          headers: {
            "idempotency-key": `"${key}"`,
            "content-type": "application/json",
            "connection": "close",
          },
          body,
        });
        const text = await response.text();
        if (response.status === 200) return text;
        if (response.status !== 409) throw new Error(`${response.status}: ${text}`);
        await sleep(20);
      }
      throw new Error("it is outstanding for ever");
    };
    const answers = [await post(), await post()];
    const { runs, overlapped, made } = works.get(key)!;
    return { runs, overlapped, right: answers.every((answer) => answer === made) };
  }));
  return {
    clients: seen.length,
    oneRun: seen.filter(({ runs }) => runs === 1).length,
    overlapped: seen.filter(({ overlapped }) => overlapped).length,
    rightAnswers: seen.filter(({ right }) => right).length,
  };
}

/** The parts of the body that handlers could read, by the way they read it. */
async function reading(port: number): Promise<Record<string, unknown>> {
  const ask = async (path: string, body: BodyInit, headers: Record<string, string> = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: "POST",
      headers: { "idempotency-key": crypto.randomUUID(), "connection": "close", ...headers },
      body,
    });
    return await response.json();
  };
  const json = { "content-type": "application/json" };
  const form = () => {
    const form = new FormData();
    form.set("a", "b");
    return form;
  };
  return {
    json: await ask("/read/json", '{"a":1}', json),
    text: await ask("/read/text", "text"),
    arrayBuffer: await ask("/read/arrayBuffer", "\u00e9"),
    large: await ask("/read/arrayBuffer", "x".repeat(300_000)),
    formData: await ask("/read/formData", form()),
    parseBody: await ask("/read/parseBody", form()),
    raw: await ask("/read/raw", "raw"),
    clone: await ask("/read/clone", "both"),
    address: await ask("/address", "unread"),
  };
}

/** Does it all, in order. */
export async function scenario(input: LeavingInput): Promise<unknown> {
  const server = await serve(input);
  try {
    const { clients } = input;
    const left: Record<string, Left> = {};
    left.uploading = await leaving(server.port, clients, "/pay", -1);
    for (const step of [0, 2]) left[`working ${step}`] = await leaving(server.port, clients, "/pay", step);
    for (const step of [0, 1, 3, 5]) {
      left[`streaming ${step}`] = await leaving(server.port, clients, "/stream", step);
    }
    return { left, read: await reading(server.port) };
  } finally {
    await server.stop();
  }
}
