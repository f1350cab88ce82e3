/** The shop that a sibling host attacks: the same module on Deno, Node, Bun and workerd. Web APIs alone. */
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { session, type SessionVariables } from "@holdfast/edge/hono";

const app = new Hono<{ Variables: SessionVariables }>();
app.use(session({ store: memoryStore() }));
app.post("/login/:user", (c) => {
  c.var.session.login(c.req.param("user"));
  return c.text("in");
});
app.get("/me", async (c) =>
  c.json({
    user: await c.var.session.userId() ?? null,
    // The header as it arrived, to prove that the browser did send the planted cookies.
    cookie: [...c.req.header("cookie") ?? ""].map((char) => char.charCodeAt(0)),
  }));

export default app;
