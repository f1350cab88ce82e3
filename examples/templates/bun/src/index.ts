import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { idempotency, throttle } from "@holdfast/edge/hono";

const store = memoryStore(); // for one process; several share redisStore(new RedisClient(url)) of Bun
const app = new Hono();

app.get("/", throttle({ store, name: "home", limit: 60, window: "1m" }), (c) => c.text("Hello\n"));

// Your login knows the customer; here the address says it.
app.post(
  "/customers/:customer/orders",
  idempotency({ store, scope: (c) => c.req.param("customer") }),
  async (c) => c.json({ order: (await store.increment("orders")).value }, 201),
);

export default { port: Number(process.env.PORT ?? 3001), fetch: app.fetch };
