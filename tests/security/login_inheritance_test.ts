/** A login over another user's session: nothing of that user may come along. */
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { session, type SessionVariables } from "@holdfast/edge/hono";
import { assertEquals } from "../support/assert.ts";
import { KEYS } from "./_sealed.ts";

for (
  const [kind, mount] of Object.entries({
    stored: () => session({ store: memoryStore() }),
    sealed: () => session({ sessions: createSealedSessions({ keys: [KEYS[0]] }) }),
    "sealed with a revocation store": () =>
      session({ sessions: createSealedSessions({ keys: [KEYS[0]], revocation: memoryStore() }) }),
  })
) {
  Deno.test(`login inheritance: ${kind}: over HTTP, bob gets nothing of ada's, and a visitor keeps the cart`, async () => {
    const app = new Hono<{ Variables: SessionVariables }>();
    app.use(mount());
    app.post("/cart", (c) => {
      c.var.session.set("cart", ["rope"]);
      c.var.session.flash("note", "saved");
      return c.text("");
    });
    app.post("/login/:user", (c) => {
      c.var.session.login(c.req.param("user"));
      return c.text("");
    });
    app.post("/switch/:user", (c) => {
      c.var.session.revoke();
      c.var.session.login(c.req.param("user"));
      return c.text("");
    });
    app.get("/", async (c) =>
      c.json([
        await c.var.session.userId() ?? null,
        await c.var.session.get("cart") ?? null,
        await c.var.session.takeFlash("note") ?? null,
      ]));
    const post = async (path: string, cookie = "") => {
      const response = await app.request(path, { method: "POST", headers: { cookie } });
      return response.headers.getSetCookie().at(-1)?.split(";")[0] ?? cookie;
    };
    const seen = async (cookie: string) => await (await app.request("/", { headers: { cookie } })).json();
    const ada = await post("/login/ada", await post("/cart"));
    assertEquals(await seen(ada), ["ada", ["rope"], "saved"], "what the visitor had is ada's");
    const full = await post("/cart", ada);
    const bob = await post("/login/bob", full);
    assertEquals(await seen(bob), ["bob", null, null], "bob's login over it");
    // A sealed cookie that was kept works on where no store remembers that it ended: the documented price.
    if (kind !== "sealed") assertEquals(await seen(full), [null, null, null], "ada's session is gone");
    const switched = await post("/switch/eve", await post("/cart", bob));
    assertEquals(await seen(switched), ["eve", null, null], "revoke and login in one request");
  });
}
