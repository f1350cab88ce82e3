/**
 * Replicated sessions on Workers, as an application would have them: stores exist per request, copies ride
 * on `waitUntil`.
 */
import { Hono } from "hono";
import { createSessions } from "@holdfast/edge";
import { atomicSessionStore, replicatedSessions } from "@holdfast/edge/sessions";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { session, type SessionVariables } from "@holdfast/edge/hono";
import { slow } from "./_slow.ts";
export { HoldfastObject } from "@holdfast/edge/durable-objects/object";

type Env = { Bindings: { HOLDFAST: HoldfastNamespace }; Variables: SessionVariables };

/** A copy that takes its time, so that it is still on its way when the response leaves. */
function copies({ HOLDFAST }: Env["Bindings"], delay: number) {
  const store = durableObjectStore(HOLDFAST).namespace("copies");
  return slow(atomicSessionStore(store, { remember: "10m" }), delay);
}

const app = new Hono<Env>();
app.use(session({
  store: (c) =>
    replicatedSessions(durableObjectStore(c.env.HOLDFAST), copies(c.env, 1000), {
      waitUntil: c.req.path === "/careless" ? undefined : (work) => c.executionCtx.waitUntil(work),
    }),
}));
app.get("/copy", async (c) => {
  const session = createSessions(copies(c.env, 0)).open(c.req.header("cookie"));
  return c.json([await session.userId() ?? null, await session.get("n") ?? null]);
});
app.get(
  "/",
  async (c) => c.json([await c.var.session.userId() ?? null, await c.var.session.get("n") ?? null]),
);
app.post("/login", (c) => {
  c.var.session.login("ada");
  return c.text("in");
});
app.post("/logout", (c) => {
  c.var.session.revoke();
  return c.text("out");
});
app.post("*", async (c) => c.json(await c.var.session.update("n", (n) => 1 + Number(n ?? 0))));

export default app;
