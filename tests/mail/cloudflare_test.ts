/** Cloudflare's Email Service: the laws on a binding that checks what the service does, and the real binding. */
import { cloudflareMailer } from "@holdfast/edge/cloudflare-email";
import { MailError, type Message } from "@holdfast/edge/mail";
import { mailerLaw } from "@holdfast/edge/testing";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { startCloudflareEmail } from "../support/mail/cloudflare_binding.ts";
import { delivered } from "../support/mail/providers.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

const message: Message = {
  from: "shop@example.com",
  to: "jane@example.com",
  subject: "Hello",
  text: "Hello",
};

for (const law of mailerLaw) {
  Deno.test(`cloudflare: ${law.name}`, async () => {
    const service = startCloudflareEmail();
    await law.run({
      mailer: cloudflareMailer(service.binding),
      accepted: () => service.accepted.map(delivered),
    });
  });
}

Deno.test("cloudflare: each error code has a delivery and tells whether to retry", async () => {
  const table: [code: string, ours: string, delivery: string, retryable: boolean][] = [
    ["E_RATE_LIMIT_EXCEEDED", "rate-limited", "not-sent", true],
    ["E_DAILY_LIMIT_EXCEEDED", "quota-exceeded", "not-sent", false],
    ["E_SENDER_NOT_VERIFIED", "unauthorized", "not-sent", false],
    ["E_RECIPIENT_SUPPRESSED", "message-rejected", "not-sent", false],
    ["E_CONTENT_TOO_LARGE", "message-too-large", "not-sent", false],
    ["E_INTERNAL_SERVER_ERROR", "backend-unavailable", "unknown", false],
    ["E_DELIVERY_FAILED", "backend-unavailable", "unknown", false],
    ["something else", "backend-unavailable", "unknown", false],
  ];
  for (const [code, ours, delivery, retryable] of table) {
    const service = startCloudflareEmail();
    service.fault = code;
    const error = await assertRejects(() => cloudflareMailer(service.binding).send(message), MailError);
    assertEquals([error.code, error.delivery, error.retryable], [ours, delivery, retryable], code);
    assert(!error.message.includes("jane"), error.message);
    if (code.startsWith("E_")) assertMatch(error.message, new RegExp(code));
  }
});

Deno.test("cloudflare: a feature that the service lacks is unsupported, and a missing binding is a TypeError", async () => {
  const service = startCloudflareEmail();
  const mailer = cloudflareMailer(service.binding);
  const refused: Partial<Message>[] = [
    { tags: ["a"] },
    { metadata: { a: "b" } },
    { replyTo: ["a@example.com", "b@example.com"] },
    { sendAt: new Date(Date.now() + 60_000) },
    { to: Array.from({ length: 51 }, (_, i) => `r${i}@example.com`) },
  ];
  for (const part of refused) {
    const error = await assertRejects(() => mailer.send({ ...message, ...part }), MailError);
    assertEquals(error.code, "unsupported");
  }
  assertEquals(service.calls, 0);
  assertThrows(() => cloudflareMailer(undefined as never), TypeError);
});

workerdTest(
  "workerd: the real send_email binding takes a message with files, and refuses as the service does",
  async () => {
    await using worker = await startWorkerd({
      script: `
      import { cloudflareMailer } from "@holdfast/edge/cloudflare-email";
      export default {
        async fetch(request, env) {
          const mailer = cloudflareMailer(env.EMAIL);
          const to = new URL(request.url).searchParams.get("to");
          try {
            const receipt = await mailer.send({
              from: { name: "The shop", address: "shop@example.com" },
              to, subject: "Grüße", text: "Hello", html: "<p>Hello</p>",
              attachments: [{ filename: "a.bin", content: new Uint8Array(300_000) },
                { filename: "logo.png", content: "png", contentId: "logo" }],
            });
            return Response.json(receipt);
          } catch (error) {
            return Response.json({ code: error.code, delivery: error.delivery });
          }
        },
      };`,
      sendEmail: { EMAIL: ["jane@example.com"] },
    });
    const send = async (to: string) => await (await worker.fetch(`/?to=${to}`)).json();
    const receipt = await send("jane@example.com");
    assertEquals(receipt.mailer, "cloudflare");
    assertMatch(receipt.id, /^<\w{36}@example\.com>$/);
    // The local binding's errors have no code, so nothing is claimed of the message.
    assertEquals(await send("john@example.com"), { code: "backend-unavailable", delivery: "unknown" });
  },
);
