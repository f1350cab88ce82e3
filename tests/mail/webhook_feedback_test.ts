/** Bounces from the provider's signed delivery to the suppressed recipient, through `webhook()`. */
import { memoryStore } from "@holdfast/edge";
import { type MailFeedback, memoryMailer, suppressing } from "@holdfast/edge/mail";
import { mailgunFeedback } from "@holdfast/edge/mailgun";
import { postmarkFeedback } from "@holdfast/edge/postmark";
import { resendFeedback } from "@holdfast/edge/resend";
import { sendgridFeedback } from "@holdfast/edge/sendgrid";
import { sesFeedback, snsWebhook } from "@holdfast/edge/ses";
import { webhook, type WebhookVerifier } from "@holdfast/edge/webhooks";
import { assertEquals } from "../support/assert.ts";
import { SNS_CERTIFICATE, SNS_TOPIC, snsMessage } from "../support/mail/sns_sender.ts";
import { senders } from "../webhook/_senders.ts";

const jane = "jane@example.com";
const message = { from: "shop@example.com", to: jane, subject: "Hello", text: "Hello" };

/** A provider's way from its delivery to reports. */
interface Provider {
  readonly verify: WebhookVerifier;
  readonly read: (payload: unknown) => MailFeedback[];
  /** A bounce as it arrives; with another secret when `forged`. */
  deliver(forged: boolean): Promise<RequestInit>;
}

/** A provider whose preset and signer are those of the tests of webhooks. */
function signed(name: string, read: Provider["read"], payload: Record<string, unknown>): Provider {
  const sender = senders.find((one) => one.name === name)!;
  return {
    verify: sender.verifier("right"),
    read,
    async deliver(forged) {
      const { headers, body } = await sender.sign("event-1", payload, Math.floor(Date.now() / 1000));
      const wrong = Object.fromEntries(
        Object.entries(headers).map(([field, value]) => [field, /signature/.test(field) ? "v1,AAAA" : value]),
      );
      if (!forged) return { headers, body };
      // Mailgun's signature stands in the body.
      return { headers: wrong, body: body.replace(/"signature":"[\da-f]+"/, '"signature":"00"') };
    },
  };
}

/** Postmark signs nothing: its webhook has a user and a password of yours. */
const postmark: WebhookVerifier = ({ headers, body }) => {
  if (headers.get("authorization") !== `Basic ${btoa("postmark:password")}`) {
    return { state: "refused", reason: "The password is wrong" };
  }
  const payload = JSON.parse(new TextDecoder().decode(body));
  return { state: "verified", events: [{ id: String(payload.ID), payload }] };
};

const providers: Record<string, Provider> = {
  resend: signed("svix (Resend)", resendFeedback, {
    type: "email.bounced",
    data: { to: [jane], bounce: { type: "Permanent", message: "no such user" } },
  }),
  sendgrid: signed("sendgrid", sendgridFeedback, {
    event: "bounce",
    type: "bounce",
    email: jane,
    reason: "550 5.1.1",
  }),
  mailgun: signed("mailgun", mailgunFeedback, {
    event: "failed",
    severity: "permanent",
    reason: "bounce",
    recipient: jane,
    "delivery-status": { message: "550 5.1.1 no such user" },
  }),
  ses: {
    verify: snsWebhook({ topics: [SNS_TOPIC], fetch: () => Promise.resolve(new Response(SNS_CERTIFICATE)) }),
    read: sesFeedback,
    deliver(forged) {
      const Message = JSON.stringify({
        notificationType: "Bounce",
        bounce: { bounceType: "Permanent", bouncedRecipients: [{ emailAddress: jane }] },
      });
      const signed = snsMessage({ Message });
      return Promise.resolve({ body: JSON.stringify({ ...signed, ...(forged && { Subject: "forged" }) }) });
    },
  },
  postmark: {
    verify: postmark,
    read: postmarkFeedback,
    deliver: (forged) =>
      Promise.resolve({
        headers: { authorization: `Basic ${btoa(`postmark:${forged ? "guess" : "password"}`)}` },
        body: JSON.stringify({ RecordType: "Bounce", ID: 692560173, Type: "HardBounce", Email: jane }),
      }),
  },
};

for (const [name, { verify, read, deliver }] of Object.entries(providers)) {
  Deno.test(`${name}: a signed bounce marks the address once, and the next send answers that it is suppressed`, async () => {
    const memory = memoryMailer();
    const mailer = suppressing(memory, memoryStore());
    let handled = 0;
    const receive = webhook({
      verify,
      store: memoryStore(),
      name,
      handle: async (event) => {
        handled++;
        await mailer.suppress(read(event));
      },
    });
    const request = (init: RequestInit) =>
      new Request("https://shop.example/hooks", { method: "POST", ...init });
    const forged = await receive(request(await deliver(true)));
    assertEquals([forged.status, handled], [403, 0]);
    await mailer.send(message);
    const delivery = await deliver(false);
    for (let i = 0; i < 2; i++) assertEquals((await receive(request(delivery))).ok, true);
    assertEquals(handled, 1);
    const receipt = await mailer.send(message);
    assertEquals([receipt.suppressed?.[0]?.kind, memory.outbox.length], ["bounce", 1]);
  });
}
