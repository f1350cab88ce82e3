/** `lock({ until: "body" })` where the body of the response is not read. */
import { Hono } from "hono";
import { createLocks, type HoldfastError, memoryStore } from "@holdfast/edge";
import { lock, type LockMiddlewareOptions, type LockVariables } from "@holdfast/edge/hono";
import { assertEquals } from "../support/assert.ts";
import { eventually } from "../support/eventually.ts";

function setUp(options: Partial<LockMiddlewareOptions> = {}) {
  const store = memoryStore();
  const locks = createLocks(store);
  const app = new Hono<{ Variables: LockVariables }>();
  const own = lock({ store, key: (c) => c.req.param("id"), ttl: "20s", until: "body", ...options });
  return { app, own, held: async () => (await locks.inspect("a")).held };
}

/** Milliseconds that a busy machine may take for a request: leases of these tests pass in real time. */
const SLOW = 2000;

/** Ends when the lock is free. */
function free(held: () => Promise<boolean>): Promise<void> {
  return eventually(async () => !await held(), "the lock is free");
}

Deno.test("lock(): HEAD releases a lock `until: body` with the handler, and cancels the body", async () => {
  const { app, own, held } = setUp();
  let cancelled = 0;
  app.get(
    "/:id",
    own,
    (c) => c.body(new ReadableStream({ cancel: () => void cancelled++ }), 200, { "x-kept": "yes" }),
  );
  const response = await app.request("/a", { method: "HEAD" });
  assertEquals([response.status, response.headers.get("x-kept"), response.body], [200, "yes", null]);
  assertEquals([await held(), cancelled], [false, 1]);
});

Deno.test("lock(): a body that an outer middleware drops is cancelled, and its lock is released", async () => {
  for (const renew of [false, true]) {
    const { app, own, held } = setUp({ ttl: SLOW, renew });
    let [reason, aborted]: unknown[] = [];
    app.use(async (c, next) => {
      await next();
      c.res = undefined;
      c.res = new Response("another");
    });
    app.get("/:id", own, (c) => {
      c.var.lock.signal.addEventListener("abort", () => aborted = c.var.lock.signal.reason);
      return c.body(new ReadableStream({ cancel: (why) => void (reason = why) }));
    });
    assertEquals(await (await app.request("/a")).text(), "another");
    await free(held);
    await eventually(() => reason !== undefined && aborted !== undefined, "both sides hear of it");
    assertEquals((reason as Error | undefined)?.message.includes("nothing read the body"), true);
    assertEquals((aborted as HoldfastError | undefined)?.code, "lock-lost", "the holder learns it");
  }
});

Deno.test("lock(): a body that is not read in time fails for a reader that comes later", async () => {
  const { app, own, held } = setUp({ ttl: SLOW, renew: true });
  app.get("/:id", own, (c) => c.text("late"));
  const response = await app.request("/a");
  await free(held);
  assertEquals(await response.text().catch((error) => error.code), "lock-lost");
});

Deno.test("lock(): a reader that pauses for too long loses a renewed lock, and its body fails", async () => {
  const { app, own, held } = setUp({ ttl: SLOW, renew: true });
  let signal: AbortSignal | undefined;
  app.get("/:id", own, (c) => {
    signal = c.var.lock.signal;
    return c.body(
      new ReadableStream({
        start(controller) {
          for (const text of ["first", "last"]) controller.enqueue(new TextEncoder().encode(text));
          controller.close();
        },
      }),
    );
  });
  const reader = (await app.request("/a")).body!.getReader();
  const { value } = await reader.read();
  await free(held);
  assertEquals([new TextDecoder().decode(value), signal!.aborted, signal!.reason?.code], [
    "first",
    true,
    "lock-lost",
  ]);
  assertEquals(await reader.read().catch((error) => error.code), "lock-lost");
});

Deno.test("lock(): a source that is slow loses nothing while its reader waits", async () => {
  // A third of the lease passes before it is renewed: the machine may be late by the other two.
  const ttl = 1.5 * SLOW;
  const { app, own, held } = setUp({ ttl, renew: true });
  const gate = Promise.withResolvers<void>();
  app.get("/:id", own, (c) =>
    c.body(
      new ReadableStream({
        async pull(controller) {
          await gate.promise;
          controller.enqueue(new TextEncoder().encode("done"));
          controller.close();
        },
      }),
    ));
  const text = (await app.request("/a")).text();
  await new Promise((resolve) => setTimeout(resolve, ttl + 300));
  assertEquals(await held(), true);
  gate.resolve();
  assertEquals([await text, await held()], ["done", false]);
});

Deno.test("lock(): a request whose signal aborts cancels the body and releases the lock", async () => {
  const { app, own, held } = setUp();
  let cancelled = 0;
  app.get("/:id", own, (c) => c.body(new ReadableStream({ cancel: () => void cancelled++ })));
  const controller = new AbortController();
  await app.request("/a", { signal: controller.signal });
  assertEquals(await held(), true);
  controller.abort();
  await free(held);
  await eventually(() => cancelled === 1, "the body is cancelled");
});
