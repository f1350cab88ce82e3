/**
 * One small shop, once with the helpers of `./http` and once with Hono's, for every runtime. Its store tells which
 * transitions each request ran.
 */
import { Hono } from "hono";
import { type AtomicStore, createLocks, memoryStore } from "@holdfast/edge";
import {
  cache,
  idempotency,
  type IdempotencyVariables,
  lock,
  type LockVariables,
  session,
  type SessionVariables,
  throttle,
  type ThrottleVariables,
  webhook as webhookRoute,
} from "@holdfast/edge/hono";
import {
  type IdempotencyContext,
  withCache,
  withIdempotency,
  withLock,
  withSession,
  withThrottle,
} from "@holdfast/edge/http";
import { signedWebhook, webhook } from "@holdfast/edge/webhooks";

/** A handler as all runtimes call it in the end. */
export type Handler = (request: Request, context?: object) => Response | Promise<Response>;

/** Names of transitions, in their order. */
type Log = string[];

function recording(store: AtomicStore, log: Log): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return (path: string) => recording(target.namespace(path), log);
      const value = Reflect.get(target, name);
      if (name !== "transact") return typeof value === "function" ? value.bind(target) : value;
      return (...args: Parameters<AtomicStore["transact"]>) => {
        log.push(args[0].name);
        return target.transact(...args);
      };
    },
  });
}

/** A clock that stands still: fields that tell times are the same everywhere. */
const still = {
  now: () => 1_760_000_000_000,
  monotonic: () => 1000,
  sleep: () => new Promise<void>(() => {}),
};

/** A text whose type the handler says: without it, each runtime writes another one. */
function text(body: string): Response {
  return new Response(body, { headers: { "content-type": "text/plain; charset=UTF-8" } });
}

/** The routes, for every server. */
function work() {
  let [charges, renders] = [0, 0];
  let nothing: Response | undefined;
  const events: unknown[] = [];
  return {
    pay: async (request: Request, key: string | undefined) => {
      const { amount } = await request.json();
      return new Response(JSON.stringify({ charge: ++charges, amount, key }), {
        status: 201,
        headers: { "content-type": "application/json", "x-own": "kept" },
      });
    },
    stream: () => {
      const chunks = ["one ", "two ", `three ${++charges}`];
      return new Response(
        new ReadableStream<Uint8Array>({
          async pull(controller) {
            await new Promise((resolve) => setTimeout(resolve, 1));
            const chunk = chunks.shift();
            if (chunk === undefined) controller.close();
            else controller.enqueue(new TextEncoder().encode(chunk));
          },
        }),
        { headers: { "content-type": "text/plain" } },
      );
    },
    page: () =>
      new Response(`rendered ${++renders}`, {
        headers: {
          "content-type": "text/plain",
          "cache-control": "max-age=60",
          date: "Thu, 09 Oct 2025 08:53:20 GMT",
        },
      }),
    // A fetched response, whose headers cannot be changed.
    proxied: () => fetch("data:text/plain;charset=utf-8,from%20elsewhere"),
    // One object for every request.
    gone: () => nothing ??= new Response(null, { status: 410, headers: { "x-own": "kept" } }),
    // A text whose type only the runtime knows.
    plain: () => new Response("plain"),
    plainPage: () =>
      new Response("plain", {
        headers: { "cache-control": "max-age=60", date: "Thu, 09 Oct 2025 08:53:20 GMT" },
      }),
    // Bytes, with a field that an inner helper has set.
    bytes() {
      const response = new Response(new Uint8Array([65, 66]), {
        headers: { "content-type": "text/x-bytes" },
      });
      response.headers.set("x-own", "kept");
      return response;
    },
    receive: (event: unknown) => void events.push(event),
    events,
  };
}

const limits = { name: "api", limit: 2, window: "1m", key: () => "all" } as const;
const verify = signedWebhook({
  secret: "a secret",
  signature: "x-signature",
  id: (event) => (event as { id?: string }).id,
});

/** The shop on the helpers without a framework. */
export function plainShop(): Handler {
  const log: Log = [];
  const store = recording(memoryStore({ clock: still }), log);
  const { pay, stream, page, proxied, gone, plain, plainPage, bytes, receive, events } = work();
  // An answer that the application keeps, after an inner helper had it: @hono/node-server takes it again.
  let kept: Response | undefined;
  const counted = withThrottle(() => text("kept"), { ...limits, store, name: "kept" });
  const routes: Record<string, Handler> = {
    "/pay": withIdempotency(
      withThrottle<IdempotencyContext>(
        (request, { idempotency }) => pay(request, idempotency?.key),
        { ...limits, store, name: "pay", limit: 100 },
      ),
      { store, scope: "public" },
    ),
    "/stream": withIdempotency(stream, { store, scope: () => "someone" }),
    "/limited": withThrottle((_request, { throttle }) => text(`${throttle?.remaining} left`), {
      ...limits,
      store,
    }),
    "/failures": withThrottle(
      (request) => new Response(null, { status: Number(new URL(request.url).searchParams.get("status")) }),
      { ...limits, store, name: "failures", costAfter: ({ status }) => status === 401 ? 1 : 0 },
    ),
    "/locked": withLock((_request, { lock }) => text(`token ${lock.fencingToken}`), {
      store,
      key: (request) => new URL(request.url).searchParams.get("id") ?? "",
    }),
    "/visit": withSession(async (_request, { session }) => {
      return text(`visit ${await session.update("visits", (visits) => 1 + Number(visits ?? 0))}`);
    }, { store }),
    "/proxied": withSession(async (_request, { session }) => {
      session.set("proxied", true);
      return await proxied();
    }, { store }),
    "/proxied-limited": withThrottle(proxied, { ...limits, store, name: "proxied" }),
    "/proxied-cached": withCache(proxied, { store, clock: still }),
    "/gone": withSession((_request, { session }) => {
      session.set("gone", true);
      return gone();
    }, { store }),
    "/plain": withThrottle(
      withSession(async (_request, { session }) => {
        await session.get("visits");
        return plain();
      }, { store }),
      { ...limits, store, name: "plain" },
    ),
    "/plain-cached": withCache(plainPage, { store, clock: still }),
    "/plain-locked": withLock(plain, { store, key: () => "plain", until: "body" }),
    "/kept": withSession(async (request, context) => {
      context.session.set("kept", true);
      return kept ??= await counted(request, context);
    }, { store }),
    "/bytes": withThrottle(bytes, { ...limits, store, name: "bytes" }),
    "/page": withCache(page, { store, clock: still }),
    "/hook": webhook({ verify, store, name: "hook", handle: receive, clock: still }),
    "/hold": async (request) => {
      await createLocks(store).acquire(new URL(request.url).searchParams.get("id")!, { ttl: "1m" });
      return new Response();
    },
    "/log": () => Response.json({ log: log.splice(0), events }),
  };
  return async (request, context) =>
    await routes[new URL(request.url).pathname]?.(request, context) ?? new Response(null, { status: 404 });
}

/** The shop on Hono's helpers. */
export function honoShop(): Handler {
  const log: Log = [];
  const store = recording(memoryStore({ clock: still }), log);
  const { pay, stream, page, proxied, gone, plain, plainPage, bytes, receive, events } = work();
  const app = new Hono<
    { Variables: IdempotencyVariables & LockVariables & SessionVariables & ThrottleVariables }
  >();
  app.post(
    "/pay",
    idempotency({ store, scope: "public" }),
    throttle({ ...limits, store, name: "pay", limit: 100 }),
    (c) => pay(c.req.raw, c.var.idempotency.key),
  );
  app.post("/stream", idempotency({ store, scope: () => "someone" }), stream);
  app.get(
    "/limited",
    throttle({ ...limits, store }),
    (c) => text(`${c.var.throttle?.remaining} left`),
  );
  app.post(
    "/failures",
    throttle({ ...limits, store, name: "failures", costAfter: (c) => c.res.status === 401 ? 1 : 0 }),
    (c) => new Response(null, { status: Number(c.req.query("status")) }),
  );
  app.post(
    "/locked",
    lock({ store, key: (c) => c.req.query("id") ?? "" }),
    (c) => text(`token ${c.var.lock.fencingToken}`),
  );
  app.get("/visit", session({ store }), async (c) => {
    return text(`visit ${await c.var.session.update("visits", (visits) => 1 + Number(visits ?? 0))}`);
  });
  app.get("/proxied", session({ store }), (c) => {
    c.var.session.set("proxied", true);
    return proxied();
  });
  app.get("/proxied-limited", throttle({ ...limits, store, name: "proxied" }), proxied);
  app.get("/proxied-cached", cache({ store, clock: still }), proxied);
  app.get("/gone", session({ store }), (c) => {
    c.var.session.set("gone", true);
    return gone();
  });
  app.get("/plain", throttle({ ...limits, store, name: "plain" }), session({ store }), async (c) => {
    await c.var.session.get("visits");
    return plain();
  });
  app.get("/plain-cached", cache({ store, clock: still }), plainPage);
  app.get("/plain-locked", lock({ store, key: () => "plain", until: "body" }), plain);
  app.get("/bytes", throttle({ ...limits, store, name: "bytes" }), bytes);
  app.get("/page", cache({ store, clock: still }), page);
  app.on(
    ["GET", "POST"],
    "/hook",
    webhookRoute({ verify, store, name: "hook", handle: receive, clock: still }),
  );
  app.post("/hold", async (c) => {
    await createLocks(store).acquire(c.req.query("id")!, { ttl: "1m" });
    return new Response();
  });
  app.get("/log", () => Response.json({ log: log.splice(0), events }));
  return async (request, context) => await app.fetch(request, context);
}
