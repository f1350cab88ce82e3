/** throttle() through real Hono: fields on every response, the client's address, faults of the store. */
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { type AtomicStore, createThrottle, HoldfastError, memoryStore, type Throttle } from "@holdfast/edge";
import {
  idempotency,
  type RateLimitHeaders,
  throttle,
  type ThrottleMiddlewareOptions,
  type ThrottleVariables,
} from "@holdfast/edge/hono";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertMatch, assertThrows } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

type Env = { Variables: ThrottleVariables };

/** A store whose time stands still: no unit comes back, and no window ends, while a busy machine works. */
const still = () => memoryStore({ clock: new ManualClock() });

function app(options: Partial<ThrottleMiddlewareOptions> = {}): Hono<Env> {
  const app = new Hono<Env>();
  const rule = options.policies === undefined ? { limit: 5, window: "1m" } : {};
  const defaults = { store: still(), name: "app", key: () => "k", ...rule };
  return app.use(throttle({ ...defaults, ...options } as ThrottleMiddlewareOptions));
}

/** A store whose transitions end as `transact` says, in every namespace. */
function failing(transact: () => Promise<never>): AtomicStore {
  return new Proxy(still(), {
    get(target, name) {
      if (name === "namespace") return () => failing(transact);
      return name === "transact" ? transact : Reflect.get(target, name);
    },
  });
}

/** A store in an outage: it does not answer, or says that it is down. */
function silent(how: "hang" | "error"): AtomicStore {
  const down = () => new HoldfastError("backend-unavailable", "Cannot reach the store", { retryable: true });
  return failing(() => how === "hang" ? new Promise(() => {}) : Promise.reject(down()));
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
    assertEquals(headers.get("ratelimit-policy"), '"app";q=100;w=60', path);
    assertMatch(headers.get("ratelimit")!, new RegExp(`^"app";r=${--left};t=1$`), path);
  }
});

Deno.test("throttle(): a thrown non-Error passes through, and its request was counted", async () => {
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
    "ratelimit": '"app";r=1;t=30',
    "ratelimit-policy": '"app";q=2;w=60',
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
  const mine = app({ policies } as Partial<ThrottleMiddlewareOptions>).get("/", (c) => c.text(""));
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

Deno.test("throttle(): the response to a blocked client says so", async () => {
  const store = still();
  const mine = app({ store }).get("/", (c) => c.text(""));
  await createThrottle(store, { name: "app", limit: 5, window: "1m" }).block("k", "1h");
  const denied = await mine.request("/");
  assertEquals([denied.status, denied.headers.get("retry-after")], [429, "3600"]);
  assertMatch((await denied.json()).type, /abnormal-usage-detected$/);
});

Deno.test("throttle(): policies and cost may depend on the request; no policy is no I/O", async () => {
  const policies = (c: { req: { header(name: string): string | undefined } }) =>
    c.req.header("plan") === "none"
      ? []
      : [{ limit: c.req.header("plan") === "paid" ? 100 : 2, window: "1m" }];
  const mine = app(
    { policies, cost: (c) => Number(c.req.header("cost") ?? 1) } as Partial<ThrottleMiddlewareOptions>,
  );
  mine.get("/", (c) => c.json(c.var.throttle?.remaining ?? null));
  const ask = async (headers: Record<string, string>) => {
    const response = await mine.request("/", { headers });
    return response.ok ? await response.json() : response.status;
  };
  assertEquals([await ask({}), await ask({}), await ask({})], [1, 0, 429]);
  assertEquals(await ask({ plan: "none" }), null);
  assertEquals(await ask({ plan: "paid", cost: "40" }) > 50, true);
});

Deno.test("throttle(): in an outage: allow, deny, throw, or the decision of a fallback throttle", async () => {
  for (const how of ["hang", "error"] as const) {
    const base = { store: silent(how), timeout: 20 };
    const faults: unknown[] = [];
    const serve = (options: Partial<ThrottleMiddlewareOptions>) => {
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
    assertEquals((await serve({ whenUnavailable: "deny" }).request("/")).status, 503, how);
    const code = how === "hang" ? "timeout" : "backend-unavailable";
    const thrown = await serve({ whenUnavailable: "throw" }).request("/");
    assertEquals([thrown.status, await thrown.text()], [500, code]);
    const fallback = createThrottle(still(), { name: "local", limit: 1, window: "1m" });
    const local = serve({ whenUnavailable: fallback });
    const [first, second] = [await local.request("/"), await local.request("/")];
    assertEquals([first.status, second.status], [200, 429], how);
    assertMatch(first.headers.get("ratelimit-policy")!, /^"local"/);
    assertEquals(faults.map((error) => (error as HoldfastError).code), Array(5).fill(code), how);
  }
});

const MISCONFIGURATIONS = [
  "unauthorized",
  "misconfigured",
  "quota-exceeded",
  "read-only",
  "unsupported",
] as const;

Deno.test("throttle(): a misconfigured store throws on the first request and is reported, with every whenUnavailable", async () => {
  for (const code of MISCONFIGURATIONS) {
    const fallback = createThrottle(still(), { name: "local", limit: 1, window: "1m" });
    for (const whenUnavailable of ["allow", "deny", "throw", fallback] as const) {
      const faults: unknown[] = [];
      const fault = new HoldfastError(code, "Cannot use the store as it refused: WRONGPASS");
      const mine = app({
        store: failing(() => Promise.reject(fault)),
        whenUnavailable,
        onFault(error) {
          faults.push(error);
          throw new Error("a listener that throws");
        },
      });
      mine.onError((error, c) => c.text(error.message, 500));
      const response = await mine.get("/", (c) => c.text("served")).request("/");
      assertEquals([response.status, await response.text()], [500, fault.message], code);
      assertEquals(faults, [fault], code);
    }
  }
});

Deno.test("throttle(): a fault that is neither an outage nor a setting is thrown and reported too", async () => {
  for (const fault of [new HoldfastError("corrupt-record", "Cannot read the record"), new Error("a bug")]) {
    const faults: unknown[] = [];
    const mine = app({ store: failing(() => Promise.reject(fault)), onFault: (error) => faults.push(error) });
    mine.onError((error, c) => c.text(error.message, 500));
    const response = await mine.get("/", (c) => c.text("served")).request("/");
    assertEquals([await response.text(), faults], [fault.message, [fault]]);
  }
});

Deno.test("throttle(): a store that is really down passes requests, or denies them if so chosen", async () => {
  const store = upstashStore({ url: "http://127.0.0.1:9", token: "t" });
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push((error as HoldfastError).code);
  const statuses: number[] = [];
  for (const whenUnavailable of ["allow", "deny"] as const) {
    const mine = app({ store, whenUnavailable, onFault }).get("/", (c) => c.text("served"));
    statuses.push((await mine.request("/")).status);
  }
  assertEquals([statuses, faults], [[200, 503], ["backend-unavailable", "backend-unavailable"]]);
});

Deno.test("throttle(): a login and an API on one store count for themselves", async () => {
  const store = still();
  const key = () => "ip:10.0.0.1";
  const mine = new Hono();
  mine.use(
    "/api/*",
    throttle({ store, name: "api", limit: 100, window: "1m", algorithm: "fixed-window", key }),
  );
  mine.use("/login", throttle({ store, name: "login", limit: 5, window: "15m", key }));
  mine.all("*", (c) => c.text("served"));
  for (let i = 0; i < 5; i++) assertEquals((await mine.request("/api/x")).status, 200);
  const logins = await Promise.all(Array.from({ length: 6 }, async () => await mine.request("/login")));
  assertEquals(logins.map(({ status }) => status), [200, 200, 200, 200, 200, 429]);
  assert(Number(logins[5]!.headers.get("retry-after")) <= 180, "15 minutes for 5: one every 3 minutes");
  assertMatch((await mine.request("/api/x")).headers.get("ratelimit")!, /^"api";r=94;t=\d+$/);
});

Deno.test("throttle(): the client's address is the connection's, by /64; X-Forwarded-For only behind proxies of one's own", async () => {
  const seen = async (env: unknown, headers: Record<string, string> = {}, trustedProxies = 0) => {
    const keys: string[] = [];
    const store = still();
    const spy = new Proxy(store, {
      get: (target, name) =>
        name === "namespace" ? () => spy : (...args: [{ name: string }, string]) => {
          if (name === "transact") keys.push(args[1]);
          return (Reflect.get(target, name) as (...args: unknown[]) => unknown).apply(target, args);
        },
    });
    const mine = new Hono().use(
      throttle({ store: spy, name: "app", limit: 5, window: "1m", trustedProxies }),
    );
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
    () => throttle({ store: still(), name: "app", limit: 1, window: "1s", trustedProxies: -1 }),
    RangeError,
  );
});

Deno.test("throttle(): without a client's address every request fails, and the error names what to do", async () => {
  for (
    const env of [undefined, { incoming: { socket: {} } }, { requestIP: () => null }, { remoteAddr: {} }]
  ) {
    const faults: unknown[] = [];
    const mine = app({ key: undefined, onFault: (error) => faults.push(error) });
    mine.onError((error, c) => c.text(error.message, 500));
    mine.get("/", (c) => c.text("served"));
    const response = await mine.request("/", { headers: { "x-forwarded-for": "1.2.3.4" } }, env);
    assertEquals(response.status, 500);
    assertMatch(await response.text(), /'key'.*'trustedProxies'/);
    assertEquals((faults[0] as HoldfastError).code, "misconfigured");
  }
});

Deno.test("throttle(): the connection is known by the runtime's request, although idempotency() replaced it", async () => {
  const statuses: number[] = [];
  const store = still();
  const mine = new Hono();
  mine.use(idempotency({ store, scope: "public" }));
  mine.use(throttle({ store, name: "app", limit: 1, window: "1m" }));
  mine.post("/", async (c) => c.text(await c.req.text()));
  for (const address of ["10.0.0.1", "10.0.0.2", "10.0.0.1"]) {
    const request = new Request("http://localhost/", {
      method: "POST",
      headers: { "idempotency-key": crypto.randomUUID() },
      body: "a body",
    });
    // Like Bun's: it knows the requests that it made itself.
    const server = { requestIP: (asked: Request) => asked === request ? { address } : null };
    statuses.push((await mine.fetch(request, server)).status);
  }
  assertEquals(statuses, [200, 200, 429]);
});

Deno.test("throttle(): a long key is hashed to a fixed length, and never collides with another", async () => {
  const mine = app({ limit: 1, key: (c) => c.req.header("key") }).get("/", (c) => c.text(""));
  const ask = async (key: string) => (await mine.request("/", { headers: { key } })).status;
  const long = "x".repeat(10_000);
  assertEquals([await ask(long), await ask(long), await ask(long + "y")], [200, 429, 200]);
  for (const key of [":", "*", "{}", "a:b", "%"]) assertEquals([key, await ask(key)], [key, 200]);
});

Deno.test("throttle(): an empty or ill-formed key is the client's fault, one that is no string the app's", async () => {
  const ask = async (key: unknown) => {
    const mine = app({ key: () => key as string }).get("/", (c) => c.text("served"));
    mine.onError((error, c) => c.text(String(error), 500));
    const response = await mine.request("/");
    return [
      response.status,
      response.status === 500 ? await response.text() : (await response.json()).detail,
    ];
  };
  for (const key of ["", "\ud800"]) {
    assertEquals(await ask(key), [400, "The key of the request is empty or not well-formed"]);
  }
  for (const key of [undefined, null, 7, {}]) {
    const [status, message] = await ask(key);
    assertEquals(status, 500);
    assertMatch(
      String(message),
      /^TypeError: Cannot throttle as 'key' must return a string: current type is/,
    );
  }
});

Deno.test("throttle(): a cost of 0 takes nothing; a cost that is no whole number is a 400, one that is no number an error", async () => {
  const faults: unknown[] = [];
  const ask = async (cost: unknown) => {
    const mine = app({ limit: 1, cost: () => cost as number, onFault: (error) => faults.push(error) });
    mine.onError((error, c) => c.text(String(error), 500));
    mine.get("/", (c) => c.text("served"));
    return [(await mine.request("/")).status, (await mine.request("/")).status];
  };
  assertEquals(await ask(0), [200, 200]);
  assertEquals(await ask(1), [200, 429]);
  for (const cost of [-1, NaN, 0.5, Infinity]) assertEquals(await ask(cost), [400, 400]);
  assertEquals(faults.length, 8);
  assert(faults.every((error) => error instanceof RangeError && /'cost'/.test(error.message)));
  for (const cost of [undefined, "1"]) assertEquals(await ask(cost), [500, 500]);
  assertThrows(() => app({ cost: -1 }), RangeError);
});

Deno.test("throttle(): the fields of the largest policy are structured fields, and so are those of another throttle", async () => {
  const largest = app({ limit: 1_000_000_000, window: "730d" }).get("/", (c) => c.text(""));
  const { headers } = await largest.request("/");
  assertEquals(headers.get("ratelimit-policy"), '"app";q=1000000000;w=63072000');
  assertThrows(() => app({ limit: 10 ** 15 }), RangeError);
  const state = {
    name: "caf\u00e9\n",
    limit: 1e15,
    window: 1e21,
    remaining: NaN,
    resetAfter: 1e30,
    nextAfter: 1e30,
  };
  const decision = { ...state, retryAfter: 0, allowed: true, blockedFor: 0, degraded: false };
  const foreign = { check: () => Promise.resolve({ ...decision, policies: [{ ...state, retryAfter: 0 }] }) };
  const whenUnavailable = { ...foreign, peek: foreign.check } as unknown as Throttle;
  const degraded = app({ store: silent("error"), whenUnavailable }).get("/", (c) => c.text(""));
  const fields = (await degraded.request("/")).headers;
  assertEquals(fields.get("ratelimit-policy"), '"caf??";q=999999999999999;w=999999999999999');
  assertEquals(fields.get("ratelimit"), '"caf??";r=0;t=999999999999999');
});

Deno.test("throttle(): policies that a request determines are checked, and the last 100 of them are kept", async () => {
  const policies = (c: { req: { query(name: string): string | undefined } }) => [
    { limit: Number(c.req.query("limit")), window: "1m" },
  ];
  const mine = app({ policies } as Partial<ThrottleMiddlewareOptions>).get("/", (c) => c.text(""));
  mine.onError((error, c) => c.text(String(error), 500));
  for (let limit = 1; limit <= 250; limit++) {
    assertEquals((await mine.request(`/?limit=${limit}`)).status, 200, `limit ${limit}`);
  }
  assertEquals((await mine.request("/?limit=1")).status, 429, "its counter does not go with its plan");
  assertMatch(await (await mine.request("/?limit=0")).text(), /^RangeError: .*'limit'/);
});

Deno.test("throttle(): invalid options fail when the app is made", () => {
  for (const bad of [{ limit: 0 }, { window: 0 }, { limit: 1.5 }, { burst: 0 }, { policies: [] }]) {
    assertThrows(() => app(bad as Partial<ThrottleMiddlewareOptions>), RangeError);
  }
  const rule = { limit: 1, window: "1m" };
  for (
    const bad of [
      { algorithm: "leaky" },
      { algorithm: "constructor" },
      { algorithm: "token-bucket" },
      { algorithm: "sliding-window", burst: 2 },
      { name: undefined },
      { name: "" },
      { name: "caf\u00e9" },
      { name: "x".repeat(65) },
      { headers: "draft-8" },
      { key: "ip" },
      { trustedProxies: 1 }, // beside the key of `app`
      { store: {} },
      { onError: "allow" },
      { reserve: 10 },
      { whenUnavailable: "closed" },
      { ...rule, policies: [rule] },
      { policies: "10/m" },
      { policies: [{ ...rule, algoritm: "gcra" }] },
    ]
  ) {
    assertThrows(() => app(bad as unknown as Partial<ThrottleMiddlewareOptions>), TypeError);
  }
  app({
    whenUnavailable: undefined,
    timeout: undefined,
    onFault: undefined,
    denyCache: undefined,
    clock: undefined,
  });
  app({
    key: () => "k",
    cost: undefined,
    headers: undefined,
    trustedProxies: undefined,
    algorithm: undefined,
  });
});

Deno.test("throttle(): an instance that a request passes twice counts it once per key", async () => {
  const store = still();
  const seen: (number | undefined)[] = [];
  let keys = () => "k";
  const mine = throttle({ store, name: "twice", limit: 3, window: "1h", key: () => keys() });
  const app = new Hono<Env>().use(mine);
  app.get("/", mine, (c) => {
    seen.push(c.var.throttle?.remaining);
    return c.text("served");
  });
  const statuses: number[] = [];
  for (let i = 0; i < 4; i++) statuses.push((await app.request("/")).status);
  assertEquals([statuses, seen], [[200, 200, 200, 429], [2, 1, 0]]);
  // Another key has a count of its own.
  let asked = 0;
  keys = () => `key ${asked++}`;
  await app.request("/");
  assertEquals(asked, 2);
  for (const key of ["key 0", "key 1"]) {
    const rule = { name: "twice", limit: 3, window: "1h" } as const;
    assertEquals((await createThrottle(store, rule).peek(key)).remaining, 2, key);
  }
});

Deno.test("throttle(): two instances on one request count each for itself", async () => {
  const rule = { store: still(), limit: 3, window: "1h", key: () => "k" } as const;
  const app = new Hono<Env>().use(throttle({ ...rule, name: "a" })).use(throttle({ ...rule, name: "b" }));
  app.get("/", (c) => c.text(String(c.var.throttle?.remaining)));
  const { headers } = await app.request("/");
  assertMatch(headers.get("ratelimit")!, /"b";r=2.*"a";r=2/);
});
