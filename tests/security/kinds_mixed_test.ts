/** A token of one kind of session is offered to another kind that shares the store, the keys or the app. */
import { Hono } from "hono";
import { createSessions, memoryStore, type Session } from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { session, type SessionVariables } from "@holdfast/edge/hono";
import { assertEquals, assertRejects } from "../support/assert.ts";
import { KEYS } from "./_sealed.ts";

type Kind = {
  readonly cookieName: string;
  open(header: string | null): Session<Record<string, unknown>>;
  commit(session: Session<Record<string, unknown>>): Promise<string | undefined>;
};

const store = memoryStore();
const kinds: Record<string, Kind> = {
  "stored, default": createSessions(store),
  "stored, another cookie": createSessions(store, { cookie: { name: "__Host-admin" } }),
  "stored, another namespace": createSessions(store, { name: "admin" }),
  "stored, plain HTTP": createSessions(store, { cookie: { secure: false } }),
  "sealed, default": createSealedSessions({ keys: [KEYS[0]] }),
  "sealed, another cookie": createSealedSessions({ keys: [KEYS[0]], cookie: { name: "__Host-admin" } }),
  "sealed, another purpose": createSealedSessions({ keys: [KEYS[0]], purpose: "admin" }),
};

Deno.test("kinds mixed: no kind of session accepts another kind's token, in whatever cookie it comes", async () => {
  for (const [name, from] of Object.entries(kinds)) {
    const login = from.open(null);
    login.login("ada");
    const value = (await from.commit(login))!.split(";")[0]!.split("=")[1]!;
    for (const [other, to] of Object.entries(kinds)) {
      const user = await to.open(`${to.cookieName}=${value}`).userId();
      assertEquals(user, other === name ? "ada" : undefined, `${name} → ${other}`);
    }
  }
});

Deno.test("kinds mixed: a session is committed by sessions of its own kind alone", async () => {
  for (const [name, from] of Object.entries(kinds)) {
    for (const [other, to] of Object.entries(kinds)) {
      if (other === name) continue;
      const opened = from.open(null);
      opened.login("ada");
      await assertRejects(() => to.commit(opened), TypeError);
    }
  }
});

Deno.test("kinds mixed: sessions made twice with equal options are one kind, as when a Worker makes them per request", async () => {
  const store = memoryStore();
  const opened = createSessions(store).open(null);
  opened.login("ada");
  const cookie = (await createSessions(store).commit(opened))!.split(";")[0]!;
  assertEquals(await createSessions(store).open(cookie).userId(), "ada");
});

Deno.test("kinds mixed: two contexts that share a cookie are refused, two with a cookie each are independent", async () => {
  const app = new Hono<{ Variables: SessionVariables & { admin: SessionVariables["session"] } }>();
  app.onError((error, c) => c.text(error.message, 500));
  const store = memoryStore();
  app.use(session({ store }));
  app.use("/shared/*", session({ store, contextKey: "admin", cookie: { name: "__Host-session" } }));
  app.use("/own/*", session({ store, contextKey: "admin" }));
  app.all("*", (c) => c.text("served"));
  const shared = await app.request("/shared/x");
  assertEquals([shared.status, /share the cookie/.test(await shared.text())], [500, true]);
  assertEquals(await (await app.request("/own/x")).text(), "served");
});

Deno.test("kinds mixed: a second mount with other options is refused, with equal ones it is one", async () => {
  const store = memoryStore();
  const status = async (...mounts: Parameters<typeof session>[0][]) => {
    const app = new Hono<{ Variables: SessionVariables }>();
    app.onError((error, c) => c.text(error.message, 500));
    for (const options of mounts) app.use(session(options));
    app.get("/", async (c) => c.text(String(await c.var.session.isNew())));
    return (await app.request("/")).status;
  };
  assertEquals(await status({ store }, { store }), 200);
  assertEquals(
    await status({ store, cookie: { sameSite: "Strict" } }, { store, cookie: { sameSite: "Strict" } }),
    200,
  );
  assertEquals(await status({ store, idleTimeout: undefined }, { store }), 200);
  assertEquals(await status({ store }, { store, idleTimeout: "5m" }), 500);
  assertEquals(await status({ store }, { store, cookie: { sameSite: "Strict" } }), 500);
  assertEquals(await status({ store }, { store: memoryStore() }), 500);
  const taken = new Hono<{ Variables: SessionVariables }>();
  taken.onError((error, c) => c.text(error.message, 500));
  taken.use(async (c, next) => {
    c.set("session", "something else" as never);
    await next();
  });
  taken.use(session({ store }));
  taken.get("/", (c) => c.text("served"));
  assertEquals((await taken.request("/")).status, 500);
});
