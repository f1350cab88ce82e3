// deno-lint-ignore-file no-console
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { idempotency, throttle } from "@holdfast/edge/hono";

const store = memoryStore(); // for one process; several share redisStore(client) of "@holdfast/edge/redis"
const app = new Hono();

app.get("/", throttle({ store, name: "home", limit: 60, window: "1m" }), (c) => c.text("Hello\n"));

// Your login knows the customer; here the address says it.
app.post(
  "/customers/:customer/orders",
  idempotency({ store, scope: (c) => c.req.param("customer") }),
  async (c) => c.json({ order: (await store.increment("orders")).value }, 201),
);

serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000) }, ({ port }) => {
  console.log(`http://localhost:${port}`);
});
