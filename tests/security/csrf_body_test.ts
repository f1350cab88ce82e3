/** A stranger sends large forms to a handler behind requireCsrfToken(). */
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { requireCsrfToken, session, type SessionVariables } from "@holdfast/edge/hono";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";

const MIB = 1 << 20;
const FORM = "application/x-www-form-urlencoded";

function app(options: Parameters<typeof requireCsrfToken>[0] = {}) {
  const app = new Hono<{ Variables: SessionVariables }>();
  app.onError((error, c) => c.text(error.message, 500));
  app.use(session({ store: memoryStore() }), requireCsrfToken(options));
  app.get("/form", async (c) => c.text(await c.var.session.csrfToken()));
  app.post("/same", async (c) => c.json([c.req.raw.bodyUsed, (await c.req.raw.text()).length]));
  app.post("*", async (c) => c.json(await c.req.parseBody()));
  return app;
}

async function begin(site: ReturnType<typeof app>): Promise<{ cookie: string; token: string }> {
  const form = await site.request("/form");
  return { cookie: form.headers.getSetCookie()[0]!.split(";")[0]!, token: await form.text() };
}

/** A body that counts what is read of it. */
function counted(bytes: number, type = FORM) {
  const chunk = new Uint8Array(64 * 1024).fill(97);
  const state = { read: 0 };
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (state.read >= bytes) return controller.close();
      state.read += chunk.length;
      controller.enqueue(chunk);
    },
  }, { highWaterMark: 0 });
  return {
    state,
    init: { method: "POST", headers: { "content-type": type }, body, duplex: "half" } as RequestInit,
  };
}

Deno.test("csrf body: without a session nothing is read, however large the form", async () => {
  const site = app();
  for (const cookie of ["", `__Host-session=${"A".repeat(43)}`]) {
    for (const type of [FORM, "multipart/form-data; boundary=x"]) {
      const { state, init } = counted(64 * MIB, type);
      (init.headers as Record<string, string>).cookie = cookie;
      assertEquals((await site.request("/", init)).status, 403);
      assert(state.read <= 64 * 1024, `${state.read} bytes were read`); // a runtime may look one chunk ahead
    }
  }
});

Deno.test("csrf body: with a session a form is read up to its bound, and a larger one is a 413", async () => {
  const site = app();
  const { cookie } = await begin(site);
  const large = counted(64 * MIB);
  (large.init.headers as Record<string, string>).cookie = cookie;
  const response = await site.request("/", large.init);
  assertEquals([response.status, response.headers.get("content-type")], [413, "application/problem+json"]);
  assert(large.state.read <= MIB + 256 * 1024, `${large.state.read} bytes were read`);
  const said = counted(64 * MIB);
  Object.assign(said.init.headers as Record<string, string>, { cookie, "content-length": String(64 * MIB) });
  assertEquals((await site.request("/", said.init)).status, 413);
  assert(said.state.read <= 64 * 1024, "the length it states is believed when it is too large");
  const lying = counted(64 * MIB);
  Object.assign(lying.init.headers as Record<string, string>, { cookie, "content-length": "10" });
  assertEquals((await site.request("/", lying.init)).status, 413, "and not when it is small");
});

Deno.test("csrf body: the bound is an option, and the header needs no form", async () => {
  const site = app({ maxForm: 200 });
  const { cookie, token } = await begin(site);
  const post = (body: BodyInit, headers: Record<string, string> = {}) =>
    site.request("/", { method: "POST", headers: { cookie, ...headers }, body });
  assertEquals((await post(new URLSearchParams({ csrf_token: token }))).status, 200);
  assertEquals((await post(new URLSearchParams({ csrf_token: token, x: "y".repeat(200) }))).status, 413);
  const header = await post(new URLSearchParams({ x: "y".repeat(5_000) }), { "x-csrf-token": token });
  assertEquals([header.status, (await header.json()).x.length], [200, 5_000]);
  for (const maxForm of [0, -1, 1.5, NaN, "1mb"]) {
    assertThrows(() => requireCsrfToken({ maxForm: maxForm as number }), RangeError);
  }
  assertThrows(() => requireCsrfToken({ fields: "x" } as object), TypeError);
});

Deno.test("csrf body: the runtime's own request stays as it was, for the handler and for its client's address", async () => {
  const site = app();
  const { cookie, token } = await begin(site);
  const fields = new URLSearchParams({ note: "hello", csrf_token: token, other: "é&=" });
  const init = { method: "POST", headers: { cookie }, body: fields };
  assertEquals(await (await site.request("/", init)).json(), Object.fromEntries(fields));
  const raw = await site.request("/same", init);
  assertEquals(await raw.json(), [false, String(fields).length]);
  const request = new Request("http://localhost/", init);
  const seen: Request[] = [];
  const watching = new Hono<{ Variables: SessionVariables }>();
  watching.use(session({ store: memoryStore() }), requireCsrfToken());
  watching.get("/form", async (c) => c.text(await c.var.session.csrfToken()));
  watching.post("/", async (c) => {
    seen.push(c.req.raw);
    return c.text((await c.req.formData()).get("note") as string);
  });
  const form = await watching.request("/form");
  const own = new URLSearchParams({ note: "hello", csrf_token: await form.text() });
  const mine = new Request(request.url, {
    method: "POST",
    headers: { cookie: form.headers.getSetCookie()[0]!.split(";")[0]! },
    body: own,
  });
  assertEquals(await (await watching.fetch(mine)).text(), "hello");
  assert(seen[0] === mine, "the same request object");
});

Deno.test("csrf body: a form of a million fields is searched in a moment, and the token is found wherever it stands", async () => {
  const site = app();
  const { cookie, token } = await begin(site);
  const filler = "a&".repeat(500_000);
  const headers = { cookie, "content-type": FORM };
  const post = (body: string) => site.request("/same", { method: "POST", headers, body });
  const start = performance.now();
  assertEquals((await post(`${filler}csrf_token=${token}`)).status, 200);
  assertEquals((await post(`csrf%5Ftoken=${token}&${filler}`)).status, 200);
  assertEquals((await post(filler)).status, 403);
  assert(performance.now() - start < 10_000, "bounded time");
});

Deno.test("csrf body: a form that a middleware read through Hono before is found, one read past it is an error", async () => {
  const site = new Hono<{ Variables: SessionVariables }>();
  site.onError((error, c) => c.text(error.message, 500));
  site.use(session({ store: memoryStore() }));
  site.use("/hono", async (c, next) => {
    if (c.req.method === "POST") await c.req.text();
    await next();
  });
  site.use("/raw", async (c, next) => {
    await c.req.raw.text();
    await next();
  });
  site.use(requireCsrfToken());
  site.get("/form", async (c) => c.text(await c.var.session.csrfToken()));
  site.post("*", async (c) => c.text(await c.req.text()));
  const form = await site.request("/form");
  const cookie = form.headers.getSetCookie()[0]!.split(";")[0]!;
  const body = `csrf_token=${await form.text()}`;
  const headers = { cookie, "content-type": FORM };
  const through = await site.request("/hono", { method: "POST", headers, body });
  assertEquals([through.status, await through.text()], [200, body]);
  const past = await site.request("/raw", { method: "POST", headers, body });
  assertEquals(past.status, 500);
});
