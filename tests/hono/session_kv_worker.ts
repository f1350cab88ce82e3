/** Sessions on Workers KV, as an application would have them. */
import { Hono } from "hono";
import { createSessions, type Sessions } from "@holdfast/edge";
import { keyValueSessionStore } from "@holdfast/edge/sessions";
import { session, type SessionVariables } from "@holdfast/edge/hono";
import { type KvNamespace, workersKvStore } from "@holdfast/edge/workers-kv";

type Env = { Bindings: { CACHE: KvNamespace }; Variables: SessionVariables };

const sessionsOf = ({ CACHE }: Env["Bindings"]): Sessions<Record<string, unknown>> =>
  createSessions(keyValueSessionStore(workersKvStore(CACHE)), { eventual: true });

const app = new Hono<Env>();
app.use(session({ sessions: (c) => sessionsOf(c.env) }));
app.get(
  "/me",
  async (c) => c.json([await c.var.session.userId() ?? null, await c.var.session.get("n") ?? null]),
);
app.post("/count", async (c) => c.json(await c.var.session.update("n", (n) => 1 + Number(n ?? 0))));
app.post("/login", (c) => {
  c.var.session.login("ada");
  return c.text("in");
});
app.post("/logout", (c) => {
  c.var.session.revoke();
  return c.text("out");
});
app.get("/list", async (c) => c.json((await sessionsOf(c.env).listSessions("ada")).length));
app.post("/revoke", async (c) => c.json(await sessionsOf(c.env).revokeUser("ada")));

export default app;
