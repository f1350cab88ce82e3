/** Bodies that are rendered when a message is sent. */
import { MailError, memoryMailer, type Message, outbox, rendering, sendBulk } from "@holdfast/edge/mail";
import { memoryStore } from "@holdfast/edge";
import { jsx } from "hono/jsx";
import { assertEquals, assertRejects, assertThrows } from "../support/assert.ts";

const envelope = { from: "shop@example.com", to: "jane@example.com", subject: "Welcome" };

/** A component, as of Hono's JSX or React Email. */
const Welcome = ({ name }: { name: string }) => jsx("p", {}, `Hello, ${name} & all`);

Deno.test("JSX is one line: the element is the body, and its HTML is sent", async () => {
  const memory = memoryMailer();
  const mailer = rendering(memory, async (body: ReturnType<typeof Welcome>) => ({
    html: await body.toString(),
  }));
  await mailer.send({ ...envelope, body: Welcome({ name: "Jané" }) });
  assertEquals(memory.outbox[0]!.message.html, "<p>Hello, Jané &amp; all</p>");
  await mailer.send({ ...envelope, text: "as it is" });
  assertEquals(memory.outbox[1]!.message.text, "as it is");
});

Deno.test("a renderer may make subject, text and files, and sees the message", async () => {
  const memory = memoryMailer();
  const mailer = rendering(memory, async (order: number, { to }) => {
    await Promise.resolve();
    return {
      subject: `Order ${order}`,
      text: `For ${to}`,
      attachments: [{ filename: "a.txt", content: "a" }],
    };
  });
  await mailer.send({ from: "shop@example.com", to: "jane@example.com", body: 17 });
  const { message } = memory.outbox[0]!;
  assertEquals([message.subject, message.text, message.attachments.length], [
    "Order 17",
    "For jane@example.com",
    1,
  ]);
});

Deno.test("a body that cannot be rendered is an error, and nothing is sent or queued", async () => {
  const memory = memoryMailer();
  const box = outbox(memory, memoryStore());
  const failing = rendering(box, (body: string) => {
    if (body === "broken") throw new Error("no such template");
    return undefined as never;
  });
  const error = await assertRejects(() => failing.send({ ...envelope, body: "broken" }), MailError);
  assertEquals([error.code, error.delivery], ["invalid-message", "not-sent"]);
  await assertRejects(() => failing.send({ ...envelope, body: "empty" }), TypeError);
  assertEquals((await box.drain()).sent, 0);
  assertThrows(() => rendering(memory, undefined as never), TypeError);
});

Deno.test("a bulk is rendered as it is read, and an outbox keeps what was rendered", async () => {
  const memory = memoryMailer();
  const box = outbox(memory, memoryStore());
  const mailer = rendering(box, (name: string) => ({ text: `Hello, ${name}` }));
  async function* messages(): AsyncGenerator<Message> {
    for (const name of ["Jane", "John"]) yield await mailer.render({ ...envelope, body: name });
  }
  for await (const { state } of sendBulk(mailer, messages())) assertEquals(state, "sent");
  await box.drain();
  assertEquals(memory.outbox.map(({ message }) => message.text).sort(), ["Hello, Jane", "Hello, John"]);
});
