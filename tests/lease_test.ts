/** The keeper of leases, on a clock that the test moves. */
import { Lease, type LeaseOptions } from "../src/lease.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "./support/assert.ts";
import { ManualClock } from "./support/manual_clock.ts";

class Lost extends Error {}

/** A lease of 1000 ms, with the extensions that it asked for. */
function keep(options: Partial<LeaseOptions> = {}) {
  const clock = new ManualClock();
  const asked: number[] = [];
  const sentAt = clock.monotonic();
  const lease = new Lease({
    clock,
    length: 1000,
    sentAt,
    extend: (length) => {
      asked.push(length);
      return Promise.resolve(true);
    },
    lost: (why) => new Lost(why),
    ...options,
  });
  return { clock, lease, asked, since: () => clock.monotonic() - sentAt };
}

Deno.test("a lease that is not renewed ends before its length is over, in signal, held and assertHeld() alike", async () => {
  const { clock, lease } = keep();
  const { signal } = lease;
  assert(lease.held && lease.remaining < 1000 && !signal.aborted);
  lease.assertHeld();
  await clock.advance(999);
  assertEquals([lease.held, lease.remaining, signal.aborted], [false, 0, true]);
  assert(signal.reason instanceof Lost);
  assertThrows(() => lease.assertHeld(), Lost);
  assertEquals(await lease.extend(), false);
});

Deno.test("a signal that is first looked at after the end is aborted, with the reason", async () => {
  const { clock, lease } = keep();
  await clock.advance(1000);
  assert(lease.signal.aborted && lease.signal.reason instanceof Lost);
});

Deno.test("renewal extends from a third of the lease on, and more often after a failure", async () => {
  const at: number[] = [];
  let fail = true;
  const { clock, lease, since } = keep({
    renew: true,
    extend() {
      at.push(since());
      return fail ? Promise.reject(new Error("no reply")) : Promise.resolve(true);
    },
  });
  await clock.advance(330);
  assertEquals(at.length, 1, "the first after a third");
  await clock.advance(210);
  assertEquals(at.length, 3, "then every tenth");
  fail = false;
  await clock.advance(5000);
  assert(lease.held && !lease.signal.aborted);
  lease.end();
});

Deno.test("a lease whose extensions all fail ends at its deadline, never later", async () => {
  const { clock, lease } = keep({ renew: true, extend: () => Promise.reject(new Error("no reply")) });
  const { signal } = lease;
  await clock.advance(980);
  assert(!signal.aborted);
  await clock.advance(19);
  assert(signal.aborted && signal.reason instanceof Lost);
});

Deno.test("an extension without a reply does not outlive the lease", async () => {
  const seen: AbortSignal[] = [];
  const { clock, lease } = keep({
    extend(_length, signal) {
      seen.push(signal);
      return new Promise(() => {});
    },
  });
  const extended = lease.extend();
  await clock.advance(0);
  await clock.advance(1000);
  assertEquals(await extended, false);
  assert(seen[0]!.aborted, "its request is cancelled");
});

Deno.test("an extension that shortens the lease counts from its sending, also when its reply is lost", async () => {
  const { clock, lease } = keep({ extend: () => Promise.reject(new Error("no reply")) });
  await assertRejects(() => lease.extend(100), Error);
  assert(lease.remaining <= 100);
  await clock.advance(100);
  assertEquals(lease.held, false);
});

Deno.test("a lease that another holder has is lost at once", async () => {
  const { lease } = keep({ extend: () => Promise.resolve(false) });
  const { signal } = lease;
  assertEquals(await lease.extend(), false);
  assert(signal.aborted && !lease.held);
});

Deno.test("maxHold ends a renewed lease although the work goes on", async () => {
  const { clock, lease, asked } = keep({ renew: true, maxHold: 2500 });
  const { signal } = lease;
  await clock.advance(2400);
  assert(!signal.aborted);
  await clock.advance(100);
  assert(signal.aborted && !lease.held);
  assert(asked.at(-1)! < 1000, "the last extension ends at maxHold");
  const count = asked.length;
  await clock.advance(5000);
  assertEquals(asked.length, count, "it is extended no more");
});

Deno.test("the caller's signal ends renewal and aborts the lease's signal with its own reason", async () => {
  const controller = new AbortController();
  const { clock, lease, asked } = keep({ renew: true, signal: controller.signal });
  const { signal } = lease;
  await clock.advance(500);
  const count = asked.length;
  controller.abort("enough");
  assertEquals(signal.reason, "enough");
  await clock.advance(400);
  assertEquals([asked.length, lease.held], [count, true], "the lease runs out by itself");
  await clock.advance(1000);
  assertEquals(lease.held, false);
});

Deno.test("a caller's signal that was aborted before is seen by a signal looked at later", () => {
  const { lease, asked } = keep({ renew: true, signal: AbortSignal.abort("before") });
  assertEquals([lease.signal.reason, asked.length], ["before", 0]);
});

Deno.test("stop() ends renewal alone: the signal still aborts at the deadline", async () => {
  const { clock, lease, asked } = keep({ renew: true });
  const { signal } = lease;
  lease.stop();
  await clock.advance(1000);
  assertEquals([signal.aborted, asked.length], [true, 0]);
});

Deno.test("after settle() the lease is renewed, and its signal stays quiet when it is lost", async () => {
  let ours = true;
  const { clock, lease } = keep({ renew: true, extend: () => Promise.resolve(ours) });
  const { signal } = lease;
  lease.settle();
  await clock.advance(3000);
  assert(lease.held);
  ours = false;
  await clock.advance(1000);
  assertEquals([lease.held, signal.aborted], [false, false]);
});

Deno.test("end() is quiet without a reason and aborts with one", () => {
  const quiet = keep().lease;
  const { signal } = quiet;
  quiet.end();
  assertEquals([signal.aborted, quiet.held, keep().lease.signal.aborted], [false, false, false]);
  const told = keep().lease;
  const heard = told.signal;
  told.end("it was released");
  assertEquals((heard.reason as Error).message, "it was released");
});

Deno.test("a lease makes no timer until its signal is read", async () => {
  const clock = new ManualClock();
  let sleeps = 0;
  const sleep = clock.sleep.bind(clock);
  clock.sleep = (ms, signal) => {
    sleeps++;
    return sleep(ms, signal);
  };
  const { lease } = keep({ clock, sentAt: clock.monotonic() });
  lease.assertHeld();
  lease.end("it was released");
  assertEquals(sleeps, 0);
  await clock.advance(1);
});
