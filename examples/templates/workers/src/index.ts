import { Hono } from "hono";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { idempotency, throttle } from "@holdfast/edge/hono";

export { HoldfastObject } from "@holdfast/edge/durable-objects/object";

interface Env {
  HOLDFAST: HoldfastNamespace;
}

const app = new Hono<{ Bindings: Env }>();
const store = (c: { env: Env }) => durableObjectStore(c.env.HOLDFAST); // a binding exists only in a request

app.get("/", throttle({ store, name: "home", limit: 60, window: "1m" }), (c) => c.text("Hello\n"));

// Your login knows the customer; here the address says it.
app.post(
  "/customers/:customer/orders",
  idempotency({ store, scope: (c) => c.req.param("customer") }),
  async (c) => c.json({ order: (await store(c).increment("orders")).value }, 201),
);

export default app;
