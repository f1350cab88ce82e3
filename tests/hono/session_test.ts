/**
 * session() and its guards through real Hono: responses of every kind, faults, hostile requests, several
 * sessions.
 */
import { Hono } from "hono";
import { csrf } from "hono/csrf";
import { createMiddleware } from "hono/factory";
import { stream } from "hono/streaming";
import { z } from "zod";
import {
  type AtomicStore,
  createSessions,
  type Duration,
  HoldfastError,
  memoryStore,
  type SessionEvent,
} from "@holdfast/edge";
import {
  type Atomic,
  atomicSessionStore,
  createSealedSessions,
  type IndexedSessionStore,
} from "@holdfast/edge/sessions";
import { requireCsrfToken, requireFresh, session, type SessionVariables } from "@holdfast/edge/hono";
import { assert, assertEquals, assertMatch } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

type App = { Variables: SessionVariables };

const post = (cookie?: string, headers: Record<string, string> = {}, body?: BodyInit) => ({
  method: "POST",
  headers: { ...(cookie !== undefined && { cookie }), ...headers },
  ...(body !== undefined && { body }),
});
const withCookie = (cookie: string) => ({ headers: { cookie } });
const sent = (response: Response) => response.headers.getSetCookie().at(-1)!.split(";")[0]!;

/** A shop of routes that do one thing each. */
function routes(store: AtomicStore | Atomic<IndexedSessionStore>, options: { clock?: ManualClock } = {}) {
  const events: SessionEvent[] = [];
  const app = new Hono<App>();
  app.onError((_error, c) => c.text("broken", 500));
  app.use(session({ store, ...options, onEvent: (event) => events.push(event) }));
  app.get("/static", (c) => c.text("static"));
  app.get(
    "/read",
    async (c) =>
      c.json({ user: await c.var.session.userId() ?? null, x: await c.var.session.get("x") ?? null }),
  );
  app.post("/write", (c) => {
    c.var.session.set("x", 1);
    return c.text("written");
  });
  app.post("/login", (c) => {
    c.var.session.login("ada");
    return c.text("in");
  });
  app.post("/logout", (c) => {
    c.var.session.revoke();
    return c.text("out");
  });
  app.post("/logout-and-break", (c) => {
    c.var.session.set("x", 2);
    c.var.session.revoke();
    throw new Error("no");
  });
  app.post("/rotate-and-break", (c) => {
    c.var.session.set("x", 2);
    c.var.session.rotate();
    throw new Error("no");
  });
  app.post("/bad-request", (c) => {
    c.var.session.set("x", 3);
    return c.text("no", 400);
  });
  app.post("/odd", (c) => {
    c.var.session.revoke();
    if (c.req.path) throw "no error at all";
    return c.text("never");
  });
  return { app, events };
}

/** A session store with injected faults and hangs. */
function moody(inner = atomicSessionStore(memoryStore())) {
  const mood: { fails?: unknown; hangs?: boolean } = {};
  const wrapped = new Proxy(inner, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (mood.hangs) return new Promise(() => {});
        if (mood.fails !== undefined) return Promise.reject(mood.fails);
        return value.apply(target, args);
      };
    },
  });
  return { store: wrapped, mood };
}

Deno.test("session(): no cookie, no Vary and no store call for a request that does not ask; Vary for one that does", async () => {
  const { store, mood } = moody();
  const { app } = routes(store);
  mood.fails = new Error("nobody may ask");
  for (const init of [{}, withCookie(`__Host-session=${"A".repeat(43)}`)]) {
    const { status, headers } = await app.request("/static", init);
    assertEquals([status, headers.get("set-cookie"), headers.get("vary"), headers.get("cache-control")], [
      200,
      null,
      null,
      null,
    ]);
  }
  const read = await app.request("/read"); // an anonymous one: what it says must not be cached for others
  assertEquals([read.status, read.headers.get("vary"), read.headers.get("set-cookie")], [
    200,
    "Cookie",
    null,
  ]);
});

Deno.test("session(): login, logout, and the deletion cookie has the attributes of the one it deletes", async () => {
  const { app, events } = routes(memoryStore());
  const login = await app.request("/login", post());
  const [set] = login.headers.getSetCookie();
  assertMatch(set!, /^__Host-session=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
  assertEquals(login.headers.get("cache-control"), "no-store");
  const cookie = sent(login);
  assertEquals((await (await app.request("/read", withCookie(cookie))).json()).user, "ada");
  const logout = await app.request("/logout", post(cookie));
  assertEquals(logout.headers.getSetCookie(), [
    "__Host-session=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax",
  ]);
  assertEquals((await (await app.request("/read", withCookie(cookie))).json()).user, null);
  const handle = events.find(({ type }) => type === "logged-in")!.handle!;
  assertEquals(events.map(({ type, ...rest }) => [type, rest]), [
    ["created", { handle, userId: "ada" }],
    ["logged-in", { handle, userId: "ada" }],
    ["revoked", { handle, userId: "ada" }],
  ]);
  assert(!JSON.stringify(events).includes(cookie.split("=")[1]!));
});

Deno.test("session(): a 4xx keeps its changes; on a 5xx data is dropped while revoking and rotating hold", async () => {
  const { app } = routes(memoryStore());
  const cookie = sent(await app.request("/write", post()));
  assertEquals((await app.request("/bad-request", post(cookie))).status, 400);
  const x = async (cookie: string) => (await (await app.request("/read", withCookie(cookie))).json()).x;
  assertEquals(await x(cookie), 3);
  const rotated = await app.request("/rotate-and-break", post(cookie));
  assertEquals(rotated.status, 500);
  assertEquals([await x(cookie), await x(sent(rotated))], [null, 3]);
  const revoked = await app.request("/logout-and-break", post(sent(rotated)));
  assertEquals([revoked.status, sent(revoked)], [500, "__Host-session="]);
  assertEquals(await x(sent(rotated)), null);
});

Deno.test("session(): HEAD and OPTIONS begin no session and change none, while revoking holds", async () => {
  const app = new Hono<App>();
  app.use(session({ store: memoryStore() }));
  app.all("/", async (c) => {
    const note = await c.var.session.takeFlash("note");
    const n = await c.var.session.update("n", (n) => 1 + Number(n ?? 0));
    if (note === undefined) c.var.session.flash("note", "hello");
    return c.json([n, note ?? null, await c.var.session.handle() !== ""]);
  });
  app.get("/logout", (c) => {
    c.var.session.revoke();
    return c.text("");
  });
  const ask = (method: string, path = "/", cookie = "") => app.request(path, { method, headers: { cookie } });
  for (const method of ["HEAD", "OPTIONS"]) {
    const { status, headers } = await ask(method);
    assertEquals([status, headers.get("set-cookie"), headers.get("vary")], [200, null, "Cookie"]);
  }
  const cookie = sent(await ask("GET"));
  for (const method of ["HEAD", "OPTIONS"]) assertEquals((await ask(method, "/", cookie)).status, 200);
  assertEquals(await (await ask("GET", "/", cookie)).json(), [2, "hello", true]);
  assertEquals(sent(await ask("HEAD", "/logout", cookie)), "__Host-session=");
  await new Promise((resolve) => setTimeout(resolve, 200)); // what comes at once may have been under way
  assertEquals((await (await ask("GET", "/", cookie)).json())[0], 1);
});

Deno.test("session(): a write beside a logout is a 409 without a cookie, beside a rotation it is saved; onConflict decides", async () => {
  const store = memoryStore();
  const told: string[] = [];
  const mounts = {
    plain: {},
    quiet: { onConflict: (c: { req: { path: string } }) => void told.push(c.req.path) },
    own: { onConflict: async () => (await Promise.resolve(), new Response("ended", { status: 410 })) },
  };
  for (const [kind, status] of [["plain", 409], ["quiet", 200], ["own", 410]] as const) {
    const app = new Hono<App>();
    const gate = Promise.withResolvers<void>();
    app.use(session({ store, ...mounts[kind] }));
    app.post("/login", (c) => (c.var.session.login("ada"), c.text("in")));
    app.post("/:change", async (c) => {
      const { change } = c.req.param();
      if (change === "draft") {
        await gate.promise;
        c.var.session.set("draft", "of ada");
      } else if (change === "rotate") c.var.session.rotate();
      else c.var.session.revoke();
      return c.text("saved");
    });
    app.get("/draft", async (c) => c.json(await c.var.session.get("draft") ?? null));
    const ask = (path: string, cookie = "", method = "POST") =>
      app.request(path, { method, headers: { cookie } });
    let cookie = sent(await ask("/login"));
    const [first, second] = [ask("/draft", cookie), ask("/draft", cookie)];
    cookie = sent(await ask("/rotate", cookie));
    gate.resolve();
    for (const saved of [await first, await second]) {
      assertEquals([saved.status, saved.headers.get("set-cookie")], [200, null]);
    }
    assertEquals(await (await ask("/draft", cookie, "GET")).json(), "of ada");
    const late = Promise.withResolvers<void>();
    const slow = session({ store, ...mounts[kind] });
    const other = new Hono<App>();
    other.post("/", slow, async (c) => {
      await late.promise;
      c.var.session.set("draft", "of ada");
      return c.text("saved");
    });
    const lost = other.request("/", { method: "POST", headers: { cookie } });
    await ask("/logout", cookie);
    late.resolve();
    const refused = await lost;
    assertEquals([refused.status, refused.headers.get("set-cookie")], [status, null], kind);
    if (kind === "plain") assertEquals((await refused.json()).title, "The session has ended");
  }
  assertEquals(told, ["/"]);
});

Deno.test("session(): a handler that revokes and throws a non-Error still ends its session", async () => {
  const { app } = routes(memoryStore());
  const cookie = sent(await app.request("/login", post()));
  const thrown = await Promise.resolve(app.request("/odd", post(cookie))).then(() => "", (thrown) => thrown);
  assertEquals(thrown, "no error at all");
  assertEquals((await (await app.request("/read", withCookie(cookie))).json()).user, null);
});

Deno.test("session(): a store that is down or hangs: 503 problem+json, no cookie, and a failed logout is never a 2xx", async () => {
  const { store, mood } = moody();
  const events: SessionEvent[] = [];
  const make = (timeout: Duration) => {
    const app = new Hono<App>();
    app.use(session({ store, timeout, onEvent: (event) => events.push(event) }));
    app.post("/login", (c) => {
      c.var.session.login("ada");
      return c.text("in");
    });
    app.post("/read", async (c) => c.text(await c.var.session.userId() ?? "nobody"));
    app.post("/write", (c) => {
      c.var.session.set("x", 1);
      return c.text("written");
    });
    app.post("/logout", (c) => {
      c.var.session.revoke();
      return c.text("out", 200, { "set-cookie": "bye=1" });
    });
    return app;
  };
  // A busy machine may take longer than a short timeout for what works.
  const [app, hurried] = [make("1m"), make(30)];
  const cookie = sent(await app.request("/login", post()));
  const down = new HoldfastError("backend-unavailable", "Cannot reach the store", { retryable: true });
  for (const state of [{ fails: down }, { hangs: true }]) {
    Object.assign(mood, { fails: undefined, hangs: false }, state);
    for (const path of ["/read", "/write", "/logout", "/login"]) {
      const response = await ("hangs" in state ? hurried : app).request(path, post(cookie));
      assertEquals([path, response.status], [path, 503]);
      assertEquals(response.headers.get("content-type"), "application/problem+json");
      assertEquals(response.headers.getSetCookie(), []);
      assertEquals(response.headers.has("retry-after"), true);
      assertEquals((await response.json()).status, 503);
    }
  }
  Object.assign(mood, { fails: undefined, hangs: false });
  assertEquals(await (await app.request("/read", post(cookie))).text(), "ada"); // nobody was logged out
});

Deno.test("session(): an unknown error of the store is a 500, neither an anonymous visitor nor a success", async () => {
  const { store, mood } = moody();
  const { app } = routes(store);
  const cookie = sent(await app.request("/login", post()));
  for (const fails of [new Error("odd"), new TypeError("odder")]) {
    mood.fails = fails;
    for (
      const [path, init] of [["/read", withCookie(cookie)], ["/write", post(cookie)], [
        "/logout",
        post(cookie),
      ]] as const
    ) {
      const response = await app.request(path, init);
      assertEquals([path, response.status, response.headers.get("set-cookie")], [path, 500, null]);
    }
  }
});

Deno.test("session(): hostile cookies open nothing, cost no store call, and never break a request", async () => {
  const { store, mood } = moody();
  const { app } = routes(store);
  mood.fails = new Error("nobody may ask");
  const name = "__Host-session=";
  const hostile = [
    "",
    name,
    name + "x".repeat(9000),
    name + "%00",
    name + "%E0%A4%A",
    name + "__proto__",
    name + "constructor",
    name + "A".repeat(42),
    name + "A".repeat(44),
    name + '"' + "A".repeat(43) + '"',
    name + "A".repeat(42) + "=",
    name + "../../etc/passwd",
    `${"a=b; ".repeat(2000)}`,
    ";;;===;;;",
    `__host-session=${"A".repeat(43)}`,
    `__Host-session2=${"A".repeat(43)}`,
  ];
  for (const cookie of hostile) {
    const response = await app.request("/read", withCookie(cookie));
    assertEquals([cookie.slice(0, 40), response.status, response.headers.get("set-cookie")], [
      cookie.slice(0, 40),
      200,
      null,
    ]);
    assertEquals(await response.json(), { user: null, x: null });
  }
  // A header cannot hold line breaks; whatever hands one on all the same gets nothing for it.
  const sessions = createSessions(memoryStore());
  assertEquals(await sessions.open(`${name}${"A".repeat(43)}\r\nset-cookie: x=1`).isNew(), true);
  assertEquals(await sessions.open(`${name}a\r\nb`).isNew(), true);
});

Deno.test("session(): of duplicate cookies the one with a live session counts, and a report is made", async () => {
  const { app, events } = routes(memoryStore());
  const cookie = sent(await app.request("/login", post()));
  const other = `__Host-session=${"B".repeat(43)}`;
  const user = async (cookies: string) =>
    (await (await app.request("/read", withCookie(cookies))).json()).user;
  assertEquals([
    await user(`__Host-session=bad; ${cookie}`),
    await user(`${cookie}; ${other}`),
    await user(`${other}; ${cookie}`),
  ], [
    "ada",
    "ada",
    "ada",
  ]);
  assertEquals(events.filter(({ type }) => type === "duplicate-cookie").length, 2);
});

Deno.test("session(): a changed or invented token is unknown, and never adopted", async () => {
  const { app, events } = routes(memoryStore());
  const cookie = sent(await app.request("/login", post()));
  const flipped = cookie.slice(0, -1) + (cookie.endsWith("A") ? "B" : "A");
  const elsewhere = sent(await routes(memoryStore()).app.request("/login", post()));
  for (const foreign of [flipped, elsewhere]) {
    assertEquals((await (await app.request("/read", withCookie(foreign))).json()).user, null);
    const written = await app.request("/write", post(foreign));
    assert(sent(written) !== foreign);
    assertEquals((await (await app.request("/read", withCookie(foreign))).json()).x, null);
  }
  assert(events.filter(({ type }) => type === "unknown-id").length >= 4);
});

Deno.test("session(): a record that is not ours, or of a schema long gone, starts afresh with an event, never a 500", async () => {
  const store = memoryStore();
  const events: SessionEvent[] = [];
  const Visitor = z.object({ n: z.number().default(0) });
  const app = new Hono<{ Variables: SessionVariables<typeof Visitor> }>();
  app.use(session({ store, schema: Visitor, onEvent: (event) => events.push(event) }));
  app.get("/", async (c) => c.json(await c.var.session.update("n", (n) => n + 1)));
  app.post("/wrong", (c) => {
    c.var.session.set("n", "many" as unknown as number);
    return c.text("never");
  });
  const untyped = routes(store).app;
  untyped.post("/n", (c) => {
    c.var.session.set("n", "a text");
    return c.text("");
  });
  const old = sent(await untyped.request("/n", post()));
  const fresh = await app.request("/", withCookie(old));
  assertEquals([fresh.status, await fresh.json()], [200, 1]);
  assert(sent(fresh) !== old);
  assertEquals(events[0]!.type, "schema-mismatch");
  // Foreign records under our keys.
  const records = store.namespace("session").namespace("record");
  const [key] = (await records.listPage()).keys;
  for (const value of ["text", { h: "x" }, null, [1]]) {
    await records.set(key!, value);
    for (const cookie of [old, sent(fresh)]) {
      assertEquals((await app.request("/", withCookie(cookie))).status, 200);
    }
  }
  // Data that the schema refuses is not written.
  app.onError((_error, c) => c.text("broken", 500));
  assertEquals((await app.request("/wrong", post(sent(fresh)))).status, 500);
});

Deno.test("session(): a value that was not written by us is a schema mismatch, not a 500", async () => {
  const store = atomicSessionStore(memoryStore());
  const { app, events } = routes(store);
  const cookie = sent(await app.request("/login", post()));
  const [key] = (await store.index.keys()).keys;
  await store.save(key!, { type: "update", set: { "d:x": "\t{not json" } });
  assertEquals((await app.request("/read", withCookie(cookie))).status, 200);
  assertEquals(events.at(-1)!.type, "schema-mismatch");
});

Deno.test("session(): a clock that steps back an hour neither ends a session nor breaks it", async () => {
  const clock = new ManualClock();
  let offset = 0;
  const back = {
    now: () => clock.now() + offset,
    monotonic: () => clock.monotonic(),
    sleep: (ms: number, signal?: AbortSignal) => clock.sleep(ms, signal),
  };
  const sessions = createSessions(memoryStore({ clock: back }), { clock: back });
  const first = sessions.open(null);
  first.login("ada");
  const cookie = (await sessions.commit(first))!.split(";")[0];
  offset = -3_600_000;
  for (let i = 0; i < 2; i++) {
    const session = sessions.open(cookie);
    assertEquals(await session.userId(), "ada");
    session.set("i", i);
    await sessions.commit(session);
  }
  assertEquals(await sessions.revokeUser("ada"), 1);
  assertEquals(await sessions.open(cookie).isNew(), true);
});

Deno.test("session(): its cookie stands beside a handler's own, on streams and on fetched responses", async () => {
  const app = new Hono<App>();
  app.use(session({ store: memoryStore() }));
  app.use(async (c, next) => {
    c.var.session.set("x", 1);
    await next();
  });
  let late: unknown;
  let lateRead: unknown;
  app.get("/stream", (c) =>
    stream(c, async (out) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      lateRead = await c.var.session.get("x");
      try {
        c.var.session.set("x", 2);
      } catch (error) {
        late = error;
      }
      await out.write("streamed");
    }));
  app.get("/own", () => {
    const response = new Response("own", { headers: { "set-cookie": "mine=1", vary: "Accept" } });
    response.headers.append("set-cookie", "yours=2");
    return response;
  });
  app.get("/fetched", () => fetch("data:text/plain,fetched"));
  app.get("/varies", (c) => c.text("", 200, { vary: "accept, cookie" }));
  const streamed = await app.request("/stream");
  assertEquals(streamed.headers.getSetCookie().length, 1);
  assertEquals(await streamed.text(), "streamed");
  assert(late instanceof HoldfastError && late.code === "session-committed");
  assertEquals(lateRead, 1);
  const own = await app.request("/own");
  assertEquals(own.headers.getSetCookie().length, 3);
  assertEquals(own.headers.get("vary"), "Accept, Cookie");
  const fetched = await app.request("/fetched");
  assertEquals([await fetched.text(), fetched.headers.getSetCookie().length], ["fetched", 1]);
  assertEquals((await app.request("/varies")).headers.get("vary"), "accept, cookie");
});

Deno.test("session(): several kinds in one app never meet; mounted twice is once", async () => {
  const app = new Hono<{ Variables: SessionVariables & { admin: SessionVariables["session"] } }>();
  const store = memoryStore();
  app.use(session({ store }), session({ store }));
  app.use("/admin/*", session({ store, contextKey: "admin", cookie: { sameSite: "Strict" } }));
  app.post("/admin/login", (c) => {
    c.var.session.set("x", 1);
    c.var.admin.login("root");
    return c.text("");
  });
  app.get(
    "/admin/who",
    async (c) => c.json([await c.var.session.userId() ?? null, await c.var.admin.userId() ?? null]),
  );
  const cookies = (await app.request("/admin/login", post())).headers.getSetCookie();
  assertEquals(cookies.map((cookie) => cookie.split("=")[0]).sort(), ["__Host-admin", "__Host-session"]);
  assertMatch(cookies.find((cookie) => cookie.startsWith("__Host-admin"))!, /SameSite=Strict$/);
  const both = cookies.map((cookie) => cookie.split(";")[0]).join("; ");
  assertEquals(await (await app.request("/admin/who", withCookie(both))).json(), [null, "root"]);
  const swapped = both.replace("__Host-admin", "__Host-tmp").replace("__Host-session", "__Host-admin");
  assertEquals(await (await app.request("/admin/who", withCookie(swapped))).json(), [null, null]);
});

Deno.test("session(): a touch outlives the response where the runtime lets it, and a failed one fails no request", async () => {
  const clock = new ManualClock();
  const { store, mood } = moody(atomicSessionStore(memoryStore({ clock })));
  const { app, events } = routes(store, { clock });
  const cookie = sent(await app.request("/login", post()));
  await clock.advance(61_000);
  const background: Promise<unknown>[] = [];
  const context = {
    waitUntil: (work: Promise<unknown>) => void background.push(work),
    passThroughOnException() {},
    props: {},
  };
  const response = await app.request("/read", withCookie(cookie), {}, context);
  assertEquals([response.status, response.headers.get("set-cookie"), background.length], [200, null, 1]);
  await Promise.all(background);
  await app.request("/logout", post(cookie), {}, context);
  assertEquals(background.length, 1); // a logout is awaited
  const again = sent(await app.request("/login", post()));
  await clock.advance(61_000);
  const failing = new Proxy(store, {
    get: (target, name) =>
      name === "save" ? () => Promise.reject(new Error("no")) : Reflect.get(target, name),
  });
  const served = routes(failing, { clock });
  assertEquals((await served.app.request("/read", withCookie(again))).status, 200);
  assertEquals(served.events.map(({ type }) => type), ["touch-failed"]);
  assertEquals(mood, {});
  assertEquals(events.some(({ type }) => type === "touch-failed"), false);
});

Deno.test("session({ sessions }): accepts sessions made by the caller, sealed ones too; a cookie too large is a 500", async () => {
  const sessions = createSessions(memoryStore());
  const app = new Hono<App>();
  app.onError((error, c) => c.text(error instanceof HoldfastError ? error.code : "", 500));
  app.use("/made", session({ sessions }));
  app.use(
    "/sealed",
    session({ sessions: () => createSealedSessions({ keys: [{ id: "a", secret: "A".repeat(43) }] }) }),
  );
  app.post("*", (c) => {
    c.var.session.login("ada");
    if (c.req.query("large")) c.var.session.set("x", "y".repeat(5000));
    return c.text("");
  });
  app.get("*", async (c) => c.text(await c.var.session.userId() ?? ""));
  for (const path of ["/made", "/sealed"]) {
    const cookie = sent(await app.request(path, post()));
    assertEquals(await (await app.request(path, withCookie(cookie))).text(), "ada");
  }
  assertEquals((await sessions.listSessions("ada")).length, 1);
  const large = await app.request("/sealed?large=1", post());
  assertEquals([large.status, await large.text(), large.headers.get("set-cookie")], [
    500,
    "cookie-too-large",
    null,
  ]);
});

Deno.test("session(): a login over the limit is a 409 without a cookie", async () => {
  const app = new Hono<App>();
  app.use(session({ store: memoryStore(), maxSessionsPerUser: 1, whenFull: "reject" }));
  app.post("/login", (c) => {
    c.var.session.login("ada");
    return c.text("in");
  });
  assertEquals((await app.request("/login", post())).status, 200);
  const refused = await app.request("/login", post());
  assertEquals([refused.status, refused.headers.get("set-cookie")], [409, null]);
  assertEquals(refused.headers.get("content-type"), "application/problem+json");
});

Deno.test("requireFresh(): 401 without a login, 403 for one too long ago, and the handler does not run", async () => {
  const clock = new ManualClock();
  const { app } = routes(memoryStore({ clock }), { clock });
  let ran = 0;
  app.post("/password", requireFresh("5m"), (c) => c.text(String(++ran)));
  assertEquals((await app.request("/password", post())).status, 401);
  const cookie = sent(await app.request("/login", post()));
  assertEquals((await app.request("/password", post(cookie))).status, 200);
  await clock.advance(5 * 60_000);
  const stale = await app.request("/password", post(cookie));
  assertEquals([stale.status, stale.headers.get("content-type"), ran], [403, "application/problem+json", 1]);
  const alone = new Hono().post("/", requireFresh("5m"), (c) => c.text(""));
  alone.onError((error, c) => c.text(error.message, 500));
  assertMatch(await (await alone.request("/", post())).text(), /session\(\) must be mounted before/);
});

Deno.test("requireCsrfToken(): header or form field, beside Hono's csrf(); rejected ones are reported", async () => {
  const events: SessionEvent[] = [];
  const app = new Hono<App>();
  app.use(
    csrf(),
    session({ store: memoryStore(), onEvent: (event) => events.push(event) }),
    requireCsrfToken(),
  );
  app.get("/form", async (c) => c.text(await c.var.session.csrfToken()));
  app.post("/", async (c) => c.text(String((await c.req.parseBody()).note ?? "none")));
  const form = await app.request("/form");
  const [cookie, token] = [sent(form), await form.text()];
  const origin = { origin: "http://localhost" };
  assertEquals((await app.request("/", post(cookie, { ...origin, "x-csrf-token": token }))).status, 200);
  const fields = new URLSearchParams({ csrf_token: token, note: "hello" });
  const posted = await app.request("/", post(cookie, origin, fields));
  assertEquals([posted.status, await posted.text()], [200, "hello"]); // the handler still reads the form
  const data = new FormData();
  data.set("csrf_token", token);
  assertEquals((await app.request("/", post(cookie, origin, data))).status, 200);
  const bad = [
    post(cookie, origin),
    post(cookie, { ...origin, "x-csrf-token": token.slice(1) }),
    post(cookie, origin, new URLSearchParams({ note: "hello" })),
    post(cookie, { ...origin, "content-type": "multipart/form-data; boundary=x" }, "nonsense"),
    post(undefined, { ...origin, "x-csrf-token": token }),
    post(`__Host-session=${"A".repeat(43)}`, { ...origin, "x-csrf-token": token }),
  ];
  for (const init of bad) {
    const response = await app.request("/", init);
    assertEquals([response.status, response.headers.get("content-type")], [403, "application/problem+json"]);
  }
  assertEquals(events.filter(({ type }) => type === "csrf-rejected").length, bad.length);
});

Deno.test("fromRequest(): a plain fetch handler gets the same cookie, headers and failures", async () => {
  const { store, mood } = moody();
  const sessions = createSessions(store);
  const handler = async (request: Request): Promise<Response> => {
    const session = sessions.fromRequest(request);
    const { pathname } = new URL(request.url);
    if (pathname === "/login") session.login("ada");
    if (pathname === "/logout") session.revoke();
    if (pathname === "/broken") session.set("x", 1);
    if (pathname === "/fetched") return await session.commit(await fetch("data:text/plain,fetched"));
    const user = pathname === "/me" ? await session.userId() : "";
    return await session.commit(
      new Response(user ?? "nobody", { status: pathname === "/broken" ? 500 : 200 }),
    );
  };
  const ask = (path: string, cookie?: string) =>
    handler(new Request(`https://example.com${path}`, cookie === undefined ? {} : withCookie(cookie)));
  const login = await ask("/login");
  assertEquals([login.headers.get("cache-control"), login.headers.get("vary")], ["no-store", "Cookie"]);
  const cookie = sent(login);
  const me = await ask("/me", cookie);
  assertEquals([await me.text(), me.headers.get("set-cookie"), me.headers.get("vary")], [
    "ada",
    null,
    "Cookie",
  ]);
  assertEquals((await ask("/static")).headers.has("vary"), false);
  assertEquals((await ask("/broken")).headers.get("set-cookie"), null);
  const head = await handler(new Request("https://example.com/login", { method: "HEAD" }));
  assertEquals([head.status, head.headers.get("set-cookie")], [200, null]);
  assertEquals(await (await ask("/fetched", cookie)).text(), "fetched");
  mood.fails = new HoldfastError("backend-unavailable", "Cannot reach the store", { retryable: true });
  const failed = await ask("/logout", cookie);
  assertEquals([failed.status, failed.headers.get("set-cookie")], [503, null]);
  mood.fails = undefined;
  assertEquals(sent(await ask("/logout", cookie)), "__Host-session=");
  assertEquals(await (await ask("/me", cookie)).text(), "nobody");
});

type Gate = PromiseWithResolvers<void>;

Deno.test("session(): four writers at once, a slow request, and two rotations, through the app", async () => {
  const app = new Hono<App>();
  app.use(session({ store: memoryStore() }));
  const [gate, waits, both] = [1, 2, 3].map(() => Promise.withResolvers<void>()) as [Gate, Gate, Gate];
  let loaded = 0;
  app.post("/set/:key", async (c) => {
    await c.var.session.data();
    if (c.req.param("key") === "slow") {
      waits.resolve();
      await gate.promise;
    }
    c.var.session.set(c.req.param("key"), 1);
    return c.text("");
  });
  app.post("/rotate", async (c) => {
    await c.var.session.data();
    if (++loaded === 2) both.resolve();
    await both.promise;
    c.var.session.rotate();
    return c.text("");
  });
  app.post("/logout", (c) => {
    c.var.session.revoke();
    return c.text("");
  });
  app.get("/", async (c) => c.json(await c.var.session.data()));
  const data = async (cookie: string) => await (await app.request("/", withCookie(cookie))).json();
  let cookie = sent(await app.request("/set/a", post()));
  await Promise.all(["b", "c", "d", "e"].map((key) => app.request(`/set/${key}`, post(cookie))));
  assertEquals(await data(cookie), { a: 1, b: 1, c: 1, d: 1, e: 1 });
  const rotations = await Promise.all([
    app.request("/rotate", post(cookie)),
    app.request("/rotate", post(cookie)),
  ]);
  const cookies = rotations.flatMap((response) => response.headers.getSetCookie());
  assertEquals(cookies.length, 1);
  cookie = cookies[0]!.split(";")[0]!;
  assertEquals(await data(cookie), { a: 1, b: 1, c: 1, d: 1, e: 1 });
  const slow = app.request("/set/slow", post(cookie));
  await waits.promise;
  await app.request("/logout", post(cookie));
  gate.resolve();
  assertEquals((await slow).headers.getSetCookie(), []);
  assertEquals(await data(cookie), {});
});

Deno.test("session(): typed in a bare chain through Hono's createMiddleware, and a store from the bindings", async () => {
  const Visitor = z.object({ n: z.number().default(0) });
  const visitor = createMiddleware<{
    Bindings: { STORE: AtomicStore };
    Variables: SessionVariables<typeof Visitor>;
  }>(session({ store: (c) => c.env.STORE, schema: Visitor }));
  const app = new Hono().use(visitor).get("/", async (c) => {
    const n: number = await c.var.session.update("n", (n) => n + 1);
    // @ts-expect-error the schema knows no such value
    const other = () => c.var.session.set("m", 1);
    return c.json([n, typeof other]);
  });
  const [one, two] = [{ STORE: memoryStore() }, { STORE: memoryStore() }];
  const first = await app.request("/", {}, one);
  assertEquals(await first.json(), [1, "function"]);
  const cookie = sent(first);
  assertEquals((await (await app.request("/", withCookie(cookie), one)).json())[0], 2);
  assertEquals((await (await app.request("/", withCookie(cookie), two)).json())[0], 1); // another store, another world
});
