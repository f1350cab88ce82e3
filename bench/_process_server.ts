/** One application over HTTP, in a process of its own that tells its processor time: `_process_server.ts <contender>`. */
// deno-lint-ignore-file no-console
import { createHash, randomBytes } from "node:crypto";
import process from "node:process";
import { type Context, Hono } from "hono";
import { rateLimiter } from "hono-rate-limiter";
import { MemoryStore, sessionMiddleware } from "hono-sessions";
import { memoryStore } from "@holdfast/edge";
import { idempotency, session, throttle } from "@holdfast/edge/hono";

// deno-lint-ignore no-explicit-any
type AnyContext = Context<any>;

const [contender] = process.argv.slice(2);

/**
 * The least that a session can do: a hash of the token leads to the record, whose time is looked at, and the
 * answer varies with the cookie. No other promise is kept: no deadline, limit, rotation or fault is thought of.
 */
function sessionByHand() {
  const records = new Map<string, { values: Record<string, string>; ends: number }>();
  const keyOf = (token: string) => createHash("sha256").update(token).digest("base64url");
  return async (c: AnyContext, next: () => Promise<void>) => {
    const token = /(?:^|; )session=([\w-]{43})/.exec(c.req.header("cookie") ?? "")?.[1];
    const record = token === undefined ? undefined : records.get(keyOf(token));
    const live = record !== undefined && record.ends > Date.now() ? record : undefined;
    const changed: Record<string, string> = {};
    c.set("session", {
      get: (name: string) => {
        const text = changed[name] ?? live?.values[name];
        return Promise.resolve(text === undefined ? undefined : JSON.parse(text));
      },
      set: (name: string, value: unknown) => void (changed[name] = JSON.stringify(value)),
    });
    await next();
    if (live === undefined && Object.keys(changed).length > 0) {
      const made = randomBytes(32).toString("base64url");
      records.set(keyOf(made), { values: changed, ends: Date.now() + 1_800_000 });
      c.res.headers.append("set-cookie", `session=${made}; Path=/; HttpOnly; Secure; SameSite=Lax`);
    } else if (live !== undefined) Object.assign(live.values, changed);
    c.res.headers.append("vary", "Cookie");
  };
}

/** The least that a throttle can do: a counter of a fixed window, and the fields of draft 11. */
function throttleByHand() {
  const counters = new Map<string, { count: number; ends: number }>();
  return async (c: AnyContext, next: () => Promise<void>) => {
    const key = user(c);
    const now = Date.now();
    let counter = counters.get(key);
    if (counter === undefined || counter.ends <= now) {
      counters.set(key, counter = { count: 0, ends: now + 60_000 });
    }
    if (++counter.count > 1e9) return c.text("too many", 429);
    await next();
    const { headers } = c.res;
    headers.append("ratelimit-policy", '"bench";q=1000000000;w=60');
    headers.append(
      "ratelimit",
      `"bench";r=${1e9 - counter.count};t=${Math.ceil((counter.ends - now) / 1000)}`,
    );
  };
}

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
} else if (contender === "by hand") {
  app.use(sessionByHand(), throttleByHand());
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
