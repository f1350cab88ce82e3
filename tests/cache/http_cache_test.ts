/** The HTTP cache on real requests, with a clock that the tests move. */
import { Hono } from "hono";
import { type AtomicStore, HoldfastError, memoryStore } from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { type HttpCacheOptions, withCache } from "@holdfast/edge/http";
import { cache } from "@holdfast/edge/hono";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";

const URL_ = "https://example.com/page";

/** An origin whose answers are numbered, behind a cache. */
function site(fields: HeadersInit, options: Partial<HttpCacheOptions> = {}, status = 200) {
  const clock = new ManualClock();
  const requests: Request[] = [];
  const state = {
    clock,
    requests,
    answer: (request: Request): Response | Promise<Response> => {
      void request;
      return new Response(`answer ${requests.length}`, { status, headers: fields });
    },
    work: [] as Promise<unknown>[],
    get: async (headers: HeadersInit = {}, method = "GET", url = URL_) => {
      const response = await handler(new Request(url, { method, headers }), {
        waitUntil: (work: Promise<unknown>) => void state.work.push(work),
      });
      return { status: response.status, headers: response.headers, text: await response.text() };
    },
  };
  const handler = withCache<unknown>((request) => {
    requests.push(request);
    return state.answer(request);
  }, { store: memoryStore({ clock }), clock, ...options } as HttpCacheOptions);
  return state;
}

Deno.test("withCache() keeps a response for its max-age and tells its age", async () => {
  const { get, clock, requests } = site({ "cache-control": "max-age=60" });
  assertEquals((await get()).text, "answer 1");
  await clock.advance(30_000);
  const hit = await get();
  assertEquals([hit.text, hit.headers.get("age")], ["answer 1", "30"]);
  assertEquals(hit.headers.get("cache-status"), "Holdfast; hit; ttl=30");
  await clock.advance(30_000);
  assertEquals([(await get()).text, requests.length], ["answer 2", 2]);
});

Deno.test("withCache() tells no client the quota of another one", async () => {
  const { get } = site({
    "cache-control": "max-age=60",
    ratelimit: '"default";r=4;t=30',
    "ratelimit-policy": '"default";q=5;w=60',
    "x-ratelimit-remaining": "4",
    "x-rate-limit-reset": "30",
    "x-own": "kept",
  });
  const quota = ({ headers }: { headers: Headers }) =>
    [...headers.keys()].filter((name) => name.includes("rate") || name === "x-own");
  assertEquals(quota(await get()).length, 5); // its own
  assertEquals(quota(await get()), ["x-own"]);
});

Deno.test("withCache() asks the handler once for 64 requests at once", async () => {
  const s = site({ "cache-control": "max-age=60" });
  const texts = await Promise.all(Array.from({ length: 64 }, () => s.get()));
  assertEquals([new Set(texts.map(({ text }) => text)).size, s.requests.length], [1, 1]);
  assert(texts.some(({ headers }) => headers.get("cache-status")!.includes("collapsed")));
});

for (
  const [name, fields] of Object.entries({
    "no-store": { "cache-control": "no-store, max-age=60" },
    "private": { "cache-control": "private, max-age=60" },
    "a cookie": { "cache-control": "max-age=60", "set-cookie": "id=1" },
    "Vary: *": { "cache-control": "max-age=60", "vary": "*" },
    "an endless stream": { "cache-control": "max-age=60", "content-type": "text/event-stream" },
    "nothing that speaks of caching": {},
  })
) {
  Deno.test(`withCache() keeps no response with ${name}, and runs its requests side by side`, async () => {
    const s = site(fields as HeadersInit);
    await s.get();
    let running = 0;
    let most = 0;
    s.answer = async () => {
      most = Math.max(most, ++running);
      await eventually(() => most === 8, "all run side by side");
      running--;
      return new Response("mine", { headers: fields as HeadersInit });
    };
    await Promise.all(Array.from({ length: 8 }, () => s.get()));
    assertEquals([s.requests.length, most], [9, 8]);
  });
}

Deno.test("withCache() keeps responses to Authorization only where they say so, apart from the others", async () => {
  const mine = { authorization: "Bearer mine" };
  const plain = site({ "cache-control": "max-age=60" });
  await plain.get(mine);
  assertEquals([(await plain.get(mine)).text, (await plain.get()).text], ["answer 2", "answer 3"]);
  assertEquals((await plain.get()).text, "answer 3");
  const open = site({ "cache-control": "public, max-age=60" });
  await open.get(mine);
  assertEquals((await open.get(mine)).text, "answer 1");
});

Deno.test("withCache() keeps a response per variant, and forgets all of them after a POST", async () => {
  const s = site({ "cache-control": "max-age=60", vary: "accept-language" });
  const [en, de] = [{ "accept-language": "en" }, { "accept-language": "de" }];
  assertEquals([(await s.get(en)).text, (await s.get(de)).text], ["answer 1", "answer 2"]);
  assertEquals([(await s.get(en)).text, (await s.get(de)).text], ["answer 1", "answer 2"]);
  await s.get({}, "POST"); // the third
  assertEquals([(await s.get(en)).text, (await s.get(de)).text], ["answer 4", "answer 5"]);
});

Deno.test("withCache() never serves a fill that began before a POST ended it", async () => {
  const s = site({ "cache-control": "max-age=60" });
  let release!: () => void;
  const gate = new Promise<void>((resolve) => release = resolve);
  s.answer = async () => {
    await gate;
    return new Response("old", { headers: { "cache-control": "max-age=60" } });
  };
  const slow = s.get();
  while (s.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  s.answer = () => new Response("new", { headers: { "cache-control": "max-age=60" } });
  await s.get({}, "POST");
  release();
  assertEquals([(await slow).text, (await s.get()).text], ["old", "new"]);
});

Deno.test("withCache() validates a stale response, and answers a client that has it with 304", async () => {
  const s = site({ "cache-control": "max-age=60", etag: '"v1"', "x-kept": "first" });
  await s.get();
  assertEquals((await s.get({ "if-none-match": '"v1"' })).status, 304);
  await s.clock.advance(61_000);
  s.answer = ({ headers }) => {
    assertEquals(headers.get("if-none-match"), '"v1"');
    return new Response(null, { status: 304, headers: { "cache-control": "max-age=60", etag: '"v1"' } });
  };
  const renewed = await s.get();
  assertEquals([renewed.status, renewed.text, renewed.headers.get("x-kept")], [200, "answer 1", "first"]);
  assertEquals([(await s.get()).text, s.requests.length], ["answer 1", 2]);
});

Deno.test("withCache() gives the cookie of a 304 to its own client, and to no other", async () => {
  const s = site({ "cache-control": "max-age=10", etag: '"v1"' });
  await s.get();
  await s.clock.advance(15_000);
  const fields = { "cache-control": "max-age=10", etag: '"v1"', "set-cookie": "id=1" };
  s.answer = () => new Response(null, { status: 304, headers: fields });
  const own = await s.get();
  assertEquals([own.status, own.text, own.headers.get("set-cookie")], [200, "answer 1", "id=1"]);
  s.answer = () => new Response("another", { headers: { "cache-control": "max-age=10" } });
  assertEquals((await s.get()).headers.get("set-cookie"), null);
});

Deno.test("withCache() answers stale while it asks, through waitUntil, and stale where the handler fails", async () => {
  const s = site({ "cache-control": "max-age=10, stale-while-revalidate=20, stale-if-error=100" });
  await s.get();
  await s.clock.advance(15_000);
  const { answer } = s;
  const gate = Promise.withResolvers<void>();
  s.answer = async (request) => {
    await gate.promise; // a handler that answers at once is not overtaken
    return answer(request);
  };
  assertEquals((await s.get()).text, "answer 1");
  gate.resolve();
  await Promise.all(s.work);
  assertEquals([(await s.get()).text, s.requests.length], ["answer 2", 2]);
  await s.clock.advance(50_000);
  s.answer = () => new Response("broken", { status: 503 });
  const stale = await s.get();
  assertEquals([stale.status, stale.text], [200, "answer 2"]);
  s.answer = () => Promise.reject(new RangeError("down"));
  assertEquals((await s.get()).text, "answer 2");
  await s.clock.advance(100_000);
  await assertRejects(() => s.get(), RangeError);
});

Deno.test("withCache() answers no stale response that must be revalidated, and passes a 5xx on", async () => {
  const s = site({ "cache-control": "max-age=10, stale-if-error=100, must-revalidate", etag: '"a"' });
  await s.get();
  await s.clock.advance(15_000);
  s.answer = () => new Response("broken", { status: 503 });
  assertEquals([(await s.get()).status, (await s.get({ "cache-control": "max-stale" })).status], [503, 503]);
});

Deno.test("withCache() serves HEAD and single ranges from a stored response, and passes other ranges on", async () => {
  const s = site({ "cache-control": "max-age=60", etag: '"v1"' });
  await s.get({}, "HEAD");
  await s.get({ range: "bytes=0-1" });
  assertEquals(s.requests.map(({ method }) => method), ["HEAD", "GET"], "nothing is kept of them");
  await s.get(); // answer 3
  const head = await s.get({}, "HEAD");
  assertEquals([head.status, head.text, head.headers.get("content-length")], [200, "", "8"]);
  const part = await s.get({ range: "bytes=-1" });
  assertEquals([part.status, part.text, part.headers.get("content-range")], [206, "3", "bytes 7-7/8"]);
  assertEquals((await s.get({ range: "bytes=9-" })).status, 416);
  assertEquals((await s.get({ range: "bytes=0-1", "if-range": '"old"' })).text, "answer 3");
  assertEquals((await s.get({ range: "bytes=0-1,3-4" })).text, "answer 3");
  assertEquals(s.requests.length, 3);
});

Deno.test("withCache() honours the cache directives of a request, or ignores them by option", async () => {
  const s = site({ "cache-control": "max-age=60" });
  assertEquals((await s.get({ "cache-control": "only-if-cached" })).status, 504);
  await s.get();
  await s.clock.advance(5_000);
  assertEquals((await s.get({ "cache-control": "max-age=5" })).text, "answer 1");
  assertEquals((await s.get({ "cache-control": "no-cache" })).text, "answer 2");
  assertEquals((await s.get()).text, "answer 2", "the reload is kept");
  assertEquals((await s.get({ "cache-control": "min-fresh=61" })).text, "answer 3");
  const deaf = site({ "cache-control": "max-age=60" }, { clientDirectives: false });
  await deaf.get();
  assertEquals((await deaf.get({ "cache-control": "no-cache" })).text, "answer 1");
});

Deno.test("withCache() streams a response that is too large to store, and keeps bytes exactly", async () => {
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i % 256);
  const large = site({}, { maxBody: 4999 });
  large.answer = () =>
    new Response(new Blob([bytes]).stream(), { headers: { "cache-control": "max-age=60" } });
  await large.get();
  await large.get();
  assertEquals(large.requests.length, 2);
  const handler = withCache(
    () => new Response(bytes, { headers: { "cache-control": "max-age=60" } }),
    { store: memoryStore() },
  );
  for (let i = 0; i < 2; i++) {
    assertEquals(new Uint8Array(await (await handler(new Request(URL_))).arrayBuffer()), bytes);
  }
});

Deno.test("withCache() gives the first client the body as it comes, and stores it though that client leaves", async () => {
  const s = site({});
  let more!: ReadableStreamDefaultController<Uint8Array>;
  const handler = withCache(() => {
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (more = controller) });
    return new Response(body, { headers: { "cache-control": "max-age=60" } });
  }, { store: memoryStore() });
  const response = await handler(new Request(URL_));
  const reader = response.body!.getReader();
  more.enqueue(new TextEncoder().encode("begin"));
  assertEquals(new TextDecoder().decode((await reader.read()).value), "begin");
  await reader.cancel();
  more.enqueue(new TextEncoder().encode(", end"));
  more.close();
  assertEquals(await (await handler(new Request(URL_))).text(), "begin, end");
  assertEquals(s.requests.length, 0);
});

Deno.test("withCache() tags responses, for its own cache and the platform's", async () => {
  const clock = new ManualClock();
  const pages = createCache(memoryStore({ clock }), { name: "pages", clock });
  const s = site({ "cache-control": "max-age=60" }, {
    store: undefined,
    cache: pages,
    tags: () => ["catalogue"],
  });
  assertEquals((await s.get()).headers.get("cache-tag"), "catalogue");
  assertEquals((await s.get()).text, "answer 1");
  await pages.invalidateTags(["catalogue"]);
  assertEquals((await s.get()).text, "answer 2");
});

/** A store whose calls fail with one fault. */
function failing(code: "backend-unavailable" | "unauthorized"): AtomicStore {
  const inner = memoryStore();
  const wrap = (store: AtomicStore): AtomicStore =>
    new Proxy(store, {
      get(target, name) {
        if (name === "namespace") return (space: string) => wrap(target.namespace(space));
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== "function") return member;
        return () => {
          throw new HoldfastError(code, "Cannot use the store");
        };
      },
    });
  return wrap(inner);
}

Deno.test("withCache(): what is expired in its cache is not fresh, for HEAD and for a handler that fails neither", async () => {
  const clock = new ManualClock();
  const pages = createCache(memoryStore({ clock }), { name: "pages", clock });
  const state = { down: false, asked: 0 };
  const fields = { "cache-control": "max-age=60", etag: '"1"' };
  const handler = withCache(() => {
    if (state.down) throw new RangeError("down");
    return new Response(`answer ${++state.asked}`, { headers: fields });
  }, { cache: pages, clock });
  const ask = async (method = "GET") => await handler(new Request(URL_, { method }));
  assertEquals(await (await ask()).text(), "answer 1");
  await clock.advance(10_000);
  assertMatch((await ask("HEAD")).headers.get("cache-status")!, /hit/);
  assertEquals(await pages.expire(`=${URL_}`), true);
  assertMatch((await ask("HEAD")).headers.get("cache-status")!, /fwd=method/);
  state.down = true;
  await assertRejects(() => ask(), RangeError); // kept to be validated, and for nothing else
  state.down = false;
  assertEquals(await (await ask()).text(), "answer 3");
});

Deno.test("withCache() asks the handler while the store is down, throws a misconfiguration, and reports both", async () => {
  const faults: unknown[] = [];
  const onFault = (error: unknown) => faults.push(error);
  const down = site({ "cache-control": "max-age=60" }, { store: failing("backend-unavailable"), onFault });
  assertEquals([(await down.get()).text, (await down.get({}, "HEAD")).status], ["answer 1", 200]);
  assertEquals((await down.get({}, "POST")).text, "answer 3");
  assert(faults.length >= 2);
  const strict = site({}, { store: failing("backend-unavailable"), whenUnavailable: "throw" });
  await assertRejects(() => strict.get(), HoldfastError);
  faults.length = 0;
  const wrong = site({}, { store: failing("unauthorized"), onFault });
  const error = await assertRejects(() => wrong.get(), HoldfastError);
  assertEquals([error.code, faults.length > 0], ["unauthorized", true]);
});

Deno.test("withCache() throws the handler's own errors, also a fault of the handler's store", async () => {
  for (
    const thrown of [new RangeError("mine"), new HoldfastError("backend-unavailable", "mine"), undefined]
  ) {
    const s = site({});
    s.answer = () => Promise.reject(thrown);
    const error = await s.get().then(() => "no error", (error) => error);
    assertEquals([error, s.requests.length], [thrown, 1]);
  }
});

Deno.test("withCache() refuses invalid options before any request", () => {
  const store = memoryStore();
  const make = (options: unknown) => () => withCache(() => new Response(), options as HttpCacheOptions);
  assertThrows(make({}), TypeError);
  assertThrows(make({ store, cache: createCache(store, { name: "a" }) }), TypeError);
  assertThrows(make({ store, tll: "1m" }), TypeError);
  assertThrows(make({ store, ttl: 0 }), RangeError);
  assertThrows(make({ store, maxBody: 0 }), RangeError);
  assertThrows(make({ store, whenSetCookie: "keep" }), TypeError);
  assertThrows(make({ store: {} }), TypeError);
  assertThrows(make({ cache: {} }), TypeError);
});

Deno.test("withCache() awaits its key, and refuses a key or tags of another type before any handler works", async () => {
  const store = memoryStore();
  let asked = 0;
  const with_ = (options: object) => {
    const handler = withCache(() => new Response(`answer ${++asked}`), {
      store,
      ttl: "1m",
      ...options,
    } as HttpCacheOptions);
    return async (path: string, method = "GET") =>
      await (await handler(new Request(new URL(path, URL_), { method }))).text();
  };
  const get = with_({ key: async ({ url }: Request) => await Promise.resolve(new URL(url).pathname) });
  assertEquals([await get("/a"), await get("/b"), await get("/a?x")], ["answer 1", "answer 2", "answer 1"]);
  for (const given of [{ path: "/" }, 7, "", null, undefined, ["a"]]) {
    const get = with_({ key: () => given });
    assertMatch((await assertRejects(() => get("/a"), TypeError)).message, /'key' must return a non-empty/);
  }
  for (const given of ["tag", Promise.resolve(["tag"]), [""], [7], undefined, null]) {
    const ask = with_({ tags: () => given });
    for (const method of ["GET", "POST"]) {
      assertMatch((await assertRejects(() => ask("/c", method), TypeError)).message, /'tags' must be/);
    }
  }
  assertEquals(asked, 2);
});

Deno.test("a cache names the store that is none", async () => {
  // deno-lint-ignore no-explicit-any
  const wrong: any[] = [undefined, null, new Map(), "redis://", {}, Promise.resolve(memoryStore())];
  for (const store of wrong) {
    assertMatch(assertThrows(() => createCache(store, { name: "a" }), TypeError).message, /needs a store/);
    if (store !== undefined) {
      const message = assertThrows(() => withCache(() => new Response(), { store }), TypeError).message;
      assertMatch(message, /must be an AtomicStore|'store' must not be null/);
    }
    const handler = withCache(() => new Response(), { store: () => store });
    const message = (await assertRejects(() => handler(new Request(URL_)), TypeError)).message;
    assertMatch(message, /what 'store' returned as the store must be an AtomicStore/);
    const errors: Error[] = [];
    const app = new Hono().use(cache({ store: () => store })).onError((error, c) => {
      errors.push(error);
      return c.text("failed", 500);
    });
    await app.request("/");
    assertMatch(errors.map(String).join(), /what 'store' returned as the store must be an AtomicStore/);
  }
});

Deno.test("cache() of Hono keeps a route's responses, and asks again for a changed one", async () => {
  const app = new Hono();
  let asked = 0;
  app.use("/products/*", cache({ store: memoryStore(), ttl: "1m" }));
  app.get("/products/:id", (c) => c.text(`${c.req.param("id")} ${++asked}`));
  app.post("/products/:id", (c) => c.text("changed"));
  const get = async () => await (await app.request("/products/rope")).text();
  assertEquals([await get(), await get()], ["rope 1", "rope 1"]);
  await app.request("/products/rope", { method: "POST" });
  assertEquals(await get(), "rope 2");
  assertThrows(() => cache({ store: memoryStore(), tll: 1 } as never), TypeError);
});

Deno.test("cache() of Hono: a background refill has a context of its own, or does not happen", async () => {
  for (const own of [true, false]) {
    const clock = new ManualClock();
    const app = new Hono();
    let asked = 0;
    const store = memoryStore({ clock });
    app.use(cache({ store, clock, ...(own && { revalidate: (request) => app.fetch(request) }) }));
    app.get("/", (c) => {
      c.header("cache-control", "max-age=10, stale-while-revalidate=60");
      return c.text(String(++asked));
    });
    const get = async () => {
      const work: Promise<unknown>[] = [];
      const context = {
        waitUntil: (promise: Promise<unknown>) => work.push(promise),
        passThroughOnException() {},
      };
      // deno-lint-ignore no-explicit-any
      const text = await (await app.request("/", {}, {}, context as any)).text();
      await Promise.all(work);
      return text;
    };
    await get();
    await clock.advance(20_000);
    assertEquals([await get(), await get()], own ? ["1", "2"] : ["2", "2"]);
  }
});

Deno.test("withCache(): a handler that never answers keeps its URL from others for fillTimeout at most", async () => {
  let calls = 0;
  const handler = withCache((request) => {
    if (++calls > 1) return new Response("answer", { headers: { "cache-control": "max-age=60" } });
    return new Promise<Response>((_, reject) => {
      request.signal.addEventListener("abort", () => reject(new Error("stopped")));
    });
  }, { store: memoryStore(), fillTimeout: 100 });
  const hanging = handler(new Request("https://example.com/")).then(
    () => "",
    (error: Error) => error.message,
  );
  await eventually(() => calls === 1, "its handler runs");
  assertEquals(await (await handler(new Request("https://example.com/"))).text(), "answer");
  assertEquals(await hanging, "stopped", "its signal has aborted");
});

Deno.test("withCache(): the request whose handler takes longer than fillTimeout gets its own answer, run once", async () => {
  let calls = 0;
  const handler = withCache(async () => {
    calls++;
    await new Promise((resolve) => setTimeout(resolve, 150));
    return new Response("late", { headers: { "cache-control": "max-age=60" } });
  }, { store: memoryStore(), fillTimeout: 30 });
  assertEquals([await (await handler(new Request("https://example.com/"))).text(), calls], ["late", 1]);
});

Deno.test("withCache(): one inside the other on one store: equal options are one, others are a TypeError, another name is another cache", async () => {
  const store = memoryStore();
  const page = () => new Response("page", { headers: { "cache-control": "max-age=60" } });
  const ask = async (handler: (request: Request) => Promise<Response>) =>
    await (await handler(new Request("https://example.com/"))).text();
  assertEquals(await ask(withCache(withCache(page, { store, name: "a" }), { store, name: "a" })), "page");
  await assertRejects(() => ask(withCache(withCache(page, { store, ttl: "1m" }), { store })), TypeError);
  assertEquals(
    await ask(withCache(withCache(page, { store, name: "inner", ttl: "1m" }), { store, name: "b" })),
    "page",
  );
  const request = new Request("https://example.com/twice");
  const twice = withCache(page, { store, name: "c" });
  await (await twice(request)).text();
  assertMatch((await twice(request)).headers.get("cache-status") ?? "", /hit/);
});
