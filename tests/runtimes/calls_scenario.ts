/**
 * The answers of the idempotency and throttle helpers, as a list of observations: the same list in every
 * runtime, or something is not portable. Web APIs alone.
 */
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { type AtomicStore, createIdempotency, createThrottle, memoryStore } from "@holdfast/edge";
import {
  idempotency,
  type IdempotencyVariables,
  throttle,
  type ThrottleVariables,
} from "@holdfast/edge/hono";
import { upstashStore } from "@holdfast/edge/upstash";

/** The store of the state. */
export interface CallsInput {
  /** An Upstash endpoint; memory without one. */
  readonly upstash?: { readonly url: string; readonly token: string };
}

type App = Hono<{ Variables: IdempotencyVariables & ThrottleVariables }>;

const BYTES = Uint8Array.from({ length: 256 }, (_, i) => i);
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** The client of the stream that is left early has left; set anew by each scenario. */
let left: Promise<void>;

/** An app whose handlers count how often they ran. */
function makeApp(store: AtomicStore, runs: Record<string, number>): App {
  const app: App = new Hono();
  const ran = (name: string) => runs[name] = (runs[name] ?? 0) + 1;
  app.onError((error, c) => error instanceof HTTPException ? error.getResponse() : c.text("broken", 500));
  app.use("/limited/*", throttle({ store, name: "limited", limit: 4, window: "1h", key: () => "k" }));
  app.use(
    "/keys/*",
    idempotency({ store, scope: (c) => c.req.header("user") ?? "ada", maxRequest: 64, maxResponse: 600 }),
  );
  app.use("/wait/*", idempotency({ store, scope: "public", name: "wait", wait: "1m" }));
  app.post(
    "/keys/pay",
    async (c) =>
      c.json({ run: ran("pay"), got: await c.req.json(), attempt: c.var.idempotency.attempt }, 201),
  );
  app.post("/keys/raw", async (c) => c.text(`${ran("raw")} ${await c.req.raw.text()}`));
  app.post("/keys/form", async (c) => c.json([ran("form"), (await c.req.parseBody()).a]));
  app.post(
    "/keys/bytes",
    () => new Response(BYTES, { headers: { "x-run": String(ran("bytes")), "set-cookie": "a=b" } }),
  );
  app.post("/keys/none", (c) => (ran("none"), c.body(null, 204)));
  app.post("/keys/moved", (c) => (ran("moved"), c.redirect("/there", 303)));
  app.post("/keys/large", () => (ran("large"), new Response("x".repeat(1000))));
  app.post("/keys/fails", (c) => c.text(String(ran("fails")), 503));
  app.post("/keys/throws", () => {
    ran("throws");
    throw new Error("no");
  });
  app.post("/keys/pinned", (c) => {
    c.var.idempotency.pin();
    return c.text(String(ran("pinned")), 500);
  });
  app.post("/keys/stream", (c) => {
    ran("stream");
    let chunk = 0;
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        await pause(20);
        // The rest of this one comes when its client has left.
        if (chunk === 1 && c.var.idempotency.key === "early") await left;
        if (chunk === 3) return controller.close();
        controller.enqueue(new TextEncoder().encode(`<${chunk++}>`));
      },
    });
    return new Response(body, { headers: { "content-type": "text/plain" } });
  });
  app.post("/wait/slow", async (c) => {
    await pause(50);
    return c.json({ run: ran("slow") });
  });
  app.get("/limited/text", (c) => c.text("text", 200));
  app.get("/limited/raw", () => new Response("raw", { headers: { "content-type": "text/plain" } }));
  app.get("/limited/throws", () => {
    throw new Error("no");
  });
  app.get("/limited/teapot", () => {
    const headers = { "content-type": "text/plain" }; // Bun would say it only when it sends the response
    throw new HTTPException(418, { res: new Response("teapot", { status: 418, headers }) });
  });
  return app;
}

const SHOWN = [
  "content-type",
  "idempotency-replayed",
  "location",
  "ratelimit",
  "ratelimit-policy",
  "retry-after",
  "set-cookie",
  "x-run",
];

async function seen(response: Response): Promise<unknown> {
  const headers = Object.fromEntries(SHOWN.flatMap((name) => {
    const value = response.headers.get(name);
    return value === null ? [] : [[name, value.toLowerCase().replace("; ", ";")]];
  }));
  const bytes = new Uint8Array(await response.arrayBuffer());
  const body = bytes.some((byte) => byte > 127) ? `bytes ${bytes.join()}` : new TextDecoder().decode(bytes);
  return [response.status, headers, body];
}

/** Does it all, in order. */
export async function scenario({ upstash }: CallsInput): Promise<unknown[]> {
  let leave = () => {};
  left = new Promise((resolve) => leave = resolve);
  const store = (upstash ? upstashStore(upstash) : memoryStore()).namespace(crypto.randomUUID());
  const runs: Record<string, number> = {};
  const app = makeApp(store, runs);
  const list: unknown[] = [];
  const post = (
    path: string,
    key: string | undefined,
    body?: BodyInit,
    headers: Record<string, string> = {},
  ) =>
    app.request(path, {
      method: "POST",
      headers: { ...(key !== undefined && { "idempotency-key": key }), ...headers },
      ...(body !== undefined && { body }),
    });
  const note = async (what: string, response: Response | Promise<Response>) =>
    void list.push([what, await seen(await response)]);

  for (const key of ['"one"', "one", '"one"; p=1']) {
    await note(`pay ${key}`, post("/keys/pay", key, '{"n":1}'));
  }
  await note("another payload", post("/keys/pay", "one", '{"n":2}'));
  await note("another user", post("/keys/pay", "one", '{"n":2}', { user: "bob" }));
  for (const key of [undefined, "", '""', '"a", "b"', '"a', "12", ":YQ==:", "x".repeat(300)]) {
    await note(`no key: ${key}`, post("/keys/pay", key, '{"n":1}'));
  }
  await note("too large", post("/keys/pay", "large", "x".repeat(65)));
  const chunks = () =>
    new ReadableStream({
      start(controller) {
        for (const text of ["chunk", "ed"]) controller.enqueue(new TextEncoder().encode(text));
        controller.close();
      },
    });
  const chunked = () =>
    app.request(
      new Request("http://localhost/keys/raw", {
        method: "POST",
        headers: { "idempotency-key": "chunked" },
        body: chunks(),
        duplex: "half",
      } as RequestInit),
    );
  for (let i = 0; i < 2; i++) await note("chunked", chunked());
  for (let i = 0; i < 2; i++) await note("form", post("/keys/form", "form", new URLSearchParams({ a: "b" })));
  for (const path of ["bytes", "none", "moved", "large", "fails", "throws", "pinned", "stream"]) {
    for (let i = 0; i < 2; i++) await note(path, post(`/keys/${path}`, path));
  }
  const early = (await post("/keys/stream", "early")).body!.getReader();
  const first = new TextDecoder().decode((await early.read()).value);
  list.push(["first chunk", first, (await post("/keys/stream", "early")).status]);
  await early.cancel();
  leave();
  while ((await post("/keys/stream", "early")).status === 409) await pause(20);
  await note("after its client left", post("/keys/stream", "early"));
  const slow = await Promise.all(Array.from({ length: 10 }, () => post("/wait/slow", "slow")));
  list.push(["ten at once", await Promise.all(slow.map((response) => response.text()))]);
  list.push(["replayed", slow.filter(({ headers }) => headers.has("idempotency-replayed")).length]);

  for (const path of ["text", "raw", "throws", "teapot", "text"]) {
    await note(path, app.request(`/limited/${path}`));
  }
  await createThrottle(store, { name: "limited", limit: 4, window: "1h" }).block("k", "2h");
  await note("blocked", app.request("/limited/text"));
  const two = createThrottle(store, {
    name: "two",
    policies: [{ name: "a", limit: 5, window: "1d" }, {
      name: "b",
      limit: 2,
      window: "7d",
      algorithm: "sliding-window",
    }],
  });
  const checks = await Promise.all(Array.from({ length: 20 }, () => two.check("k")));
  list.push(["two policies", checks.filter(({ allowed }) => allowed).length]);
  list.push(["left", (await two.peek("k")).policies.map(({ name, remaining }) => [name, remaining])]);

  const keys = createIdempotency(store);
  list.push([
    "results",
    await keys.run("result", () => undefined),
    await keys.run<unknown>("result", () => 2),
  ]);
  list.push([
    "bytes",
    [...await keys.run("bytes", () => BYTES)].length,
    (await keys.run("bytes", () => BYTES)) instanceof Uint8Array,
  ]);

  const down = makeApp(upstashStore({ url: "http://127.0.0.1:9", token: "t" }), runs);
  const key = { "idempotency-key": "k" };
  await note("down", down.request("/keys/raw", { method: "POST", headers: key, body: "x" }));
  await note("down", down.request("/limited/text"));
  list.push(["runs", runs]);
  return list;
}
