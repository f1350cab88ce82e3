/**
 * A provider takes a message and its answer gets lost: the case in which a mailer that repeats makes two of
 * one. Counted at the providers' servers, for every mailer and everything that may be put around it. Each
 * case has servers of its own, for on a kept connection Deno's fetch may resend by itself what has an
 * idempotency key.
 */
import { createIdempotency, HoldfastError, memoryStore } from "@holdfast/edge";
import {
  failover,
  idempotent,
  type Mailer,
  MailError,
  outbox,
  retrying,
  type SendOptions,
} from "@holdfast/edge/mail";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { providers, senders } from "../support/mail/providers.ts";
import { report } from "../support/report.ts";

const message = { from: "shop@example.com", to: "jane@example.com", subject: "Order 17", text: "Thank you." };
let orders = 0;
/** A key nobody used yet. */
const fresh = (): SendOptions => ({ idempotencyKey: `order-${++orders}` });
const quick = { delay: 1 };

for (const [name, { start, mailer }] of Object.entries(senders)) {
  Deno.test(`a lost reply of ${name} is sent once, by itself and through everything around it`, async () => {
    const dedupes = mailer("http://localhost:1").deduplicates;
    const counts: string[] = [];

    /** The first answer gets lost, further ones arrive; what the servers saw afterwards. */
    const lose = async (
      what: string,
      run: (one: Mailer, other: Mailer, keyed: SendOptions) => Promise<void>,
      requests: number,
    ) => {
      await using first = await start();
      await using second = await start();
      let lost = 0;
      first.fault = () => lost++ === 0 ? { cut: "after" } : undefined;
      await run(mailer(first.url), mailer(second.url), { idempotencyKey: "order-17" });
      const seen = [first.requests.length, first.accepted.length, second.requests.length];
      assertEquals(
        seen,
        [requests, 1, 0],
        `${what}: requests and messages at the first, requests at the second`,
      );
      counts.push(`${what} ${requests}`);
    };
    const fails = async (mailer: Mailer, options: SendOptions | undefined, retryable: boolean) => {
      const error = await assertRejects(() => mailer.send(message, options), MailError);
      assertEquals([error.delivery, error.retryable], ["unknown", retryable], error.message);
      return error;
    };
    const settles = async (mailer: Mailer, options?: SendOptions) => {
      if (dedupes) await mailer.send(message, options);
      else await fails(mailer, options, false);
    };

    await lose("by itself", async (one, _other, keyed) => void await fails(one, keyed, dedupes), 1);
    await lose("retrying", (one) => settles(retrying(one, quick)), dedupes ? 2 : 1);
    await lose(
      "retrying, with the caller's key",
      (one, _other, keyed) => settles(retrying(one, quick), keyed),
      dedupes ? 2 : 1,
    );
    await lose(
      "failover",
      async (one, other, keyed) => void await fails(failover([one, other]), keyed, false),
      1,
    );
    await lose(
      "retrying around failover",
      async (one, other, keyed) => void await fails(retrying(failover([one, other]), quick), keyed, false),
      1,
    );
    await lose(
      "failover of retrying",
      (one, other, keyed) => settles(failover([retrying(one, quick), retrying(other, quick)]), keyed),
      dedupes ? 2 : 1,
    );
    await lose("idempotent, twice", async (one, _other, keyed) => {
      const mailer = idempotent(one, createIdempotency(memoryStore()));
      await fails(mailer, keyed, dedupes);
      if (dedupes) return void await mailer.send(message, keyed);
      assertEquals((await fails(mailer, keyed, false)).code, "in-doubt");
    }, dedupes ? 2 : 1);
    await lose("idempotent around failover, twice", async (one, other, keyed) => {
      const mailer = idempotent(failover([one, other]), createIdempotency(memoryStore()));
      await fails(mailer, keyed, false);
      assertEquals((await fails(mailer, keyed, false)).code, "in-doubt");
    }, 1);
    await lose("outbox", async (one) => {
      const box = outbox(one, memoryStore(), { delay: 1 });
      await box.send(message);
      const reports = [await box.drain()];
      await new Promise((resolve) => setTimeout(resolve, 5));
      reports.push(await box.drain());
      const sum = (field: "sent" | "inDoubt" | "repeated") =>
        reports.reduce((all, one) => all + one[field], 0);
      assertEquals([sum("sent"), sum("repeated"), sum("inDoubt")], dedupes ? [1, 1, 0] : [0, 0, 1]);
    }, dedupes ? 2 : 1);
    report(`${name}: one message each; requests: ${counts.join(", ")}`);
  });
}

Deno.test("a message that was certainly not sent is sent by the next provider, once, and the first is asked last for a while", async () => {
  for (const [name, { start, mailer }] of Object.entries(providers)) {
    await using first = await start();
    await using second = await start();
    for (const status of [429, 503, 401]) {
      first.reset();
      second.reset();
      first.fault = () => ({ status, body: "" });
      const both = failover([mailer(first.url), mailer(second.url)]);
      await both.send(message, fresh());
      await both.send(message, fresh());
      const seen = [
        first.requests.length,
        first.accepted.length,
        second.requests.length,
        second.accepted.length,
      ];
      assertEquals(seen, [1, 0, 2, 2], `${name}, ${status}`);
    }
    first.fault = () => ({
      status: 422,
      body: '{"statusCode":422,"name":"validation_error","message":"no"}',
    });
    second.reset();
    const error = await assertRejects(
      () => failover([mailer(first.url), mailer(second.url)]).send(message),
      MailError,
    );
    assertEquals([error.code, second.requests.length], ["message-rejected", 0], `${name}: a refused message`);
  }
});

Deno.test("a provider whose port is closed is not-sent: the next one sends", async () => {
  const { start, mailer } = providers.sendgrid!;
  let gone: string;
  {
    await using closed = await start();
    gone = closed.url;
  }
  await using server = await start();
  await failover([mailer(gone), mailer(server.url)]).send(message);
  assertEquals(server.accepted.length, 1);
});

Deno.test("retrying keeps one key through every attempt, and waits as long as the provider says", async () => {
  const { start, mailer } = providers.resend!;
  await using server = await start();
  let asked = 0;
  server.fault = () =>
    ++asked < 3 ? { status: 429, headers: { "ratelimit-reset": "0.05" }, body: "" } : undefined;
  const began = performance.now();
  await retrying(mailer(server.url), { delay: 1 }).send(message);
  const keys = new Set(server.requests.map(({ headers }) => headers.get("idempotency-key")));
  assertEquals([server.requests.length, keys.size, server.accepted.length], [3, 1, 1]);
  assert([...keys][0], "a key was drawn");
  assert(performance.now() - began >= 100, "twice 50 ms");
});

Deno.test("an unknown outcome stays unknown despite later attempts, and no other provider is asked", async () => {
  const { start, mailer } = providers.resend!;
  await using server = await start();
  await using second = await start();
  let asked = 0;
  server.fault = () => asked++ === 0 ? { cut: "after" } : { status: 429, body: "" };
  const both = failover([retrying(mailer(server.url), { delay: 1, attempts: 3 }), mailer(second.url)]);
  const error = await assertRejects(() => both.send(message, fresh()), MailError);
  assertEquals([error.delivery, error.ambiguous, error.retryable], ["unknown", true, false]);
  assertEquals([server.requests.length, server.accepted.length, second.requests.length], [3, 1, 0]);
  assert(error instanceof HoldfastError);
});
