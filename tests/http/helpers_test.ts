/**
 * The helpers around plain fetch handlers: what Hono does not have, or does for them. What both share is in
 * `tests/hono` and `servers_test.ts`.
 */
import { type AtomicStore, createThrottle, HoldfastError, memoryStore } from "@holdfast/edge";
import { throttle } from "@holdfast/edge/hono";
import {
  clientAddress,
  type ClientAddressOptions,
  type SessionContext,
  withCache,
  withIdempotency,
  withLock,
  withSession,
  withThrottle,
} from "@holdfast/edge/http";
import { Hono } from "hono";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";

const url = "https://shop.example/";
const rule = { name: "api", limit: 3, window: "1h", key: () => "k" } as const;

function failing(code: "backend-unavailable" | "unauthorized"): AtomicStore {
  const fault = new HoldfastError(code, "Cannot use the store", {
    retryable: code === "backend-unavailable",
  });
  const store: AtomicStore = new Proxy(memoryStore(), {
    get(target, name) {
      if (name === "namespace") return () => store;
      return name === "transact" ? () => Promise.reject(fault) : Reflect.get(target, name);
    },
  });
  return store;
}

Deno.test("withX(): nested in any order, the handler gets the value of each helper", async () => {
  const store = memoryStore();
  const handler = withSession(
    withLock(
      withThrottle(
        // deno-lint-ignore no-explicit-any
        async (_request, context: any) => {
          await context.session.set("seen", true);
          return new Response(
            `${context.throttle.remaining} ${typeof context.lock.fencingToken} ${context.own}`,
          );
        },
        { ...rule, store },
      ),
      { store, key: () => "a" },
    ),
    { store },
  );
  const response = await handler(new Request(url), { own: "mine" });
  assertEquals(await response.text(), "2 number mine");
  assertMatch(response.headers.get("set-cookie")!, /^__Host-session=/);
  assertMatch(response.headers.get("ratelimit")!, /^"api";r=2/);
});

Deno.test("withX(): the handler sees a runtime's context with its methods and getters, at every depth of nesting", async () => {
  class Info {
    #address = "10.0.0.9";
    get remoteAddr() {
      return { hostname: this.#address };
    }
    method() {
      return this.#address;
    }
  }
  const store = memoryStore();
  const handler = withSession(
    withLock<Info & { session: unknown }>((_request, context) => {
      assert("lock" in context && "session" in context && "remoteAddr" in context && !("other" in context));
      return new Response(`${context.remoteAddr.hostname} ${context.method()} ${typeof context.session}`);
    }, { store, key: (_request, { remoteAddr }) => remoteAddr.hostname }),
    { store },
  );
  const response = await handler(new Request(url), new Info());
  assertEquals(await response.text(), "10.0.0.9 10.0.0.9 object");
});

Deno.test("withX(): a getter of a plain context is read by the handler alone", async () => {
  const context = Object.freeze({
    a: 1,
    get late(): string {
      throw new Error("read too early");
    },
    get lock(): undefined {
      return undefined;
    },
  });
  const store = memoryStore();
  const handler = withThrottle(
    // deno-lint-ignore no-explicit-any
    withLock((_request, seen: any) => {
      assertThrows(() => seen.late, Error);
      return new Response(`${seen.a} ${typeof seen.lock} ${typeof seen.throttle}`);
    }, { store, key: () => "a" }),
    { ...rule, store },
  );
  assertEquals(await (await handler(new Request(url), context)).text(), "1 object object");
});

Deno.test("withX(): an error of the handler is thrown on; the claim is free, the lock released, the quota used", async () => {
  const store = memoryStore();
  let fails = true;
  const handler = withIdempotency(
    withLock(
      withThrottle(() => {
        if (fails) throw new Error("out of order");
        return new Response("served");
      }, { ...rule, store }),
      { store, key: () => "a" },
    ),
    { store, scope: "public" },
  );
  const ask = () => handler(new Request(url, { method: "POST", headers: { "idempotency-key": '"a"' } }));
  const error = await assertRejects(ask);
  assertEquals(error.message, "out of order");
  fails = false;
  const response = await ask();
  assertEquals([response.status, await response.text()], [200, "served"]);
  assertMatch(response.headers.get("ratelimit")!, /r=1/);
});

Deno.test("withSession(): an outage of its store is a 503, also where the handler meets it; other errors are thrown on", async () => {
  for (const looks of [true, false]) {
    const handler = withSession(async (_request, { session }) => {
      if (looks) await session.get("a");
      else await session.set("a", 1);
      return new Response("served");
    }, { store: failing("backend-unavailable") });
    const cookie = `__Host-session=${"A".repeat(43)}`;
    assertEquals((await handler(new Request(url, { headers: { cookie } }))).status, 503, `looks: ${looks}`);
  }
  const own = withSession(() => {
    throw new HoldfastError("backend-unavailable", "another store", { retryable: true });
  }, { store: memoryStore() });
  assertEquals((await assertRejects(() => own(new Request(url)))).message, "another store");
});

Deno.test("withSession(): a handler that throws stores no data, but its revocations take effect", async () => {
  const store = memoryStore();
  let step: "set" | "revoke" | "look" = "set";
  const handler = withSession(async (_request, { session }) => {
    if (step === "set") await session.set("name", "ada");
    if (step === "revoke") {
      await session.set("name", "bob");
      session.revoke();
      throw new Error("out of order");
    }
    return new Response(String(await session.get("name")));
  }, { store });
  const first = await handler(new Request(url));
  const cookie = first.headers.get("set-cookie")!.split(";")[0]!;
  const ask = () => handler(new Request(url, { headers: { cookie } }));
  step = "look";
  assertEquals(await (await ask()).text(), "ada");
  step = "revoke";
  await assertRejects(ask);
  step = "look";
  assertEquals(await (await ask()).text(), "undefined");
});

Deno.test("withSession(): nested with equal options it is one; other options for the same cookie are an error", async () => {
  const store = memoryStore();
  const options = { store };
  const handler = withSession(
    withSession(async (_request, { session }) => {
      return new Response(String(await session.update("n", (n) => 1 + Number(n ?? 0))));
    }, options),
    options,
  );
  assertEquals(await (await handler(new Request(url))).text(), "1");
  const other = withSession(withSession(() => new Response(), { store, idleTimeout: "1h" }), { store });
  await assertRejects(() => other(new Request(url)), TypeError);
  const shared = withSession(
    withSession(() => new Response(), { store, contextKey: "admin", cookie: { name: "a" } }),
    { store, cookie: { name: "a" } },
  );
  await assertRejects(() => shared(new Request(url)), TypeError);
  const taken = withSession(() => new Response(), { store });
  await assertRejects(() => taken(new Request(url), { session: "mine" } as object), TypeError);
});

Deno.test("withX(): every helper keeps the runtime alive by the waitUntil of { env, ctx }", async () => {
  const store = memoryStore();
  const page = () => new Response("a", { headers: { "cache-control": "max-age=60" } });
  const handlers = {
    cache: withCache(page, { store }),
    lock: withLock(page, { store, key: () => "a" }),
    idempotency: withIdempotency(page, { store, scope: "public", methods: ["GET"] }),
  };
  for (const [name, handler] of Object.entries(handlers)) {
    const kept: Promise<unknown>[] = [];
    const ctx = { waitUntil: (work: Promise<unknown>) => void kept.push(work) };
    const request = new Request(url, { headers: { "idempotency-key": '"a"' } });
    await (await handler(request, { env: {}, ctx } as object)).text();
    assert(kept.length > 0, name);
    await Promise.all(kept);
  }
});

Deno.test("withX(): the same Request object, handed in again, is another request", async () => {
  const store = memoryStore();
  const seen: (number | undefined)[] = [];
  const handler = withSession(
    withThrottle<SessionContext>(async (_request, { session, throttle }) => {
      seen.push(throttle?.remaining);
      return new Response(String(await session.update("n", (n) => 1 + Number(n ?? 0))));
    }, { ...rule, store }),
    { store },
  );
  const request = new Request(url);
  for (const context of [undefined, { own: 1 }, new (class Info {})()]) {
    assertEquals(await (await handler(request, context)).text(), "1");
  }
  assertEquals(seen, [2, 1, 0]);
});

Deno.test("withLock(): several permits bound the concurrent requests, and the app answers the others", async () => {
  const store = memoryStore();
  let [live, most, refused] = [0, 0, 0];
  const gate = Promise.withResolvers<void>();
  const handler = withLock(async () => {
    most = Math.max(most, ++live);
    await gate.promise;
    live--;
    return new Response();
  }, { store, key: () => "reports", permits: 3, status: 503 });
  const answers = await Promise.all(Array.from({ length: 10 }, async () => {
    const answer = await handler(new Request(url));
    if (answer.status === 503 && ++refused === 7) gate.resolve();
    return answer;
  }));
  const statuses = answers.map(({ status }) => status).sort();
  assertEquals([statuses.filter((status) => status === 200).length, most], [3, 3]);
  assert(answers.filter(({ status }) => status === 503).every(({ headers }) => headers.has("retry-after")));
});

/** The handlers of both kinds for the same options. */
function both(
  options: { skip?: (request: Request) => boolean; costAfter?: (status: number) => number; limit?: number },
  status: () => number,
) {
  const { skip, costAfter, limit = 3 } = options;
  const stores = [memoryStore(), memoryStore()];
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const plain = withThrottle(() => new Response(null, { status: status() }), {
    ...rule,
    limit,
    store: stores[0]!,
    onFault,
    skip,
    costAfter: costAfter && ((response) => costAfter(response.status)),
  });
  const app = new Hono().use(throttle({
    ...rule,
    limit,
    store: stores[1]!,
    onFault,
    skip: skip && ((c) => skip(c.req.raw)),
    costAfter: costAfter && ((c) => costAfter(c.res.status)),
  })).all("*", (c) => c.body(null, status() as 200));
  const ask = async (headers: Record<string, string> = {}) => {
    const answers = await Promise.all([
      plain(new Request(url, { headers })),
      app.request(url, { headers }),
    ]);
    const seen = answers.map((response) => `${response.status} ${response.headers.get("ratelimit") ?? "-"}`);
    assertEquals(seen[0], seen[1]);
    return seen[0]!.replace(/;t=\d+/, "");
  };
  return { ask, faults, stores };
}

Deno.test("throttles count after the answer: only failures", async () => {
  let status = 200;
  const { ask } = both({ costAfter: (status) => status === 401 ? 1 : 0 }, () => status);
  for (let i = 0; i < 5; i++) assertEquals(await ask(), '200 "api";r=3');
  status = 401;
  assertEquals([await ask(), await ask(), await ask()], ['401 "api";r=2', '401 "api";r=1', '401 "api";r=0']);
  status = 200;
  assertEquals(await ask(), '429 "api";r=0', "also the right password has to wait");
});

Deno.test("throttles count after the answer: a crowd of parallel failures gets no further than one at a time", async () => {
  let [tries, refused] = [0, 0];
  const gate = Promise.withResolvers<void>();
  const handler = withThrottle(async () => {
    tries++;
    await gate.promise;
    return new Response(null, { status: 401 });
  }, { ...rule, store: memoryStore(), costAfter: ({ status }) => status === 401 ? 1 : 0 });
  const answers = await Promise.all(Array.from({ length: 50 }, async () => {
    const answer = await handler(new Request(url));
    if (answer.status === 429 && ++refused === 47) gate.resolve();
    return answer;
  }));
  assertEquals([tries, answers.filter(({ status }) => status === 429).length], [3, 47]);
});

Deno.test("throttles count after the answer: by weight, as far as units are left; a number that is no cost is told", async () => {
  let weight = 4;
  const { ask, faults } = both({ limit: 10, costAfter: () => weight }, () => 200);
  assertEquals([await ask(), await ask()], ['200 "api";r=6', '200 "api";r=2']);
  assertEquals(await ask(), '200 "api";r=0', "the work is done: what is left is taken");
  assertEquals(await ask(), '429 "api";r=0');
  weight = NaN;
  const other = both({ costAfter: () => weight }, () => 200);
  assertEquals([await other.ask(), other.faults.length, faults.length], ['200 "api";r=2', 2, 0]);
  const failure = new Error("the application's own");
  const failing = both({
    costAfter: () => {
      throw failure;
    },
  }, () => 200);
  assertEquals([await failing.ask(), failing.faults], ['200 "api";r=2', [failure, failure]]);
});

Deno.test("throttles let skipped requests pass, without a request to the store", async () => {
  const { ask, stores } = both({ skip: (request) => request.headers.has("health") }, () => 200);
  for (let i = 0; i < 5; i++) assertEquals(await ask({ health: "1" }), "200 -");
  assertEquals(await ask(), '200 "api";r=2');
  for (const store of stores) {
    assertEquals(
      (await createThrottle(store, { name: "api", limit: 3, window: "1h" }).peek("k")).remaining,
      2,
    );
  }
});

Deno.test("clientAddress(): reads the address where each platform puts it, and nowhere else", () => {
  const claims = {
    "cf-connecting-ip": "10.0.0.1",
    "x-real-ip": "10.0.0.2",
    "x-nf-client-connection-ip": "10.0.0.3",
    "fly-client-ip": "10.0.0.4",
    "x-forwarded-for": "6.6.6.6, 10.0.0.5",
  };
  const connection = {
    remoteAddr: { hostname: "10.0.0.6" },
    incoming: { socket: { remoteAddress: "10.0.0.7" } },
    requestIP: () => ({ address: "10.0.0.8" }),
    requestContext: { http: { sourceIp: "10.0.0.9" } },
  };
  const ask = (options: ClientAddressOptions, from: unknown = connection, headers: HeadersInit = claims) =>
    clientAddress(new Request(url, { headers }), from, options);
  const platforms = ["cloudflare", "vercel", "netlify", "fly", "deno", "node", "bun", "aws-lambda"] as const;
  assertEquals(platforms.map((platform) => ask({ platform })), [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.6",
    "10.0.0.7",
    "10.0.0.8",
    "10.0.0.9",
  ]);
  for (const platform of platforms) assertEquals(ask({ platform }, {}, {}), undefined, platform);
  assertEquals(ask({}), "10.0.0.6");
  assertEquals(ask({}, { getClientAddress: () => "10.0.1.1" }), "10.0.1.1", "SvelteKit's event");
  assertEquals(ask({}, { clientAddress: "10.0.1.2" }), "10.0.1.2", "Astro's context");
  const used = { requestIP: "10.0.1.3", getClientAddress: "10.0.1.4", clientAddress: "10.0.1.5" };
  assertEquals(ask({}, used), "10.0.1.5", "members of those names that are no functions");
  assertEquals(ask({}, null), undefined);
  assertEquals(ask({ trustedProxies: 1 }), "10.0.0.5");
  assertEquals(
    ask({ platform: "aws-lambda" }, { event: { requestContext: { identity: { sourceIp: "::1" } } } }),
    "0:0:0:0::/64",
  );
  for (const bad of [{ platform: "heroku" }, { platform: "fly", trustedProxies: 1 }, { proxies: 1 }]) {
    assertThrows(() => ask(bad as ClientAddressOptions), TypeError);
  }
});

Deno.test("clientAddress(): an IPv6 client is a prefix, whose length is an option", () => {
  const ask = (address: string, ipv6Prefix?: number) =>
    clientAddress(new Request(url), { remoteAddr: { hostname: address } }, { ipv6Prefix });
  const full = "2001:0db8:abcd:1234:5678:9abc:def0:0001";
  assertEquals(ask(full), "2001:db8:abcd:1234::/64");
  assertEquals(ask(full, 48), "2001:db8:abcd::/48");
  assertEquals(ask(full, 56), "2001:db8:abcd:1200::/56");
  assertEquals(ask(full, 127), "2001:db8:abcd:1234:5678:9abc:def0:0/127");
  assertEquals(ask(full, 128), "2001:db8:abcd:1234:5678:9abc:def0:1/128");
  assertEquals(ask("2001:db8::1", 64), ask("2001:db8:0:0:ffff::2", 64));
  assertEquals(ask("::ffff:10.0.0.1", 64), "10.0.0.1");
  assertEquals(ask("10.0.0.1", 8), "10.0.0.1", "IPv4 is never cut");
  for (const bad of [0, 129, 1.5]) assertThrows(() => ask(full, bad), RangeError);
});

Deno.test("withThrottle(): without an address every request fails, and the fault is told once", async () => {
  const faults: unknown[] = [];
  let served = 0;
  const handler = withThrottle(() => (served++, new Response()), {
    store: memoryStore(),
    name: "api",
    limit: 1,
    window: "1m",
    onFault: (error) => void faults.push(error),
  });
  for (let i = 0; i < 3; i++) {
    const error = await assertRejects(() => handler(new Request(url)), HoldfastError);
    assertMatch(error.message, /'key'.*'platform'.*'trustedProxies'/);
  }
  assertEquals([served, faults.length, (faults[0] as HoldfastError).code], [0, 1, "misconfigured"]);
});

Deno.test("withX(): an invalid handler and invalid options fail when the app is made", () => {
  const store = memoryStore();
  const handler = () => new Response();
  const none = undefined as never;
  assertThrows(() => withLock(none, { store, key: () => "a" }), TypeError);
  assertThrows(() => withSession(none, { store }), TypeError);
  assertThrows(() => withThrottle(none, { ...rule, store }), TypeError);
  assertThrows(() => withIdempotency(none, { store, scope: "public" }), TypeError);
  assertThrows(() => withThrottle(handler, { ...rule, store, platform: "fly" }), TypeError);
  assertThrows(() => withThrottle(handler, { ...rule, key: undefined, store, ipv6Prefix: 0 }), RangeError);
  assertThrows(() => withThrottle(handler, { ...rule, store, costAfter: 1 as never }), TypeError);
  assertThrows(() => withLock(handler, { store, key: () => "a", status: 418 as never }), TypeError);
  assertThrows(() => withLock(handler, { store, key: () => "a", waitUntil: 1 as never }), TypeError);
  assertThrows(() => withSession(handler, none), TypeError);
});
