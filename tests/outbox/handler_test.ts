/** What becomes of an item after the end of its handler, where the laws of `outboxLaw` cannot look. */
import { HoldfastError, memoryStore } from "@holdfast/edge";
import { observedStore } from "@holdfast/edge/engine";
import { createOutbox } from "@holdfast/edge/outbox";
import { manualClock } from "@holdfast/edge/testing";
import { assertEquals } from "../support/assert.ts";

Deno.test("an item whose lease ended while it was handled is in doubt, and not handed out again", async () => {
  const clock = manualClock();
  // Only extensions fail: the drainer gives the lease up a little before the engine does, and can still note that.
  const store = observedStore(memoryStore({ clock }), {
    around: (call, run) =>
      call.operation === "outbox.extend" ? Promise.reject(new HoldfastError("read-only", "no")) : run(),
  });
  let handled = 0;
  const begun = Promise.withResolvers<void>();
  const events = createOutbox<number>(store, {
    name: "events",
    whenUnknown: "hold",
    lease: "10s",
    attemptTimeout: "1h",
    clock,
    handle: async (_item, { signal }) => {
      if (++handled > 1) return; // handed out again
      begun.resolve();
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    },
  });
  const { id } = await events.add(17);
  const first = events.drain();
  await begun.promise;
  await clock.advance("9900ms"); // after the end that the drainer counts on, before that of the engine
  const { inDoubt, retried } = await first;
  await clock.advance("1h");
  await events.drain();
  const states = await Array.fromAsync(events.list(), ({ id, state }) => [id, state]);
  assertEquals({ handled, inDoubt, retried, states }, {
    handled: 1,
    inDoubt: 1,
    retried: 0,
    states: [[id, "in-doubt"]],
  });
});

Deno.test("an error of the handler is retryIf's to judge, whatever its code", async () => {
  const clock = manualClock();
  const asked: unknown[] = [];
  const error = new HoldfastError("corrupt-record", "a record of the application's own");
  const events = createOutbox<number>(memoryStore({ clock }), {
    name: "events",
    clock,
    retryIf: (error) => (asked.push(error), true),
    handle: () => Promise.reject(error),
  });
  await events.add(17);
  const { retried, dead } = await events.drain({ limit: 1 });
  assertEquals({ retried, dead, asked }, { retried: 1, dead: 0, asked: [error] });
});

Deno.test("a delay is counted by the store's clock, however far that of the caller is off", async () => {
  const clock = manualClock();
  for (const hours of [-5, 5]) {
    const handled: string[] = [];
    const events = createOutbox<string>(memoryStore({ clock }), {
      name: "events",
      clock: { ...clock, now: () => clock.now() + hours * 3_600_000 },
      handle: (item) => void handled.push(item),
    });
    await events.add("later", { delay: "10s" });
    await events.drain();
    assertEquals(handled, []);
    await clock.advance("10s");
    await events.drain();
    assertEquals(handled, ["later"]);
  }
});
