/** The meaning of providers' replies, and of their absence; counted at the servers. */
import { HoldfastError } from "@holdfast/edge";
import {
  buildMime,
  type BulkResult,
  fetchExchange,
  httpMailer,
  jsonRequest,
  type Mailer,
  MailError,
  type Message,
  sendBulk,
} from "@holdfast/edge/mail";
import { brevoMailer } from "@holdfast/edge/brevo";
import { mailgunMailer } from "@holdfast/edge/mailgun";
import { postmarkMailer } from "@holdfast/edge/postmark";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { sesMailer } from "@holdfast/edge/ses";
import { AwsClient } from "aws4fetch";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import type { MailReply, MailServer } from "../support/mail/http_server.ts";
import { startMailgun } from "../support/mail/mailgun_server.ts";
import { calendarOf } from "../support/mail/parse.ts";
import { providers } from "../support/mail/providers.ts";
import { RESEND_KEY, startResend } from "../support/mail/resend_server.ts";
import { SENDGRID_KEY, startSendGrid } from "../support/mail/sendgrid_server.ts";

const message: Message = {
  from: "shop@example.com",
  to: "jane@example.com",
  subject: "Hello",
  text: "Hello",
};

function eachProvider(
  name: string,
  run: (mailer: Mailer, server: MailServer, provider: string) => Promise<void>,
): void {
  for (const [provider, { start, mailer }] of Object.entries(providers)) {
    Deno.test(`${provider}: ${name}`, async () => {
      await using server = await start();
      await run(mailer(server.url), server, provider);
    });
  }
}

async function failed(mailer: Mailer, idempotencyKey?: string): Promise<MailError> {
  const error = await assertRejects(() => mailer.send(message, { idempotencyKey }), MailError);
  assert(error instanceof HoldfastError);
  assert(
    !/@|jane|shop|re_test|SG\.test|AKID|wJalr|key-test/.test(`${error.message}`),
    `leaks: ${error.message}`,
  );
  assertEquals(error.ambiguous, error.delivery === "unknown");
  return error;
}

function body(statusCode: number, name = "some_error"): string {
  return JSON.stringify({
    statusCode,
    name,
    message: "about jane@example.com and re_test_123456789012345678901234",
  });
}

eachProvider(
  "each status says what became of the message, and a key changes that only where it counts",
  async (mailer, server) => {
    const table: [status: number, code: string, delivery: string, retryable: boolean | "keyed"][] = [
      [400, "message-rejected", "not-sent", false],
      [401, "unauthorized", "not-sent", false],
      [403, "unauthorized", "not-sent", false],
      [402, "quota-exceeded", "not-sent", false],
      [404, "misconfigured", "not-sent", false],
      [405, "misconfigured", "not-sent", false],
      [408, "backend-unavailable", "not-sent", true],
      [413, "message-too-large", "not-sent", false],
      [422, "message-rejected", "not-sent", false],
      [429, "rate-limited", "not-sent", true],
      [500, "backend-unavailable", "unknown", "keyed"],
      [502, "backend-unavailable", "unknown", "keyed"],
      [503, "backend-unavailable", "not-sent", true],
      [504, "backend-unavailable", "unknown", "keyed"],
    ];
    for (const [status, code, delivery, retryable] of table) {
      for (const key of [undefined, "order-17"]) {
        server.reset();
        server.fault = () => ({ status, body: body(status) });
        const error = await failed(mailer, key);
        const again = retryable === "keyed" ? mailer.deduplicates && key !== undefined : retryable;
        assertEquals(
          [error.code, error.delivery, error.retryable],
          [code, delivery, again],
          `status ${status}`,
        );
        assertEquals(
          [error.status, error.phase, server.requests.length],
          [status, "reply", 1],
          `status ${status}`,
        );
      }
    }
  },
);

eachProvider(
  "Retry-After is read in seconds, as a date and from the reset headers, or not there",
  async (mailer, server) => {
    const at = (headers: Record<string, string>) => {
      server.fault = () => ({ status: 429, headers, body: body(429) });
      return failed(mailer).then(({ retryAfter }) => retryAfter);
    };
    assertEquals(await at({}), undefined);
    assertEquals(await at({ "retry-after": "7" }), 7000);
    assertEquals(await at({ "retry-after": "soon" }), undefined);
    assertEquals(await at({ "ratelimit-reset": "3" }), 3000);
    const near = (value: number | undefined) => value !== undefined && value > 55_000 && value <= 61_000;
    assert(near(await at({ "retry-after": new Date(Date.now() + 60_000).toUTCString() })));
    assert(near(await at({ "x-ratelimit-reset": String(Math.floor(Date.now() / 1000) + 60) })));
  },
);

eachProvider("a redirect is refused: no key and no message goes elsewhere", async (mailer, server) => {
  await using elsewhere = await startResend();
  for (const status of [301, 302, 307, 308]) {
    server.fault = () => ({ status, headers: { location: `${elsewhere.url}/emails` } });
    const error = await failed(mailer, "order-17");
    assertEquals([error.delivery, error.retryable, error.status], ["not-sent", false, status]);
  }
  assertEquals(elsewhere.requests.length, 0);
});

eachProvider(
  "an answer cut in the middle is no receipt: taken once, said to be unknown, tried once",
  async (mailer, server, provider) => {
    server.fault = () => ({ truncate: true });
    if (provider === "sendgrid") { // its answer has no body
      assertEquals((await mailer.send(message)).id, server.accepted[0]!.id);
    } else {
      const error = await failed(mailer);
      assertEquals([error.delivery, error.retryable], ["unknown", false]);
    }
    assertEquals([server.requests.length, server.accepted.length], [1, 1]);
  },
);

eachProvider(
  "garbage with a good status is no receipt, and with a bad one no secret",
  async (mailer, server, provider) => {
    const html = "<html><script>shop@example.com</script></html>";
    server.fault = () => ({ status: 200, body: html });
    if (provider !== "sendgrid") assertEquals((await failed(mailer)).delivery, "unknown");
    server.fault = () => ({ status: 502, body: html });
    assertEquals((await failed(mailer)).delivery, "unknown");
    server.fault = () => ({ status: 400, body: "{" });
    assertEquals((await failed(mailer)).delivery, "not-sent");
  },
);

eachProvider(
  "a connection that breaks before the request was read is unknown, too",
  async (mailer, server) => {
    server.fault = () => ({ cut: "before" });
    assertEquals((await failed(mailer)).delivery, "unknown");
    assertEquals(server.accepted.length, 0);
  },
);

eachProvider(
  "a port without a listener means not sent, and it may be repeated",
  async (mailer, server, provider) => {
    await server[Symbol.asyncDispose]();
    const error = await failed(mailer);
    if (provider === "resend, by its SDK") assertEquals(error.delivery, "unknown"); // it tells no more
    else assertEquals([error.delivery, error.retryable, error.phase], ["not-sent", true, "connect"]);
  },
);

eachProvider("300 KB go, more than the provider takes does not even start", async (mailer, server) => {
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  const content = new Blob(Array(5).fill(bytes)).slice(0, 300_000);
  await mailer.send({ ...message, attachments: [{ filename: "x.bin", content }] });
  assertEquals(server.accepted[0]!.attachments[0]!.bytes, new Uint8Array(await content.arrayBuffer()));
  const requests = server.requests.length;
  const large = { ...message, attachments: [{ filename: "x.bin", content: new Uint8Array(30_100_000) }] };
  const error = await assertRejects(() => mailer.send(large), MailError);
  assertEquals([error.code, error.delivery, error.phase], ["message-too-large", "not-sent", "prepare"]);
  assertEquals(server.requests.length, requests);
});

eachProvider(
  "1,000 messages with a failing tenth: 1,000 results in order, 900 taken, requests counted",
  async (mailer, server) => {
    const fails = (i: number) => i % 10 === 7;
    server.refuse = ({ to }) => to[0]!.address.startsWith("refused");
    let read = 0;
    let furthest = 0;
    const results: BulkResult[] = [];
    const messages = async function* (): AsyncGenerator<Message> {
      for (let i = 0; i < 1000; i++) {
        await Promise.resolve();
        furthest = Math.max(furthest, ++read - results.length);
        yield { ...message, to: `${fails(i) ? "refused" : "r"}${i}@example.com`, subject: `number ${i}` };
      }
    };
    for await (const result of sendBulk(mailer, messages(), { concurrency: 3 })) results.push(result);
    assertEquals(results.map(({ index }) => index), Array.from({ length: 1000 }, (_, i) => i));
    for (const result of results) {
      assertEquals(result.state, fails(result.index) ? "failed" : "sent");
      if (result.state === "failed") {
        assertEquals([result.error.code, result.error.delivery], ["message-rejected", "not-sent"]);
        assert(!result.error.message.includes("@"), result.error.message);
      } else {
        const mail = server.accepted.find(({ id }) => id === result.receipt.id);
        assertEquals(mail?.subject, `number ${result.index}`, "a receipt belongs to its message");
      }
    }
    assertEquals(server.accepted.length, 900);
    assert(
      server.accepted.every(({ to, cc, bcc }) => to.length === 1 && cc.length === 0 && bcc.length === 0),
    );
    const batch = mailer.name === "resend" ? 100 : 1;
    assertEquals(server.requests.length, 1000 / batch);
    // Three requests' worth are under way, and the next is being read.
    assert(furthest <= 4 * batch + 1, `${furthest} messages held`);
  },
);

Deno.test("resend: messages with attachments go alone, beside the batch, in their place", async () => {
  await using server = await startResend();
  const mailer = resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url });
  const messages = Array.from({ length: 10 }, (_, i): Message => ({
    ...message,
    subject: `number ${i}`,
    ...(i % 4 === 0 && { attachments: [{ filename: "x", content: "x" }] }),
  }));
  const results: BulkResult[] = [];
  for await (const result of sendBulk(mailer, messages)) results.push(result);
  const bySubject = new Map(server.accepted.map(({ id, subject }) => [id, subject]));
  assertEquals(
    results.map((result) => result.state === "sent" && bySubject.get(result.receipt.id!)),
    messages.map(({ subject }) => subject),
  );
  assertEquals(server.requests.map(({ path }) => path).sort(), [
    "/emails",
    "/emails",
    "/emails",
    "/emails/batch",
  ]);
});

eachProvider(
  "a kept connection that closes without an answer has taken one message, whatever the runtime's fetch does",
  async (mailer, server, provider) => {
    await mailer.send(message, { idempotencyKey: "first" }); // opens the connection
    server.reset();
    let left = 1;
    server.fault = () => left-- > 0 ? { cut: "after" } : undefined;
    const outcome = await mailer.send(message, { idempotencyKey: "second" }).then(
      () => "sent",
      (error) => error,
    );
    assertEquals(server.accepted.length, 1);
    if (!mailer.deduplicates) {
      assertEquals([outcome.delivery, server.requests.length], ["unknown", 1]);
    } else assert(outcome === "sent" || outcome.delivery === "unknown", provider);
  },
);

Deno.test("resend: a batch that is repeated under the same keys is taken once", async () => {
  await using server = await startResend();
  const mailer = resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url });
  const messages = Array.from({ length: 5 }, (_, i) => ({ ...message, subject: `number ${i}` }));
  const send = async () => {
    const results: BulkResult[] = [];
    const idempotencyKey = (_: Message, index: number) => `order-${index}`;
    for await (const result of sendBulk(mailer, messages, { idempotencyKey })) results.push(result);
    return results;
  };
  server.fault = () => ({ cut: "after" });
  for (const result of await send()) {
    assert(result.state === "failed");
    // Alone, under its own key, the provider would not know it again.
    assertEquals([result.error.delivery, result.error.retryable], ["unknown", false]);
  }
  server.fault = undefined;
  assert((await send()).every(({ state }) => state === "sent"));
  assertEquals(server.accepted.length, 5);
});

Deno.test("resend: ids that cannot be assigned to messages are given to none", async () => {
  await using server = await startResend();
  const mailer = resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url });
  const answer = async (value: unknown) => {
    server.fault = () => ({ status: 200, body: JSON.stringify(value) });
    const states: unknown[] = [];
    for await (const result of sendBulk(mailer, [message, message, message])) {
      states.push(result.state === "sent" ? result.receipt.id : result.error.delivery);
    }
    return states;
  };
  const error = { index: 1, message: "no" };
  assertEquals(await answer({ data: [{ id: "a" }, { id: "b" }, { id: "c" }] }), ["a", "b", "c"]);
  assertEquals(await answer({ data: [{ id: "a" }, { id: "c" }], errors: [error] }), ["a", "not-sent", "c"]);
  assertEquals(await answer({ data: [{ id: "a" }, null, { id: "c" }], errors: [error] }), [
    "a",
    "not-sent",
    "c",
  ]);
  assertEquals(await answer({ data: [{ id: "a" }] }), ["unknown", "unknown", "unknown"]);
  assertEquals(await answer({ data: [{ id: "a" }, {}, { id: "c" }] }), ["a", "unknown", "c"]);
  assertEquals(await answer("what?"), ["unknown", "unknown", "unknown"]);
});

Deno.test("resend: an exhausted quota and a rate limit have different codes, and so do a busy key and a reused key", async () => {
  await using server = await startResend();
  for (
    const mailer of [
      providers["resend"]!.mailer(server.url),
      providers["resend, by its SDK"]!.mailer(server.url),
    ]
  ) {
    const table: [status: number, name: string, code: string, retryable: boolean][] = [
      [429, "rate_limit_exceeded", "rate-limited", true],
      [429, "daily_quota_exceeded", "quota-exceeded", false],
      [429, "monthly_quota_exceeded", "quota-exceeded", false],
      [409, "invalid_idempotent_request", "fingerprint-mismatch", false],
      [422, "invalid_from_address", "message-rejected", false],
      [403, "invalid_api_key", "unauthorized", false],
    ];
    for (const [status, name, code, retryable] of table) {
      server.fault = () => ({ status, body: body(status, name) });
      const error = await failed(mailer, "order-17");
      assertEquals([error.code, error.retryable, error.delivery], [code, retryable, "not-sent"]);
      assertMatch(error.message, new RegExp(name));
    }
    // Another call is sending it: no other provider may try, this one may be asked again.
    server.fault = () => ({ status: 409, body: body(409, "concurrent_idempotent_requests") });
    const busy = await failed(mailer, "order-17");
    assertEquals([busy.code, busy.retryable, busy.delivery], ["in-progress", true, "unknown"]);
    for await (
      const result of sendBulk(mailer, [message, message], { idempotencyKey: (_, i) => `order-${i}` })
    ) {
      assert(result.state === "failed");
      assertEquals([result.error.delivery, result.error.retryable], ["unknown", false]);
    }
  }
});

Deno.test("resend: two at once under one key: one is sent, the other may come again and gets the same receipt", async () => {
  await using server = await startResend();
  const mailer = resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url });
  const options = { idempotencyKey: "order-17" };
  const outcomes = await Promise.allSettled([mailer.send(message, options), mailer.send(message, options)]);
  const receipt = await mailer.send(message, options);
  for (const outcome of outcomes) {
    if (outcome.status === "fulfilled") assertEquals(outcome.value, receipt);
    else assertEquals([outcome.reason.code, outcome.reason.retryable], ["in-progress", true]);
  }
  assertEquals(server.accepted.length, 1);
});

Deno.test("ses: throttled is busy, a daily quota is not, and the error's name is in a header", async () => {
  const { start, mailer } = providers["ses"]!;
  await using server = await start();
  const answer = (status: number, type: string, message: string): MailReply => ({
    status,
    headers: { "x-amzn-errortype": `${type}:http://internal.amazon.com/coral/com.amazon/` },
    body: JSON.stringify({ message }),
  });
  const table: [MailReply, code: string, retryable: boolean][] = [
    [answer(429, "TooManyRequestsException", "Maximum sending rate exceeded."), "rate-limited", true],
    [answer(400, "ThrottlingException", "Maximum sending rate exceeded."), "rate-limited", true],
    [answer(429, "TooManyRequestsException", "Daily message quota exceeded."), "quota-exceeded", false],
    [answer(400, "LimitExceededException", "Limit."), "quota-exceeded", false],
    [
      answer(400, "MessageRejected", "Email address is not verified: shop@example.com"),
      "message-rejected",
      false,
    ],
    [answer(400, "AccountSuspendedException", "Suspended."), "message-rejected", false],
    [answer(403, "ExpiredTokenException", "Expired."), "unauthorized", false],
  ];
  for (const [reply, code, retryable] of table) {
    server.fault = () => reply;
    const error = await failed(mailer(server.url));
    assertEquals([error.code, error.retryable, error.delivery], [code, retryable, "not-sent"]);
    assertMatch(error.message, new RegExp(reply.headers!["x-amzn-errortype"]!.split(":")[0]!));
  }
});

Deno.test("sendgrid: the error's text is in errors[], a receipt without a header has no id", async () => {
  await using server = await startSendGrid();
  const mailer = sendgridMailer({ apiKey: SENDGRID_KEY, baseUrl: server.url });
  const text = "The from address does not match a verified Sender Identity.";
  server.fault = () => ({
    status: 403,
    body: JSON.stringify({ errors: [{ message: text, field: "from", help: null }] }),
  });
  assertMatch((await failed(mailer)).message, /does not match a verified Sender Identity/);
  server.fault = () => ({ status: 202 });
  assertEquals(await mailer.send(message), { mailer: "sendgrid", id: undefined });
});

Deno.test("mailgun: 401 tells to look at the region; each region has its address", async () => {
  await using server = await startMailgun();
  const wrong = mailgunMailer({
    apiKey: "wrong",
    domain: "mg.example.com",
    region: "eu",
    baseUrl: server.url,
  });
  assertMatch((await failed(wrong)).message, /check key and region eu: Forbidden/);
  const urls: string[] = [];
  const fetch = (url: string | URL | Request) => {
    urls.push(String(url));
    const status = String(url).includes("sendgrid") ? 202 : 200;
    const init = { status, headers: { "x-message-id": "1" } };
    return Promise.resolve(Response.json({ id: "<1@x>", MessageId: "1" }, init));
  };
  const access = { apiKey: "k", fetch };
  const domain = "mg.example.com";
  await mailgunMailer({ ...access, domain }).send(message);
  await mailgunMailer({ ...access, domain, region: "eu" }).send(message);
  await sendgridMailer(access).send(message);
  await sendgridMailer({ ...access, region: "eu" }).send(message);
  await resendMailer({ apiKey: "k", fetch: () => fetch("resend").then(() => Response.json({ id: "1" })) })
    .send(message);
  const client = new AwsClient({ accessKeyId: "a", secretAccessKey: "s" });
  await sesMailer({ region: "eu-central-1", client, fetch }).send(message);
  assertEquals(urls, [
    "https://api.mailgun.net/v3/mg.example.com/messages",
    "https://api.eu.mailgun.net/v3/mg.example.com/messages",
    "https://api.sendgrid.com/v3/mail/send",
    "https://api.eu.sendgrid.com/v3/mail/send",
    "resend",
    "https://email.eu-central-1.amazonaws.com/v2/email/outbound-emails",
  ]);
});

Deno.test("a feature that a provider forbids is unsupported, by name, before anything is sent", async () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => `r${i}@example.com`);
  const { to: _, ...nobody } = message;
  const secret = { ...nobody, bcc: "secret@example.com" };
  const tag = { ...message, tags: ["not a tag: it has spaces"] };
  const late = { ...message, sendAt: new Date(Date.now() + 73 * 3_600_000) };
  const table: [provider: string, message: Message, what: RegExp][] = [
    ["resend", secret, /without 'to'/],
    ["resend", tag, /tags and metadata/],
    ["resend", { ...message, to: many(51) }, /50 recipients in a field/],
    ["resend", { ...message, to: "jörg@example.com" }, /outside ASCII/],
    ["sendgrid", secret, /without 'to'/],
    ["sendgrid", late, /72 hours/],
    ["sendgrid", { ...message, tags: many(11) }, /more than 10 tags/],
    ["sendgrid", { ...message, to: many(1001) }, /1000 recipients/],
    ["sendgrid", { ...message, metadata: { x: "x".repeat(10_000) } }, /metadata/],
    ["sendgrid", { ...message, headers: { "X-A": "ü" } }, /headers outside ASCII/],
    ["ses", { ...message, to: many(51) }, /50 recipients/],
    ["ses", { ...message, sendAt: new Date(Date.now() + 60_000) }, /'sendAt'/],
    ["ses", tag, /tags and metadata/],
    ["ses", { ...message, headers: { "X-A": "xy ".repeat(340) } }, /995 characters/],
    ["ses, raw, temporary credentials", { ...message, to: many(51) }, /50 recipients/],
    ["mailgun", secret, /without 'to'/],
    ["mailgun", late, /72 hours/],
    ["mailgun", { ...message, tags: ["ü"] }, /tags/],
    ["mailgun", { ...message, metadata: { 'a"b': "c" } }, /metadata names/],
    ["postmark", { ...message, to: many(51) }, /50 recipients/],
    ["postmark", { ...message, tags: ["a", "b"] }, /more than one tag/],
    ["postmark", { ...message, sendAt: new Date(Date.now() + 60_000) }, /'sendAt'/],
    ["brevo", { ...message, to: many(100) }, /99 recipients/],
    ["brevo", { ...message, replyTo: ["a@example.com", "b@example.com"] }, /one 'replyTo'/],
    ["brevo", { ...message, metadata: { a: "ü" } }, /metadata outside ASCII/],
    ["brevo", { ...message, attachments: [{ filename: "a", content: "b", contentId: "c" }] }, /pictures/],
    ["brevo", late, /72 hours/],
  ];
  for (const [provider, message, what] of table) {
    const { start, mailer } = providers[provider]!;
    await using server = await start();
    const error = await assertRejects(() => mailer(server.url).send(message), MailError);
    assertEquals([error.code, error.delivery, error.phase, server.requests.length], [
      "unsupported",
      "not-sent",
      "prepare",
      0,
    ]);
    assertMatch(error.message, what);
  }
});

eachProvider(
  "everything a message can have arrives where the provider has a place for it",
  async (mailer, server, provider) => {
    // Brevo has no place for pictures and two addresses for answers, and three others do not schedule.
    const plain = provider === "brevo";
    const scheduled = /^(?:ses|postmark)/.test(provider)
      ? {}
      : { sendAt: new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000) };
    await mailer.send({
      ...message,
      ...scheduled,
      from: "Jörg's Shop <shop@example.com>",
      to: { name: 'Jane "JD" Doe', address: "jane@bücher.example" },
      replyTo: ["Help <help@example.com>", ...(plain ? [] : ["Zoë <zoe@example.com>"])],
      html: '<img src="cid:logo@x">',
      headers: { "X-Order": "17" },
      tags: ["welcome"],
      metadata: { order: "17" },
      attachments: [{
        filename: "logo.png",
        contentType: "image/png",
        content: "png",
        contentId: plain ? undefined : "logo@x",
      }],
    });
    const mail = server.accepted[0]!;
    assertEquals(mail.from, { name: "Jörg's Shop", address: "shop@example.com" });
    assertEquals(mail.to, [{
      name: provider === "ses, raw, temporary credentials" ? 'Jane "JD" Doe' : mail.to[0]!.name,
      address: "jane@xn--bcher-kva.example",
    }]);
    assertMatch(mail.to[0]!.name, provider === "mailgun, MIME" ? /Jane/ : /^Jane "JD" Doe$/);
    const answers = [{ name: "Help", address: "help@example.com" }, {
      name: "Zoë",
      address: "zoe@example.com",
    }];
    assertEquals(mail.replyTo, plain ? answers.slice(0, 1) : answers);
    assertEquals([mail.tags, { ...mail.metadata }, mail.headers["x-order"]], [
      ["welcome"],
      { order: "17" },
      "17",
    ]);
    assertEquals(mail.sendAt, scheduled.sendAt?.getTime());
    const [{ contentId, contentType } = { contentId: "", contentType: "" }] = mail.attachments;
    assertEquals([contentId, contentType], plain ? [undefined, "image/png"] : ["logo@x", "image/png"]);
  },
);

eachProvider(
  "an invitation arrives whole, and as what it is",
  async (mailer, server) => {
    const content = "BEGIN:VCALENDAR\r\nMETHOD:CANCEL\r\nSUMMARY:Grüße 😀\r\nEND:VCALENDAR";
    await mailer.send({ ...message, calendar: { method: "CANCEL", content } });
    const [mail] = server.accepted;
    if (mail!.raw) {
      const { method, content: found } = (await calendarOf(mail!.raw))!;
      assertEquals([method, found.trim().replaceAll("\r\n", "\n")], [
        "CANCEL",
        content.replaceAll("\r\n", "\n"),
      ]);
    } else if (mailer.name === "sendgrid") { // its types must not have parameters: what is inside counts
      const { content: parts } = JSON.parse(new TextDecoder().decode(server.requests[0]!.body));
      assertEquals(parts.at(-1), { type: "text/calendar", value: content });
    } else {
      const [{ contentType, bytes } = { contentType: "", bytes: new Uint8Array() }] = mail!.attachments;
      // A form's Blob has its type in lower case; methods are compared in any (RFC 5545).
      const type = mailer.name === "brevo" ? "text/calendar" : "text/calendar; charset=utf-8; method=cancel";
      assertEquals(contentType.toLowerCase(), type);
      assertEquals(new TextDecoder().decode(bytes), content);
    }
  },
);

Deno.test("a mailer with unusable options is refused when it is made", () => {
  // deno-lint-ignore no-explicit-any
  const nothing: any = {};
  assertThrows(() => resendMailer(nothing), TypeError);
  assertThrows(() => resendMailer({ apiKey: "" }), TypeError);
  assertThrows(() => sendgridMailer({ apiKey: "" }), TypeError);
  assertThrows(() => sesMailer(nothing), TypeError);
  assertThrows(() => mailgunMailer({ apiKey: "k", domain: "a/b" }), TypeError);
  assertThrows(() => postmarkMailer({ serverToken: "a b" }), TypeError);
  assertThrows(() => brevoMailer({ apiKey: "" }), TypeError);
  assertThrows(() => sendgridMailer({ apiKey: "k", timeout: 0 }), RangeError);
  assertThrows(() => sendgridMailer({ apiKey: "k", baseUrl: "https://user@example.com/path" }), TypeError);
  assertThrows(() => sendBulk(sendgridMailer({ apiKey: "k" }), 7 as never), TypeError);
  assertThrows(() => sendBulk(sendgridMailer({ apiKey: "k" }), [], { concurrency: 0 }), RangeError);
  assertEquals(typeof buildMime, "function");
});

Deno.test("a recipient that the message does not have is refused before any request, by each mailer that selects them", async () => {
  let requests = 0;
  const counted = () => {
    requests++;
    return Promise.resolve(Response.json({}));
  };
  const client = { sign: () => Promise.resolve({ headers: new Headers() }) };
  const mailers = [
    sesMailer({ region: "eu-west-1", client, mime: buildMime, fetch: counted }),
    mailgunMailer({ apiKey: "key", domain: "mg.example.com", mime: buildMime, fetch: counted }),
    httpMailer({
      name: "own",
      maxBytes: 1000,
      maxRecipients: 10,
      selectsRecipients: true,
      success: [200],
      exchange: fetchExchange("https://api.example.com", { fetch: counted }),
      request: (_, { recipients }) => Promise.resolve(jsonRequest("/send", { recipients })),
      id: () => "1",
    }),
  ];
  for (const mailer of mailers) {
    assert(mailer.selectsRecipients, mailer.name);
    const error = await assertRejects(
      () => mailer.send(message, { recipients: ["eve@example.com"] }),
      TypeError,
    );
    assertMatch(error.message, /recipients of the message/);
    assertEquals(requests, 0, mailer.name);
  }
});
