/**
 * session(): the responses to an outage, a misconfiguration and the application's own errors, and their
 * reports.
 */
import { Hono } from "hono";
import { createSessions, HoldfastError, type HoldfastErrorCode, memoryStore } from "@holdfast/edge";
import { atomicSessionStore, createSealedSessions, keyValueSessionStore } from "@holdfast/edge/sessions";
import { requireCsrfToken, requireFresh, session, type SessionVariables } from "@holdfast/edge/hono";
import { betterAuthStorage } from "@holdfast/edge/better-auth";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";

/** A store with injected faults. */
function failing() {
  const state: { error?: unknown } = {};
  const wrap = (store: ReturnType<typeof memoryStore>): typeof store =>
    new Proxy(store, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (name === "namespace") return (part: string) => wrap(target.namespace(part));
        if (name !== "transact") return typeof value === "function" ? value.bind(target) : value;
        return (...args: unknown[]) =>
          state.error === undefined ? value.apply(target, args) : Promise.reject(state.error);
      },
    });
  return { store: wrap(memoryStore()), state };
}

function app() {
  const { store, state } = failing();
  const faults: unknown[] = [];
  const app = new Hono<{ Variables: SessionVariables }>();
  app.onError((error, c) => c.text(`app: ${(error as HoldfastError).code}`, 500));
  const sessions = createSessions(store, { onFault: (error) => faults.push(error) });
  app.use(session({ sessions }));
  app.post("/login", (c) => {
    c.var.session.login("ada");
    return c.text("in");
  });
  app.post("/read", async (c) => c.text(await c.var.session.userId() ?? "nobody"));
  app.post(
    "/caught",
    async (c) => c.text(await c.var.session.userId().catch(() => "caught") ?? "nobody", 418),
  );
  app.post("/write", (c) => {
    c.var.session.set("x", 1);
    return c.text("written");
  });
  app.post("/logout", (c) => {
    c.var.session.revoke();
    return c.text("out");
  });
  app.post("/everywhere", async (c) => c.json(await sessions.revokeUser("ada")));
  app.post("/logout-and-break", (c) => {
    c.var.session.revoke();
    return c.text("mine", 507);
  });
  app.post("/own", async (c) => {
    await c.var.session.userId();
    throw new HoldfastError("backend-unavailable", "Cannot reach the orders", { retryable: true });
  });
  const login = async () =>
    (await app.request("/login", { method: "POST" })).headers.getSetCookie()[0]!.split(";")[0]!;
  const post = async (path: string, cookie: string) => {
    const response = await app.request(path, { method: "POST", headers: { cookie } });
    return { status: response.status, text: await response.text(), cookies: response.headers.getSetCookie() };
  };
  return { faults, state, login, post };
}

const fault = (code: HoldfastErrorCode, retryable = false) =>
  new HoldfastError(code, `Cannot use the store: ${code}`, { retryable });

Deno.test("session(): an outage is a 503 and is reported to onFault, wherever it occurs", async () => {
  for (
    const code of ["backend-unavailable", "timeout", "store-full", "contention", "rate-limited"] as const
  ) {
    const { faults, state, login, post } = app();
    const cookie = await login();
    state.error = fault(code, true);
    for (const path of ["/read", "/write", "/logout", "/login", "/everywhere"]) {
      const { status, cookies } = await post(path, cookie);
      assertEquals([code, path, status, cookies], [code, path, 503, []]);
      assertEquals(faults.splice(0), [state.error], `${code} ${path}`);
    }
    const caught = await post("/caught", cookie);
    assertEquals(
      [caught.status, caught.text, faults.length],
      [418, "caught", 1],
      "what the handler caught is its own",
    );
    state.error = undefined;
    assertEquals((await post("/read", cookie)).text, "ada", "nobody was logged out");
  }
});

Deno.test("session(): a misconfiguration is thrown to the application and reported to onFault", async () => {
  for (
    const code of ["unauthorized", "misconfigured", "quota-exceeded", "read-only", "unsupported"] as const
  ) {
    const { faults, state, login, post } = app();
    const cookie = await login();
    state.error = fault(code);
    for (const path of ["/read", "/write", "/logout", "/login", "/everywhere"]) {
      const { status, text, cookies } = await post(path, cookie);
      assertEquals([path, status, text, cookies], [path, 500, `app: ${code}`, []]);
      assertEquals(faults.splice(0), [state.error], `${code} ${path}`);
    }
  }
});

Deno.test("session(): the application's own errors keep its own answers", async () => {
  const { faults, state, login, post } = app();
  const cookie = await login();
  const own = await post("/own", cookie);
  assertEquals(
    [own.status, own.text, faults.length],
    [500, "app: backend-unavailable", 0],
    "an outage of another store",
  );
  state.error = fault("backend-unavailable", true);
  const both = await post("/logout-and-break", cookie);
  assertEquals(
    [both.status, both.text, both.cookies, faults.length],
    [507, "mine", [], 1],
    "a failure stays the app's",
  );
});

Deno.test("session(): exceptions of onFault and onEvent are ignored, and a failed touch is reported", async () => {
  const { store, state } = failing();
  const faults: unknown[] = [];
  const sessions = createSessions(store, {
    touchEvery: 1,
    onFault(error) {
      faults.push(error);
      throw new Error("a listener may throw");
    },
  });
  const first = sessions.open(null);
  first.set("x", 1);
  const cookie = (await sessions.commit(first))!.split(";")[0]!;
  await new Promise((resolve) => setTimeout(resolve, 5));
  const reader = sessions.open(cookie);
  await reader.data();
  state.error = fault("timeout", true);
  assertEquals(await sessions.commit(reader), undefined);
  assertEquals(faults, [state.error]);
  await assertRejects(() => sessions.open(cookie).data(), HoldfastError);
  assertEquals(faults.length, 2);
});

Deno.test("session(): a binding that is not there is an error that says so, not a property of undefined", async () => {
  for (const options of [{ store: () => undefined }, { sessions: () => undefined }]) {
    const app = new Hono().use(session(options as never)).get("/", (c) => c.text(""));
    app.onError((error, c) => c.text(error.message, 500));
    assert(/^Cannot (make sessions|mount session\(\)) as /.test(await (await app.request("/")).text()));
  }
});

Deno.test("every function of sessions refuses unknown options, and treats undefined ones as absent", async () => {
  const store = memoryStore();
  const keys = [{ id: "a", secret: "A".repeat(43) }] as const;
  const sessions = createSessions(store);
  const bad = (options: object) => options as never;
  const typo = { idleTimeOut: "5m" };
  const refused: Record<string, () => unknown> = {
    createSessions: () => createSessions(store, bad(typo)),
    "createSessions, cookie": () => createSessions(store, bad({ cookie: { samesite: "Strict" } })),
    createSealedSessions: () => createSealedSessions(bad({ keys, ...typo })),
    session: () => session(bad({ store, ...typo })),
    "session, a store from the request": () => session(bad({ store: () => store, ...typo })),
    "session, made": () => session(bad({ sessions, ...typo })),
    atomicSessionStore: () => atomicSessionStore(store, bad(typo)),
    keyValueSessionStore: () => keyValueSessionStore(store, bad(typo)),
    requireFresh: () => requireFresh("5m", bad(typo)),
    requireCsrfToken: () => requireCsrfToken(bad(typo)),
    betterAuthStorage: () => betterAuthStorage(store, bad({ secret: "s".repeat(32), ...typo })),
    "sameSite": () => createSessions(store, bad({ cookie: { sameSite: "Lax; Domain=evil.test" } })),
    "sameSite in lower case": () => createSessions(store, bad({ cookie: { sameSite: "none" } })),
    "secure": () => createSessions(store, bad({ cookie: { secure: "no" } })),
    "path": () => createSessions(store, bad({ cookie: { path: "/; Domain=evil.test" } })),
    "name": () => createSessions(store, bad({ cookie: { name: "a=b" } })),
    "whenFull": () => createSessions(store, bad({ whenFull: "constructor" })),
    "onFault": () => createSessions(store, bad({ onFault: "log" })),
    "revocation": () => createSealedSessions(bad({ keys, revocation: {} })),
    "contextKey": () => session(bad({ store, contextKey: "" })),
  };
  for (const [name, call] of Object.entries(refused)) {
    try {
      assertThrows(call, TypeError);
    } catch (error) {
      throw new Error(`${name}: ${error}`);
    }
  }
  await assertRejects(() => sessions.commit(sessions.open(null), bad({ fialed: true })), TypeError);
  await assertRejects(() => sessions.revokeUser("ada", bad({ expect: "handle" })), TypeError);
  for (const number of ["version", "maxSessionsPerUser", "idleTimeout", "touchEvery"]) {
    assertThrows(() => createSessions(store, bad({ [number]: 0 })), RangeError);
  }
  const names = [
    "schema",
    "version",
    "migrate",
    "idleTimeout",
    "absoluteTimeout",
    "touchEvery",
    "maxSessionsPerUser",
  ];
  names.push("whenFull", "cookie", "name", "clock", "timeout", "onEvent", "onFault", "eventual");
  const absent = Object.fromEntries(names.map((name) => [name, undefined]));
  const made = createSessions(store, bad(absent));
  assertEquals(made.cookieName, "__Host-session");
  assert(session(bad({ store, ...absent, contextKey: undefined })) !== undefined);
});
