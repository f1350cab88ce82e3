/** Idempotency where messages are lost, late and doubled, on a store whose network the test decides. */
import { type AtomicStore, createIdempotency, HoldfastError, memoryStore } from "@holdfast/edge";
import type { Fields, Transition } from "@holdfast/edge/engine";
import { beginClaim } from "../../src/idempotency/idempotency_transitions.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** The fate of a call: delivered, lost on its way (the copy comes `later`), or its reply lost. */
type Fate = "deliver" | "later" | "lose reply" | "lose reply for now" | "refuse" | "hang";

const lost = (retryable = false) =>
  new HoldfastError("timeout", "No reply came", { ambiguous: true, retryable });
const refused = () => new HoldfastError("rate-limited", "Asked too often", { retryable: true });

/** A store whose calls have the fate that `decide` says; `late` delivers what is still on its way. */
function network(store: AtomicStore, decide: (name: string, count: number) => Fate) {
  const calls: string[] = [];
  const onTheWay: (() => Promise<unknown>)[] = [];
  const transact = async (transition: Transition, key: string, input: Fields): Promise<Fields> => {
    const name = transition.name.slice("idempotency.".length);
    calls.push(name);
    const deliver = () => store.namespace("idempotency").transact(transition, key, input);
    const decided = decide(name, calls.filter((call) => call === name).length);
    switch (decided) {
      case "deliver":
        return await deliver();
      case "later":
        onTheWay.push(deliver);
        throw lost();
      case "lose reply":
      case "lose reply for now":
        await deliver();
        throw lost(decided === "lose reply for now");
      case "refuse":
        throw refused();
      case "hang":
        return await new Promise(() => {});
    }
  };
  const proxy: AtomicStore = new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return () => proxy;
      if (name === "transact") return transact;
      if (name === "watch") return undefined;
      return Reflect.get(target, name);
    },
  });
  const late = async () => {
    for (const deliver of onTheWay.splice(0)) await deliver();
  };
  return { store: proxy, calls, late };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("a begin that failed as ambiguous may be repeated by its owner, and no late message of the first call harms the second", async () => {
  for (const first of ["lose reply", "later"] as const) {
    const store = memoryStore();
    // Requests that the first call still sends arrive late.
    const { store: far, late, calls } = network(
      store,
      (name, count) => name === "begin" && count === 1 ? first : name === "abandon" ? "later" : "deliver",
    );
    const mine = createIdempotency(far);
    const error = await assertRejects(() => mine.begin("key", { owner: "me" }), HoldfastError);
    assert(error.ambiguous);
    const again = await mine.begin("key", { owner: "me" });
    assertEquals(again.state, "new");
    await turn();
    await late();
    assertEquals(calls.includes("abandon"), false, "the owner is expected to come again");
    assertEquals(
      (await createIdempotency(store).begin("key")).state,
      "in-progress",
      "the second call's claim",
    );
    if (again.state === "new") assertEquals(await mine.complete(again.claim, 1), { state: "stored" });
  }
});

Deno.test("a begin without an owner that reports a failure leaves no claim, whichever of its messages comes first", async () => {
  for (const first of ["lose reply", "later"] as const) {
    const store = memoryStore();
    const { store: far, late } = network(store, (name) => name === "begin" ? first : "deliver");
    const background: Promise<unknown>[] = [];
    const waitUntil = (work: Promise<unknown>) => void background.push(work);
    await assertRejects(() => createIdempotency(far).begin("key", { waitUntil }), HoldfastError);
    assertEquals(background.length, 1);
    await Promise.all(background);
    await late(); // the begin itself, after it was given up
    assertEquals((await createIdempotency(store).begin("key")).state, "new", first);
  }
});

Deno.test("a begin whose first attempt may have taken effect is ambiguous despite later attempts, and leaves no claim", async () => {
  const store = memoryStore();
  const { store: far } = network(store, (name, count) => {
    if (name !== "begin") return "deliver";
    return count === 1 ? "lose reply for now" : "refuse";
  });
  const background: Promise<unknown>[] = [];
  const error = await assertRejects(
    () => createIdempotency(far).begin("key", { waitUntil: (work) => void background.push(work) }),
    HoldfastError,
  );
  assertEquals([error.code, error.ambiguous, background.length], ["rate-limited", true, 1]);
  await Promise.all(background);
  assertEquals((await createIdempotency(store).begin("key")).state, "new");
});

Deno.test("an abandon names its claim: a late copy does not end the same owner's next claim", async () => {
  const store = memoryStore();
  const { store: far, late } = network(store, (name) => name === "abandon" ? "later" : "deliver");
  const mine = createIdempotency(far);
  const first = await mine.begin("key", { owner: "me" });
  assert(first.state === "new");
  await assertRejects(() => mine.abandon(first.claim), HoldfastError);
  const second = await mine.begin("key", { owner: "me" });
  assert(second.state === "new" && second.claim.id !== first.claim.id);
  await late();
  assertEquals((await createIdempotency(store).begin("key")).state, "in-progress");
});

Deno.test("a waiter on a store that cannot notify pauses before it asks again", async () => {
  const clock = new ManualClock();
  const { store: far, calls } = network(memoryStore({ clock }), () => "deliver");
  const idempotency = createIdempotency(far, { clock });
  await idempotency.begin("key");
  calls.length = 0;
  const waiting = idempotency.begin("key", { wait: 1000 });
  for (let i = 0; i < 5; i++) await turn();
  assertEquals(calls, ["begin"], "once, as no time has passed");
  await clock.advance(1100);
  assertEquals((await waiting).state, "in-progress");
  assert(calls.length > 3 && calls.length < 60, `asked ${calls.length} times in a second`);
});

Deno.test("the timeout bounds every call, its retries included", async () => {
  const { store: far } = network(memoryStore(), () => "hang");
  const idempotency = createIdempotency(far, { timeout: 40 });
  const claim = {
    key: "key",
    owner: "me",
    id: "1",
    attempt: 1,
    fingerprint: "",
    lease: 1000,
    retention: 1000,
  };
  const calls: Record<string, () => Promise<unknown>> = {
    begin: () => idempotency.begin("key", { owner: "me" }),
    complete: () => idempotency.complete(claim, 1),
    abandon: () => idempotency.abandon(claim),
    extend: () => idempotency.extend(claim),
    get: () => idempotency.get("key"),
    run: () => idempotency.run("key", () => 1, { owner: "me" }),
  };
  for (const [name, call] of Object.entries(calls)) {
    const error = await assertRejects(call, HoldfastError);
    assertEquals([name, error.code, error.retryable, error.ambiguous], [name, "timeout", true, true]);
  }
});

Deno.test("a claim that travelled to another process is extended at once, as its lease began at an unknown time", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const begun = await createIdempotency(store, { clock, lease: 1000 }).begin("key");
  assert(begun.state === "new");
  await clock.advance(900);
  const elsewhere = createIdempotency(store, { clock, lease: 1000 });
  const hold = elsewhere.hold(JSON.parse(JSON.stringify(begun.claim)));
  await clock.advance(600);
  assertEquals((await elsewhere.begin("key")).state, "in-progress", "beyond its first lease");
  assert(!hold.signal.aborted);
  hold.stop();
});

Deno.test("the signal of work that is done does not abort, although an extension is refused meanwhile", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  // The result is stored at once, but its reply is lost again and again: extensions go on, and find no claim.
  const { store: slow, calls } = network(
    store,
    (name) => name === "complete" ? "lose reply for now" : "deliver",
  );
  const idempotency = createIdempotency(slow, { clock, lease: 300 });
  let signal: AbortSignal | undefined;
  const running = idempotency.run("key", (attempt) => {
    signal = attempt.signal;
    return "done";
  });
  for (let i = 0; i < 5; i++) await turn();
  for (let i = 0; i < 50; i++) await clock.advance(100);
  assertEquals([await running, signal!.aborted, calls.includes("extend")], ["done", false, true]);
});

Deno.test("a lease longer than maxHold is refused, and the default maxHold is as long as a longer lease", async () => {
  const store = memoryStore();
  for (
    const call of [
      async () => await createIdempotency(store, { lease: "2m", maxHold: "1m" }).get("key"),
      () => createIdempotency(store, { lease: "1s", maxHold: "1m" }).begin("key", { lease: "2m" }),
    ]
  ) {
    await assertRejects(call, RangeError);
  }
  assertEquals((await createIdempotency(store).begin("key", { lease: "3h" })).state, "new");
});

Deno.test("a result that the engine cannot hold is its caller's, reported, and never made again", async () => {
  const store = memoryStore();
  const tooLarge: AtomicStore = new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return () => tooLarge;
      if (name !== "transact") return Reflect.get(target, name);
      return (...[transition, key, input]: Parameters<AtomicStore["transact"]>) => {
        if ((input.response ?? "").length > 100) throw new HoldfastError("value-too-large", "Too large");
        return store.transact(transition, key, input);
      };
    },
  });
  const faults: unknown[] = [];
  const idempotency = createIdempotency(tooLarge, { onFault: (error) => faults.push(error) });
  const result = "x".repeat(200);
  assertEquals(await idempotency.run("key", () => result), result);
  assertEquals((faults as HoldfastError[]).map(({ code }) => code), ["value-too-large"]);
  assertEquals((await idempotency.begin("key")).state, "not-retained");
});

Deno.test("a late copy of begin never shortens the lease that its owner holds", () => {
  const input = { owner: "a", claim: "1", lease: "1000", retention: "60000" };
  const claimed = beginClaim.apply(undefined, input, 10_000).write?.record;
  const again = beginClaim.apply(claimed, input, 9_000); // the clock stepped back
  assertEquals(again.write?.record?.leaseEnds, "11000");
});

Deno.test("run() refuses a result that JSON cannot hold, to its first caller too, and the work is never done again", async () => {
  for (const result of [new Map(), new Response("x"), new Error("x"), NaN]) {
    const idempotency = createIdempotency(memoryStore());
    let runs = 0;
    const run = () => idempotency.run<unknown>("key", () => (runs++, result));
    const error = await assertRejects(run, TypeError);
    assertMatch(error.message, /JSON must be able to hold it/);
    await assertRejects(run, HoldfastError);
    assertEquals(runs, 1);
  }
});
