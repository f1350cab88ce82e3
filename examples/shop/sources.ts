/** Made of shop.ts by make_sources.ts: do not change it by hand. */
export const SOURCES: Readonly<Record<string, { first: number; last: number; code: string }>> = {
  "stampede": {
    "first": 54,
    "last": 62,
    "code": "const cache = createCache(store, { name: \"shop\" });\nconst products = async () => {\n  return await cache.get(\"products\", async () => {\n    await database.increment(\"asked\");\n    await new Promise((resolve) => setTimeout(resolve, 100));\n    const prices = await database.get<Record<string, number>>(\"prices\") ?? {};\n    return PRODUCTS.map((product) => ({ ...product, price: prices[product.id] ?? product.price }));\n  }, { ttl: \"1h\", tags: [\"catalogue\"], schema: Products });\n};"
  },
  "cart": {
    "first": 95,
    "last": 102,
    "code": "app.post(\"/api/cart/:product\", async (c) => {\n  const product = c.req.param(\"product\");\n  const known = (await products()).some(({ id }) => id === product);\n  if (!known) return c.json({ error: \"no such product\" }, 404);\n  const cart = [...await c.var.session.get(\"cart\"), product];\n  c.var.session.set(\"cart\", cart); // kept when the answer leaves\n  return c.json({ cart }, 201);\n});"
  },
  "account": {
    "first": 117,
    "last": 126,
    "code": "app.post(\"/api/login/:user\", (c) => {\n  c.var.session.login(c.req.param(\"user\")); // another token; the cart comes along\n  return c.json({ user: c.req.param(\"user\") });\n});\napp.post(\"/api/logout-everywhere\", async (c) => {\n  const user = await c.var.session.userId();\n  if (user === undefined) return c.json({ error: \"not logged in\" }, 401);\n  c.var.session.revoke();\n  return c.json({ ended: await sessions.revokeUser(user) });\n});"
  },
  "mail": {
    "first": 134,
    "last": 142,
    "code": "const confirm = (charge: number, items: number) =>\n  box.send({\n    from: \"The Holdfast shop <shop@example.com>\",\n    to: \"customer@example.com\",\n    subject: `Order ${charge}`,\n    text: `Thank you for ${items} items.`,\n  }, { idempotencyKey: `order-${charge}` });\n// The call that a cron, an alarm or waitUntil would make.\napp.post(\"/api/outbox/drain\", async (c) => c.json(await box.drain({ limit: 50 })));"
  },
  "pay": {
    "first": 154,
    "last": 162,
    "code": "// Guests without a session share one scope; the keys of a session are its own.\nconst scope = async (c: { var: SessionVariables<typeof Visitor> }) =>\n  await c.var.session.isNew() ? \"guest\" : `session:${await c.var.session.handle()}`;\napp.post(\"/api/pay\", idempotency({ store, scope, timeout, wait: \"5s\" }), async (c) => {\n  const { items, total } = await checkOut(c.var.session);\n  const { value: charge } = await store.increment(\"charges\");\n  await confirm(charge, items);\n  return c.json({ charge, total, items }, 201);\n});"
  },
  "flood": {
    "first": 179,
    "last": 183,
    "code": "app.get(\n  \"/api/flood\",\n  throttle({ store, name: \"flood\", limit: 5, window: \"10s\" }),\n  (c) => c.json({ ok: true }),\n);"
  },
  "race": {
    "first": 187,
    "last": 197,
    "code": "app.post(\"/api/race\", async (c) => {\n  const now = stopwatch();\n  const run = (worker: number) =>\n    locks.withLock(\"race\", { ttl: \"5s\", wait: \"10s\" }, async ({ fencingToken }) => {\n      const from = now();\n      await new Promise((resolve) => setTimeout(resolve, 20)); // the work\n      return { worker, fencingToken, from, to: now() };\n    });\n  const turns = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(run));\n  return c.json({ turns: turns.sort((a, b) => a.fencingToken - b.fencingToken) });\n});"
  }
};
