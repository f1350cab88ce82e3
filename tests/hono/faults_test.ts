/** Bad input and faults, through real Hono. */
import { Hono } from "hono";
import { type AtomicStore, HoldfastError, memoryStore } from "@holdfast/edge";
import {
  idempotency,
  type IdempotencyVariables,
  lock,
  session,
  type SessionVariables,
  throttle,
} from "@holdfast/edge/hono";
import { assert, assertEquals, assertMatch, assertThrows } from "../support/assert.ts";

/** A store whose backend is down. */
function downStore(): AtomicStore {
  const fail = () => {
    throw new HoldfastError("backend-unavailable", "Cannot reach the store", {
      retryable: true,
      ambiguous: true,
    });
  };
  return new Proxy(memoryStore(), {
    get: (target, name) => {
      if (name === "namespace") return () => downStore();
      const value = Reflect.get(target, name);
      return typeof value === "function" ? () => Promise.resolve().then(fail) : value;
    },
  });
}

const post = (headers: Record<string, string> = {}, body: BodyInit | null = null) => ({
  method: "POST",
  headers,
  body,
});
const key = (value = '"k"') => ({ "Idempotency-Key": value });

Deno.test("idempotency(): quoted and bare are one key; an invalid key is a 400", async () => {
  let runs = 0;
  const app = new Hono();
  app.post("/", idempotency({ store: memoryStore(), scope: "public" }), (c) => c.json(++runs));
  assertEquals((await app.request("/", post(key('"abc"')))).headers.has("idempotency-replayed"), false);
  assertEquals((await app.request("/", post(key("abc")))).headers.get("idempotency-replayed"), "true");
  for (
    const bad of ["", '""', '"a", "b"', '"a', "a b", ":YWJj:", `"${"x".repeat(256)}"`, '"a\u00e9"', "a,b"]
  ) {
    const response = await app.request("/", post(key(bad)));
    assertEquals([bad, response.status], [bad, 400]);
    assertEquals(response.headers.get("content-type"), "application/problem+json");
  }
  assertEquals((await app.request("/", post())).status, 400);
  const strict = new Hono().post(
    "/",
    idempotency({ store: memoryStore(), scope: "public", strict: true }),
    (c) => c.text(""),
  );
  assertEquals((await strict.request("/", post(key("abc")))).status, 400);
  assertEquals(runs, 1);
});

Deno.test("idempotency(): another payload is a 422, another scope another key, a concurrent one a 409", async () => {
  const app = new Hono();
  const started = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  app.post(
    "/",
    idempotency({ store: memoryStore(), scope: (c) => c.req.header("user") ?? "" }),
    async (c) => {
      const body = await c.req.json(); // still readable
      if (body.slow) started.resolve();
      if (body.slow) await gate.promise;
      return c.json(body, 201);
    },
  );
  const send = (user: string, value: unknown) =>
    app.request("/", post({ ...key(), user }, JSON.stringify(value)));
  assertEquals((await send("ada", { n: 1 })).status, 201);
  assertEquals((await send("ada", { n: 2 })).status, 422);
  const slow = send("bob", { slow: 1 });
  await started.promise;
  const early = await send("bob", { slow: 1 });
  assertEquals([early.status, early.headers.get("retry-after")], [409, "1"]);
  gate.resolve();
  assertEquals((await slow).status, 201);
  assertEquals(await (await send("bob", { slow: 1 })).json(), { slow: 1 });
});

Deno.test("idempotency(): bytes, null bodies and headers come back; cookies do not", async () => {
  const app = new Hono();
  const store = memoryStore();
  app.use(idempotency({ store, scope: "public" }));
  app.post(
    "/bytes",
    () => new Response(new Uint8Array([0, 255, 10]), { headers: { "x-mine": "1", "set-cookie": "a=b" } }),
  );
  app.post("/empty", (c) => c.body(null, 204));
  app.post("/moved", (c) => c.redirect("/there", 303));
  for (const path of ["/bytes", "/empty", "/moved"]) {
    const first = await app.request(path, post(key(`"${path}"`)));
    const bytes = new Uint8Array(await first.arrayBuffer());
    const again = await app.request(path, post(key(`"${path}"`)));
    assertEquals(again.headers.get("idempotency-replayed"), "true", path);
    assertEquals([again.status, again.headers.get("location")], [
      first.status,
      first.headers.get("location"),
    ]);
    assertEquals(new Uint8Array(await again.arrayBuffer()), bytes);
    assertEquals([again.headers.get("x-mine"), again.headers.get("set-cookie")], [
      first.headers.get("x-mine"),
      null,
    ]);
  }
});

Deno.test("idempotency(): a 10 MB answer reaches its client, and a duplicate learns that it was not kept", async () => {
  let runs = 0;
  const app = new Hono();
  app.post("/", idempotency({ store: memoryStore(), scope: "public" }), () => {
    runs++;
    return new Response(new Uint8Array(10_000_000));
  });
  assertEquals((await (await app.request("/", post(key()))).arrayBuffer()).byteLength, 10_000_000);
  const again = await app.request("/", post(key()));
  assertEquals([again.status, runs], [409, 1]);
  assertMatch((await again.json()).title, /not retained/);
});

Deno.test("idempotency(): an error runs again; a pinned one does not, nor a stream that breaks after a 200", async () => {
  const runs: Record<string, number> = {};
  const app = new Hono<{ Variables: IdempotencyVariables }>();
  app.onError((_error, c) => c.text("broken", 500));
  app.use(idempotency({ store: memoryStore(), scope: "public" }));
  app.post("/throws", () => {
    runs.throws = (runs.throws ?? 0) + 1;
    throw new Error("no");
  });
  app.post("/pinned", (c) => {
    runs.pinned = (runs.pinned ?? 0) + 1;
    c.var.idempotency.pin();
    return c.text("money moved", 500);
  });
  app.post("/breaks", () => {
    runs.breaks = (runs.breaks ?? 0) + 1;
    return new Response(new ReadableStream({ pull: (controller) => controller.error(new Error("cut")) }));
  });
  for (const path of ["throws", "pinned", "breaks"]) {
    for (let i = 0; i < 2; i++) {
      const response = await app.request(`/${path}`, post(key(`"${path}"`)));
      await response.text().catch(() => {});
    }
  }
  assertEquals(runs, { throws: 2, pinned: 1, breaks: 1 });
});

Deno.test("idempotency(): a large request is a 413, a locked body a clear error, a GET costs nothing", async () => {
  const app = new Hono();
  let message = "";
  app.onError((error, c) => c.text(message = error.message, 500));
  app.use(async (c, next) => {
    if (c.req.path === "/locked") c.req.raw.body!.getReader();
    await next();
  });
  app.use(idempotency({ store: downStore(), scope: "public", maxRequest: 10 }));
  app.all("*", (c) => c.text("served"));
  assertEquals((await app.request("/", post(key(), "x".repeat(11)))).status, 413);
  assertEquals((await app.request("/locked", post(key(), "x"))).status, 500);
  assertMatch(message, /body is already being read/);
  assertEquals(await (await app.request("/", { headers: key() })).text(), "served");
});

Deno.test("a store that is down: 503 for idempotency, lock and session; a throttle allows by default", async () => {
  const store = downStore();
  const app = new Hono<{ Variables: SessionVariables }>();
  const handler = (c: { text(text: string): Response }) => c.text("served");
  app.post("/idempotency", idempotency({ store, scope: "public" }), handler);
  app.post("/open", idempotency({ store, scope: "public", whenUnavailable: "allow" }), handler);
  app.post("/lock", lock({ store, key: () => "k" }), handler);
  app.post("/throttle", throttle({ store, name: "open", limit: 1, window: "1s", key: () => "k" }), handler);
  app.post(
    "/closed",
    throttle({ store, name: "closed", limit: 1, window: "1s", key: () => "k", whenUnavailable: "deny" }),
    handler,
  );
  app.post("/read", session({ store }), async (c) => c.json(await c.var.session.data()));
  app.post("/write", session({ store }), (c) => {
    c.var.session.set("x", 1);
    return c.text("served");
  });
  app.post("/logout", session({ store }), (c) => {
    c.var.session.revoke();
    return c.text("served");
  });
  const statuses: Record<string, number> = {};
  for (const path of ["idempotency", "open", "lock", "throttle", "closed", "read", "write", "logout"]) {
    const cookie = `__Host-session=${"A".repeat(43)}`;
    const background: Promise<unknown>[] = [];
    const executionCtx = {
      waitUntil: (work: Promise<unknown>) => void background.push(work),
      passThroughOnException() {},
      props: {},
    };
    const response = await app.request(`/${path}`, post({ ...key(), cookie }), undefined, executionCtx);
    await Promise.all(background);
    statuses[path] = response.status;
    assertEquals(response.headers.get("set-cookie"), null, path);
  }
  assertEquals(statuses, {
    idempotency: 503,
    open: 200,
    lock: 503,
    throttle: 200,
    closed: 503,
    read: 503,
    write: 503,
    logout: 503,
  });
});

Deno.test("session(): the cookie goes on every kind of response, beside others, and is never cached", async () => {
  const app = new Hono<{ Variables: SessionVariables }>();
  const visits = session({ store: memoryStore() });
  app.use(visits);
  app.use(visits); // mounted twice is once
  app.use(async (c, next) => {
    c.var.session.set("x", 1);
    await next();
  });
  app.get("/raw", () => new Response("raw", { headers: { "set-cookie": "mine=1" } }));
  app.get("/moved", () => Response.redirect("http://localhost/there"));
  app.get("/json", (c) => c.json({}));
  for (const path of ["/raw", "/moved", "/json", "/missing"]) {
    const { headers } = await app.request(path);
    const cookies = headers.getSetCookie().filter((cookie) => cookie.startsWith("__Host-session="));
    assertEquals(cookies.length, 1, path);
    assertMatch(cookies[0]!, /; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
    assertEquals([headers.get("cache-control"), headers.get("vary")], ["no-store", "Cookie"]);
  }
  assertEquals((await app.request("/raw")).headers.getSetCookie().length, 2);
});

Deno.test("session(): a failed request keeps its data to itself, and a thrown non-Error too", async () => {
  const app = new Hono<{ Variables: SessionVariables }>();
  app.onError((_error, c) => c.text("broken", 500));
  app.use(session({ store: memoryStore() }));
  app.get("/throws", (c) => {
    c.var.session.set("x", 1);
    throw new Error("no");
  });
  app.get("/odd", (c) => {
    c.var.session.set("x", 1);
    throw "no error at all";
  });
  assertEquals((await app.request("/throws")).headers.getSetCookie(), []);
  assertEquals(
    await Promise.resolve(app.request("/odd")).then(() => "", (thrown) => thrown),
    "no error at all",
  );
  assertThrows(
    () => session({ store: memoryStore(), cookie: { sameSite: "None", secure: false } }),
    TypeError,
  );
});

Deno.test("throttle(): every response has the client's quota, also when the handler threw", async () => {
  const app = new Hono();
  app.onError((_error, c) => c.text("broken", 500));
  app.use(throttle({ store: memoryStore(), limit: 3, window: "1m", name: 'a"b', key: () => "k" }));
  app.get("/raw", () => new Response("raw"));
  app.get("/moved", () => Response.redirect("http://localhost/there"));
  app.get("/throws", () => {
    throw new Error("no");
  });
  for (const [path, left] of [["/raw", 2], ["/moved", 1], ["/throws", 0]] as const) {
    const { headers } = await app.request(path);
    assertEquals(headers.get("ratelimit-policy"), '"a\\"b";q=3;w=60', path);
    assertEquals(headers.get("ratelimit"), `"a\\"b";r=${left};t=20`, path);
  }
  const denied = await app.request("/raw");
  assertEquals([denied.status, denied.headers.get("retry-after")], [429, "20"]);
  const body = await denied.json();
  assertEquals(body["violated-policies"], ['a"b']);
  assertThrows(() => throttle({ store: memoryStore(), name: "none", limit: 0, window: "1m" }), RangeError);
});

Deno.test("throttle(): one host's IPv6 addresses count as one, and X-Forwarded-For counts for nothing", async () => {
  const app = new Hono().use(throttle({ store: memoryStore(), name: "by-address", limit: 1, window: "1m" }))
    .get(
      "/",
      (c) => c.text(""),
    );
  const from = async (hostname: string) =>
    (await app.request("/", { headers: { "x-forwarded-for": crypto.randomUUID() } }, {
      remoteAddr: { hostname },
    })).status;
  assertEquals(
    [await from("2001:db8::1"), await from("2001:db8:0:0:ffff::2"), await from("2001:db8:0:1::1")],
    [200, 429, 200],
  );
  assertEquals([await from("10.0.0.1"), await from("::ffff:10.0.0.1"), await from("10.0.0.2")], [
    200,
    429,
    200,
  ]);
});

Deno.test("lock(): one request at a time per key, 409 or 423 for the others, released also after an error", async () => {
  const store = memoryStore();
  const gate = Promise.withResolvers<void>();
  const app = new Hono();
  app.onError((_error, c) => c.text("broken", 500));
  app.post("/:id", lock({ store, key: (c) => c.req.param("id"), status: 423 }), async (c) => {
    if (c.req.param("id") === "slow") await gate.promise;
    if (c.req.param("id") === "throws") throw new Error("no");
    return c.text("done");
  });
  const slow = app.request("/slow", post());
  const denied = await app.request("/slow", post());
  assertEquals(denied.status, 423);
  assert(Number(denied.headers.get("retry-after")) >= 1);
  assertEquals((await app.request("/other", post())).status, 200);
  gate.resolve();
  assertEquals((await slow).status, 200);
  assertEquals((await app.request("/slow", post())).status, 200);
  for (let i = 0; i < 2; i++) assertEquals((await app.request("/throws", post())).status, 500);
});
