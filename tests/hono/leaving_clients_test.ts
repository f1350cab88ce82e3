/** Clients that leave while their request waits: the work of others goes on, and `app.onError` hears of no fault. */
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { withCache } from "@holdfast/edge/http";
import { cache, idempotency, lock } from "@holdfast/edge/hono";
import { assertEquals } from "../support/assert.ts";
import { systemClock } from "../../src/clock.ts";
import { deferred } from "../../src/deferred.ts";

const WAITERS = 20;

/** An app whose one route is cached, slow and counted. */
function slowApp() {
  const errors: unknown[] = [];
  const asked = deferred<void>();
  const answer = deferred<void>();
  const app = new Hono();
  let runs = 0;
  app.onError((error, c) => {
    errors.push(error);
    return c.text("failed", 500);
  });
  app.use(cache({ store: memoryStore(), ttl: "1m" }));
  app.get("/", async (c) => {
    const run = ++runs;
    asked.resolve();
    await answer.promise;
    return c.text(`run ${run}`);
  });
  return { app, errors, asked, answer, runs: () => runs };
}

Deno.test("cache() of Hono: the handler runs once for all that wait, though the client that asked leaves", async () => {
  const { app, errors, asked, answer, runs } = slowApp();
  const leaving = new AbortController();
  const first = app.request("/", { signal: leaving.signal });
  await asked.promise;
  const others = Array.from({ length: WAITERS }, async () => await (await app.request("/")).text());
  const waiting = new AbortController();
  const second = app.request("/", { signal: waiting.signal });
  await systemClock.sleep(20);
  leaving.abort();
  waiting.abort();
  assertEquals((await second).status, 499); // it has nothing to wait for
  answer.resolve();
  assertEquals([new Set(await Promise.all(others)), runs()], [new Set(["run 1"]), 1]);
  assertEquals((await first).status, 499);
  assertEquals(errors, []);
});

Deno.test("cache() of Hono on Deno.serve: a closed connection ends its own request alone", async () => {
  const { app, errors, asked, answer, runs } = slowApp();
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, app.fetch);
  const url = `http://127.0.0.1:${server.addr.port}/`;
  const leaving = new AbortController();
  const first = fetch(url, { signal: leaving.signal }).catch((error) => error.name);
  await asked.promise;
  const others = Array.from({ length: WAITERS }, async () => await (await fetch(url)).text());
  await systemClock.sleep(100);
  leaving.abort();
  assertEquals(await first, "AbortError");
  await systemClock.sleep(100); // until the server has seen it
  answer.resolve();
  assertEquals([new Set(await Promise.all(others)), runs(), errors], [new Set(["run 1"]), 1, []]);
});

Deno.test("lock() of Hono: a client that leaves while it waits is no error of the app", async () => {
  const errors: unknown[] = [];
  const held = deferred<void>();
  const begun = deferred<void>();
  const app = new Hono();
  let runs = 0;
  app.onError((error, c) => {
    errors.push(error);
    return c.text("failed", 500);
  });
  app.use(lock({ store: memoryStore(), key: () => "door", wait: "30s" }));
  app.get("/", async (c) => {
    runs++;
    begun.resolve();
    await held.promise;
    return c.text("done");
  });
  const first = app.request("/");
  await begun.promise;
  const leaving = new AbortController();
  const second = app.request("/", { signal: leaving.signal });
  await systemClock.sleep(20);
  leaving.abort(new Error("the client's own reason"));
  assertEquals((await second).status, 499);
  held.resolve();
  assertEquals([(await first).status, runs, errors], [200, 1, []]);
});

Deno.test("idempotency() around lock(): a client that left while it waited for the lock finds its work undone when it comes back", async () => {
  const held = deferred<void>();
  const begun = deferred<void>();
  const store = memoryStore();
  const app = new Hono();
  let runs = 0;
  app.use(idempotency({ store, scope: "public", storeIf: (status) => status < 500 }));
  app.use(lock({ store, key: () => "account", wait: "30s" }));
  app.post("/", async (c) => {
    begun.resolve();
    await held.promise;
    return c.text(`run ${++runs}`);
  });
  const post = (key: string, signal?: AbortSignal) =>
    app.request("/", { method: "POST", headers: { "idempotency-key": key }, signal: signal ?? null });
  const first = post("order-1");
  await begun.promise;
  const leaving = new AbortController();
  const second = post("order-2", leaving.signal);
  await systemClock.sleep(20);
  leaving.abort();
  assertEquals((await second).status, 499);
  held.resolve();
  assertEquals(await (await first).text(), "run 1");
  assertEquals(await (await post("order-2")).text(), "run 2", "it had not run: it runs now");
});

Deno.test("idempotency() around a lock() that answers 423: the refusal is not kept", async () => {
  const held = deferred<void>();
  const begun = deferred<void>();
  const store = memoryStore();
  const app = new Hono();
  app.use(idempotency({ store, scope: "public" }));
  app.use(lock({ store, key: () => "document", status: 423 }));
  app.post("/", async (c) => {
    begun.resolve();
    await held.promise;
    return c.text("done");
  });
  const post = (key: string) => app.request("/", { method: "POST", headers: { "idempotency-key": key } });
  const first = post("order-1");
  await begun.promise;
  assertEquals((await post("order-2")).status, 423);
  held.resolve();
  await (await first).text();
  assertEquals((await post("order-2")).status, 200);
});

Deno.test("withCache(): the handler runs once for all that wait, though the client that asked leaves", async () => {
  const asked = deferred<void>();
  const answer = deferred<void>();
  let runs = 0;
  const handler = withCache(async () => {
    runs++;
    asked.resolve();
    await answer.promise;
    return new Response("answer");
  }, { store: memoryStore(), ttl: "1m" });
  const leaving = new AbortController();
  const first = handler(new Request("https://example.com/", { signal: leaving.signal }))
    .catch((error) => error.name);
  await asked.promise;
  const others = Array.from(
    { length: WAITERS },
    async () => await (await handler(new Request("https://example.com/"))).text(),
  );
  await systemClock.sleep(20);
  leaving.abort();
  assertEquals(await first, "AbortError");
  answer.resolve();
  assertEquals([new Set(await Promise.all(others)), runs], [new Set(["answer"]), 1]);
});
