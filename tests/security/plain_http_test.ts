/** A Secure cookie over plain HTTP: a browser drops it, and every login would seem to work. */
import { Hono } from "hono";
import { createSessions, HoldfastError, memoryStore } from "@holdfast/edge";
import { session, type SessionMiddlewareOptions, type SessionVariables } from "@holdfast/edge/hono";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";

function app(options: Partial<SessionMiddlewareOptions<never>> = {}) {
  const faults: HoldfastError[] = [];
  const app = new Hono<{ Variables: SessionVariables }>();
  app.onError((error, c) => c.text(error.message, 500));
  app.use(
    session({ store: memoryStore(), onFault: (error) => faults.push(error as HoldfastError), ...options }),
  );
  app.all("/login", (c) => {
    c.var.session.login("ada");
    return c.text("in");
  });
  app.all("/logout", (c) => {
    c.var.session.revoke();
    return c.text("out");
  });
  app.all("*", async (c) => c.text(await c.var.session.userId() ?? "nobody"));
  return { app, faults };
}

Deno.test("plain HTTP: where the browser's own Origin proves it, a login is an error that says what to change", async () => {
  const { app: site, faults } = app();
  const headers = { origin: "http://shop.test" };
  const response = await site.request("http://shop.test/login", { method: "POST", headers });
  assertEquals([response.status, response.headers.getSetCookie()], [500, []]);
  assert(/cookie\.secure/.test(await response.text()));
  assertEquals(faults.map(({ code }) => code), ["misconfigured"]);
  assertEquals((await site.request("http://shop.test/")).status, 200, "what sets no cookie is served");
});

Deno.test("plain HTTP: where a proxy may stand in front, it is reported once and served", async () => {
  const { app: site, faults } = app();
  for (let i = 0; i < 3; i++) {
    assertEquals((await site.request("http://shop.test/login", { method: "POST" })).status, 200);
  }
  assertEquals(faults.map(({ code }) => code), ["misconfigured"]);
});

Deno.test("plain HTTP: HTTPS, this machine, a proxy that says https, and secure: false are fine", async () => {
  const { app: site, faults } = app();
  for (
    const [url, headers] of [
      ["https://shop.test/login", {}],
      ["http://localhost:8787/login", { origin: "http://localhost:8787" }],
      ["http://app.localhost/login", { origin: "http://app.localhost" }],
      ["http://127.0.0.1:3000/login", { origin: "http://127.0.0.1:3000" }],
      ["http://[::1]:3000/login", {}],
      ["http://shop.test/login", { "x-forwarded-proto": "https", origin: "https://shop.test" }],
      ["http://shop.test/login", { forwarded: "for=192.0.2.1;proto=https" }],
      ["http://shop.test/logout", {}],
    ] as const
  ) {
    const response = await site.request(url, { method: "POST", headers });
    assertEquals([url, response.status, faults.length], [url, 200, 0]);
  }
  const development = app({ cookie: { secure: false } });
  const headers = { origin: "http://shop.test" };
  assertEquals(
    (await development.app.request("http://shop.test/login", { method: "POST", headers })).status,
    200,
  );
  assertEquals(development.faults, []);
});

Deno.test("plain HTTP: without a framework it is the same error", async () => {
  const sessions = createSessions(memoryStore());
  const session = sessions.fromRequest(
    new Request("http://shop.test/", { method: "POST", headers: { origin: "http://shop.test" } }),
  );
  session.login("ada");
  const error = await assertRejects(() => session.commit(new Response()), HoldfastError);
  assertEquals(error.code, "misconfigured");
});
