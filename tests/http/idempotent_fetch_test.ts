/** idempotentFetch() against a real server that does its work once per key, and over a network that loses answers. */
import { memoryStore } from "@holdfast/edge";
import { idempotentFetch, withIdempotency } from "@holdfast/edge/http";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

type Send = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** A fetch that answers as the list says; it records what it was sent. */
function scripted(answers: (Response | Error)[]) {
  const sent: { key: string | null; body: string; method: string }[] = [];
  const fetch: Send = async (input, init) => {
    const request = new Request(input, init);
    sent.push({
      key: request.headers.get("idempotency-key"),
      body: await request.text(),
      method: request.method,
    });
    const answer = answers.shift() ?? new Response("late", { status: 201 });
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { fetch, sent };
}

/** Works under a clock that runs on by itself, so that no test sleeps. */
async function withClock<T>(work: (clock: ManualClock) => Promise<T>): Promise<T> {
  const clock = new ManualClock();
  let over = false;
  const time = (async () => {
    while (!over) await clock.advance(100);
  })();
  try {
    return await work(clock);
  } finally {
    over = true;
    await time;
  }
}

Deno.test("idempotentFetch(): lost answers do not charge twice: the server does each call once", async () => {
  const charged: string[] = [];
  let lost = 0;
  const handler = withIdempotency(async (request) => {
    const { order } = await request.json();
    charged.push(order);
    return Response.json({ order }, { status: 201 });
  }, { store: memoryStore(), scope: "public" });
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => handler(request));
  await withClock(async (clock) => {
    const unreliable: Send = async (input, init) => {
      const response = await fetch(input, init);
      if (lost++ % 3 !== 2) {
        await response.body?.cancel();
        throw new TypeError("connection reset");
      }
      return response;
    };
    const pay = idempotentFetch(unreliable, { clock });
    const orders = Array.from({ length: 20 }, (_, i) => `order ${i}`);
    for (const order of orders) {
      const url = `http://127.0.0.1:${server.addr.port}/pay`;
      const response = await pay(url, { method: "POST", body: JSON.stringify({ order }) });
      assertEquals([response.status, await response.json()], [201, { order }]);
    }
    assertEquals(charged, orders);
  });
  await server.shutdown();
});

Deno.test("idempotentFetch(): one key and one body for every attempt; another call has another key", async () => {
  await withClock(async (clock) => {
    const { fetch, sent } = scripted([new TypeError("reset"), new Response(null, { status: 503 })]);
    const send = idempotentFetch(fetch, { clock });
    const stream = new Response("a stream").body!;
    assertEquals((await send("https://a.test/", { method: "POST", body: stream })).status, 201);
    await send("https://a.test/", { method: "PATCH", body: "b" });
    assertEquals(sent.map(({ body, method }) => [method, body]), [
      ["POST", "a stream"],
      ["POST", "a stream"],
      ["POST", "a stream"],
      ["PATCH", "b"],
    ]);
    assertEquals(new Set(sent.map(({ key }) => key)).size, 2);
    assert(sent.every(({ key }) => /^"[0-9a-f-]{36}"$/.test(key!)));
  });
});

Deno.test("idempotentFetch(): a key of the caller's, or the request's own; none for methods that need none", async () => {
  const { fetch, sent } = scripted([]);
  const send = idempotentFetch(fetch);
  await send("https://a.test/", { method: "POST", idempotencyKey: 'order "17"' });
  await send(new Request("https://a.test/", { method: "POST", headers: { "idempotency-key": '"own"' } }));
  await send("https://a.test/");
  await send("https://a.test/", { method: "PUT", body: "a" });
  assertEquals(sent.map(({ key }) => key), ['"order \\"17\\""', '"own"', null, null]);
  for (const idempotencyKey of ["", "é", "a\n", "x".repeat(256)]) {
    await assertRejects(() => send("https://a.test/", { method: "POST", idempotencyKey }), TypeError);
  }
  assertEquals(sent.length, 4);
});

Deno.test("idempotentFetch(): a final answer is returned at once; a 409 with Retry-After is retried", async () => {
  await withClock(async (clock) => {
    for (const status of [200, 400, 401, 404, 409, 422, 501]) {
      const { fetch, sent } = scripted([new Response(null, { status })]);
      assertEquals(
        (await idempotentFetch(fetch, { clock })("https://a.test/", { method: "POST" })).status,
        status,
      );
      assertEquals(sent.length, 1, `${status}`);
    }
    const wait = new Response(null, { status: 409, headers: { "retry-after": "2" } });
    const { fetch, sent } = scripted([wait]);
    const began = clock.monotonic();
    assertEquals(
      (await idempotentFetch(fetch, { clock })("https://a.test/", { method: "POST" })).status,
      201,
    );
    assert(sent.length === 2 && clock.monotonic() - began >= 2000);
  });
});

Deno.test("idempotentFetch(): attempts and the total time are bounds; a Retry-After beyond them is not waited for", async () => {
  await withClock(async (clock) => {
    const busy = () => new Response(null, { status: 503 });
    const four = scripted(Array.from({ length: 10 }, busy));
    assertEquals(
      (await idempotentFetch(four.fetch, { clock, timeout: "1h" })("https://a.test/")).status,
      503,
    );
    assertEquals(four.sent.length, 4);
    const long = scripted([new Response("later", { status: 429, headers: { "retry-after": "3600" } })]);
    const began = clock.monotonic();
    const answer = await idempotentFetch(long.fetch, { clock })("https://a.test/");
    assertEquals([answer.status, await answer.text(), long.sent.length], [429, "later", 1]);
    assert(clock.monotonic() - began < 5000);
    let asked = 0;
    const silent: Send = () => (asked++, new Promise(() => {}));
    const error = await assertRejects(() =>
      idempotentFetch(silent, { clock, attemptTimeout: "1s", timeout: "3s" })("https://a.test/", {
        method: "POST",
      })
    );
    assertEquals((error as { code?: string }).code, "timeout");
    assert(asked >= 2 && asked <= 3, `${asked} attempts in 3 seconds`);
    const reset = scripted(Array.from({ length: 9 }, () => new TypeError("reset")));
    await assertRejects(
      () => idempotentFetch(reset.fetch, { clock, attempts: 2 })("https://a.test/"),
      TypeError,
    );
    assertEquals(reset.sent.length, 2);
  });
});

Deno.test("idempotentFetch(): an async retryIf is awaited, within the time of the attempt", async () => {
  await withClock(async (clock) => {
    const queued = () => Response.json({ state: "queued" });
    const { fetch, sent } = scripted([queued(), queued(), Response.json({ state: "paid" })]);
    const retryIf = async (response: Response) => (await response.clone().json()).state === "queued";
    const answer = await idempotentFetch(fetch, { clock, retryIf })("https://a.test/", { method: "POST" });
    assertEquals([await answer.json(), sent.length], [{ state: "paid" }, 3]);
    const silent = scripted([]);
    const never = () => new Promise<boolean>(() => {});
    const options = { clock, retryIf: never, attemptTimeout: "1s", timeout: "5s", attempts: 2 } as const;
    const error = await assertRejects(() => idempotentFetch(silent.fetch, options)("https://a.test/"));
    assertEquals([(error as { code?: string }).code, silent.sent.length], ["timeout", 2]);
  });
});

Deno.test("idempotentFetch(): the caller's signal ends it, in an attempt and in a pause", async () => {
  const controller = new AbortController();
  const silent: Send =
    () => (queueMicrotask(() => controller.abort(new Error("enough"))), new Promise(() => {}));
  const first = await assertRejects(() =>
    idempotentFetch(silent)("https://a.test/", { method: "POST", signal: controller.signal })
  );
  assertEquals(first.message, "enough");
  const other = new AbortController();
  const { fetch, sent } = scripted([new Response(null, { status: 503 })]);
  const send = idempotentFetch(fetch, { onRetry: () => other.abort(new Error("no more")) });
  const second = await assertRejects(() => send("https://a.test/", { method: "POST", signal: other.signal }));
  assertEquals([second.message, sent.length], ["no more", 1]);
});

Deno.test("idempotentFetch(): a body that is too large is an error before anything is sent", async () => {
  const { fetch, sent } = scripted([]);
  const send = idempotentFetch(fetch, { maxRequest: 10 });
  await assertRejects(() => send("https://a.test/", { method: "POST", body: "x".repeat(11) }), RangeError);
  assertEquals(sent.length, 0);
  assertThrows(() => idempotentFetch(fetch, { attempts: 0 }), RangeError);
  assertThrows(() => idempotentFetch("fetch" as unknown as Send), TypeError);
});
