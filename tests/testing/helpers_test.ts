/** The parts of `./testing` for users: the clock, the faulty store, the faulty mailer, the links. */
import { createIdempotency, createLocks, createThrottle, HoldfastError, memoryStore } from "@holdfast/edge";
import { memoryMailer, retrying } from "@holdfast/edge/mail";
import { type Fault, faultyMailer, faultyStore, linksOf, manualClock } from "@holdfast/edge/testing";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";

const message = { from: "shop@example.com", to: "ada@example.com", subject: "Hello", text: "Hello" };

Deno.test("manualClock() stands still, and advance() wakes the waits in the order of their ends", async () => {
  const clock = manualClock({ now: 1000 });
  const woken: [string, number][] = [];
  const wait = (name: string, ms: number) => clock.sleep(ms).then(() => woken.push([name, clock.now()]));
  wait("second", 20).then(() => wait("third, begun by the second", 5));
  wait("first", 10);
  wait("later", 100);
  assertEquals([clock.now(), clock.monotonic()], [1000, 1000]);
  await clock.advance(50);
  assertEquals(woken, [["first", 1010], ["second", 1020], ["third, begun by the second", 1025]]);
  assertEquals(clock.now(), 1050);
});

Deno.test("a wait of manualClock() ends with its signal", async () => {
  const clock = manualClock();
  const aborted = clock.sleep(10, AbortSignal.abort(new Error("over")));
  assertEquals((await assertRejects(() => aborted, Error)).message, "over");
  const controller = new AbortController();
  const waiting = clock.sleep(10, controller.signal);
  controller.abort(new Error("no more"));
  assertEquals((await assertRejects(() => waiting, Error)).message, "no more");
  await clock.advance("1s");
});

Deno.test("manualClock() moves the lease of a lock and the quota of a throttle", async () => {
  const clock = manualClock();
  const store = memoryStore({ clock });
  const throttle = createThrottle(store, { name: "api", limit: 1, window: "1h", clock });
  assert((await throttle.check("ada")).allowed);
  assert(!(await throttle.check("ada")).allowed);
  const lock = await createLocks(store, { clock }).acquire("job", { ttl: "30s" });
  await clock.advance("1h");
  assert(lock!.signal.aborted);
  assert((await throttle.check("ada")).allowed);
});

Deno.test("faultyStore() leaves a store disposable, and that counts as no call", async () => {
  let ended = 0;
  const inner = Object.assign(Object.create(memoryStore()), { [Symbol.dispose]: () => ended++ });
  {
    using store = faultyStore(inner as ReturnType<typeof memoryStore> & Disposable, ["lost-request"]);
    await assertRejects(() => store.set("a", 1), HoldfastError);
  }
  assertEquals(ended, 1);
});

Deno.test("faultyStore() fails the calls of its array, in order and over all namespaces", async () => {
  const inner = memoryStore();
  const plan: (Fault | undefined)[] = [
    undefined,
    "lost-reply",
    "lost-request",
    "unauthorized",
    "rate-limited",
  ];
  const store = faultyStore(inner, plan);
  await store.set("a", 1);
  const codes: unknown[] = [];
  for (const name of ["b", "c", "d", "e"]) {
    const error = await store.namespace("shelf").set(name, 1).catch((error) => error);
    codes.push([error.code, error.retryable, error.ambiguous]);
  }
  await store.set("f", 1);
  assertEquals(codes, [
    ["backend-unavailable", true, true],
    ["backend-unavailable", true, true],
    ["unauthorized", false, false],
    ["rate-limited", true, false],
  ]);
  assertEquals(await Array.fromAsync(inner.namespace("shelf").list()), ["b"]);
});

Deno.test("faultyStore() asks its function about each call by its name, a list page by page", async () => {
  const calls: string[] = [];
  const store = faultyStore(memoryStore(), ({ operation, index }) => {
    calls.push(`${index} ${operation}`);
    return operation === "listPage" ? "lost-request" : undefined;
  });
  await createLocks(store).withLock("job", { ttl: "10s" }, () => {});
  await assertRejects(() => Array.fromAsync(store.list()), HoldfastError);
  assertEquals(calls, ["0 lock.acquire", "1 lock.release", "2 listPage"]);
});

Deno.test("faultyStore() shows that work under an idempotency key runs once although a reply is lost", async () => {
  for (const fault of ["lost-request", "lost-reply"] as const) {
    let runs = 0;
    const idempotency = createIdempotency(faultyStore(memoryStore(), [fault, undefined, fault]));
    const result = await idempotency.run("order:17", () => ++runs);
    assertEquals([result, runs], [1, 1]);
  }
});

Deno.test("faultyMailer() fails as a provider does, and retrying() repeats what it may", async () => {
  const sink = memoryMailer();
  await retrying(faultyMailer(sink, ["lost-reply", "lost-request"])).send(message);
  assertEquals(sink.outbox.length, 1);
  const refused = await faultyMailer(sink, ["unauthorized"]).send(message).catch((error) => error);
  assertEquals([refused.code, refused.delivery, sink.outbox.length], ["unauthorized", "not-sent", 1]);
  const busy = await faultyMailer(sink, ["rate-limited"]).send(message).catch((error) => error);
  assertEquals([busy.code, busy.retryable, busy.retryAfter], ["rate-limited", true, 1000]);
});

Deno.test("linksOf() finds each link once, in text and in HTML, without the sentence's full stop", async () => {
  const mailer = memoryMailer();
  await mailer.send({
    ...message,
    text: "Go to https://shop.example/a?x=1&y=2. Or (https://shop.example/b).",
    html: '<a href="https://shop.example/a?x=1&amp;y=2">Go</a>',
  });
  assertEquals(linksOf(mailer.outbox[0]!), ["https://shop.example/a?x=1&y=2", "https://shop.example/b"]);
});

Deno.test("an invalid plan, store or mailer is refused", () => {
  assertThrows(() => faultyStore(memoryStore(), "lost-reply" as never), TypeError);
  assertThrows(() => faultyStore({} as never, []), TypeError);
  assertThrows(() => faultyMailer(memoryMailer(), undefined as never), TypeError);
  assertThrows(() => faultyMailer({} as never, []), TypeError);
  assertThrows(() => manualClock({ now: 0.5 }), RangeError);
  assertThrows(() => manualClock({ start: 1 } as never), TypeError);
});
