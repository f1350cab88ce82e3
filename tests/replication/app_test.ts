/**
 * An application on replicated sessions: session() of Hono over Deno KV and Upstash, while one of them is
 * away.
 */
import { Hono } from "hono";
import { createSessions } from "@holdfast/edge";
import {
  atomicSessionStore,
  replicatedSessions,
  type ReplicatedSessionsOptions,
} from "@holdfast/edge/sessions";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { requireFresh, session, type SessionVariables } from "@holdfast/edge/hono";
import { upstashStore } from "@holdfast/edge/upstash";
import { assertEquals } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";

/** The application, its two stores, and a switch for the one that is Upstash. */
async function start(first: "deno-kv" | "upstash", options: ReplicatedSessionsOptions = {}) {
  const stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis());
  const upstash = stack.use(await startUpstash(redis.port));
  const kv = stack.use(await Deno.openKv(":memory:"));
  const { url, token } = upstash;
  const engines = [denoKvStore(kv), upstashStore({ url, token }, { timeout: "1500ms" })];
  const [primary, secondary] = (first === "deno-kv" ? engines : engines.reverse())
    .map((engine) => atomicSessionStore(engine, { remember: "10m" }));
  const store = replicatedSessions(primary!, secondary!, {
    attemptTimeout: "1500ms",
    retryDelay: "20ms",
    ...options,
  });
  stack.defer(async () => void await store.close());
  const sessions = createSessions(store);
  const app = new Hono<{ Variables: SessionVariables }>();
  app.use(session({ sessions }));
  app.get("/me", async (c) =>
    c.json([
      await c.var.session.userId() ?? null,
      await c.var.session.get("cart") ?? null,
      await c.var.session.isDegraded(),
    ]));
  app.post("/cart/:item", async (c) => {
    const cart = await c.var.session.update(
      "cart",
      (cart) => [...(cart as string[] ?? []), c.req.param("item")],
    );
    return c.json(cart);
  });
  app.post("/login", (c) => {
    c.var.session.login("ada");
    return c.text("in");
  });
  app.post("/rotate", (c) => {
    c.var.session.rotate();
    return c.text("rotated");
  });
  app.post("/logout", (c) => {
    c.var.session.revoke();
    return c.text("out");
  });
  app.post("/everywhere", async (c) => c.json(await sessions.revokeUser("ada")));
  app.post("/password", requireFresh("5m"), (c) => c.text("changed"));
  let cookie = "";
  return {
    store,
    primary: primary!,
    secondary: secondary!,
    down: () => upstash.fault = () => ({ cut: "before" }),
    async up() {
      upstash.fault = undefined;
      assertEquals(await store.flush(), { pending: 0 });
    },
    /** Another browser. */
    forget: () => cookie = "",
    /** Answers status, body, and what became of the cookie. */
    async ask(path: string, method = "POST") {
      const response = await app.request(path, { method, headers: { cookie } });
      const [set] = response.headers.getSetCookie();
      if (set !== undefined) cookie = set.split(";")[0]!;
      const problem = response.headers.get("content-type") === "application/problem+json";
      const text = await response.text();
      return [response.status, problem ? "problem" : text, set === undefined ? "kept" : "set"];
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

Deno.test("an app on Deno KV and Upstash: while the secondary is away a session is not read, and lives on", async () => {
  await using shop = await start("deno-kv");
  const { ask } = shop;
  assertEquals(await ask("/login"), [200, "in", "set"]);
  await shop.up();
  shop.down();
  assertEquals(await ask("/me", "GET"), [503, "problem", "kept"]);
  assertEquals(await ask("/cart/tea"), [503, "problem", "kept"]);
  shop.forget();
  assertEquals(await ask("/login"), [200, "in", "set"], "a login without a session ends none");
  await shop.up();
  assertEquals(await ask("/me", "GET"), [200, '["ada",null,false]', "kept"]);
});

Deno.test("an app on Deno KV and Upstash, `degrade`: while the secondary is away reads and writes work, and ending a session answers 503", async () => {
  await using shop = await start("deno-kv", { whenUnavailable: "degrade" });
  const { ask, store, primary, secondary } = shop;
  assertEquals(await ask("/cart/tea"), [200, '["tea"]', "set"]);
  await shop.up();
  shop.down();
  assertEquals(await ask("/cart/cup"), [200, '["tea","cup"]', "kept"]);
  // A rotation that both sides cannot hear of does not begin: nothing is lost.
  for (let i = 0; i < 4; i++) {
    for (const path of ["/login", "/rotate"]) assertEquals(await ask(path), [503, "problem", "kept"]);
  }
  assertEquals(await ask("/me", "GET"), [200, '[null,["tea","cup"],false]', "kept"]);
  await shop.up();
  assertEquals(await ask("/login"), [200, "in", "set"]);
  assertEquals(await ask("/me", "GET"), [200, '["ada",["tea","cup"],false]', "kept"]);
  assertEquals(
    (await createSessions(store).listSessions("ada")).length,
    1,
    "no sessions of the logins that failed",
  );
  await shop.up();
  shop.down();
  assertEquals(await ask("/everywhere"), [503, "problem", "kept"]);
  await shop.up();
  assertEquals(await ask("/everywhere"), [200, "1", "kept"], "asked once more");
  shop.forget();
  shop.down();
  assertEquals(await ask("/login"), [200, "in", "set"], "a login without a session ends none");
  assertEquals(await ask("/me", "GET"), [200, '["ada",null,false]', "kept"]);
  await shop.up();
  assertEquals(await ask("/login"), [200, "in", "set"]);
  await shop.up();
  shop.down();
  const key = (await primary.index.keys()).keys;
  for (let i = 0; i < 2; i++) assertEquals(await ask("/logout"), [503, "problem", "kept"]);
  assertEquals(await ask("/me", "GET"), [200, "[null,null,false]", "kept"], "here it is over");
  await shop.up();
  assertEquals(await ask("/logout"), [200, "out", "set"]);
  for (const side of [primary, secondary]) {
    for (const each of key) assertEquals(await side.exists(each), false);
    assertEquals(await createSessions(side).listSessions("ada"), []);
  }
});

Deno.test("an app on Upstash and Deno KV: while the primary is away reads are degraded, and writes answer 503", async () => {
  await using shop = await start("upstash", { strategy: "acknowledged" });
  const { ask, primary, secondary } = shop;
  assertEquals(await ask("/login"), [200, "in", "set"]);
  assertEquals(await ask("/cart/tea"), [200, '["tea"]', "kept"]);
  shop.down();
  assertEquals(await ask("/me", "GET"), [200, '["ada",["tea"],true]', "kept"]);
  assertEquals(await ask("/password"), [403, "problem", "kept"], "what may be behind is not fresh");
  for (const path of ["/cart/cup", "/rotate", "/login", "/everywhere"]) {
    assertEquals([path, ...await ask(path)], [path, 503, "problem", "kept"]);
  }
  await shop.up();
  assertEquals(await ask("/login"), [200, "in", "set"]);
  shop.down();
  for (let i = 0; i < 2; i++) assertEquals(await ask("/logout"), [503, "problem", "kept"]);
  assertEquals(await ask("/me", "GET"), [200, "[null,null,false]", "kept"], "here it is over");
  await shop.up();
  assertEquals(await ask("/logout"), [200, "out", "set"]);
  assertEquals((await primary.index.keys()).keys.length > 0, true);
  for (const key of (await primary.index.keys()).keys) {
    assertEquals([await primary.exists(key), await secondary.exists(key)], [false, false]);
  }
});
