/**
 * Types that flow through Hono: a bare chain, sub-apps, a factory, the client of its RPC, callbacks of options, and a
 * second copy of Hono. Compiled by the tsc versions of `tests/types_test.ts`, never run.
 */
import { type Context, Hono } from "hono";
import { hc } from "hono/client";
import { createFactory } from "hono/factory";
import { Hono as OtherHono } from "hono-other";
import { z } from "zod";
import { memoryStore } from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import {
  cache,
  idempotency,
  lock,
  requireFresh,
  session,
  type SessionVariables,
  throttle,
  webhook,
} from "@holdfast/edge/hono";
import {
  withCache,
  withIdempotency,
  withLock,
  withSession,
  withThrottle,
} from "@holdfast/edge/http";
import { stripe, webhook as plainWebhook } from "@holdfast/edge/webhooks";

/** Fails to compile when `T` is `any`, which satisfies everything and proves nothing. */
type Real<T> = 0 extends 1 & T ? never : T;
const real = <T>(_value: Real<T>): void => {};

const store = memoryStore();
const Visitor = z.object({ cart: z.array(z.string()).default([]) });
const rule = { store, name: "api", limit: 100, window: "1m" } as const;
interface AppEnv {
  Bindings: { REGION: string; SECRET: string };
}

// A bare chain infers what each middleware hands on.
export const chain = new Hono()
  .use(session({ store, schema: Visitor }))
  .use(requireFresh("5m"))
  .use("/api/*", throttle(rule))
  .get("/cart", async (c) => {
    const cart = await c.var.session.get("cart");
    real<string[]>(cart);
    // @ts-expect-error a visitor has no such field
    await c.var.session.get("basket");
    return c.json({ cart });
  })
  .post(
    "/pay/:order",
    lock({ store, key: (c) => c.req.param("order") }),
    idempotency({ store, scope: "public" }),
    (c) => {
      const order: string = c.req.param("order");
      real(c.var.lock);
      const { key }: { key: string } = c.var.idempotency;
      const token: number = c.var.lock.fencingToken;
      // @ts-expect-error a fencing token is no text
      const wrong: string = c.var.lock.fencingToken;
      real<string[] | undefined>(
        undefined as
          | Awaited<ReturnType<typeof c.var.session.get<"cart">>>
          | undefined,
      );
      return c.json({ order, key, token, wrong });
    },
  )
  .get(
    "/left",
    throttle(rule),
    cache({ store }),
    (c) => c.json({ left: c.var.throttle?.remaining ?? 0 }),
  );

// Sub-apps, and the client of the RPC.
const admin = new Hono().use(session({ store, contextKey: "admin" })).get(
  "/me",
  async (c) => {
    const user: string | undefined = await c.var.admin.userId();
    // @ts-expect-error there is no other session
    void c.var.session;
    return c.json({ user: user ?? null });
  },
);
const whole = new Hono().route("/shop", chain).route("/admin", admin);
const client = hc<typeof whole>("https://shop.example");
export async function rpc(): Promise<void> {
  const { cart } = await (await client.shop.cart.$get()).json();
  real<string[]>(cart);
  const { user } = await (await client.admin.me.$get()).json();
  real<string | null>(user);
  const paid = await client.shop.pay[":order"].$post({
    param: { order: "17" },
  });
  const { token } = await paid.json();
  real<number>(token);
  // @ts-expect-error no such route
  await client.shop.basket.$get();
}

// A factory, and an app that declares its environment.
const factory = createFactory<AppEnv>();
export const handlers = factory.createHandlers(session({ store }), (c) => {
  real(c.var.session);
  real<string>(c.env.REGION);
  return c.text("");
});
export const made = factory.createApp().use(session({ store })).get(
  "/",
  (c) => {
    real(c.var.session);
    real<string>(c.env.REGION);
    return c.text("");
  },
);
export const declared = new Hono<
  AppEnv & { Variables: SessionVariables<typeof Visitor> }
>();
declared.use(session({ store, schema: Visitor }));
declared.get("/", async (c) => {
  real<string[]>(await c.var.session.get("cart"));
  return c.text("");
});

// Callbacks of options know the environment where it is given, by a type argument or at the parameter.
export const keyed = new Hono<AppEnv>()
  .use(throttle<AppEnv>({
    ...rule,
    key: (c) => {
      real<string>(c.env.REGION);
      // @ts-expect-error no such binding
      void c.env.ZONE;
      return c.env.REGION;
    },
    costAfter: (c) => c.res.status === 401 ? 1 : 0,
  }))
  .use(lock({ store, key: (c: Context<AppEnv>) => c.env.REGION }))
  .use(
    idempotency<AppEnv>({
      store: (c) => (void c.env.REGION.length, store),
      scope: (c) => c.env.REGION,
    }),
  )
  .use(
    session<typeof Visitor, AppEnv>({
      store: (c) => (void c.env.REGION.length, store),
      schema: Visitor,
    }),
  )
  .get("/", async (c) => {
    real<string>(c.env.REGION);
    real<string[]>(await c.var.session.get("cart"));
    real(c.var.throttle);
    real(c.var.lock);
    return c.text("");
  });
new Hono<AppEnv>().post(
  "/hooks",
  webhook<typeof Visitor, AppEnv>({
    verify: (message, c) => stripe({ secret: c.env.SECRET })(message),
    store,
    name: "stripe",
    schema: Visitor,
    handle(event, { context: c }) {
      real<string[]>(event.cart);
      real<string>(c.env.REGION);
    },
  }),
);

// Another copy of Hono, of another version, accepts every helper.
const other = new OtherHono()
  .use(session({ store }))
  .use("/api/*", throttle(rule), lock({ store, key: () => "a" }))
  .get("/", requireFresh("5m"), (c) => c.text(""));
other.post(
  "/pay/:order",
  idempotency({ store, scope: "public" }),
  (c) => c.text(c.req.param("order")),
);
other.post(
  "/hooks",
  webhook({
    verify: stripe({ secret: "a" }),
    store,
    name: "a",
    handle: () => {},
  }),
);

// Without a framework.
interface WorkerContext {
  readonly env: { readonly REGION: string };
  readonly ctx: { waitUntil(work: Promise<unknown>): void };
}
const limited = withThrottle<WorkerContext>((_request, { env, throttle }) => {
  real<string>(env.REGION);
  return Response.json({ left: throttle?.remaining });
}, { ...rule, key: (_request, { env }) => env.REGION });
limited(new Request("https://a.test/"), {
  env: { REGION: "eu" },
  ctx: { waitUntil() {} },
});
// @ts-expect-error what its handler needs must be there
limited(new Request("https://a.test/"), { ctx: { waitUntil() {} } });
export const composed: (request: Request) => Promise<Response> = withSession(
  withLock((_request, { lock }) => new Response(String(lock.fencingToken)), {
    store,
    key: () => "a",
  }),
  { store },
);
export const typed = withSession(async (_request, { session }) => {
  real<string[]>(await session.get("cart"));
  return new Response();
}, { store, schema: Visitor });
// A cache of responses is on a store, or is a cache that was made already.
export const responseCaches = [
  withCache(() => new Response(), { store, ttl: "1m" }),
  withCache(() => new Response(), { cache: createCache(store, { name: "a" }) }),
  cache({ cache: createCache(store, { name: "a" }) }),
];
export const refused = () => [
  // @ts-expect-error neither
  withCache(() => new Response(), {}),
  // @ts-expect-error neither, in Hono
  cache({}),
  // @ts-expect-error both
  cache({ store, cache: createCache(store, { name: "a" }) }),
];
export const claimed = withIdempotency((_request, { idempotency }) => {
  // @ts-expect-error a request without a key has no claim
  void idempotency.key;
  return new Response(idempotency?.key);
}, { store, scope: "public" });
export const received = plainWebhook({
  verify: stripe({ secret: "a" }),
  store,
  name: "a",
  schema: Visitor,
  handle(event) {
    real<string[]>(event.cart);
  },
});
