/** `lock()` over requests. */
import { Hono } from "hono";
import { stream } from "hono/streaming";
import { createLocks, HoldfastError, memoryStore } from "@holdfast/edge";
import { lock, type LockOptions, type LockVariables } from "@holdfast/edge/hono";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";

const post = { method: "POST" };

function setUp(options: Partial<LockOptions> = {}) {
  const store = memoryStore();
  const locks = createLocks(store);
  const app = new Hono<{ Variables: LockVariables }>();
  app.onError((error, c) => c.text(error.message, 500));
  app.use("/:id", lock({ store, key: (c) => c.req.param("id"), ...options }));
  const held = async (key: string) => (await locks.inspect(key)).held;
  return { app, store, locks, held };
}

Deno.test("lock(): the handler has the lock, and it is free when the response is there", async () => {
  const { app, held } = setUp();
  const tokens: number[] = [];
  app.post("/:id", async (c) => {
    c.var.lock.assertHeld();
    assertEquals([c.var.lock.signal.aborted, await held("a")], [false, true]);
    tokens.push(c.var.lock.fencingToken);
    return c.json({});
  });
  for (let i = 0; i < 3; i++) {
    assertEquals((await app.request("/a", post)).status, 200);
    assertEquals(await held("a"), false);
  }
  assert(tokens[0]! < tokens[1]! && tokens[1]! < tokens[2]!, "each request has a higher token");
});

Deno.test("lock(): who is turned away gets problem details with Retry-After, and the handler does not run", async () => {
  for (const status of [409, 423] as const) {
    const { app, locks } = setUp({ status, ttl: "20s" });
    let runs = 0;
    app.post("/:id", (c) => c.text(String(++runs)));
    const holder = await locks.acquire("a", { ttl: "20s" });
    const response = await app.request("/a", post);
    assertEquals([response.status, runs], [status, 0]);
    assertEquals(response.headers.get("content-type"), "application/problem+json");
    assertEquals(response.headers.get("retry-after"), "20");
    assertEquals((await response.json()).status, status);
    assertEquals((await app.request("/b", post)).status, 200, "another key");
    await holder!.release();
    assertEquals((await app.request("/a", post)).status, 200);
  }
});

Deno.test("lock(): requests that may wait are served one after the other, in order", async () => {
  const { app } = setUp({ wait: "5s", fair: true });
  let [inside, most] = [0, 0];
  const order: string[] = [];
  app.post("/:id", async (c) => {
    most = Math.max(most, ++inside);
    order.push(c.req.query("n")!);
    await new Promise((resolve) => setTimeout(resolve, 2));
    inside--;
    return c.text("done");
  });
  const responses = await Promise.all(
    Array.from({ length: 10 }, (_, n) => app.request(`/a?n=${n}`, post)),
  );
  assertEquals(responses.map(({ status }) => status), Array(10).fill(200));
  assertEquals([most, order], [1, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]]);
});

Deno.test("lock(): a client that goes away while it waits leaves nothing behind", async () => {
  const { app, locks, held } = setUp({ wait: "5s", fair: true });
  let runs = 0;
  app.post("/:id", (c) => c.text(String(++runs)));
  const holder = await locks.acquire("a", { ttl: "20s" });
  const controller = new AbortController();
  const waiting = app.request("/a", { ...post, signal: controller.signal });
  await new Promise((resolve) => setTimeout(resolve, 10));
  controller.abort();
  assertEquals((await waiting).status, 500, "nobody reads it any more");
  await holder!.release();
  assertEquals([runs, await held("a")], [0, false]);
});

Deno.test("lock(): a handler that throws gives it back", async () => {
  for (const until of ["response", "body"] as const) {
    const { app, held } = setUp({ until });
    app.post("/:id", () => {
      throw new Error("broken");
    });
    assertEquals((await app.request("/a", post)).status, 500);
    assertEquals(await held("a"), false);
  }
});

Deno.test("lock(): until the response by default, also of one that streams; until its last byte with `until: body`", async () => {
  for (const until of ["response", "body"] as const) {
    const { app, held } = setUp({ until });
    const gate = Promise.withResolvers<void>();
    app.post("/:id", (c) =>
      stream(c, async (out) => {
        await out.write("first");
        await gate.promise;
        await out.write("last");
      }));
    const response = await app.request("/a", post);
    assertEquals(await held("a"), until === "body");
    const reader = response.body!.getReader();
    assertEquals(new TextDecoder().decode((await reader.read()).value), "first", "it streams");
    assertEquals((await app.request("/a", { method: "POST" })).status, until === "body" ? 409 : 200);
    gate.resolve();
    while (!(await reader.read()).done);
    assertEquals(await held("a"), false, "free when the last byte was read");
  }
});

Deno.test("lock(): with `until: body`, a reader that goes away and a body that breaks give it back; no body needs no reader", async () => {
  const { app, held } = setUp({ until: "body" });
  app.post("/:id", (c) => {
    if (c.req.param("id") === "empty") return c.body(null, 204);
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (c.req.param("id") === "breaks") controller.error(new Error("broken"));
        else controller.enqueue(new Uint8Array(10));
      },
    });
    return c.body(body, 201, { "x-kept": "yes" });
  });
  const endless = await app.request("/endless", post);
  assertEquals([endless.status, endless.headers.get("x-kept"), await held("endless")], [201, "yes", true]);
  await endless.body!.cancel();
  assertEquals(await held("endless"), false);
  const breaks = await app.request("/breaks", post);
  assertEquals(await breaks.text().catch((error) => error.message), "broken");
  assertEquals(await held("breaks"), false);
  assertEquals((await app.request("/empty", post)).status, 204);
  assertEquals(await held("empty"), false);
});

Deno.test("lock(): as many as there are permits", async () => {
  const { app } = setUp({ permits: 2 });
  const gate = Promise.withResolvers<void>();
  app.post("/:id", async (c) => (await gate.promise, c.text("done")));
  const both = [app.request("/a", post), app.request("/a", post)];
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals((await app.request("/a", post)).status, 409);
  gate.resolve();
  assertEquals((await Promise.all(both)).map(({ status }) => status), [200, 200]);
});

Deno.test("lock(): a store that is down is a 503, and a release that fails keeps the response", async () => {
  let down = true;
  const real = memoryStore().namespace("lock");
  const store = new Proxy(real, {
    get(target, name) {
      if (name === "namespace") return () => store;
      if (name === "transact" && down) {
        return () => Promise.reject(new HoldfastError("backend-unavailable", "down", { ambiguous: true }));
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const app = new Hono();
  app.post("/", lock({ store, key: () => "k" }), (c) => (down = true, c.text("done")));
  const refused = await app.request("/", post);
  assertEquals([refused.status, refused.headers.get("content-type")], [503, "application/problem+json"]);
  down = false;
  const served = await app.request("/", post);
  assertEquals([served.status, await served.text()], [200, "done"]);
});

Deno.test("lock(): options that cannot be are refused when the app is built", () => {
  const store = memoryStore();
  const key = () => "k";
  assertThrows(() => lock({ store, key, ttl: 0 }), RangeError);
  assertThrows(() => lock({ store, key, wait: -1 }), RangeError);
  assertThrows(() => lock({ store, key, permits: 0 }), RangeError);
  assertThrows(() => lock({ store, key, mode: "read", permits: 2 }), TypeError);
  assertThrows(() => lock({ store: {} as never, key }), TypeError);
});
