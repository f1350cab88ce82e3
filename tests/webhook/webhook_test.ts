/** webhook(): what it answers, and that each event is done once, whatever crashes. */
import { Hono } from "hono";
import { z } from "zod";
import { type AtomicStore, HoldfastError, memoryStore } from "@holdfast/edge";
import { webhook as webhookRoute } from "@holdfast/edge/hono";
import { redisStore } from "@holdfast/edge/redis";
import {
  github as githubVerifier,
  webhook,
  type WebhookDelivery,
  type WebhookOptions,
} from "@holdfast/edge/webhooks";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { Random } from "../support/random.ts";
import { startRedis } from "../support/redis_server.ts";
import { clients } from "../redis/_clients.ts";
import { requestOf, type Sender, senders } from "./_senders.ts";

const stripe = senders.find(({ name }) => name === "stripe")!;
const github = senders.find(({ name }) => name === "github")!;
const sendgrid = senders.find(({ name }) => name === "sendgrid")!;
const mailgun = senders.find(({ name }) => name === "mailgun")!;
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const seconds = () => Math.floor(Date.now() / 1000);

/** An endpoint of a sender, and what it did. */
function endpoint(options: Partial<WebhookOptions> = {}, sender: Sender = stripe) {
  const done: string[] = [];
  const faults: unknown[] = [];
  const receive = webhook({
    verify: sender.verifier("right"),
    store: memoryStore(),
    name: "orders",
    handle: (_event, { id }) => void done.push(id),
    onFault: (error) => void faults.push(error),
    ...options,
  });
  const deliver = async (id: string, payload: Record<string, unknown> = {}, context?: unknown) =>
    await receive(requestOf(await sender.sign(id, payload, seconds())), context);
  return { receive, deliver, done, faults };
}

Deno.test("webhook(): an event is done once; a duplicate gets 200 and is marked", async () => {
  for (const sender of senders) {
    const { deliver, done } = endpoint({}, sender);
    const answers = [await deliver("evt_1"), await deliver("evt_1"), await deliver("evt_2")];
    assertEquals(answers.map(({ status }) => status), [200, 200, 200], sender.name);
    assertEquals(answers.map(({ headers }) => headers.get("idempotency-replayed")), [null, "true", null]);
    assertEquals(done, ["evt_1", "evt_2"], sender.name);
  }
});

Deno.test("webhook(): a delivery that is not authentic, not a POST or too large does nothing and costs no store call", async () => {
  const refuse = () => Promise.reject(new Error("the store was asked"));
  const store = new Proxy(memoryStore(), {
    get(target, name) {
      if (name === "namespace") return () => store;
      return name === "transact" ? refuse : Reflect.get(target, name);
    },
  }) as AtomicStore;
  const { receive, done } = endpoint({ store, maxBody: 100 });
  const delivery = await stripe.sign("evt_1", {}, seconds());
  const statusOf = async (request: Request) => {
    const { status, headers } = await receive(request);
    return [status, headers.get("content-type"), headers.get("allow")];
  };
  const json = "application/problem+json";
  assertEquals(await statusOf(requestOf({ ...delivery, body: delivery.body + " " })), [403, json, null]);
  assertEquals(await statusOf(requestOf({ ...delivery, headers: {} })), [403, json, null]);
  assertEquals(await statusOf(new Request("https://a.test/")), [405, json, "POST"]);
  assertEquals(await statusOf(requestOf({ ...delivery, body: "x".repeat(101) })), [413, json, null]);
  const noId = await github.sign("", {}, 0);
  const other = endpoint({ store }, github);
  assertEquals((await other.receive(requestOf(noId))).status, 400);
  assertEquals([...done, ...other.done], []);
});

Deno.test("webhook(): work that fails gets 500 and is done by the next delivery; pinned work is not", async () => {
  let fails = true;
  const attempts: number[] = [];
  const { deliver, faults } = endpoint({
    handle(_event, delivery) {
      attempts.push(delivery.attempt);
      if (delivery.id === "evt_pinned") delivery.pin();
      if (fails) throw new Error("out of order");
    },
  });
  assertEquals((await deliver("evt_1")).status, 500);
  assertEquals((await deliver("evt_pinned")).status, 500);
  fails = false;
  assertEquals((await deliver("evt_1")).status, 200);
  assertEquals((await deliver("evt_pinned")).status, 200);
  assertEquals([attempts, faults.length], [[1, 1, 1], 2]);
});

Deno.test("webhook(): without onFault, an error of handle is thrown on, and the event is free", async () => {
  let fails = true;
  const { deliver } = endpoint({
    onFault: undefined,
    handle() {
      if (fails) throw new Error("out of order");
    },
  });
  await assertRejects(() => deliver("evt_1"), Error);
  fails = false;
  assertEquals((await deliver("evt_1")).status, 200);
});

Deno.test("webhook(): while an event is worked on, another delivery of it gets 409 with Retry-After", async () => {
  let finish!: () => void;
  let begin!: () => void;
  const working = new Promise<void>((resolve) => finish = resolve);
  const begun = new Promise<void>((resolve) => begin = resolve);
  const { deliver } = endpoint({ handle: () => (begin(), working) });
  const first = deliver("evt_1");
  await begun;
  const second = await deliver("evt_1");
  assertEquals(second.status, 409);
  const wait = Number(second.headers.get("retry-after"));
  assert(wait >= 1 && wait <= 30, `${wait}`);
  finish();
  assertEquals((await first).status, 200);
  assertEquals((await deliver("evt_1")).headers.get("idempotency-replayed"), "true");
});

Deno.test("webhook(): a store that is down is a 503 and no work; a misconfigured one throws; both are reported", async () => {
  for (const code of ["backend-unavailable", "unauthorized"] as const) {
    const fault = new HoldfastError(code, "Cannot use the store", { retryable: code[0] === "b" });
    const store: AtomicStore = new Proxy(memoryStore(), {
      get(target, name) {
        if (name === "namespace") return () => store;
        return name === "transact" ? () => Promise.reject(fault) : Reflect.get(target, name);
      },
    });
    const { deliver, done, faults } = endpoint({ store, timeout: 200 });
    if (code === "unauthorized") await assertRejects(() => deliver("evt_1"), HoldfastError);
    else {
      const response = await deliver("evt_1");
      assertEquals([response.status, response.headers.get("retry-after")], [503, "1"]);
    }
    assertEquals([done, faults.length], [[], 1]);
  }
});

Deno.test("webhook(): work that was done but cannot be recorded answers 200", async () => {
  const memory = memoryStore();
  const lost = new HoldfastError("backend-unavailable", "Cannot reach the store");
  const wrap = (store: AtomicStore): AtomicStore =>
    new Proxy(store, {
      get(target, name) {
        if (name === "namespace") return (path: string) => wrap(target.namespace(path));
        const value = Reflect.get(target, name);
        if (name !== "transact") return typeof value === "function" ? value.bind(target) : value;
        return (...args: Parameters<AtomicStore["transact"]>) =>
          args[0].name === "idempotency.complete" ? Promise.reject(lost) : target.transact(...args);
      },
    });
  const { deliver, done, faults } = endpoint({ store: wrap(memory) });
  assertEquals([(await deliver("evt_1")).status, done, faults], [200, ["evt_1"], [lost]]);
});

Deno.test("webhook(): a schema makes the event typed; an event that it refuses is a 422, or ignored by option", async () => {
  const Paid = z.object({
    id: z.string(),
    type: z.literal("order.paid"),
    amount: z.number().transform((n) => n / 100),
  });
  const amounts: number[] = [];
  for (const whenInvalid of ["refuse", "ignore"] as const) {
    const receive = webhook({
      verify: stripe.verifier("right"),
      store: memoryStore(),
      name: "orders",
      schema: Paid,
      whenInvalid,
      handle(event) {
        const amount: number = event.amount;
        // @ts-expect-error the schema has no such field
        void event.currency;
        amounts.push(amount);
      },
    });
    const deliver = async (payload: Record<string, unknown>) =>
      (await receive(requestOf(await stripe.sign("evt_1", payload, seconds())))).status;
    assertEquals(await deliver({ type: "order.refunded" }), whenInvalid === "refuse" ? 422 : 200);
    assertEquals(await deliver({ type: "order.paid", amount: 4200 }), 200, "a refused one was not claimed");
  }
  assertEquals(amounts, [42, 42]);
});

Deno.test("webhook(): an answer of its own is used; one that is not 2xx counts as a failure", async () => {
  const answers = [new Response("later", { status: 503 }), new Response("thanks", { status: 202 })];
  const { deliver } = endpoint({ handle: () => answers.shift() });
  assertEquals((await deliver("evt_1")).status, 503);
  const second = await deliver("evt_1");
  assertEquals([second.status, await second.text()], [202, "thanks"]);
  assertEquals((await deliver("evt_1")).status, 200);
});

Deno.test("webhook(): a handle that returns what is no Response is named, and its work is not repeated", async () => {
  for (const returned of [7, "id-7", true, { id: 7 }, []]) {
    let runs = 0;
    const handle = (() => (runs++, returned)) as unknown as WebhookOptions["handle"];
    const { deliver, faults } = endpoint({ handle });
    assertEquals([(await deliver("evt_1")).status, (await deliver("evt_1")).status, runs], [500, 200, 1]);
    assert(faults.length === 1 && faults[0] instanceof TypeError, String(faults));
    assert(/'handle' must return a Response or nothing/.test(faults[0].message), faults[0].message);
    const thrown = endpoint({ handle, onFault: undefined });
    await assertRejects(() => thrown.deliver("evt_2"), TypeError);
  }
});

Deno.test("webhook(): a delivery of many events does each once, and repeats only what failed", async () => {
  const done: string[] = [];
  let live = 0;
  let most = 0;
  let fails = true;
  const { receive } = endpoint({
    concurrency: 3,
    async handle(_event, { id }) {
      most = Math.max(most, ++live);
      await pause(1);
      live--;
      if (fails && id === "evt_7") throw new Error("not this one");
      done.push(id);
    },
  }, sendgrid);
  const events = Array.from({ length: 20 }, (_, i) => ({ sg_event_id: `evt_${i}`, event: "delivered" }));
  const delivery = await sendgrid.signBody!(JSON.stringify(events), seconds());
  assertEquals((await receive(requestOf(delivery))).status, 500);
  fails = false;
  assertEquals((await receive(requestOf(delivery))).status, 200);
  assertEquals(done.sort(), events.map((event) => event.sg_event_id).sort());
  assert(most <= 3 && most > 1, `${most} at once`);
});

Deno.test("webhook(): Mailgun's token counts for one body: another body with it is refused", async () => {
  const { receive, done } = endpoint({}, mailgun);
  const delivery = await mailgun.sign("evt_1", { event: "failed" }, seconds());
  const forged = { ...JSON.parse(delivery.body), "event-data": { id: "evt_2", event: "delivered" } };
  assertEquals((await receive(requestOf(delivery))).status, 200);
  assertEquals((await receive(requestOf({ ...delivery, body: JSON.stringify(forged) }))).status, 403);
  assertEquals((await receive(requestOf(delivery))).status, 200);
  // A repetition that is signed anew has another token: it is known by its event.
  assertEquals(
    (await receive(requestOf(await mailgun.sign("evt_1", { event: "failed" }, seconds())))).status,
    200,
  );
  assertEquals(done, ["evt_1"]);
});

Deno.test("webhook(): GitHub's delivery id is not signed: by the body, one that is sent again under another id is a duplicate", async () => {
  for (const id of ["delivery", "body"] as const) {
    const { receive, done } = endpoint({ verify: githubVerifier({ secret: "right", id }) }, github);
    const delivery = await github.sign("1", { action: "opened" }, 0);
    const again = { ...delivery, headers: { ...delivery.headers, "x-github-delivery": "2" } };
    for (const sent of [delivery, again, await github.sign("3", { action: "closed" }, 0)]) {
      assertEquals((await receive(requestOf(sent))).status, 200);
    }
    assertEquals(done.length, id === "body" ? 2 : 3);
  }
});

Deno.test("webhook(): endpoints of other names do the same event each for itself, on one store", async () => {
  const store = memoryStore();
  const [one, two] = [endpoint({ store, name: "one" }), endpoint({ store, name: "two" })];
  for (const { deliver } of [one, two, one, two]) await deliver("evt_1");
  assertEquals([one.done, two.done], [["evt_1"], ["evt_1"]]);
});

Deno.test("webhook(): handle may read the request's body again; a body that was read before is an error", async () => {
  let text = "";
  const { receive } = endpoint({
    async handle(_event, { request, body }) {
      text = await request.text();
      assertEquals(new TextDecoder().decode(body), text);
    },
  });
  const request = requestOf(await stripe.sign("evt_1", {}, seconds()));
  assertEquals((await receive(request)).status, 200);
  assert(text.includes("evt_1"));
  const read = requestOf(await stripe.sign("evt_2", {}, seconds()));
  await read.text();
  await assertRejects(() => receive(read), TypeError);
});

Deno.test("webhook(): the runtime is kept alive until the work is done, wherever its waitUntil stands", async () => {
  const kept: Promise<unknown>[] = [];
  const waiter = { waitUntil: (work: Promise<unknown>) => void kept.push(work) };
  const contexts = [waiter, { ctx: waiter }, { platform: { ctx: waiter } }, {
    platform: { context: waiter },
  }];
  let done = 0;
  for (const [i, context] of contexts.entries()) {
    const { deliver } = endpoint({ handle: async () => (await pause(1), void done++) });
    await deliver(`evt_${i}`, {}, context);
    assert(kept.length > 0, `context ${i}`);
    await Promise.all(kept.splice(0));
    assertEquals(done, i + 1);
  }
  const own = endpoint({ waitUntil: (work, context) => void kept.push(work.then(() => context)) });
  await own.deliver("evt_9", {}, "the context");
  assertEquals((await Promise.all(kept))[0], "the context");
});

Deno.test("webhook() in Hono: the same, with c as the context, also when Hono has read the body before", async () => {
  const seen: unknown[] = [];
  const app = new Hono<{ Bindings: { SECRET: string } }>();
  app.use(async (c, next) => {
    if (c.req.header("read") !== undefined) await c.req.json();
    await next();
  });
  app.post(
    "/hooks/:of",
    webhookRoute({
      verify: (message, c) => stripe.verifier(c.env.SECRET)(message, c),
      store: memoryStore(),
      name: "hono",
      async handle(_event, { id, context: c }) {
        seen.push([id, c.req.param("of"), (await c.req.json()).id]);
      },
    }),
  );
  const deliver = async (id: string, headers: Record<string, string> = {}, secret = "right") => {
    const delivery = await stripe.sign(id, {}, seconds());
    return await app.request(
      "/hooks/stripe",
      { method: "POST", headers: { ...delivery.headers, ...headers }, body: delivery.body },
      { SECRET: secret },
    );
  };
  assertEquals((await deliver("evt_1")).status, 200);
  assertEquals((await deliver("evt_1")).headers.get("idempotency-replayed"), "true");
  assertEquals((await deliver("evt_2", { read: "yes" })).status, 200);
  assertEquals((await deliver("evt_3", {}, "wrong")).status, 403);
  assertEquals(seen, [["evt_1", "stripe", "evt_1"], ["evt_2", "stripe", "evt_2"]]);
});

Deno.test("webhook(): invalid options fail when the app is made", () => {
  const good = {
    verify: stripe.verifier("right"),
    store: memoryStore(),
    name: "a",
    handle: () => {},
  };
  for (
    const bad of [
      { verify: undefined },
      { verify: "stripe" },
      { handle: undefined },
      { store: {} },
      { name: "" },
      { name: undefined },
      { schema: {} },
      { whenInvalid: "drop" },
      { onFault: 1 },
      { handler: () => {} },
    ]
  ) {
    assertThrows(() => webhook({ ...good, ...bad } as typeof good), TypeError);
  }
  for (const bad of [{ maxBody: 0 }, { concurrency: 0 }, { lease: 0 }, { retention: "0s" }]) {
    assertThrows(() => webhook({ ...good, ...bad } as typeof good), RangeError);
  }
});

/** One copy of the app for each delivery, which may crash: its store does not answer any more, its work stops. */
class Instance {
  readonly receive: (request: Request) => Promise<Response>;
  #crashed = false;
  #die!: () => void;
  readonly #death = new Promise<never>((_, reject) => {
    this.#die = () => {
      this.#crashed = true;
      reject(new Error("connection reset"));
    };
  });

  constructor(
    options: Pick<WebhookOptions, "store" | "lease" | "clock"> & { readonly store: AtomicStore },
    work: (delivery: WebhookDelivery, instance: Instance) => Promise<void>,
  ) {
    this.#death.catch(() => {});
    const receive = webhook({
      ...options,
      verify: github.verifier("right"),
      store: this.#mortal(options.store),
      name: "crashes",
      handle: (_event, delivery) => work(delivery, this),
      onFault: () => {},
    });
    this.receive = (request) => Promise.race([receive(request), this.#death]);
  }

  /** Ends here, with everything that this copy was doing. */
  crash(): Promise<never> {
    this.#die();
    return new Promise(() => {});
  }

  #mortal(store: AtomicStore): AtomicStore {
    const gone = () => new Promise<never>(() => {});
    return new Proxy(store, {
      get: (target, name) => {
        if (name === "namespace") return (path: string) => this.#mortal(target.namespace(path));
        const value = Reflect.get(target, name);
        if (name !== "transact") return typeof value === "function" ? value.bind(target) : value;
        return async (...args: Parameters<AtomicStore["transact"]>) => {
          if (this.#crashed) return await gone();
          const output = await target.transact(...args);
          return this.#crashed ? await gone() : output;
        };
      },
    });
  }
}

/**
 * 20 events, each delivered five times at once, then again until its sender got a 2xx. A crash comes before the
 * effect: between an effect and its record no receiver can tell, which is why `delivery.id` should go along with it.
 */
async function deliverAll(
  options: Pick<WebhookOptions, "lease" | "clock"> & { readonly store: AtomicStore },
  afterRound: () => Promise<void>,
): Promise<{ effects: Map<string, number>; crashes: number; failures: number; deliveries: number }> {
  const chance = new Random(17);
  const random = () => chance.next();
  // A stream of its own: however the deliveries take turns, the same works crash and fail, in the order of their dice.
  const fate = new Random(17);
  const effects = new Map<string, number>();
  let [crashes, failures, deliveries] = [0, 0, 0];
  const work = async ({ id, signal }: WebhookDelivery, instance: Instance) => {
    await pause(random() * 5);
    const dice = fate.next();
    if (dice < 0.15 && crashes < 12) {
      crashes++;
      await instance.crash();
    }
    if (dice < 0.35) {
      failures++;
      throw new Error("out of order");
    }
    signal.throwIfAborted();
    effects.set(id, (effects.get(id) ?? 0) + 1);
    await pause(random() * 3);
  };
  const acknowledged = new Set<string>();
  const deliver = async (id: string) => {
    deliveries++;
    await pause(random() * 10);
    const request = requestOf(await github.sign(id, { order: id }, 0));
    const response = await new Instance(options, work).receive(request).catch(() => undefined);
    // Some answers are lost on their way: their sender delivers again.
    if (response?.ok && random() > 0.2) acknowledged.add(id);
  };
  const ids = Array.from({ length: 20 }, (_, i) => `evt_${i}`);
  await Promise.all(ids.flatMap((id) => Array.from({ length: 5 }, () => deliver(id))));
  for (let round = 0; acknowledged.size < ids.length; round++) {
    assert(round < 60, `no end: ${acknowledged.size} of ${ids.length}`);
    await afterRound();
    await Promise.all(ids.filter((id) => !acknowledged.has(id)).map(deliver));
  }
  return { effects, crashes, failures, deliveries };
}

function judge({ effects, crashes, failures, deliveries }: Awaited<ReturnType<typeof deliverAll>>): void {
  assertEquals([...effects.values()], Array(20).fill(1), "each event is done once");
  assert(deliveries >= 100 && crashes > 0 && failures > 0, `${deliveries}, ${crashes}, ${failures}`);
}

Deno.test("webhook(): 100 deliveries of 20 events, concurrent, with crashes, failures and lost answers: each is done once", async () => {
  const clock = new ManualClock();
  judge(
    await deliverAll({ store: memoryStore({ clock }), clock, lease: "30s" }, () => clock.advance(31_000)),
  );
});

Deno.test({
  name: "webhook(): the same on Redis",
  sanitizeOps: false,
  sanitizeResources: false, // the client keeps sockets and timers
  async fn() {
    await using server = await startRedis();
    await using connected = await clients["Redis, node-redis"]!(server.port);
    const store = redisStore(connected.client);
    // The lease is long beside the work, so that a busy machine loses none; a crash costs one lease.
    judge(await deliverAll({ store, lease: "3s" }, () => pause(1000)));
  },
});
