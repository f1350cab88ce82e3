/** throttle() through real Hono: fields on every response, who is counted, what happens without a store. */
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { type AtomicStore, createThrottle, HoldfastError, memoryStore } from "@holdfast/edge";
import {
  type RateLimitHeaders,
  throttle,
  type ThrottleOptions,
  type ThrottleVariables,
} from "@holdfast/edge/hono";
import { assert, assertEquals, assertMatch, assertThrows } from "../support/assert.ts";

type Env = { Variables: ThrottleVariables };

function app(options: Partial<ThrottleOptions> = {}): Hono<Env> {
  const app = new Hono<Env>();
  const defaults = { store: memoryStore(), limit: 5, window: "1m", key: () => "k" } as const;
  return app.use(throttle({ ...defaults, ...options } as ThrottleOptions));
}

/** A store that does not answer: it hangs, or says that it is down. */
function silent(how: "hang" | "error"): AtomicStore {
  return new Proxy(memoryStore(), {
    get(target, name) {
      if (name === "namespace") return () => silent(how);
      if (name !== "transact") return Reflect.get(target, name);
      return () =>
        how === "hang" ? new Promise(() => {}) : Promise.reject(
          new HoldfastError("backend-unavailable", "Cannot reach the store", { retryable: true }),
        );
    },
  });
}

Deno.test("throttle(): the fields are on every kind of response, also when the handler threw", async () => {
  const mine = app({ limit: 100 });
  mine.onError((error, c) => error instanceof HTTPException ? error.getResponse() : c.text("broken", 500));
  mine.get("/text", (c) => c.text("hello"));
  mine.get("/raw", () => new Response("raw"));
  mine.get("/fetched", () => {
    const response = new Response("immutable");
    return Object.defineProperty(response, "headers", { value: Response.redirect("http://a.b/").headers });
  });
  mine.get("/moved", () => Response.redirect("http://localhost/there"));
  mine.get("/204", (c) => c.body(null, 204));
  mine.get("/stream", () => new Response(new ReadableStream({ start: (c) => c.close() })));
  mine.get("/throws", () => {
    throw new Error("no");
  });
  mine.get("/http", () => {
    throw new HTTPException(418, { message: "teapot" });
  });
  mine.get("/prepared", () => {
    throw new HTTPException(403, { res: Response.redirect("http://localhost/login") });
  });
  const inner = new Hono().get("/throws", () => {
    throw new Error("no");
  });
  inner.onError((_error, c) => c.text("inner", 502));
  mine.route("/inner", inner);
  let left = 100;
  const paths = [
    "/text",
    "/raw",
    "/fetched",
    "/moved",
    "/204",
    "/stream",
    "/throws",
    "/http",
    "/prepared",
    "/missing",
    "/inner/throws",
  ];
  for (const path of paths) {
    const { headers } = await mine.request(path);
    assertEquals(headers.get("ratelimit-policy"), '"default";q=100;w=60', path);
    assertMatch(headers.get("ratelimit")!, new RegExp(`^"default";r=${--left};t=1$`), path);
  }
});

Deno.test("throttle(): what is thrown but no Error goes through, and was counted", async () => {
  const mine = app({ limit: 1 }).get("/", () => {
    throw "no error at all";
  });
  assertEquals(await Promise.resolve(mine.request("/")).catch((thrown) => thrown), "no error at all");
  assertEquals((await mine.request("/")).status, 429);
});

Deno.test("throttle(): the fields of each draft", async () => {
  const fields = async (headers: RateLimitHeaders) => {
    const mine = app({ headers, limit: 2 }).get("/", (c) => c.text(""));
    const all = [...(await mine.request("/")).headers];
    return Object.fromEntries(all.filter(([name]) => name.includes("ratelimit")));
  };
  assertEquals(await fields("draft-11"), {
    "ratelimit": '"default";r=1;t=30',
    "ratelimit-policy": '"default";q=2;w=60',
  });
  assertEquals(await fields("draft-7"), {
    "ratelimit": "limit=2, remaining=1, reset=30",
    "ratelimit-policy": "2;w=60",
  });
  assertEquals(await fields("draft-6"), {
    "ratelimit-limit": "2",
    "ratelimit-policy": "2;w=60",
    "ratelimit-remaining": "1",
    "ratelimit-reset": "30",
  });
  assertEquals(await fields("legacy"), {
    "x-ratelimit-limit": "2",
    "x-ratelimit-remaining": "1",
    "x-ratelimit-reset": "30",
  });
  assertEquals(await fields("none"), {});
});

Deno.test("throttle(): a denial is problem+json that names the policies, with a time to come back where there is one", async () => {
  const policies = [
    { name: "burst", limit: 5, window: "1s" },
    { name: 'a"day', limit: 2, window: "1d", algorithm: "fixed-window" },
    { name: "fine", limit: 3, window: 300 },
  ] as const;
  const mine = app({ policies } as Partial<ThrottleOptions>).get("/", (c) => c.text(""));
  await mine.request("/");
  await mine.request("/");
  const denied = await mine.request("/");
  assertEquals([denied.status, denied.headers.get("content-type")], [429, "application/problem+json"]);
  assertMatch(
    denied.headers.get("ratelimit-policy")!,
    /^"burst";q=5;w=1, "a\\"day";q=2;w=86400, "fine";q=3$/,
  );
  assertMatch(denied.headers.get("ratelimit")!, /, "a\\"day";r=0;t=\d+, /);
  const body = await denied.json();
  assertEquals([body.status, body["violated-policies"]], [429, ['a"day']]);
  assert(Number(denied.headers.get("retry-after")) >= 1);
  const costly = app({ cost: 6 }).get("/", (c) => c.text(""));
  const never = await costly.request("/");
  assertEquals([never.status, never.headers.get("retry-after")], [429, null]);
  assertMatch((await never.json()).detail, /more than is ever available/);
});

Deno.test("throttle(): a blocked client is told so", async () => {
  const store = memoryStore();
  const mine = app({ store }).get("/", (c) => c.text(""));
  await createThrottle(store, { limit: 5, window: "1m" }).block("k", "1h");
  const denied = await mine.request("/");
  assertEquals([denied.status, denied.headers.get("retry-after")], [429, "3600"]);
  assertMatch((await denied.json()).type, /abnormal-usage-detected$/);
});

Deno.test("throttle(): policies and cost may depend on the request; no policy is no I/O", async () => {
  const policies = (c: { req: { header(name: string): string | undefined } }) =>
    c.req.header("plan") === "none"
      ? []
      : [{ limit: c.req.header("plan") === "paid" ? 100 : 2, window: "1m" }];
  const mine = app({ policies, cost: (c) => Number(c.req.header("cost") ?? 1) } as Partial<ThrottleOptions>);
  mine.get("/", (c) => c.json(c.var.throttle?.remaining ?? null));
  const ask = async (headers: Record<string, string>) => {
    const response = await mine.request("/", { headers });
    return response.ok ? await response.json() : response.status;
  };
  assertEquals([await ask({}), await ask({}), await ask({})], [1, 0, 429]);
  assertEquals(await ask({ plan: "none" }), null);
  assertEquals(await ask({ plan: "paid", cost: "40" }) > 50, true);
});

Deno.test("throttle(): hang and error are the same: allow, deny, throw, or what another throttle says", async () => {
  for (const how of ["hang", "error"] as const) {
    const base = { store: silent(how), timeout: 20 };
    const faults: unknown[] = [];
    const serve = (options: Partial<ThrottleOptions>) => {
      const mine = app({ ...base, onFault: (error) => faults.push(error), ...options });
      mine.onError((error, c) => c.text(error instanceof HoldfastError ? error.code : "?", 500));
      return mine.get("/", (c) => c.json(c.var.throttle?.degraded));
    };
    const allowed = await serve({}).request("/");
    assertEquals(
      [allowed.status, await allowed.json(), allowed.headers.get("ratelimit")],
      [200, true, null],
      how,
    );
    assertEquals((await serve({ onError: "deny" }).request("/")).status, 503, how);
    const thrown = await serve({ onError: "throw" }).request("/");
    assertEquals([thrown.status, await thrown.text()], [
      500,
      how === "hang" ? "timeout" : "backend-unavailable",
    ]);
    const fallback = createThrottle(memoryStore(), { limit: 1, window: "1m", name: "local" });
    const local = serve({ onError: fallback });
    const [first, second] = [await local.request("/"), await local.request("/")];
    assertEquals([first.status, second.status], [200, 429], how);
    assertMatch(first.headers.get("ratelimit-policy")!, /^"local"/);
    assertEquals(faults.length, 4, "all but the thrown one are reported");
  }
});

Deno.test("throttle(): who is counted: the connection, by /64; X-Forwarded-For only behind proxies of one's own", async () => {
  const seen = async (env: unknown, headers: Record<string, string> = {}, trustedProxies = 0) => {
    const keys: string[] = [];
    const store = memoryStore();
    const spy = new Proxy(store, {
      get: (target, name) =>
        name === "namespace" ? () => spy : (...args: [{ name: string }, string]) => {
          if (name === "transact") keys.push(args[1]);
          return (Reflect.get(target, name) as (...args: unknown[]) => unknown).apply(target, args);
        },
    });
    const mine = new Hono().use(throttle({ store: spy, limit: 5, window: "1m", trustedProxies }));
    await mine.request("/", { headers }, env as Record<string, unknown>);
    return keys[0];
  };
  const deno = (hostname: string) => ({ remoteAddr: { hostname, port: 1, transport: "tcp" } });
  assertEquals(await seen(deno("10.0.0.1")), "ip:10.0.0.1");
  assertEquals(await seen({ info: deno("10.0.0.1") }), "ip:10.0.0.1");
  assertEquals(await seen({ incoming: { socket: { remoteAddress: "::ffff:10.0.0.1" } } }), "ip:10.0.0.1");
  assertEquals(await seen({ requestIP: () => ({ address: "10.0.0.1", family: "IPv4" }) }), "ip:10.0.0.1");
  assertEquals(await seen({ server: { requestIP: () => ({ address: "::1" }) } }), "ip:0:0:0:0::/64");
  assertEquals(await seen(deno("0:0:0:0:0:ffff:0a00:0001")), "ip:10.0.0.1");
  assertEquals(await seen(deno("2001:0DB8:0:1:2:3:4:5%eth0")), "ip:2001:db8:0:1::/64");
  assertEquals(await seen(undefined), "unknown");
  const claims = { "x-forwarded-for": "6.6.6.6, 1.2.3.4", "cf-connecting-ip": "6.6.6.6" };
  assertEquals(await seen(deno("10.0.0.1"), claims), "ip:10.0.0.1");
  assertEquals(await seen(deno("10.0.0.1"), claims, 1), "ip:1.2.3.4");
  assertEquals(
    await seen(deno("10.0.0.1"), { "x-forwarded-for": "[2001:db8::1]:443" }, 1),
    "ip:2001:db8:0:0::/64",
  );
  assertEquals(await seen(deno("10.0.0.1"), { "x-forwarded-for": "1.2.3.4:80" }, 1), "ip:1.2.3.4");
  assertEquals(await seen(deno("10.0.0.1"), claims, 3), "ip:10.0.0.1", "it did not come through three");
  assertThrows(
    () => throttle({ store: memoryStore(), limit: 1, window: "1s", trustedProxies: -1 }),
    RangeError,
  );
});

Deno.test("throttle(): a client's own long key is one of a fixed length, and never another's", async () => {
  const mine = new Hono().use(
    throttle({ store: memoryStore(), limit: 1, window: "1m", key: (c) => c.req.header("key")! }),
  ).get("/", (c) => c.text(""));
  const ask = async (key: string) => (await mine.request("/", { headers: { key } })).status;
  const long = "x".repeat(10_000);
  assertEquals([await ask(long), await ask(long), await ask(long + "y")], [200, 429, 200]);
  for (const key of [":", "*", "{}", "a:b", "%"]) assertEquals([key, await ask(key)], [key, 200]);
});

Deno.test("throttle(): a policy that is none fails when the app is made", () => {
  for (
    const bad of [{ limit: 0 }, { window: 0 }, { limit: 1.5 }, { burst: 0 }, { reserve: 6 }, { policies: [] }]
  ) {
    assertThrows(() => app(bad as Partial<ThrottleOptions>), RangeError);
  }
  assertThrows(() => app({ algorithm: "leaky" } as unknown as ThrottleOptions), TypeError);
});
