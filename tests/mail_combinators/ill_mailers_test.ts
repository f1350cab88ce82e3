/**
 * Mailers of an application that do not keep the contract: they ignore their signal and timeout, or give no receipt.
 * What wraps them ends in time and says that the outcome is unknown, never that nothing was sent.
 */
import { createIdempotency, createThrottle, memoryStore } from "@holdfast/edge";
import { cloudflareMailer } from "@holdfast/edge/cloudflare-email";
import {
  type BulkResult,
  failover,
  idempotent,
  type Mailer,
  MailError,
  type MailOutbox,
  memoryMailer,
  observed,
  outbox,
  rateLimited,
  rendering,
  retrying,
  sendBulk,
  suppressing,
} from "@holdfast/edge/mail";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { assert, assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

const message = { from: "shop@example.com", to: "jane@example.com", subject: "Order 17", text: "Thank you." };
const never = () => new Promise<never>(() => {});
const timeout = "50ms";

function hanging(deduplicates = false): Mailer {
  return { name: "own", deduplicates, send: never };
}

/** The mailer's error; a call that never ends fails the test by that. */
async function errorOf(sending: Promise<unknown>): Promise<MailError> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it did not end")), 10_000);
  });
  try {
    await Promise.race([sending, late]);
  } catch (error) {
    assert(error instanceof MailError, `an error that is none of a mailer: ${error}`);
    return error;
  } finally {
    clearTimeout(timer!);
  }
  throw new Error("it was taken");
}

async function firstOf(results: AsyncIterable<BulkResult>): Promise<void> {
  for await (const result of results) if (result.state === "failed") throw result.error;
}

const throttle = () => createThrottle(memoryStore(), { name: "mail", limit: 9, window: "1s" });
const wrappers: Record<string, (mailer: Mailer) => Mailer> = {
  retrying: (mailer) => retrying(mailer, { attempts: 1 }),
  failover: (mailer) => failover([mailer, memoryMailer()]),
  idempotent: (mailer) => idempotent(mailer, createIdempotency(memoryStore())),
  suppressing: (mailer) => suppressing(mailer, memoryStore()),
  observed: (mailer) => observed(mailer, { onOperation: () => {} }),
  rateLimited: (mailer) => rateLimited(mailer, throttle()),
  rendering: (mailer) => rendering(mailer, () => ({ text: "Thank you." })),
};

for (const [name, wrap] of Object.entries(wrappers)) {
  Deno.test(`${name}: a mailer that ignores its timeout and signal is left, its outcome unknown`, async () => {
    const idempotencyKey = "order-17";
    const late = await errorOf(wrap(hanging()).send(message, { timeout, idempotencyKey }));
    assertEquals([late.code, late.delivery, late.retryable], ["timeout", "unknown", false]);
    const signal = AbortSignal.timeout(50);
    const gone = await errorOf(wrap(hanging()).send(message, { signal, idempotencyKey: "order-18" }));
    assertEquals([gone.code, gone.delivery], ["aborted", "unknown"]);
    const bulk = await errorOf(firstOf(sendBulk(wrap(hanging()), [message], { timeout })));
    assertEquals([bulk.code, bulk.delivery], ["timeout", "unknown"]);
  });

  Deno.test(`${name}: a mailer that gives no receipt is named, its outcome unknown`, async () => {
    for (const none of [undefined, null, true, "id-17", {}, [], { mailer: "own", deferred: "none" }]) {
      let sent = 0;
      const own = {
        name: "own",
        deduplicates: false,
        send: () => (sent++, Promise.resolve(none)),
      } as unknown as Mailer;
      for (const sending of [() => wrap(own).send(message), () => firstOf(sendBulk(wrap(own), [message]))]) {
        sent = 0;
        const error = await errorOf(sending());
        assertEquals([error.code, error.delivery, sent], ["misconfigured", "unknown", 1]);
        assert(/own/.test(error.message) && /receipt/.test(error.message), error.message);
      }
    }
  });
}

const queued = (mailer: Mailer) => outbox(mailer, memoryStore());
for (
  const [name, wrap] of Object.entries({ memory: (mailer: Mailer) => mailer, outbox: queued, ...wrappers })
) {
  Deno.test(`${name}: an attachment whose source hangs ends with the call's time or signal, and nothing was sent`, async () => {
    const provider = memoryMailer();
    const mailer = wrap(provider);
    const hung = { ...message, attachments: [{ filename: "a.txt", content: never }] };
    const idempotencyKey = "order-17";
    const late = await errorOf(mailer.send(hung, { timeout, idempotencyKey }));
    assertEquals([late.code, late.delivery], ["timeout", "not-sent"]);
    const leaving = new AbortController();
    const sending = errorOf(mailer.send(hung, { signal: leaving.signal, idempotencyKey }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    leaving.abort(null); // `null` is allowed, and no error
    const gone = await sending;
    assertEquals([gone.code, gone.delivery], ["aborted", "not-sent"]);
    await mailer.send(message, { idempotencyKey }); // the key is free
    if ("drain" in mailer) await (mailer as MailOutbox).drain();
    assertEquals(provider.outbox.length, 1);
  });
}

Deno.test("retrying: its own timeouts end an attempt that ignores them", async () => {
  for (const options of [{ attempts: 1, attemptTimeout: timeout }, { timeout }] as const) {
    const error = await errorOf(retrying(hanging(), options).send(message));
    assertEquals([error.code, error.delivery], ["timeout", "unknown"]);
  }
});

Deno.test("retrying: a mailer that deduplicates is asked again under its key after no answer", async () => {
  const keys: unknown[] = [];
  const memory = memoryMailer();
  const own: Mailer = {
    name: "own",
    deduplicates: true,
    send: (message, options) => {
      keys.push(options?.idempotencyKey);
      return keys.length === 1 ? never() : memory.send(message, options);
    },
  };
  await retrying(own, { attemptTimeout: "1s", delay: 1 }).send(message, { idempotencyKey: "order-17" });
  assertEquals(keys, ["order-17", "order-17"]);
});

Deno.test("failover: after no answer the next one is asked only where that was chosen", async () => {
  const next = memoryMailer();
  await failover([hanging(), next], { whenUnknown: "next" }).send(message, { timeout });
  assertEquals(next.outbox.length, 1);
});

Deno.test("sendBulk: a sender of batches that ignores its timeout, or answers nothing, is left", async () => {
  for (const send of [() => [never()], () => undefined, () => []]) {
    const own = { ...hanging(), openBulk: () => ({ size: 10, send }) } as unknown as Mailer;
    const error = await errorOf(firstOf(sendBulk(own, [message], { timeout })));
    assertEquals(error.delivery, "unknown");
  }
});

Deno.test("outbox: attemptTimeout ends an attempt that ignores it, and holds the message as in doubt", async () => {
  const queue = outbox(hanging(), memoryStore(), { attemptTimeout: timeout });
  await queue.send(message);
  const { inDoubt, sent, retried } = await queue.drain();
  assertEquals([inDoubt, sent, retried], [1, 0, 0]);
});

/** Lets ten minutes and more pass at once: timers that long fire as soon as they can. */
function shortenTimers(): Disposable {
  const { setTimeout } = globalThis;
  globalThis.setTimeout =
    ((run: () => void, ms?: number) => setTimeout(run, ms! >= 600_000 ? 0 : ms)) as typeof setTimeout;
  return { [Symbol.dispose]: () => void (globalThis.setTimeout = setTimeout) };
}

Deno.test("outbox: a mailer that never answers is left after ten minutes where nothing says how long it has", async () => {
  const clock = new ManualClock();
  const queue = outbox(hanging(), memoryStore({ clock }), { clock });
  await queue.send(message);
  let inDoubt = 0;
  const draining = queue.drain().then((report) => inDoubt = report.inDoubt);
  for (let minutes = 0; minutes < 9; minutes++) await clock.advance(60_000);
  assertEquals(inDoubt, 0, "it is left too early");
  for (let minutes = 0; minutes < 3; minutes++) await clock.advance(60_000);
  assertEquals(await Promise.race([draining, Promise.resolve("it waits for ever")]), 1);
});

Deno.test("retrying: a mailer that never answers is left after ten minutes where nothing says how long it has", async () => {
  using _ = shortenTimers();
  const error = await errorOf(retrying(hanging(), { attempts: 1 }).send(message));
  assertEquals([error.code, error.delivery], ["timeout", "unknown"]);
});

Deno.test("outbox: a drainer whose mailer never answers keeps no process alive", async () => {
  const script = `
    import { memoryStore } from "@holdfast/edge";
    import { outbox } from "@holdfast/edge/mail";
    const own = { name: "own", deduplicates: false, send: () => new Promise(() => {}) };
    const queue = outbox(own, memoryStore());
    await queue.send(${JSON.stringify(message)});
    queue.drain();
    console.log("begun");`;
  const args = ["eval", "--no-check", script];
  const child = new Deno.Command(Deno.execPath(), { args, signal: AbortSignal.timeout(60_000) });
  const { code, stdout } = await child.output();
  assertEquals([code, new TextDecoder().decode(stdout).trim()], [0, "begun"]);
});

Deno.test("outbox: a message without a receipt is in doubt, reported, and never sent again", async () => {
  for (const whenUnknown of ["hold", "resend"] as const) {
    let sent = 0;
    const faults: unknown[] = [];
    const own = { name: "own", deduplicates: false, send: () => void sent++ } as unknown as Mailer;
    const queue = outbox(own, memoryStore(), {
      whenUnknown,
      delay: 1,
      onFault: (error) => void faults.push((error as MailError).code),
    });
    await queue.send(message);
    await queue.send({ ...message, subject: "Order 18" });
    const { inDoubt } = await queue.drain();
    assertEquals([inDoubt, sent, faults], [2, 2, ["misconfigured", "misconfigured"]]);
  }
});

const mailers: Record<string, () => Mailer> = {
  resend: () => resendMailer({ apiKey: "re_x", fetch: never }),
  sendgrid: () => sendgridMailer({ apiKey: "SG.x", fetch: never }),
  cloudflare: () => cloudflareMailer({ send: never }),
};
for (const [name, make] of Object.entries(mailers)) {
  Deno.test(`${name}: a request that ignores its signal is left, its outcome unknown`, async () => {
    const late = await errorOf(make().send(message, { timeout }));
    assertEquals([late.code, late.delivery], ["timeout", "unknown"]);
    const gone = await errorOf(make().send(message, { signal: AbortSignal.timeout(50) }));
    assertEquals([gone.code, gone.delivery], ["aborted", "unknown"]);
  });
}

Deno.test("observed: an 'around' that returns nothing sends once", async () => {
  let sent = 0;
  const send = () => Promise.resolve({ mailer: "own", id: String(++sent) });
  const around = ((_call: unknown, run: () => Promise<unknown>) => void run()) as never;
  await observed({ name: "own", deduplicates: false, send }, { around }).send(message);
  assertEquals(sent, 1);
});

Deno.test("rateLimited: a cost that throws fails its own message of a bulk, and no other", async () => {
  const memory = memoryMailer();
  const batches: Mailer = {
    ...{ name: "own", deduplicates: false, send: (message) => memory.send(message) },
    openBulk: () => ({ size: 3, send: (messages) => messages.map((message) => memory.send(message)) }),
  };
  const cost = ({ subject }: { readonly subject: string }) => {
    if (subject === "Order 2") throw new RangeError("no cost");
    return 1;
  };
  const messages = [1, 2, 3].map((number) => ({ ...message, subject: `Order ${number}` }));
  const states: string[] = [];
  for await (const { state } of sendBulk(rateLimited(batches, throttle(), { cost }), messages)) {
    states.push(state);
  }
  assertEquals(states, ["sent", "failed", "sent"]);
});

for (const [name, wrap] of Object.entries(wrappers)) {
  Deno.test(`${name}: a TypeError of fetch is no mistake in the message: its outcome is unknown`, async () => {
    const own: Mailer = {
      name: "own",
      deduplicates: false,
      send: () => Promise.reject(new TypeError("fetch failed")),
    };
    for (const sending of [() => wrap(own).send(message), () => firstOf(sendBulk(wrap(own), [message]))]) {
      const error = await errorOf(sending());
      assertEquals([error.code, error.delivery, error.retryable], ["backend-unavailable", "unknown", false]);
    }
  });
}

Deno.test("outbox: a TypeError of fetch leaves its message in doubt", async () => {
  const send = () => Promise.reject(new TypeError("fetch failed"));
  const mailer = outbox({ name: "own", deduplicates: false, send }, memoryStore());
  await mailer.send(message);
  const { inDoubt, dead } = await mailer.drain();
  assertEquals([inDoubt, dead], [1, 0]);
});
