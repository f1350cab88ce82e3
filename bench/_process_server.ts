/** One application over HTTP, in a process of its own that tells its processor time: `_process_server.ts <contender>`. */
// deno-lint-ignore-file no-console
import process from "node:process";
import { type Context, Hono } from "hono";
import { rateLimiter } from "hono-rate-limiter";
import { MemoryStore, sessionMiddleware } from "hono-sessions";
import { memoryStore } from "@holdfast/edge";
import { idempotency, session, throttle } from "@holdfast/edge/hono";

// deno-lint-ignore no-explicit-any
type AnyContext = Context<any>;

const [contender] = process.argv.slice(2);
const app = new Hono();
app.get("/cpu", (c) => {
  const { user, system } = process.cpuUsage();
  return c.json(user + system);
});
const user = (c: AnyContext) => c.req.header("user")!;
const read = async (c: AnyContext) => c.text(`n is ${await c.get("session")?.get("n")}`);
const charge = async (c: AnyContext) => {
  const { amount } = await c.req.json();
  const n = await c.get("session")?.get("n");
  return c.json({ charged: amount, n }, 201);
};
const start = (c: AnyContext) => {
  c.get("session")?.set("n", 1);
  return c.text("set");
};

if (contender!.startsWith("holdfast")) {
  const store = memoryStore({ maxEntries: 2_000_000 });
  const use = [
    session({ store }),
    throttle({ store, name: "bench", limit: 1e9, window: "1m", key: user }),
  ] as const;
  app.use(...use);
  if (contender === "holdfast with idempotency") app.post("/charge", idempotency({ store, scope: "public" }));
} else if (contender === "hono-sessions and hono-rate-limiter") {
  app.use(sessionMiddleware({ store: new MemoryStore() }) as never);
  app.use(rateLimiter({ windowMs: 60_000, limit: 1e9, keyGenerator: user }) as never);
}
app.get("/start", start).get("/read", read).post("/charge", charge);

const listening = (port: number) => console.log(`listening on ${port}`);
if ("Deno" in globalThis) {
  // deno-lint-ignore no-explicit-any
  const { serve } = (globalThis as any).Deno;
  serve({
    port: 0,
    hostname: "127.0.0.1",
    onListen: ({ port }: { port: number }) => listening(port),
  }, app.fetch);
} else {
  const { serve } = await import("@hono/node-server");
  serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) => listening(port));
}
