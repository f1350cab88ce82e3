/** The shop: each contract at work on real requests, as JSON and as one page. Runs wherever Hono does. */
import { Hono } from "hono";
import { z } from "zod";
import { type AtomicStore, createLocks, createSessions, HoldfastError } from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { memoryMailer, outbox } from "@holdfast/edge/mail";
import { idempotency, problem, session, type SessionVariables, throttle } from "@holdfast/edge/hono";
import { faultyStore } from "@holdfast/edge/testing";
import { page } from "./page.ts";

const PRODUCTS = [
  { id: "rope", name: "Climbing rope", price: 8900 },
  { id: "anchor", name: "Storm anchor", price: 24500 },
  { id: "lantern", name: "Deck lantern", price: 4200 },
];

const Products = z.array(z.object({ id: z.string(), name: z.string(), price: z.number().int() }));
const Visitor = z.object({ cart: z.array(z.string()).default([]) });

/** Options of the shop. */
export interface ShopOptions {
  /** The store of its state. */
  readonly store: AtomicStore;
  /**
   * Whether the session cookie needs HTTPS; off for plain-HTTP development.
   * @default {true}
   */
  readonly secureCookies?: boolean;
  /**
   * Whether visitors may unplug the store, to see what each contract does without it: on your own machine alone.
   * @default {false}
   */
  readonly unpluggable?: boolean;
}

/** The time limit of a call of the store, retries included: short, as a visitor waits. */
const timeout = "1s";

/** Makes the shop on a store. */
export function createShop(options: ShopOptions): Hono<{ Variables: SessionVariables<typeof Visitor> }> {
  const { secureCookies = true, unpluggable = false } = options;
  let unplugged = false;
  const store = unpluggable
    ? faultyStore(options.store, () => unplugged ? "lost-request" : undefined)
    : options.store;
  const sessionOptions = { schema: Visitor, timeout, cookie: { secure: secureCookies } } as const;
  const sessions = createSessions(store, sessionOptions);
  const locks = createLocks(store, { timeout });
  const mailbox = memoryMailer(); // a real shop has resendMailer(…) here
  const box = outbox(mailbox, store, { buckets: 2 });
  // The catalogue is read by every visitor and seldom changed: a cache stands before what would be a slow database.
  const database = store.namespace("database");
  // #region stampede
  const cache = createCache(store, { name: "shop" });
  const products = async () => {
    return await cache.get("products", async () => {
      await database.increment("asked");
      await new Promise((resolve) => setTimeout(resolve, 100));
      const prices = await database.get<Record<string, number>>("prices") ?? {};
      return PRODUCTS.map((product) => ({ ...product, price: prices[product.id] ?? product.price }));
    }, { ttl: "1h", tags: ["catalogue"], schema: Products });
  };
  // #endregion

  const app = new Hono<{ Variables: SessionVariables<typeof Visitor> }>();

  app.get("/", (c) => c.html(page({ engine: store.engine, unpluggable })));
  if (unpluggable) {
    // On the card of the store; it is no contract of the shop.
    app.post("/store/:state{unplugged|plugged}", (c) => {
      unplugged = c.req.param("state") === "unplugged";
      return c.json({ unplugged });
    });
  }
  app.use("/api/*", session({ store, ...sessionOptions }));

  app.get("/api/products", async (c) => c.json(await products()));
  app.get("/api/catalogue", async (c) => c.json({ asked: await database.get<number>("asked") ?? 0 }));
  app.post("/api/catalogue/forget", async (c) => {
    await cache.invalidateTags(["catalogue"]);
    return c.json({ forgotten: true });
  });
  app.post("/api/products/:product/dearer", async (c) => {
    const { product } = c.req.param();
    const before = (await products()).find(({ id }) => id === product);
    if (before === undefined) return c.json({ error: "no such product" }, 404);
    const prices = await database.get<Record<string, number>>("prices") ?? {};
    await database.set("prices", { ...prices, [product]: before.price + 100 });
    await cache.invalidateTags(["catalogue"]); // from here on every visitor, wherever served, sees the new price
    return c.json({ price: before.price + 100 });
  });

  app.get("/api/cart", async (c) => c.json({ cart: await c.var.session.get("cart") }));
  // #region cart
  app.post("/api/cart/:product", async (c) => {
    const product = c.req.param("product");
    const known = (await products()).some(({ id }) => id === product);
    if (!known) return c.json({ error: "no such product" }, 404);
    const cart = [...await c.var.session.get("cart"), product];
    c.var.session.set("cart", cart); // kept when the answer leaves
    return c.json({ cart }, 201);
  });
  // #endregion
  app.delete("/api/cart", (c) => {
    c.var.session.set("cart", []);
    return c.json({ cart: [] });
  });

  app.get("/api/me", async (c) => {
    const user = await c.var.session.userId();
    if (user === undefined) return c.json({ user: null, sessions: [] });
    const current = await c.var.session.handle();
    const list = await sessions.listSessions(user);
    return c.json({ user, sessions: list.map((entry) => ({ ...entry, current: entry.handle === current })) });
  });
  // #region account
  app.post("/api/login/:user", (c) => {
    c.var.session.login(c.req.param("user")); // another token; the cart comes along
    return c.json({ user: c.req.param("user") });
  });
  app.post("/api/logout-everywhere", async (c) => {
    const user = await c.var.session.userId();
    if (user === undefined) return c.json({ error: "not logged in" }, 401);
    c.var.session.revoke();
    return c.json({ ended: await sessions.revokeUser(user) });
  });
  // #endregion
  app.post("/api/logout", (c) => {
    c.var.session.revoke();
    return c.json({ user: null });
  });

  // #region mail
  const confirm = (charge: number, items: number) =>
    box.send({
      from: "The Holdfast shop <shop@example.com>",
      to: "customer@example.com",
      subject: `Order ${charge}`,
      text: `Thank you for ${items} items.`,
    }, { idempotencyKey: `order-${charge}` });
  // The call that a cron, an alarm or waitUntil would make.
  app.post("/api/outbox/drain", async (c) => c.json(await box.drain({ limit: 50 })));
  // #endregion

  /** Empties the cart and returns what was in it. */
  const checkOut = async (session: SessionVariables<typeof Visitor>["session"]) => {
    await new Promise((resolve) => setTimeout(resolve, 150)); // the bank takes its time
    const cart = await session.get("cart");
    const prices = new Map((await products()).map(({ id, price }) => [id, price]));
    if (cart.length > 0) session.set("cart", []);
    return { items: cart.length, total: cart.reduce((sum, id) => sum + (prices.get(id) ?? 0), 0) };
  };
  // #region pay
  // Guests without a session share one scope; the keys of a session are its own.
  const scope = async (c: { var: SessionVariables<typeof Visitor> }) =>
    await c.var.session.isNew() ? "guest" : `session:${await c.var.session.handle()}`;
  app.post("/api/pay", idempotency({ store, scope, timeout, wait: "5s" }), async (c) => {
    const { items, total } = await checkOut(c.var.session);
    const { value: charge } = await store.increment("charges");
    await confirm(charge, items);
    return c.json({ charge, total, items }, 201);
  });
  // #endregion
  app.get("/api/charges", async (c) => c.json({ charges: await store.get<number>("charges") ?? 0 }));

  app.get("/api/outbox", async (c) => {
    const waiting: { subject: string; state: string }[] = [];
    for await (const { id, state } of box.list()) {
      const message = await box.read(id);
      if (message) waiting.push({ subject: message.subject, state });
      if (waiting.length === 20) break;
    }
    return c.json({
      waiting,
      sent: mailbox.outbox.slice(-20).map(({ message: { subject } }) => ({ subject })),
    });
  });
  // #region flood
  app.get(
    "/api/flood",
    throttle({ store, name: "flood", limit: 5, window: "10s" }),
    (c) => c.json({ ok: true }),
  );
  // #endregion

  // #region race
  app.post("/api/race", async (c) => {
    const now = stopwatch();
    const run = (worker: number) =>
      locks.withLock("race", { ttl: "5s", wait: "10s" }, async ({ fencingToken }) => {
        const from = now();
        await new Promise((resolve) => setTimeout(resolve, 20)); // the work
        return { worker, fencingToken, from, to: now() };
      });
    const turns = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(run));
    return c.json({ turns: turns.sort((a, b) => a.fencingToken - b.fencingToken) });
  });
  // #endregion

  // Errors that no contract answers itself: an outage is a 503, a mistake of ours a 500.
  app.onError((error) => {
    if (error instanceof HoldfastError && error.retryable) return problem(503, "The store is away");
    throw error;
  });

  return app;
}

/** Whole milliseconds since now. */
function stopwatch(): () => number {
  const began = performance.now();
  return () => Math.round(performance.now() - began);
}
