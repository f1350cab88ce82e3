/**
 * The claims of the shop's page and its curl lines, over real HTTP: as data, for every engine the shop runs
 * on.
 */
import { assert, assertEquals, assertMatch, assertStrictEquals } from "../support/assert.ts";

/** A browser as far as the shop is concerned: it keeps one cookie. */
class Visitor {
  cookie = "";
  readonly #base: string;

  constructor(base: string) {
    this.#base = base;
  }

  async send(method: string, path: string, headers: Record<string, string> = {}): Promise<Response> {
    const init = { method, headers: { ...headers, ...(this.cookie && { cookie: this.cookie }) } };
    const response = await fetch(this.#base + path, init);
    const cookie = response.headers.get("set-cookie")?.split(";")[0];
    if (cookie !== undefined) this.cookie = cookie;
    return response;
  }

  // deno-lint-ignore no-explicit-any
  async json(method: string, path: string): Promise<any> {
    return await (await this.send(method, path)).json();
  }
}

/** Drives an empty shop with as many visitors as it makes. */
type ShopTest = (visitor: () => Visitor) => Promise<void>;

/** Runs one on the shop at an address. */
export function visit(url: string, run: ShopTest): Promise<void> {
  return run(() => new Visitor(url));
}

export const shopTests: readonly (readonly [string, ShopTest])[] = [
  ["serves its page, and a visitor who only looks gets no cookie", async (visitor) => {
    const response = await visitor().send("GET", "/");
    assertMatch(response.headers.get("content-type") ?? "", /^text\/html/);
    assertMatch(await response.text(), /<html lang="en">/);
    const products = await visitor().send("GET", "/api/products");
    assertEquals((await products.json()).length, 3);
    assertStrictEquals(products.headers.get("set-cookie"), null);
  }],

  [
    "fifty requests for a forgotten catalogue ask the database once, and a new price is seen at once",
    async (visitor) => {
      const ada = visitor();
      await ada.json("POST", "/api/catalogue/forget");
      const before = (await ada.json("GET", "/api/catalogue")).asked;
      const lists = await Promise.all(
        Array.from({ length: 50 }, () => visitor().json("GET", "/api/products")),
      );
      assertEquals((await ada.json("GET", "/api/catalogue")).asked - before, 1);
      const priceOf = (list: { id: string; price: number }[]) => list.find(({ id }) => id === "rope")!.price;
      const { price } = await ada.json("POST", "/api/products/rope/dearer");
      assertEquals([price, priceOf(await visitor().json("GET", "/api/products"))], [
        priceOf(lists[0]) + 100,
        price,
      ]);
    },
  ],

  ["a cart survives a reload and belongs to its session", async (visitor) => {
    const ada = visitor();
    await ada.json("POST", "/api/cart/rope");
    await ada.json("POST", "/api/cart/anchor");
    assertEquals(await ada.json("GET", "/api/cart"), { cart: ["rope", "anchor"] });
    assertEquals(await visitor().json("GET", "/api/cart"), { cart: [] });
    const unknown = await ada.send("POST", "/api/cart/unicorn");
    assertStrictEquals(unknown.status, 404);
    await unknown.body?.cancel();
    assertEquals(await ada.json("DELETE", "/api/cart"), { cart: [] });
    assertEquals(await ada.json("GET", "/api/cart"), { cart: [] });
  }],

  ["logging in changes the token and keeps the cart", async (visitor) => {
    const ada = visitor();
    await ada.json("POST", "/api/cart/rope");
    const before = ada.cookie;
    await ada.json("POST", "/api/login/ada");
    assert(ada.cookie !== before, "the token must change");
    assertEquals(await ada.json("GET", "/api/cart"), { cart: ["rope"] });
    const thief = visitor();
    thief.cookie = before;
    assertEquals(await thief.json("GET", "/api/me"), { user: null, sessions: [] });
  }],

  ["logging out everywhere ends every session of the user, and no one else's", async (visitor) => {
    const [laptop, phone, grace] = [visitor(), visitor(), visitor()];
    await laptop.json("POST", "/api/login/ada");
    await phone.json("POST", "/api/login/ada");
    await grace.json("POST", "/api/login/grace");
    const { sessions } = await laptop.json("GET", "/api/me");
    assertEquals(sessions.map(({ current }: { current: boolean }) => current).sort(), [false, true]);
    assertEquals(await laptop.json("POST", "/api/logout-everywhere"), { ended: 2 });
    assertStrictEquals((await laptop.json("GET", "/api/me")).user, null);
    assertStrictEquals((await phone.json("GET", "/api/me")).user, null);
    assertStrictEquals((await grace.json("GET", "/api/me")).user, "grace");
  }],

  ["logging out ends one session, also for a copy of its cookie", async (visitor) => {
    const [laptop, phone] = [visitor(), visitor()];
    await laptop.json("POST", "/api/login/ada");
    await phone.json("POST", "/api/login/ada");
    const kept = laptop.cookie;
    await laptop.json("POST", "/api/logout");
    laptop.cookie = kept;
    assertStrictEquals((await laptop.json("GET", "/api/me")).user, null);
    assertStrictEquals((await phone.json("GET", "/api/me")).sessions.length, 1);
  }],

  ["five identical payments at once are one charge and four replays", async (visitor) => {
    const ada = visitor();
    await ada.json("POST", "/api/cart/lantern");
    const pay = () => ada.send("POST", "/api/pay", { "idempotency-key": '"order-1"' });
    const responses = await Promise.all(Array.from({ length: 5 }, pay));
    const bodies = await Promise.all(responses.map((response) => response.json()));
    assertEquals(responses.map(({ status }) => status), [201, 201, 201, 201, 201]);
    assertEquals(responses.filter(({ headers }) => headers.get("idempotency-replayed") === "true").length, 4);
    assertEquals(new Set(bodies.map((body) => JSON.stringify(body))).size, 1);
    assertEquals(bodies[0], { charge: 1, total: 4200, items: 1 });
    assertEquals(await ada.json("GET", "/api/charges"), { charges: 1 });
    assertEquals(await ada.json("GET", "/api/cart"), { cart: [] });
  }],

  ["an order is confirmed once however often Pay is pressed, when the worker ran", async (visitor) => {
    const ada = visitor();
    await ada.json("POST", "/api/cart/lantern");
    const pay = async () => {
      const response = await ada.send("POST", "/api/pay", { "idempotency-key": '"order-1"' });
      return await response.json();
    };
    const { charge } = await pay();
    const subject = `Order ${charge}`;
    const waiting = { waiting: [{ subject, state: "queued" }], sent: [] };
    assertEquals(await ada.json("GET", "/api/outbox"), waiting);
    await Promise.all([pay(), pay()]);
    assertEquals(await ada.json("GET", "/api/outbox"), waiting);
    const drain = () => ada.json("POST", "/api/outbox/drain");
    assertEquals((await Promise.all([drain(), drain()])).map(({ sent }) => sent).sort(), [0, 1]);
    await pay();
    assertEquals((await drain()).sent, 0);
    assertEquals(await ada.json("GET", "/api/outbox"), { waiting: [], sent: [{ subject }] });
  }],

  ["the same key of another session is another payment, and no key is a 400", async (visitor) => {
    const headers = { "idempotency-key": '"order-1"' };
    for (const name of ["ada", "grace"]) {
      const one = visitor();
      await one.json("POST", `/api/login/${name}`);
      const response = await one.send("POST", "/api/pay", headers);
      assertStrictEquals(response.headers.get("idempotency-replayed"), null);
      await response.body?.cancel();
    }
    assertEquals(await visitor().json("GET", "/api/charges"), { charges: 2 });
    const missing = await visitor().send("POST", "/api/pay");
    assertStrictEquals(missing.status, 400);
    assertStrictEquals(missing.headers.get("content-type"), "application/problem+json");
    await missing.body?.cancel();
  }],

  ["a guest who repeats a payment without a cookie gets the first answer back", async (visitor) => {
    const headers = { "idempotency-key": '"order-1"' };
    const first = await visitor().send("POST", "/api/pay", headers);
    const second = await visitor().send("POST", "/api/pay", headers);
    assertStrictEquals(first.headers.get("idempotency-replayed"), null);
    assertStrictEquals(second.headers.get("idempotency-replayed"), "true");
    assertStrictEquals(await second.text(), await first.text());
  }],

  ["a flood is admitted up to the limit, then turned away with its headers", async (visitor) => {
    const one = visitor();
    const statuses: number[] = [];
    for (let i = 0; i < 7; i++) {
      const response = await one.send("GET", "/api/flood");
      statuses.push(response.status);
      assertMatch(response.headers.get("ratelimit") ?? "", /^"flood";r=[0-4](;t=\d+)?$/);
      assertStrictEquals(response.headers.get("ratelimit-policy"), '"flood";q=5;w=10');
      if (response.status === 429) assertMatch(response.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
      await response.body?.cancel();
    }
    assertEquals(statuses, [200, 200, 200, 200, 200, 429, 429]);
  }],

  ["ten workers get the lock one after the other, with rising fencing tokens", async (visitor) => {
    const { turns } = await visitor().json("POST", "/api/race");
    assertStrictEquals(turns.length, 10);
    assertStrictEquals(new Set(turns.map(({ worker }: { worker: number }) => worker)).size, 10);
    for (let i = 1; i < turns.length; i++) {
      assert(turns[i].fencingToken > turns[i - 1].fencingToken, "tokens must rise");
      assert(turns[i].from >= turns[i - 1].to, "turns must not overlap");
    }
  }],

  ["an unknown cookie opens no session", async (visitor) => {
    const stranger = visitor();
    stranger.cookie = "session=" + "A".repeat(43);
    assertEquals(await stranger.json("GET", "/api/me"), { user: null, sessions: [] });
    assertEquals(await stranger.json("POST", "/api/cart/rope"), { cart: ["rope"] });
    assert(!stranger.cookie.includes("A".repeat(43)), "the stranger's token must not be adopted");
  }],
];
