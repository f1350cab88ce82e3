/** The values that an app's callbacks and handlers return are awaited, or refused by name. */
import { memoryStore } from "@holdfast/edge";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import {
  type HttpIdempotencyOptions,
  withCache,
  withIdempotency,
  withLock,
  withThrottle,
} from "@holdfast/edge/http";
import { assert, assertEquals, assertMatch, assertRejects } from "../support/assert.ts";

const post = () =>
  new Request("https://example.com/orders", { method: "POST", headers: { "idempotency-key": "one" } });

/** An idempotent handler whose answers are numbered. */
function orders(options: object, answer = () => "") {
  let runs = 0;
  const faults: unknown[] = [];
  const handler = withIdempotency(() => new Response(`${++runs}${answer()}`), {
    store: memoryStore(),
    scope: "public",
    onFault: (error: unknown) => void faults.push(error),
    ...options,
  } as HttpIdempotencyOptions);
  return { ask: async () => await (await handler(post())).text(), faults, runs: () => runs };
}

Deno.test("withIdempotency() awaits storeIf, and keeps the answer where it says neither yes nor no", async () => {
  const none = orders({ storeIf: async () => await Promise.resolve(false) });
  assertEquals([await none.ask(), await none.ask(), none.faults.length], ["1", "2", 0]);
  const all = orders({ storeIf: async () => await Promise.resolve(true) });
  assertEquals([await all.ask(), await all.ask(), all.faults.length], ["1", "1", 0]);
  for (const said of [undefined, null, 0, "yes", Promise.resolve()]) {
    const { ask, faults } = orders({ storeIf: () => said });
    assertEquals([await ask(), await ask()], ["1", "1"]);
    assertMatch(faults.map(String).join(), /TypeError: .*'storeIf' must be one of true, false/);
  }
  const broken = orders({ storeIf: () => Promise.reject(new RangeError("the app's own")) });
  assertEquals([await broken.ask(), await broken.ask()], ["1", "1"]);
  assertMatch(broken.faults.map(String).join(), /the app's own/);
});

Deno.test("withIdempotency() refuses a fingerprint that compares nothing, before the handler works", async () => {
  for (const given of [undefined, null, "", 7, {}, Promise.resolve(undefined)]) {
    const { ask, runs } = orders({ fingerprint: () => given });
    const { message } = await assertRejects(ask, TypeError);
    assertMatch(message, /'fingerprint' must return a non-empty string/);
    assertEquals(runs(), 0);
  }
  const { ask } = orders({ fingerprint: async () => await Promise.resolve("same") });
  assertEquals([await ask(), await ask()], ["1", "1"]);
});

Deno.test("withIdempotency() reports an answer that is too large for the engine, where the app set no bound", async () => {
  const kv = await Deno.openKv(":memory:");
  try {
    const large = () => "x".repeat(60_000);
    const cut = orders({ store: denoKvStore(kv) }, large);
    assertEquals((await cut.ask()).length, 60_001);
    assertMatch(await cut.ask(), /The response was not retained/);
    assertEquals(cut.faults.map((error) => (error as { code?: string }).code), ["value-too-large"]);
    const chosen = orders({ store: denoKvStore(kv), name: "chosen", maxResponse: 1000 }, large);
    await chosen.ask();
    assertEquals(chosen.faults, []);
  } finally {
    kv.close();
  }
});

Deno.test("a handler that returns no Response is named by every helper", async () => {
  const store = memoryStore();
  const key = () => "all";
  for (const returned of [undefined, null, "text", { status: 200 }]) {
    const none = (() => returned) as unknown as () => Response;
    const helpers: ((request: Request) => Promise<Response>)[] = [
      withCache(none, { store, ttl: "1m" }),
      withIdempotency(none, { store, scope: "public" }),
      withLock(none, { store, key }),
      withThrottle(none, { store, name: "a", limit: 1000, window: "1m", key }),
    ];
    for (const helper of helpers) {
      for (const request of [post(), new Request("https://example.com/")]) {
        const { message } = await assertRejects(() => helper(request), TypeError);
        assertMatch(message, /handler as it must return a Response/);
      }
    }
  }
  const throttled = withThrottle(async () => await Promise.resolve(new Response("hello")), {
    store,
    name: "a",
    limit: 1000,
    window: "1m",
    key,
  });
  assert((await throttled(new Request("https://example.com/"))).ok);
});
