/** An outbox that sends several messages at once: each of them once, and no faster than its mailer's rate. */
import { createThrottle, memoryStore } from "@holdfast/edge";
import { type Mailer, outbox, rateLimited } from "@holdfast/edge/mail";
import { assert, assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

const message = (subject: string) => ({
  from: "shop@example.com",
  to: "jane@example.com",
  subject,
  text: "Thank you.",
});

Deno.test("outbox: four at a time keep to the mailer's rate, and send each message once", async () => {
  const [limit, window, count] = [5, 1000, 40];
  const clock = new ManualClock();
  const sent: { readonly at: number; readonly subject: string }[] = [];
  let running = 0;
  let most = 0;
  const provider: Mailer = {
    name: "own",
    deduplicates: false,
    async send({ subject }) {
      sent.push({ at: clock.now(), subject: subject! });
      most = Math.max(most, ++running);
      await clock.sleep(50);
      running--;
      return { mailer: "own", id: subject };
    },
  };
  const store = memoryStore({ clock });
  const throttle = createThrottle(store, { name: "mail", limit, window });
  const queue = outbox(rateLimited(provider, throttle, { wait: "1h", clock }), store, { clock, buckets: 1 });
  const subjects = Array.from({ length: count }, (_, i) => `number ${i}`);
  for (const subject of subjects) await queue.send(message(subject));
  let taken: number | undefined;
  const draining = queue.drain({ concurrency: 4 }).then((report) => taken = report.sent);
  for (let turn = 0; turn < 4 * count && taken === undefined; turn++) await clock.advance(window / limit);
  await draining;
  assertEquals([taken, most], [count, 4]);
  assertEquals(sent.map(({ subject }) => subject).sort(), subjects.sort());
  // At first as many as the limit, then one each time that its share of the window is over.
  sent.forEach(({ at }, i) => {
    const due = sent[0]!.at + Math.max(0, i + 1 - limit) * window / limit;
    assert(at >= due, `message ${i} was sent ${due - at} ms too early`);
  });
});

Deno.test("outbox: one bucket gives as many messages at once as concurrency says, beyond ten as well", async () => {
  let running = 0;
  let most = 0;
  const waiting: (() => void)[] = [];
  const provider: Mailer = {
    name: "own",
    deduplicates: false,
    async send({ subject }) {
      most = Math.max(most, ++running);
      // All go on when twelve are there, and each ten seconds later at the latest.
      if (running === 12) waiting.forEach((go) => go());
      else {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 10_000);
          waiting.push(() => {
            clearTimeout(timer);
            resolve();
          });
        });
      }
      running--;
      return { mailer: "own", id: subject };
    },
  };
  const queue = outbox(provider, memoryStore(), { buckets: 1 });
  for (let i = 0; i < 12; i++) await queue.send(message(`number ${i}`));
  assertEquals([(await queue.drain({ concurrency: 12 })).sent, most], [12, 12]);
});

Deno.test("outbox: one slow message holds up no other one of its batch", async () => {
  let release!: () => void;
  const slow = new Promise<void>((resolve) => release = resolve);
  const done: string[] = [];
  const provider: Mailer = {
    name: "own",
    deduplicates: false,
    async send({ subject }) {
      if (subject === "number 0") await slow;
      done.push(subject!);
      if (done.length === 9) release(); // the slow one ends when all others have
      return { mailer: "own", id: subject };
    },
  };
  const queue = outbox(provider, memoryStore(), { buckets: 1, attemptTimeout: "10s" });
  for (let i = 0; i < 10; i++) await queue.send(message(`number ${i}`));
  assertEquals((await queue.drain({ concurrency: 2 })).sent, 10);
  assertEquals(done.at(-1), "number 0");
});
