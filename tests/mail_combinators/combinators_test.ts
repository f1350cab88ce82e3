/**
 * Each mailer around a mailer by itself, on a manual clock; lost replies on real sockets are in
 * lost_reply_test.ts.
 */
import {
  type AtomicStore,
  createIdempotency,
  createThrottle,
  type HoldfastErrorCode,
  memoryStore,
} from "@holdfast/edge";
import {
  failover,
  idempotent,
  type Mailer,
  MailError,
  type MailErrorOptions,
  type MailOperation,
  memoryMailer,
  type Message,
  observed,
  outbox,
  rateLimited,
  retrying,
  sendBulk,
  type SendOptions,
} from "@holdfast/edge/mail";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

const message = { from: "shop@example.com", to: "jane@example.com", subject: "Order 17", text: "Thank you." };

/** A provider with injected faults; records the requests and the messages that it accepted. */
class Provider {
  readonly asked: SendOptions[] = [];
  readonly took: string[] = [];
  readonly mailer: Mailer;
  fail: (() => MailError | undefined) | undefined;

  constructor(readonly name: string, deduplicates = false) {
    const send = async ({ subject }: Message, options: SendOptions = {}) => {
      this.asked.push(options);
      const failure = this.fail?.();
      await Promise.resolve();
      if (failure !== undefined) throw failure;
      this.took.push(subject ?? "");
      return { mailer: name, id: String(this.took.length) };
    };
    this.mailer = { name, deduplicates, send };
  }

  /** Fails with these, one after the other, and then not any more. */
  then(...failures: [HoldfastErrorCode, Partial<MailErrorOptions>?][]): this {
    const errors = failures.map(([code, options]) => error(this.name, code, options));
    this.fail = () => errors.shift();
    return this;
  }
}

function error(mailer: string, code: HoldfastErrorCode, options: Partial<MailErrorOptions> = {}): MailError {
  return new MailError(code, "no", { delivery: "not-sent", phase: "reply", mailer, ...options });
}

const busy: [HoldfastErrorCode, Partial<MailErrorOptions>] = ["rate-limited", { retryable: true }];
const after = (retryAfter: number): typeof busy => ["rate-limited", { retryable: true, retryAfter }];

/** Moves on until it is settled; how long that took on the clock. */
async function took(clock: ManualClock, running: Promise<unknown>): Promise<number> {
  const began = clock.now();
  let over = false;
  running.then(() => over = true, () => over = true);
  for (let i = 0; !over && i < 10_000; i++) await clock.advance(50);
  return clock.now() - began;
}

Deno.test("retrying: gives up after its attempts, with waits that are random parts of doubling ones", async () => {
  const clock = new ManualClock();
  const totals: number[] = [];
  for (let i = 0; i < 20; i++) {
    const provider = new Provider("p").then(busy, busy, busy, busy, busy);
    const sending = retrying(provider.mailer, { clock, delay: 1000, attempts: 4 }).send(message);
    sending.catch(() => {});
    totals.push(await took(clock, sending));
    const failed = await assertRejects(() => sending, MailError);
    assertEquals([failed.code, provider.asked.length], ["rate-limited", 4]);
    assertEquals(new Set(provider.asked.map(({ idempotencyKey }) => idempotencyKey)).size, 1);
  }
  assert(totals.every((total) => total <= 7200), `at most 1 + 2 + 4 s: ${totals}`);
  assert(new Set(totals).size > 3, `they must differ: ${totals}`);
});

Deno.test("retrying: a Retry-After is waited for in full, or not at all when it goes beyond the deadline", async () => {
  const clock = new ManualClock();
  const provider = new Provider("p").then(after(5000));
  const sending = retrying(provider.mailer, { clock, delay: 10 }).send(message);
  assert(await took(clock, sending) >= 5000);
  const late = new Provider("p").then(after(5000), after(5000));
  const failed = await assertRejects(
    () => retrying(late.mailer, { clock, delay: 10, timeout: "4s" }).send(message),
    MailError,
  );
  assertEquals([failed.retryAfter, late.asked.length], [5000, 1]);
});

Deno.test("retrying: the deadline ends an attempt under way, as a timeout with the right delivery", async () => {
  const clock = new ManualClock();
  const provider = new Provider("p");
  const mailer: Mailer = {
    ...provider.mailer,
    send: (_, { signal } = {}) =>
      new Promise((_, reject) =>
        signal!.addEventListener(
          "abort",
          () => reject(error("p", "aborted", { delivery: "unknown", phase: "body" })),
        )
      ),
  };
  const sending = retrying(mailer, { clock, timeout: "2s" }).send(message);
  sending.catch(() => {});
  assertEquals(await took(clock, sending) <= 2050, true);
  const failed = await assertRejects(() => sending, MailError);
  assertEquals([failed.code, failed.delivery, failed.phase, failed.retryable], [
    "timeout",
    "unknown",
    "body",
    false,
  ]);
});

Deno.test("retrying: an abort ends a wait; nothing is asked again", async () => {
  const clock = new ManualClock();
  const provider = new Provider("p").then(after(5000), busy);
  const controller = new AbortController();
  const sending = retrying(provider.mailer, { clock }).send(message, { signal: controller.signal });
  sending.catch(() => {});
  await clock.advance(100);
  controller.abort(new Error("enough"));
  const failed = await assertRejects(() => sending, MailError);
  assertEquals([failed.code, failed.delivery, provider.asked.length], ["aborted", "not-sent", 1]);
});

Deno.test("retrying: a failure that is not retryable is not repeated", async () => {
  for (const code of ["message-rejected", "unauthorized", "unsupported", "fingerprint-mismatch"] as const) {
    const provider = new Provider("p", true).then([code]);
    await assertRejects(() => retrying(provider.mailer).send(message), MailError);
    assertEquals(provider.asked.length, 1, code);
  }
});

Deno.test("failover: a mailer that failed is asked last until its cooldown, or its Retry-After, is over", async () => {
  const clock = new ManualClock();
  const [a, b] = [new Provider("a").then(busy), new Provider("b")];
  const mailer = failover([a.mailer, b.mailer], { clock, cooldown: "30s" });
  assertEquals(mailer.name, "a or b");
  assertEquals((await mailer.send(message)).mailer, "b");
  assertEquals((await mailer.send(message)).mailer, "b");
  assertEquals([a.asked.length, b.asked.length], [1, 2]);
  b.then(busy);
  assertEquals((await mailer.send(message)).mailer, "a", "the others failed: it is asked all the same");
  a.then(after(120_000));
  b.fail = undefined;
  await clock.advance(31_000);
  assertEquals((await mailer.send(message)).mailer, "b");
  await clock.advance(31_000);
  assertEquals((await mailer.send(message)).mailer, "b", "it asked for two minutes");
  await clock.advance(90_000);
  assertEquals((await mailer.send(message)).mailer, "a");
});

Deno.test("failover: an invalid message stops it, an unsupported feature of one provider does not", async () => {
  const moves: [HoldfastErrorCode, boolean][] = [
    ["unsupported", true],
    ["message-too-large", true],
    ["unauthorized", true],
    ["quota-exceeded", true],
    ["message-rejected", false],
    ["attachment-unreadable", false],
    ["in-progress", false],
    ["fingerprint-mismatch", false],
    ["aborted", false],
  ];
  for (const [code, moved] of moves) {
    const [a, b] = [new Provider("a").then([code]), new Provider("b")];
    await failover([a.mailer, b.mailer]).send(message).catch(() => {});
    assertEquals(b.took.length, moved ? 1 : 0, code);
    // A message that a mailer cannot express says nothing about its health.
    const still = code === "unauthorized" || code === "quota-exceeded" ? ["b"] : ["a"];
    const mailer = failover([new Provider("a").then([code]).mailer, new Provider("b").mailer]);
    await mailer.send(message).catch(() => {});
    assertEquals([(await mailer.send(message)).mailer], still, `${code}, afterwards`);
  }
});

Deno.test("failover: a misconfigured mailer is reported to onFault although another one takes the message", async () => {
  const faults: unknown[] = [];
  const first = new Provider("first").then(["unauthorized"], ["backend-unavailable", { retryable: true }]);
  const onFault = (error: unknown) => {
    faults.push(error);
    throw new Error("the callback's own");
  };
  const mailer = failover([first.mailer, new Provider("second").mailer], { onFault, cooldown: 1 });
  assertEquals((await mailer.send(message)).mailer, "second");
  assertEquals(faults.map((fault) => (fault as MailError).code), ["unauthorized"]);
});

Deno.test("failover: when all mailers fail, the error is the one that allows the earliest retry", async () => {
  const a = new Provider("a").then(["unauthorized"]);
  const b = new Provider("b").then(after(3000));
  const c = new Provider("c").then(after(2000));
  const failed = await assertRejects(
    () => failover([a.mailer, b.mailer, c.mailer]).send(message),
    MailError,
  );
  assertEquals(
    [failed.code, failed.delivery, failed.retryable, failed.retryAfter],
    ["rate-limited", "not-sent", true, 2000],
  );
  assertEquals((failed.cause as AggregateError).errors.length, 3);
});

Deno.test("failover: after an unknown outcome no other mailer is asked, it is not retryable, and starts a cooldown", async () => {
  const a = new Provider("a", true).then(["timeout", { delivery: "unknown", retryable: true }]);
  const b = new Provider("b");
  const mailer = failover([a.mailer, b.mailer]);
  const failed = await assertRejects(() => mailer.send(message, { idempotencyKey: "k" }), MailError);
  assertEquals([failed.delivery, failed.retryable, b.asked.length], ["unknown", false, 0]);
  assertEquals((await mailer.send(message)).mailer, "b");
});

Deno.test("failover: all are asked under one key, and a drawn one makes nothing repeatable for the caller", async () => {
  for (const idempotencyKey of ["order-17", undefined]) {
    const [a, b] = [new Provider("a").then(busy), new Provider("b")];
    await failover([a.mailer, b.mailer]).send(message, { idempotencyKey });
    const [first, second] = [...a.asked, ...b.asked].map((options) => options.idempotencyKey);
    assert(
      first === second && first === (idempotencyKey ?? first) && /^.{8,}$/.test(first!),
      `${first}, ${second}`,
    );
    const alone = new Provider("c", true).then(["timeout", { delivery: "unknown", retryable: true }]);
    const failed = await assertRejects(
      () => failover([alone.mailer]).send(message, { idempotencyKey }),
      MailError,
    );
    assertEquals([failed.delivery, failed.retryable], ["unknown", idempotencyKey !== undefined]);
  }
});

Deno.test("failover: weights share the mail", async () => {
  const [a, b] = [new Provider("a"), new Provider("b")];
  const mailer = failover([a.mailer, b.mailer], { weights: [3, 1] });
  for (let i = 0; i < 2000; i++) await mailer.send(message);
  assert(a.took.length > 1380 && a.took.length < 1620, `${a.took.length} of 2000 where 1500 are due`); // 6 sigma
});

Deno.test("rateLimited: isolates share the rate, wait for their turn in time, and are refused beyond it", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const provider = new Provider("p");
  // Each isolate makes its own throttle on the shared store.
  const isolate = (wait: number) =>
    rateLimited(provider.mailer, createThrottle(store, { name: "mail", limit: 5, window: "1s", burst: 1 }), {
      clock,
      wait,
    });
  const mailers = Array.from({ length: 4 }, () => isolate(60_000));
  const sending = Promise.all(
    mailers.flatMap((mailer) => Array.from({ length: 5 }, () => mailer.send(message))),
  );
  const ms = await took(clock, sending);
  assert(ms >= 19 * 200 && ms <= 19 * 200 + 1000, `20 messages at 5 a second took ${ms} ms`);
  const failed = await assertRejects(
    () => isolate(0).send(message).then(() => isolate(0).send(message)),
    MailError,
  );
  assertEquals([failed.code, failed.delivery, failed.retryable], ["rate-limited", "not-sent", true]);
  assert(failed.retryAfter! > 0 && failed.retryAfter! <= 200);
  assertEquals(provider.took.length, 20);
});

Deno.test("rateLimited: costs count, a cost that never fits is refused for good, and an abort ends the wait", async () => {
  const clock = new ManualClock();
  const provider = new Provider("p");
  const throttle = createThrottle(memoryStore({ clock }), { name: "mail", limit: 3, window: "1m" });
  const mailer = rateLimited(provider.mailer, throttle, { clock, cost: ({ to }) => to.length, wait: "5m" });
  const to = (n: number) => ({ ...message, to: Array.from({ length: n }, (_, i) => `r${i}@example.com`) });
  await mailer.send(to(3));
  const never = await assertRejects(() => mailer.send(to(4)), MailError);
  assertEquals([never.code, never.retryable], ["rate-limited", false]);
  const controller = new AbortController();
  const waiting = mailer.send(message, { signal: controller.signal });
  waiting.catch(() => {});
  await clock.advance(100);
  controller.abort(new Error("enough"));
  assertEquals((await assertRejects(() => waiting, MailError)).code, "aborted");
  assertEquals(provider.took.length, 1);
});

Deno.test("rateLimited: when the store is down the throttle's own policy decides", async () => {
  const outcomes = { allow: "sent", deny: "rate-limited", throw: "backend-unavailable" } as const;
  for (const [whenUnavailable, outcome] of Object.entries(outcomes)) {
    const nowhere = upstashStore({ url: "http://127.0.0.1:1", token: "t" }); // refuses connections
    const options = {
      name: "mail",
      limit: 3,
      window: "1m",
      whenUnavailable: whenUnavailable as keyof typeof outcomes,
    } as const;
    const throttle = createThrottle(nowhere, options);
    const provider = new Provider("p");
    const sent = await rateLimited(provider.mailer, throttle).send(message).catch((error) => error);
    assertEquals([sent instanceof MailError ? sent.code : "sent", provider.took.length], [
      outcome,
      outcome === "sent" ? 1 : 0,
    ]);
    if (sent instanceof MailError) assertEquals([sent.delivery, sent.retryable], ["not-sent", true]);
  }
});

Deno.test("idempotent: of many at once one sends, all get its receipt, on any isolate", async () => {
  const store = memoryStore();
  const provider = new Provider("p");
  const isolates = Array.from(
    { length: 5 },
    () => idempotent(provider.mailer, createIdempotency(store, { name: "mail" })),
  );
  const receipts = await Promise.all(
    isolates.flatMap((mailer) => [1, 2, 3].map(() => mailer.send(message, { idempotencyKey: "order-17" }))),
  );
  assertEquals(receipts, Array(15).fill({ mailer: "p", id: "1" }));
  assertEquals(provider.asked.map(({ idempotencyKey }) => idempotencyKey), ["order-17"]);
});

Deno.test("idempotent: an unsent message frees the key; another message or other bytes under it are refused", async () => {
  const provider = new Provider("p").then(busy);
  const mailer = idempotent(provider.mailer, createIdempotency(memoryStore()));
  const keyed = { idempotencyKey: "order-17" };
  const withFile = (content: string) => ({ ...message, attachments: [{ filename: "a", content }] });
  const failed = await assertRejects(() => mailer.send(withFile("one"), keyed), MailError);
  assertEquals([failed.code, failed.retryable], ["rate-limited", true]);
  await mailer.send(withFile("one"), keyed);
  for (const other of [withFile("two"), message, { ...withFile("one"), subject: "Order 18" }]) {
    const error = await assertRejects(() => mailer.send(other, keyed), MailError);
    assertEquals([error.code, error.delivery], ["fingerprint-mismatch", "not-sent"]);
  }
  assertEquals(provider.took.length, 1);
});

Deno.test("idempotent: a holder that died leaves the key in doubt, unless the provider deduplicates", async () => {
  for (const deduplicates of [false, true]) {
    const clock = new ManualClock();
    const idempotency = createIdempotency(memoryStore({ clock }), { clock, lease: "30s" });
    const provider = new Provider("p", deduplicates);
    const keyed = { idempotencyKey: "order-17" };
    // A claim without extensions is all that a dead isolate leaves behind; another one finds its message's
    // fingerprint there.
    let fingerprint = "";
    const spy = { ...idempotency, run: idempotency.run.bind(idempotency) };
    spy.run = (key, fn, options) => (fingerprint = options!.fingerprint!, idempotency.run(key, fn, options));
    await idempotent(provider.mailer, spy).send(message, { idempotencyKey: "another" });
    await idempotency.begin("order-17", { fingerprint });
    const mailer = idempotent(provider.mailer, idempotency, { wait: 0 });
    const early = await assertRejects(() => mailer.send(message, keyed), MailError);
    assertEquals([early.code, early.delivery, early.retryable], ["in-progress", "unknown", true]);
    await clock.advance(31_000);
    if (deduplicates) await mailer.send(message, keyed);
    else {
      for (let i = 0; i < 2; i++) {
        const late = await assertRejects(() => mailer.send(message, keyed), MailError);
        assertEquals([late.code, late.delivery, late.retryable], ["in-doubt", "unknown", false]);
      }
    }
    assertEquals(provider.took.length, deduplicates ? 2 : 1);
  }
});

Deno.test("idempotent: a receipt that could not be stored is returned to its caller", async () => {
  const kv = await Deno.openKv(":memory:");
  const provider = new Provider("p");
  provider.fail = () => void kv.close();
  const mailer = idempotent(provider.mailer, createIdempotency(denoKvStore(kv)));
  assertEquals(await mailer.send(message, { idempotencyKey: "order-17" }), { mailer: "p", id: "1" });
});

Deno.test("observed: every attempt inside, every message outside, nothing of the message, and a hook that throws harms nothing", async () => {
  const inside: MailOperation[] = [];
  const outside: MailOperation[] = [];
  const provider = new Provider("p", true).then(["timeout", { delivery: "unknown", retryable: true }]);
  const mailer = observed(
    retrying(observed(provider.mailer, { onOperation: (one) => inside.push(one) }), { delay: 1 }),
    {
      onOperation(one) {
        outside.push(one);
        throw new Error("mine");
      },
    },
  );
  await mailer.send(message, { idempotencyKey: "secret-key" });
  await assertRejects(() => mailer.send({ ...message, to: "nobody" }), TypeError);
  assertEquals(inside.map(({ outcome, delivery }) => [outcome, delivery]), [
    ["timeout", "unknown"],
    ["sent", undefined],
  ]);
  assertEquals(outside.map(({ outcome, delivery }) => [outcome, delivery]), [
    ["sent", undefined],
    ["invalid-message", "not-sent"],
  ]);
  for (const one of [...inside, ...outside]) {
    assert(!/example|secret|Order/.test(JSON.stringify(one)), JSON.stringify(one));
    assertEquals([one.contract, one.operation, one.engine], ["mailer", "send", "p"]);
  }
});

Deno.test("observed: a bulk is reported message by message, without anything of the messages", async () => {
  const told: MailOperation[] = [];
  const provider = new Provider("p").then(busy);
  const mailer = observed(provider.mailer, { onOperation: (one) => told.push(one) });
  assertThrows(() => sendBulk(mailer, 7 as never), TypeError);
  // A value that is no message never gets to the mailer: its result says so.
  const bulk = [message, { ...message, to: "nobody" }, message, message];
  const states: string[] = [];
  const idempotencyKey = (_: Message, index: number) => `secret-${index}`;
  for await (const { state } of sendBulk(mailer, bulk, { idempotencyKey })) states.push(state);
  assertEquals(states, ["failed", "failed", "sent", "sent"]);
  assertEquals(told.map(({ outcome, delivery }) => `${outcome} ${delivery}`).sort(), [
    "rate-limited not-sent",
    "sent undefined",
    "sent undefined",
  ]);
  assert(told.every(({ operation, durationMs }) => operation === "sendBulk" && durationMs >= 0));
  assert(!/@|Order|nobody|secret/.test(JSON.stringify(told)), JSON.stringify(told));
});

Deno.test("recipients that are refused while the rest is served are counted, by observed and by the outbox", async () => {
  const told: MailOperation[] = [];
  const provider = new Provider("p");
  const partly: Mailer = {
    ...provider.mailer,
    send: async (message, options) => ({
      ...await provider.mailer.send(message, options),
      rejected: [{ address: "john@example.com", status: 550 }],
    }),
  };
  const mailer = observed(partly, { onOperation: (one) => told.push(one) });
  const box = outbox(mailer, memoryStore());
  await box.send({ ...message, cc: "john@example.com" });
  const { sent, rejected, nextAfter } = await box.drain();
  assertEquals([sent, rejected, nextAfter], [1, 1, undefined]);
  assertEquals(told.map(({ outcome, rejected }) => [outcome, rejected]), [["sent", 1]]);
  assert(!JSON.stringify(told).includes("@"), JSON.stringify(told));
});

Deno.test("sendBulk through each: an abort ends what is under way, answers for it, and sends nothing more", async () => {
  const wrappers: Record<string, (mailer: Mailer) => Mailer> = {
    retrying: (mailer) => retrying(mailer),
    failover: (mailer) => failover([mailer]),
    rateLimited: (mailer) =>
      rateLimited(mailer, createThrottle(memoryStore(), { name: "mail", limit: 1000, window: "1s" })),
    idempotent: (mailer) => idempotent(mailer, createIdempotency(memoryStore())),
    observed: (mailer) => observed(mailer, { onOperation: () => {} }),
    "a wait for a turn": (mailer) =>
      rateLimited(mailer, createThrottle(memoryStore(), { name: "mail", limit: 1, window: "1h" }), {
        wait: "2h",
      }),
    "a wait for an attempt": (mailer) =>
      retrying({
        ...mailer,
        send: () => Promise.reject(error("p", "rate-limited", { retryable: true, retryAfter: 50_000 })),
      }),
  };
  for (const [name, wrap] of Object.entries(wrappers)) {
    const controller = new AbortController();
    const provider = new Provider("p");
    const hanging: Mailer = {
      ...provider.mailer,
      send: (message, options = {}) => {
        // By its number, not by who comes first: a fingerprint is hashed on other threads.
        if (/ [01]$/.test(message.subject!)) return provider.mailer.send(message, options);
        const { promise, reject } = Promise.withResolvers<never>();
        const stop = () => reject(error("p", "aborted", { delivery: "unknown", phase: "body" }));
        if (options.signal?.aborted) stop();
        options.signal?.addEventListener("abort", stop);
        return promise;
      },
    };
    let read = 0;
    const endless = async function* () {
      for (;;) yield { ...message, subject: `number ${await Promise.resolve(read++)}` };
    };
    setTimeout(() => controller.abort(new Error("enough")), 30);
    const states: string[] = [];
    const idempotencyKey = (_: Message, index: number) => `order-${index}`;
    const options = { signal: controller.signal, concurrency: 3, idempotencyKey };
    const thrown = await assertRejects(async () => {
      for await (const result of sendBulk(wrap(hanging), endless(), options)) {
        states.push(result.state === "sent" ? "sent" : result.error.code);
      }
    });
    assertEquals((thrown as Error).message, "enough", name);
    assertEquals(states.length, read, `${name}: one answer for each that was read`);
    const sent = states.filter((state) => state === "sent").length;
    assertEquals(provider.took.length, sent, `${name}: ${states}`);
    assertEquals(states.slice(sent), Array(states.length - sent).fill("aborted"), name);
  }
});

Deno.test("outbox: a full bucket refuses before anything is queued twice, and fits Deno KV to the last entry", async () => {
  using kv = await Deno.openKv(":memory:");
  const memory = memoryMailer();
  const bad: Mailer = {
    ...new Provider("p").mailer,
    send: () => Promise.reject(error("p", "attachment-unreadable")), // the longest code there is
  };
  const options = { buckets: 1, attempts: 999 };
  const box = outbox(bad, denoKvStore(kv), options);
  for (let i = 0; i < 500; i += 50) {
    await Promise.all(
      Array.from({ length: 50 }, (_, j) => box.send({ ...message, subject: `number ${i + j}` })),
    );
  }
  const full = await assertRejects(() => box.send(message), MailError);
  assertEquals([full.code, full.delivery, full.retryable], ["store-full", "not-sent", true]);
  const { dead } = await box.drain();
  assertEquals(dead, 500);
  const ids: string[] = [];
  for await (const { id } of box.list({ state: "dead" })) ids.push(id);
  assertEquals((await Promise.all(ids.map((id) => box.requeue(id)))).filter(Boolean).length, 500);
  assertEquals((await outbox(memory, denoKvStore(kv), options).drain()).sent, 500);
  assertEquals((await box.send(message)).state, "queued");
});

Deno.test("outbox: ten messages take twenty transitions to queue, and thirty-two to send, an empty look included", async () => {
  let transitions = 0;
  const counting = (store: AtomicStore): AtomicStore =>
    new Proxy(store, {
      get(target, name) {
        if (name === "namespace") return (room: string) => counting(target.namespace(room));
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (name === "transact") transitions++;
          return Reflect.apply(value, target, args);
        };
      },
    });
  const box = outbox(memoryMailer(), counting(memoryStore()), { buckets: 1 });
  for (let i = 0; i < 10; i++) await box.send({ ...message, subject: `number ${i}` });
  assertEquals(transitions, 20);
  await box.drain();
  assertEquals(transitions, 20 + 1 + 3 * 10 + 1);
});

Deno.test("outbox: the memory engine refuses new work rather than drop a message", async () => {
  const store = memoryStore({ maxEntries: 20 });
  const memory = memoryMailer();
  const box = outbox(memory, store, { buckets: 1 });
  let queued = 0;
  let refused: MailError | undefined;
  for (let i = 0; i < 30 && !refused; i++) {
    refused = await box.send({ ...message, subject: `number ${i}` }).then(
      () => void queued++,
      (error) => error,
    );
  }
  // Records that protect may take half of the store for one namespace, the outbox's own bookkeeping included.
  assertEquals([refused?.code, refused?.delivery, queued], ["store-full", "not-sent", 9]);
  for (let i = 0; i < 100; i++) await store.set(`other ${i}`, i); // evicts others of its kind, no message
  assertEquals((await box.drain()).sent, 9);
});

Deno.test("mailers around mailers refuse invalid options before anything is sent", async () => {
  const { mailer } = new Provider("p");
  const throttle = createThrottle(memoryStore(), { name: "mail", limit: 1, window: "1s" });
  const bad: (() => unknown)[] = [
    () => retrying(mailer, { attempts: 0 }),
    () => retrying(mailer, { delay: 0 }),
    () => retrying(mailer, { timeout: -1 }),
    () => failover([]),
    () => failover([mailer], { weights: [] }),
    () => failover([mailer], { weights: [0] }),
    () => failover([mailer], { cooldown: 0 }),
    () => rateLimited(mailer, throttle, { wait: -1 }),
    () => idempotent(mailer, createIdempotency(memoryStore()), { wait: NaN }),
    () => outbox(mailer, memoryStore(), { buckets: 1.5 }),
    () => outbox(mailer, memoryStore(), { lease: 0 }),
  ];
  for (const [i, make] of bad.entries()) {
    assertThrows(make, RangeError).message.length > 0 || assert(false, `${i}`);
  }
  assertThrows(() => outbox(mailer, memoryStore(), { whenUnknown: "again" as "hold" }), TypeError);
  const box = outbox(mailer, memoryStore());
  await assertRejects(() => box.drain({ limit: 0 }), RangeError);
  await assertRejects(() => box.drain({ concurrency: 1.5 }), RangeError);
});
