/** `lock()` over requests. */
import { Hono } from "hono";
import { stream } from "hono/streaming";
import { type AtomicStore, createLocks, HoldfastError, memoryStore } from "@holdfast/edge";
import { lock, type LockMiddlewareOptions, type LockVariables } from "@holdfast/edge/hono";
import { withLock } from "@holdfast/edge/http";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { eventually, soonerThan } from "../support/eventually.ts";

const post = { method: "POST" };

function setUp(options: Partial<LockMiddlewareOptions> = {}) {
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

Deno.test("lock(): a request that finds the lock taken gets problem details with Retry-After, and the handler does not run", async () => {
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
  const { app } = setUp({ wait: "1m", fair: true });
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
  const { app, locks, held } = setUp({ wait: "1m", fair: true });
  let runs = 0;
  app.post("/:id", (c) => c.text(String(++runs)));
  const holder = await locks.acquire("a", { ttl: "20s" });
  const controller = new AbortController();
  const waiting = app.request("/a", { ...post, signal: controller.signal });
  await eventually(async () => (await locks.inspect("a")).waiting === 1, "it waits");
  controller.abort();
  assertEquals((await waiting).status, 499, "an answer that is not read any more");
  await holder!.release();
  assertEquals([runs, await held("a")], [0, false]);
});

Deno.test("lock(): a handler that throws releases it", async () => {
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

Deno.test("lock(): with `until: body`, a reader that goes away and a body that breaks release it; no body needs no reader", async () => {
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
  const { app, locks } = setUp({ permits: 2 });
  const gate = Promise.withResolvers<void>();
  app.post("/:id", async (c) => (await gate.promise, c.text("done")));
  const both = [app.request("/a", post), app.request("/a", post)];
  await eventually(async () => (await locks.inspect("a")).holders === 2, "both are inside");
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

/** A store that fails, or does not answer. */
function failing(fail: () => Promise<never>): AtomicStore {
  const store: AtomicStore = new Proxy(memoryStore(), {
    get(target, name) {
      if (name === "namespace") return () => store;
      if (name === "transact") return fail;
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return store;
}

Deno.test("lock(): an outage is a 503 or is thrown, a misconfiguration is always thrown, and both reach onFault", async () => {
  const outage = new HoldfastError("backend-unavailable", "down", { retryable: true });
  const wrong = new HoldfastError("unauthorized", "the token is wrong");
  for (
    const [fault, whenUnavailable, status] of [
      [outage, undefined, 503],
      [outage, "deny", 503],
      [outage, "throw", 500],
      [wrong, undefined, 500],
      [wrong, "deny", 500],
    ] as const
  ) {
    const seen: unknown[] = [];
    const { app } = setUp({
      store: failing(() => Promise.reject(fault)),
      whenUnavailable,
      onFault(error) {
        seen.push(error);
        throw new Error("a listener that fails changes nothing");
      },
    });
    let runs = 0;
    app.post("/:id", (c) => c.text(String(++runs)));
    const response = await app.request("/a", post);
    assertEquals([response.status, runs, seen], [status, 0, [fault]], `${fault.code} ${whenUnavailable}`);
    if (status === 500) assertEquals(await response.text(), fault.message, "the app's own onError has it");
  }
});

Deno.test("lock(): a store that does not answer holds a request no longer than the timeout", async () => {
  const faults: unknown[] = [];
  const { app } = setUp({
    store: failing(() => new Promise(() => {})),
    timeout: 100,
    onFault: (error) => faults.push((error as HoldfastError).code),
  });
  app.post("/:id", (c) => c.text("never"));
  // The default is 3 s, the engines' own 5 and 10.
  const response = await soonerThan(2900, async () => await app.request("/a", post));
  assertEquals(response.status, 503);
  assertEquals(faults, ["timeout"]);
});

Deno.test("lock(): a key that is empty, too long or not well-formed is the client's fault, one that is no string the application's", async () => {
  const { app } = setUp({ key: (c) => c.req.query("key") ?? "" });
  app.post("/:id", (c) => c.text("done"));
  assertEquals((await app.request("/a?key=fine", post)).status, 200);
  for (const query of ["", "?key=", `?key=${"x".repeat(5000)}`]) {
    const response = await app.request(`/a${query}`, post);
    assertEquals([response.status, response.headers.get("content-type")], [400, "application/problem+json"]);
    assertMatch((await response.json()).detail, query.length > 100 ? /too long/ : /empty or not well-formed/);
  }
  const broken = setUp({ key: () => "\ud800" });
  broken.app.post("/:id", (c) => c.text("done"));
  assertEquals((await broken.app.request("/a", post)).status, 400);
  for (const key of [undefined, null, 5, {}, ["a"]]) {
    const other = setUp({ key: () => key as unknown as string });
    other.app.onError((error, c) => c.text(`${error.name}: ${error.message}`, 500));
    other.app.post("/:id", (c) => c.text("done"));
    const wanted =
      `TypeError: Cannot lock requests as 'key' must return a string: current type is ${typeof key}`;
    assertEquals(await (await other.app.request("/a", post)).text(), wanted);
    const plain = withLock(() => new Response(), {
      store: memoryStore(),
      key: () => key as unknown as string,
    });
    await assertRejects(() => plain(new Request("https://shop.test/")), TypeError);
  }
});

Deno.test("lock(): a release that cannot be confirmed keeps the response and reaches onFault", async () => {
  const faults: unknown[] = [];
  let down = false;
  const memory = memoryStore().namespace("lock");
  const store: AtomicStore = new Proxy(memory, {
    get(target, name) {
      if (name === "namespace") return () => store;
      if (name === "transact" && down) {
        return () => Promise.reject(new HoldfastError("backend-unavailable", "down"));
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const { app } = setUp({ store, onFault: (error) => faults.push((error as HoldfastError).code) });
  app.post("/:id", (c) => (down = true, c.text("done")));
  const response = await app.request("/a", post);
  assertEquals([response.status, await response.text(), faults], [200, "done", ["backend-unavailable"]]);
});

Deno.test("lock(): the acquisition, the handler and the release go to waitUntil where there is one", async () => {
  const { app, held } = setUp();
  const gate = Promise.withResolvers<void>();
  app.post("/:id", async (c) => (await gate.promise, c.text("done")));
  const work: Promise<unknown>[] = [];
  const context = {
    waitUntil: (promise: Promise<unknown>) => void work.push(promise),
    passThroughOnException() {},
  };
  const request = app.request("/a", post, {}, context as never);
  await eventually(() => work.length >= 2, "work is handed over");
  assertEquals([work.length, await held("a")], [2, true], "one for the acquisition, one for the rest");
  gate.resolve();
  await Promise.all(work);
  assertEquals(await held("a"), false, "what waitUntil waits for includes the release");
  assertEquals((await request).status, 200);
});

Deno.test("lock(): invalid options are refused when the app is built", () => {
  const store = memoryStore();
  const key = () => "k";
  assertThrows(() => lock({ store, key, ttl: 0 }), RangeError);
  assertThrows(() => lock({ store, key, wait: -1 }), RangeError);
  assertThrows(() => lock({ store, key, permits: 0 }), RangeError);
  assertThrows(() => lock({ store, key, mode: "read", permits: 2 }), TypeError);
  assertThrows(() => lock({ store: {} as never, key }), TypeError);
  assertThrows(() => lock({ store, key: "id" as never }), TypeError);
  assertThrows(() => lock({ store, key, timeout: 0 }), RangeError);
  assertThrows(() => lock({ store, key, status: 418 as never }), TypeError);
  assertThrows(() => lock({ store, key, until: "end" as never }), TypeError);
  assertThrows(() => lock({ store, key, whenUnavailable: "allow" as never }), TypeError);
  assertThrows(() => lock({ store, key, onFault: true as never }), TypeError);
  assertThrows(() => lock({ store, key, fenced: false } as never), TypeError);
  const none = undefined;
  lock({
    store,
    key,
    ttl: none,
    timeout: none,
    status: none,
    until: none,
    name: none,
    whenUnavailable: none,
  });
});
