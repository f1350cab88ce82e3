/** The front door: who speaks is known by a session, then the room gets the request. */
import { Hono } from "hono";
import { createSessions } from "@holdfast/edge";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { session, type SessionVariables } from "@holdfast/edge/hono";

export { HoldfastObject } from "@holdfast/edge/durable-objects/object";
export { Room } from "./room.ts";

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
  readonly ROOMS: { getByName(name: string): { fetch(request: Request): Promise<Response> } };
  /** Set where there is no HTTPS: on your own machine. */
  readonly PLAIN_HTTP?: string;
}

const store = (c: { env: Env }) => durableObjectStore(c.env.HOLDFAST);
const secure = session({ store });
const plain = session({ store, cookie: { secure: false } });

const app = new Hono<{ Bindings: Env; Variables: SessionVariables }>();
app.use((c, next) => (c.env.PLAIN_HTTP === undefined ? secure : plain)(c, next));

app.post("/login/:user", (c) => {
  c.var.session.login(c.req.param("user")); // check a password first
  return c.json({ user: c.req.param("user") });
});

app.post("/logout-everywhere", async (c) => {
  const user = await c.var.session.userId();
  if (user === undefined) return c.text("Unauthorized", 401);
  const ended = await createSessions(store(c)).revokeUser(user);
  c.var.session.revoke();
  return c.json({ ended });
});

app.all("/rooms/:room", async (c) => {
  const user = await c.var.session.userId();
  if (user === undefined) return c.text("Unauthorized", 401);
  const request = new Request(c.req.raw);
  request.headers.set("x-user", user); // over whatever the client has sent
  return await c.env.ROOMS.getByName(c.req.param("room")).fetch(request);
});

export default app;
