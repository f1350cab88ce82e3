/**
 * One helper around itself: on an app and on its route, and as `withX` around `withX`. The inner one meets
 * the key that the outer one holds.
 */
import { Hono } from "hono";
import { type AtomicStore, type Lock, memoryStore } from "@holdfast/edge";
import { idempotency, type IdempotencyVariables, lock, type LockVariables } from "@holdfast/edge/hono";
import { type IdempotencyContext, type LockContext, withIdempotency, withLock } from "@holdfast/edge/http";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";

const headers = { "idempotency-key": "k" };
const post = () => new Request("https://shop.test/api/pay", { method: "POST", headers, body: "{}" });

function isHeld(lock: Lock | undefined): boolean | undefined {
  lock?.assertHeld();
  return lock && !lock.signal.aborted;
}

/** Two middleware, one on the app and one on the route. */
function twoOf(outer: ReturnType<typeof lock>, inner: ReturnType<typeof lock>) {
  const app = new Hono<{ Variables: IdempotencyVariables & LockVariables }>();
  const seen = { runs: 0, key: undefined as string | undefined, held: undefined as boolean | undefined };
  app.onError((error, c) => c.text(`${error.name}: ${error.message}`, 500));
  app.use("/api/*", outer);
  app.post("/api/pay", inner, (c) => {
    seen.runs++;
    seen.key = c.var.idempotency?.key;
    seen.held = isHeld(c.var.lock);
    return c.text(`run ${seen.runs}`);
  });
  const ask = async () => {
    const response = await app.request(post());
    const { status } = response;
    return [status, await response.text(), response.headers.has("idempotency-replayed")] as const;
  };
  return { seen, ask };
}

/** The store by itself, and made anew for each request as on Workers. */
function sources(): readonly (AtomicStore | (() => AtomicStore))[] {
  const shared = memoryStore();
  return [memoryStore(), () => shared];
}

Deno.test("idempotency() on the app and on the route with equal options is one", async () => {
  for (const store of sources()) {
    const scope = () => "ada";
    const make = () => idempotency({ store, scope, methods: ["POST"], lease: "10s" });
    const { seen, ask } = twoOf(make(), make());
    assertEquals(await ask(), [200, "run 1", false]);
    assertEquals(await ask(), [200, "run 1", true]);
    assertEquals(seen, { runs: 1, key: "k", held: undefined });
    const one = make();
    const same = twoOf(one, one);
    assertEquals([(await same.ask())[0], same.seen.runs], [200, 0], "the kept answer of the first app");
  }
});

Deno.test("idempotency() twice with other options is a TypeError that names them, and the key is free again", async () => {
  for (const store of sources()) {
    const options = { store, scope: "public" } as const;
    const { seen, ask } = twoOf(idempotency(options), idempotency({ ...options, lease: "10s" }));
    for (let i = 0; i < 2; i++) {
      const [status, text] = await ask();
      assertEquals([status, seen.runs], [500, 0]);
      assert(text.startsWith("TypeError: Cannot make requests idempotent as"), text);
      assert(text.includes("mounted twice") && text.includes("'name'"), text);
    }
  }
});

Deno.test("idempotency() twice with another name, store or caller is two", async () => {
  const store = memoryStore();
  const options = { store, scope: "public" } as const;
  for (
    const other of [
      { ...options, name: "inner" },
      { ...options, store: memoryStore() },
      { ...options, scope: () => "ada" },
      { ...options, store: store.namespace("shop") },
    ]
  ) {
    const { seen, ask } = twoOf(idempotency({ ...options, storeIf: () => false }), idempotency(other));
    assertEquals(await ask(), [200, "run 1", false]);
    assertEquals(await ask(), [200, "run 1", true], "the inner one has kept it");
    assertEquals(seen.runs, 1);
  }
});

Deno.test("withIdempotency() around withIdempotency() is one with equal options, else a TypeError", async () => {
  const options = { store: memoryStore(), scope: "public", methods: ["POST"] } as const;
  let runs = 0;
  const handler = (_request: Request, { idempotency }: IdempotencyContext) =>
    new Response(`${idempotency?.key} ${++runs}`);
  const twice = withIdempotency(withIdempotency(handler, { ...options, methods: ["POST"] }), options);
  for (const context of [undefined, { env: {} }, new AbortController()]) {
    const response = await twice(post(), context as never);
    assertEquals(await response.text(), "k 1");
  }
  assertEquals(runs, 1);
  const between = withIdempotency(
    withIdempotency(withIdempotency(handler, options), { ...options, name: "between" }),
    options,
  );
  assertEquals([await (await between(post())).text(), runs], ["k 1", 1]);
  const others = withIdempotency(withIdempotency(handler, { ...options, strict: true }), {
    ...options,
    store: memoryStore(),
  });
  assertEquals((await others(post())).status, 400, "the inner one reads the key by its own rules");
  const store = memoryStore();
  const odd = withIdempotency(withIdempotency(handler, { ...options, store, wait: "1s" }), {
    ...options,
    store,
  });
  for (let i = 0; i < 2; i++) {
    const { message } = await assertRejects(() => odd(post()), TypeError);
    assert(message.includes("mounted twice"), message);
  }
});

Deno.test("withIdempotency(): requests at the same time are never taken for one inside the other, not with one request object", async () => {
  const store = memoryStore();
  let [runs, inside, refused] = [0, 0, 0];
  const gate = Promise.withResolvers<void>();
  const handler = withIdempotency(async () => {
    runs++;
    inside++;
    await gate.promise;
    assertEquals(inside--, 1);
    return new Response("done");
  }, { store, scope: "public" });
  const request = new Request("https://shop.test/", { method: "POST", headers });
  const context = {};
  const statuses = await Promise.all([1, 2, 3].map(async () => {
    const { status } = await handler(request, context);
    if (status === 409 && ++refused === 2) gate.resolve();
    return status;
  }));
  assertEquals([statuses.sort(), runs], [[200, 409, 409], 1]);
  assertEquals((await handler(request, context)).headers.get("idempotency-replayed"), "true");
});

Deno.test("lock() on the app and on the route with equal options is one, which the handler holds", async () => {
  for (const store of sources()) {
    for (const until of ["response", "body"] as const) {
      const key = () => "order";
      const make = () => lock({ store, key, until, ttl: "20s" });
      const { seen, ask } = twoOf(make(), make());
      for (let i = 1; i <= 3; i++) assertEquals((await ask()).slice(0, 2), [200, `run ${i}`]);
      assertEquals(seen.held, true);
    }
  }
});

Deno.test("lock() twice with other options but one key is a TypeError; with another key or name, or shared, it is two", async () => {
  for (const store of sources()) {
    const mine = { store, key: () => "a", ttl: "20s" } as const;
    const { seen, ask } = twoOf(lock(mine), lock({ ...mine, wait: "2m" }));
    for (let i = 0; i < 2; i++) {
      const began = performance.now();
      const [status, text] = await ask();
      assertEquals([status, seen.runs], [500, 0]);
      assert(text.startsWith("TypeError: Cannot lock requests as") && text.includes("mounted twice"), text);
      assert(performance.now() - began < 60_000, "it does not wait for itself");
    }
    for (const other of [{ ...mine, key: () => "b" }, { ...mine, name: "other" }]) {
      assertEquals((await twoOf(lock(mine), lock(other)).ask())[0], 200);
    }
    const readers = { ...mine, key: () => "read", mode: "read" } as const;
    assertEquals((await twoOf(lock(readers), lock({ ...readers, ttl: "5s" })).ask())[0], 200);
    const writer = await twoOf(lock(readers), lock({ ...readers, mode: "write" })).ask();
    assert(writer[1].includes("mounted twice"), writer[1]);
    const permits = { ...mine, key: () => "permits", permits: 3 };
    assertEquals((await twoOf(lock(permits), lock({ ...permits, ttl: "5s" })).ask())[0], 200);
  }
});

Deno.test("withLock() around withLock() is one with equal options, else a TypeError", async () => {
  const options = { store: memoryStore(), key: () => "a", ttl: "20s" } as const;
  const handler = (_request: Request, { lock }: LockContext) => new Response(`${isHeld(lock)}`);
  const twice = withLock(withLock(handler, { ...options }), options);
  for (let i = 0; i < 2; i++) assertEquals(await (await twice(post())).text(), "true");
  const other = withLock(withLock(handler, { ...options, status: 423 }), options);
  for (let i = 0; i < 2; i++) await assertRejects(() => other(post()), TypeError);
  const three = withLock(withLock(twice, { ...options, name: "between" }), options);
  assertEquals(await (await three(post())).text(), "true");
});
