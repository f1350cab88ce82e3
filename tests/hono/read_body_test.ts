/** A body that idempotency has read whole reaches the routes in every way in which they may read it. */
import { Hono } from "hono";
import { memoryStore } from "../../mod.ts";
import { idempotency, requireCsrfToken, session, type SessionVariables } from "../../adapters/hono/mod.ts";
import { assertEquals } from "../support/assert.ts";

const TEXT = '{"amount":4200,"note":"grüße"}';
const BYTES = new TextEncoder().encode(TEXT);

/** A request as a server hands it over: its length is announced. */
function post(
  path: string,
  body: string | Uint8Array<ArrayBuffer> = TEXT,
  type = "application/json",
): Request {
  const { length } = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const headers = {
    "content-type": type,
    "content-length": String(length),
    "idempotency-key": crypto.randomUUID(),
  };
  return new Request(`http://localhost${path}`, { method: "POST", body, headers });
}

// deno-lint-ignore no-explicit-any
const READERS: Record<string, (c: any) => Promise<unknown>> = {
  json: (c) => c.req.json(),
  text: async (c) => JSON.parse(await c.req.text()),
  twice: async (c) => [await c.req.json(), await c.req.text()][0],
  "text, then bytes": async (c) => {
    await c.req.text();
    return JSON.parse(new TextDecoder().decode(await c.req.arrayBuffer()));
  },
  arrayBuffer: async (c) => JSON.parse(new TextDecoder().decode(await c.req.arrayBuffer())),
  blob: async (c) => JSON.parse(await (await c.req.blob()).text()),
  raw: (c) => c.req.raw.json(),
  "raw, twice": async (c) => {
    await c.req.json();
    return await c.req.raw.json();
  },
  clone: (c) => c.req.raw.clone().json(),
  stream: async (c) => JSON.parse(await new Response(c.req.raw.body).text()),
  "another request of it": (c) => new Request(c.req.raw, { headers: { "x-hop": "1" } }).json(),
};

for (const [name, read] of Object.entries(READERS)) {
  Deno.test(`hono: a body that idempotency read reaches the route by ${name}`, async () => {
    const app = new Hono();
    app.post("/", idempotency({ store: memoryStore(), scope: "public" }), async (c) => {
      const read_ = await read(c);
      return c.json({
        read: read_,
        kind: c.req.header("content-type"),
        method: c.req.method,
        path: c.req.path,
      });
    });
    const answer = await app.fetch(post("/"));
    assertEquals(await answer.json(), {
      read: JSON.parse(TEXT),
      kind: "application/json",
      method: "POST",
      path: "/",
    });
  });
}

Deno.test("hono: a form that was read for its token and by idempotency reaches the route, bytes unchanged", async () => {
  const app = new Hono<{ Variables: SessionVariables }>();
  const store = memoryStore();
  app.use(session({ store, cookie: { secure: false } }));
  app.get("/", async (c) => c.text(await c.get("session").csrfToken()));
  app.post("/", idempotency({ store, scope: "public" }), requireCsrfToken(), async (c) => {
    const form = await c.req.parseBody();
    return c.text(new Uint8Array(await (form.file as File).arrayBuffer()).join());
  });
  const first = await app.request("/");
  const form = new FormData();
  form.set("csrf_token", await first.text());
  form.set("file", new File([new Uint8Array([0, 255, 128, 10])], "bytes"));
  const sent = new Response(form);
  const request = post(
    "/",
    new Uint8Array(await sent.clone().arrayBuffer()),
    sent.headers.get("content-type")!,
  );
  request.headers.set("cookie", first.headers.get("set-cookie")!.split(";")[0]!);
  const answer = await app.fetch(request);
  assertEquals([answer.status, await answer.text()], [200, "0,255,128,10"]);
});

Deno.test("hono: a request that a middleware puts in the place of one that was read is the one that is read", async () => {
  const app = new Hono();
  app.post("/", idempotency({ store: memoryStore(), scope: "public" }), async (c, next) => {
    c.req.raw = new Request(c.req.raw, { body: '{"amount":1}' });
    await next();
  }, async (c) => c.json(await c.req.json()));
  assertEquals(await (await app.fetch(post("/"))).json(), { amount: 1 });
});

Deno.test("hono: a body shorter than announced is refused, and one longer than the bound, too", async () => {
  const app = new Hono();
  app.onError((error, c) => c.text(error.message, 500));
  app.post(
    "/",
    idempotency({ store: memoryStore(), scope: "public", maxRequest: 40 }),
    (c) => c.text("done"),
  );
  const cut = post("/");
  cut.headers.set("content-length", String(BYTES.length + 5));
  assertEquals(await (await app.fetch(cut)).text(), "Cannot read the request as its body ended early");
  const long = post("/", "x".repeat(100));
  long.headers.set("content-length", "10");
  assertEquals((await app.fetch(long)).status, 413);
  assertEquals((await app.fetch(post("/", "x".repeat(41)))).status, 413);
  assertEquals(await (await app.fetch(post("/", "x".repeat(40)))).text(), "done");
});
