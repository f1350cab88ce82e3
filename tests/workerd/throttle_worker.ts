/** An app whose every helper makes its store anew for each request, as Workers do. */
import { Hono } from "hono";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { idempotency, lock, session, type SessionVariables, throttle } from "@holdfast/edge/hono";

export { HoldfastObject } from "@holdfast/edge/durable-objects/object";

type Env = { Bindings: { HOLDFAST: HoldfastNamespace }; Variables: SessionVariables };

let calls = 0;
const counting = new WeakMap<object, HoldfastNamespace>();

/** Counts the calls of objects; one wrapper per binding, so that the binding stays recognizable. */
function counted(namespace: HoldfastNamespace): HoldfastNamespace {
  let wrapper = counting.get(namespace);
  if (wrapper === undefined) {
    wrapper = {
      getByName(name, options) {
        const stub = namespace.getByName(name, options);
        return new Proxy(stub, {
          get: (_target, method) => (...args: unknown[]) => {
            calls++;
            // deno-lint-ignore no-explicit-any
            return (stub as any)[method](...args);
          },
        });
      },
    };
    counting.set(namespace, wrapper);
  }
  return wrapper;
}

const store = (c: { env: Env["Bindings"] }) => durableObjectStore(counted(c.env.HOLDFAST));
const key = (c: { req: { query(name: string): string | undefined } }) => c.req.query("key")!;
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const app = new Hono<Env>();
app.onError((error, c) => c.text(String(error), 500));
app.get("/calls", (c) => {
  const made = calls;
  calls = 0;
  return c.json(made);
});
// A busy machine takes its time: a throttle that waits no longer than its usual second allows.
const timeout = "1m";
const rule = { store, key, limit: 1, window: "1h", timeout } as const;
app.get("/cached", throttle({ ...rule, name: "cached", denyCache: "10m" }), (c) => c.text("served"));
app.get("/asked", throttle({ ...rule, name: "asked" }), (c) => c.text("served"));
app.get(
  "/planned",
  throttle({
    store,
    key,
    name: "planned",
    denyCache: "10m",
    timeout,
    policies: () => [{ limit: 1, window: "1h" }],
  }),
  (c) => c.text("served"),
);
app.get("/slow", throttle({ ...rule, limit: 1000, name: "slow" }), async (c) => {
  await sleep(200);
  return c.text("served");
});
// Sixty come at once.
app.use("/all", session({ store, timeout }));
app.use("/all", idempotency({ store, scope: "public", timeout }));
app.use(
  "/all",
  throttle({ store, key, name: "all", limit: 1_000_000, window: "1h", denyCache: "1m", timeout }),
);
app.use("/all", lock({ store, key, ttl: "2m", wait: "1m", timeout }));
app.post("/all", async (c) => {
  c.var.session.set("seen", 1);
  await sleep(1);
  return c.text("served");
});

export default app;
