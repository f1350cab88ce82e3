/** The outbox as a page, and the memory mailer behind it. */
import { Hono } from "hono";
import { HoldfastError, memoryMailer, type Message } from "@holdfast/edge";
import { outboxPage } from "@holdfast/edge/hono";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

const message: Message = {
  from: "shop@example.com",
  to: "jane@example.com",
  subject: "Hello",
  text: "Hello",
};

Deno.test("the outbox page shows every field escaped, and HTML in a frame that runs and loads nothing", async () => {
  const mailer = memoryMailer();
  const app = new Hono().get("/outbox", outboxPage(mailer));
  assertStringIncludes(await (await app.request("/outbox")).text(), "Nothing was sent yet.");
  const evil = `"><script>alert(1)</script>'&`;
  await mailer.send({
    ...message,
    from: { name: evil, address: "shop@example.com" },
    cc: { name: evil, address: "c@example.com" },
    bcc: { name: evil, address: "b@example.com" },
    replyTo: { name: evil, address: "r@example.com" },
    subject: evil,
    text: evil,
    html: evil,
    headers: { "X-Evil": evil },
    tags: [evil],
    attachments: [{ filename: evil, content: "x" }],
  });
  const response = await app.request("/outbox");
  const page = await response.text();
  assertEquals(page.match(/<script/gi), null);
  assertEquals(page.match(/&#62;&#60;script/g)?.length, 10);
  assertStringIncludes(page, '<iframe sandbox=""');
  assertStringIncludes(response.headers.get("content-security-policy") ?? "", "default-src 'none'");
  assertEquals(response.headers.get("cache-control"), "no-store");
  const raw = await app.request("/outbox?raw=0");
  assertEquals(raw.headers.get("content-type"), "text/plain; charset=utf-8");
  assertStringIncludes(await raw.text(), "MIME-Version: 1.0\r\n");
  for (const path of ["/outbox?raw=1", "/outbox?raw=x", "/outbox?raw=length"]) {
    assertEquals((await app.request(path)).status, 404);
  }
});

Deno.test("memory mailer: find by recipient, in to, cc or bcc, and by subject", async () => {
  const mailer = memoryMailer();
  await mailer.send(message);
  await mailer.send({ ...message, to: "john@example.com", bcc: "Secret@example.com", subject: "Other" });
  assertEquals(mailer.find({ recipient: "secret@EXAMPLE.com" }).length, 1);
  assertEquals(mailer.find({ subject: "Hello" }).length, 1);
  assertEquals(mailer.find({ subject: "Hello", recipient: "john@example.com" }), []);
  assertEquals(mailer.find({}).length, 2);
  assert(Object.isFrozen(mailer.outbox[0]!.message) && Object.isFrozen(mailer.outbox[0]!.message.to));
  mailer.clear();
  assertEquals(mailer.outbox, []);
});

Deno.test("memory mailer: waitFor() answers what is there or comes, and ends by its timeout or signal", async () => {
  const clock = new ManualClock();
  const mailer = memoryMailer({ clock });
  const waiting = mailer.waitFor({ recipient: "jane@example.com" });
  await mailer.send({ ...message, to: "john@example.com" });
  await mailer.send(message);
  assertEquals((await waiting).message.to[0]!.address, "jane@example.com");
  assertEquals(await mailer.waitFor({ recipient: "jane@example.com" }), await waiting);
  const late = mailer.waitFor({ subject: "Never" }, { timeout: "2s" }).catch((error) => error);
  await clock.advance(2000);
  const error = await late;
  assert(error instanceof HoldfastError && error.code === "timeout");
  const controller = new AbortController();
  const aborted = mailer.waitFor({ subject: "Never" }, { signal: controller.signal });
  controller.abort(new Error("enough"));
  assertEquals((await assertRejects(() => aborted)).message, "enough");
});

Deno.test("memory mailer: keeps the newest, dated by its clock", async () => {
  const clock = new ManualClock();
  const mailer = memoryMailer({ maxMessages: 3, clock });
  for (let i = 0; i < 5; i++) await mailer.send({ ...message, subject: `number ${i}` });
  assertEquals(mailer.outbox.map(({ message }) => message.subject), ["number 2", "number 3", "number 4"]);
  assertEquals(mailer.outbox[0]!.sentAt, clock.now());
  assertThrows(() => memoryMailer({ maxMessages: 0 }), RangeError);
});

Deno.test("memory mailer: bytes are copied, so what the caller changes later was not sent", async () => {
  const mailer = memoryMailer();
  const bytes = new Uint8Array([1, 2, 3]);
  const sending = mailer.send({ ...message, attachments: [{ filename: "x", content: bytes }] });
  bytes.fill(9);
  await sending;
  assertEquals(await mailer.outbox[0]!.message.attachments[0]!.content(), new Uint8Array([1, 2, 3]));
});
