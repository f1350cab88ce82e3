/** Bulks against a provider's limits: its rate, the bytes of a request, and a caller that stops early. */
import { createThrottle, memoryStore, systemClock } from "@holdfast/edge";
import { memoryMailer, type Message, observed, rateLimited, retrying, sendBulk } from "@holdfast/edge/mail";
import { resendMailer } from "@holdfast/edge/resend";
import { groupBySize } from "../../adapters/resend/group_by_size.ts";
import { BulkGate } from "../../src/mail/_bulk_gate.ts";
import { windowSize } from "../../src/mail/_bulk_run.ts";
import { repeatOf } from "../../src/mail/_retrying_mailer.ts";
import { MailError } from "../../src/mail/mail_error.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import type { MailServer } from "../support/mail/http_server.ts";
import { RESEND_KEY, startResend } from "../support/mail/resend_server.ts";
import { report } from "../support/report.ts";

const message: Message = {
  from: "shop@example.com",
  to: "jane@example.com",
  subject: "Hello",
  text: "Hello",
};
const numbered = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ ...message, subject: `number ${i}` }));

/** Refuses what is more than so many requests in a second. */
function limitRate(server: MailServer, perSecond: number): { refused: number } {
  const times: number[] = [];
  const counts = { refused: 0 };
  server.fault = () => {
    const now = performance.now();
    while (times.length > 0 && times[0]! <= now - 1000) times.shift();
    if (times.length < perSecond) return void times.push(now);
    counts.refused++;
    const body = JSON.stringify({ statusCode: 429, name: "rate_limit_exceeded", message: "slow down" });
    return { status: 429, headers: { "retry-after": "1" }, body };
  };
  return counts;
}

async function states(bulk: AsyncIterable<{ state: string }>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for await (const { state } of bulk) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

function subjects(server: MailServer): string[] {
  return server.accepted.map(({ subject }) => subject).sort();
}

Deno.test("retrying: 600 messages against two requests a second all arrive, once each, in batches", async () => {
  await using server = await startResend();
  const counts = limitRate(server, 2);
  const mailer = retrying(resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url }));
  assertEquals(await states(sendBulk(mailer, numbered(600))), { sent: 600 });
  assertEquals(subjects(server), numbered(600).map(({ subject }) => subject).sort());
  assert(server.requests.length - counts.refused === 6, `${server.requests.length} requests`);
  report(
    `600 messages, 2 requests a second, retrying: ${server.requests.length} requests, ${counts.refused} refused`,
  );
});

Deno.test("rateLimited: 600 messages below two requests a second all arrive, and none is refused", async () => {
  await using server = await startResend();
  const counts = limitRate(server, 2);
  // Turns that are far enough apart for a busy machine not to bring three into one second.
  const throttle = createThrottle(memoryStore(), { name: "mail", limit: 1, window: "1500ms" });
  const mailer = rateLimited(resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url }), throttle, {
    per: "request",
  });
  assertEquals(await states(sendBulk(mailer, numbered(600))), { sent: 600 });
  assertEquals([server.requests.length, counts.refused], [6, 0]);
});

Deno.test("rateLimited by message keeps batches, and a message without a turn in time fails alone", async () => {
  const sizes: number[] = [];
  const batching = {
    name: "test",
    deduplicates: false,
    send: () => Promise.reject(new Error("not asked")),
    openBulk: () => ({
      size: 10,
      send: (messages: readonly Message[]) => {
        sizes.push(messages.length);
        return messages.map(({ subject }) => Promise.resolve({ mailer: "test", id: subject }));
      },
    }),
  };
  const throttle = createThrottle(memoryStore(), { name: "mail", limit: 7, window: "1h" });
  const results = [];
  for await (const result of sendBulk(rateLimited(batching, throttle, { wait: 0 }), numbered(10))) {
    results.push(result.state === "sent" ? "sent" : result.error.code);
  }
  assertEquals(results, [...Array(7).fill("sent"), ...Array(3).fill("rate-limited")]);
  assertEquals(sizes, [7]);
});

Deno.test("100 messages of 450 KB are split by bytes, and all arrive", async () => {
  await using server = await startResend();
  const mailer = resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url });
  const text = "x".repeat(450_000);
  assertEquals(await states(sendBulk(mailer, numbered(100).map((one) => ({ ...one, text })))), { sent: 100 });
  assertEquals(server.requests.length, 2);
  assert(server.requests.every(({ body }) => body.length <= 40_000_000));
  assertEquals(server.accepted.length, 100);
});

Deno.test("bytes are counted in UTF-8: 100 messages of 150,000 characters of three bytes are split as well", async () => {
  await using server = await startResend();
  const mailer = resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url });
  const text = "日".repeat(150_000);
  assertEquals(await states(sendBulk(mailer, numbered(100).map((one) => ({ ...one, text })))), { sent: 100 });
  assertEquals(server.requests.length, 2);
  assert(server.requests.every(({ body }) => body.length <= 40_000_000));
  const sizes = groupBySize([{ size: 50 }, { size: 47 }, { size: 1 }, { size: 200 }, { size: 1 }], 100);
  assertEquals(sizes.map((group) => group.map(({ size }) => size)), [[50, 47], [1], [200], [1]]);
});

Deno.test("a caller that stops after the first result has sent one batch of a thousand messages, or one message", async () => {
  await using server = await startResend();
  const mailer = resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url });
  for (const wrapped of [mailer, retrying(mailer), observed(mailer, { onOperation() {} })]) {
    server.reset();
    for await (const _ of sendBulk(wrapped, numbered(1000))) break;
    assertEquals(server.accepted.length, 100);
  }
  const memory = memoryMailer();
  for await (const _ of sendBulk(memory, numbered(1000))) break;
  assertEquals(memory.outbox.length, 1);
  assertEquals([0, 1, 2, 3, 9].map((read) => windowSize(read, 5)), [1, 2, 4, 5, 5]);
});

Deno.test("retrying: a batch whose reply was lost is repeated as a whole under its key, and is sent once", async () => {
  await using server = await startResend();
  let asked = 0;
  server.fault = () => ++asked <= 2 ? { cut: "after" } : undefined;
  const mailer = retrying(resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url }), { delay: 1 });
  assertEquals(await states(sendBulk(mailer, numbered(30))), { sent: 30 });
  assertEquals(subjects(server), numbered(30).map(({ subject }) => subject).sort());
  const keys = new Set(server.requests.map(({ headers }) => headers.get("idempotency-key")));
  assertEquals([server.requests.length, keys.size], [3, 1]);
});

Deno.test("a repeated batch is the whole one when the mailer deduplicates it, else the messages that were certainly not sent", () => {
  const error = (
    delivery: "not-sent" | "unknown",
    retryable: boolean,
    code: MailError["code"] = "backend-unavailable",
  ) => new MailError(code, "no", { delivery, retryable, phase: "reply", mailer: "test" });
  const sent = { mailer: "test", id: "1" };
  const outcomes = [
    sent,
    error("unknown", false),
    error("not-sent", true),
    error("not-sent", false, "message-rejected"),
  ];
  assertEquals(repeatOf([4, 5, 6, 7], outcomes, true), [4, 5, 6, 7]);
  assertEquals(repeatOf([4, 5, 6, 7], outcomes, false), [6]);
  assertEquals(repeatOf([0, 1], [sent, error("not-sent", false, "message-rejected")], true), []);
  assertEquals(repeatOf([0], [error("unknown", false, "aborted")], true), []);
});

Deno.test("an aborted bulk rejects with an error also when the reason is null", async () => {
  const controller = new AbortController();
  const endless = async function* () {
    for (let read = 0;; read++) {
      if (read === 5) controller.abort(null);
      yield await Promise.resolve(message);
    }
  };
  let thrown: unknown = "nothing";
  try {
    for await (const _ of sendBulk(memoryMailer(), endless(), { signal: controller.signal }));
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof DOMException && thrown.name === "AbortError", String(thrown));
});

Deno.test("a mistyped option of a bulk or of a wrapper is refused", () => {
  const mailer = memoryMailer();
  const throttle = createThrottle(memoryStore(), { name: "mail", limit: 1, window: "1s" });
  const bad: (() => unknown)[] = [
    () => sendBulk(mailer, [], { concurency: 1 } as object),
    () => sendBulk(mailer, [], { recipients: ["a@example.com"] } as object),
    () => retrying(mailer, { deadline: "1s" } as object),
    () => rateLimited(mailer, throttle, { waitt: 0 } as object),
    () => rateLimited(mailer, throttle, { per: "request", cost: () => 1 }),
    () => observed(mailer, { onoperation() {} } as unknown as { onOperation(): void }),
  ];
  for (const make of bad) assertThrows(make, TypeError);
});

Deno.test("a request that gives up before the gate leaves at once, and those behind it still wait", async () => {
  const gate = new BulkGate(systemClock);
  gate.limit(1);
  const first = await gate.enter(undefined);
  const controller = new AbortController();
  const order: string[] = [];
  const second = gate.enter(controller.signal).catch((error) => void order.push(error));
  const third = gate.enter(undefined).then((turn) => (order.push("third"), turn));
  controller.abort("enough");
  await second;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals(order, ["enough"], "the first is under way");
  first.leave();
  (await third).leave();
  assertEquals(order, ["enough", "third"]);
});
