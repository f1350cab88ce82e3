/** The least version of Hono that the documentation names runs every helper; its types are in `tests/types`. */
import { Hono } from "hono-least";
import { memoryStore } from "@holdfast/edge";
import {
  cache,
  idempotency,
  type IdempotencyVariables,
  lock,
  type LockVariables,
  session,
  type SessionVariables,
  throttle,
  webhook,
} from "@holdfast/edge/hono";
import { assertEquals, assertMatch } from "../support/assert.ts";
import { requestOf, senders } from "../webhook/_senders.ts";

Deno.test("the least version of Hono, 4.7.0, runs every helper", async () => {
  const { version } = JSON.parse(
    await Deno.readTextFile(
      new URL("./package.json", import.meta.resolve("hono-least").replace(/dist.*/, "")),
    ),
  );
  assertEquals(version, "4.7.0");
  const store = memoryStore();
  const sender = senders.find(({ name }) => name === "github")!;
  let charges = 0;
  // Beside a newer copy of Hono nothing is inferred, as beside JSR's: the variables are declared.
  const app = new Hono<{ Variables: IdempotencyVariables & LockVariables & SessionVariables }>()
    .use(session({ store }))
    .use(throttle({ store, name: "all", limit: 100, window: "1m", key: () => "k" }))
    .post("/pay", idempotency({ store, scope: "public" }), (c) => {
      return c.json({ charge: ++charges, key: c.var.idempotency.key });
    })
    .post("/lock/:id", lock({ store, key: (c) => c.req.param("id") }), async (c) => {
      await c.var.session.set("seen", true);
      return c.text(String(c.var.lock.fencingToken));
    })
    .get("/page", cache({ store, ttl: "1m" }), (c) => c.text(String(++charges)))
    .post("/hook", webhook({ verify: sender.verifier("right"), store, name: "a", handle: () => {} }));
  const pay = async () =>
    await app.request("/pay", { method: "POST", headers: { "idempotency-key": '"a"' } });
  const [first, second] = [await pay(), await pay()];
  assertEquals([await first.json(), await second.json()], Array(2).fill({ charge: 1, key: "a" }));
  assertEquals(second.headers.get("idempotency-replayed"), "true");
  assertMatch(second.headers.get("ratelimit")!, /^"all";r=98/);
  const locked = await app.request("/lock/a", { method: "POST" });
  assertEquals(locked.status, 200);
  assertMatch(await locked.text(), /^\d+$/);
  assertMatch(locked.headers.get("set-cookie")!, /^__Host-session=/);
  for (let i = 0; i < 2; i++) assertEquals(await (await app.request("/page")).text(), "2");
  assertEquals(
    (await app.request(requestOf(await sender.sign("1", {}, 0), "https://a.test/hook"))).status,
    200,
  );
  assertEquals((await app.request("/hook", { method: "POST", body: "{}" })).status, 403);
});
