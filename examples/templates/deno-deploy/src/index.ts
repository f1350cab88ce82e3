import { Hono } from "hono";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { idempotency, throttle } from "@holdfast/edge/hono";

const store = denoKvStore(await Deno.openKv());
const app = new Hono();

app.get("/", throttle({ store, name: "home", limit: 60, window: "1m" }), (c) => c.text("Hello\n"));

// Your login knows the customer; here the address says it.
app.post(
  "/customers/:customer/orders",
  idempotency({ store, scope: (c) => c.req.param("customer") }),
  async (c) => c.json({ order: (await store.increment("orders")).value }, 201),
);

export default { fetch: app.fetch };
