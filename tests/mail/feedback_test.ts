/** Reports of five providers, in the forms of their documentation; each marks its address. */
import { memoryStore } from "@holdfast/edge";
import { type MailFeedback, memoryMailer, suppressing } from "@holdfast/edge/mail";
import { mailgunFeedback } from "@holdfast/edge/mailgun";
import { postmarkFeedback } from "@holdfast/edge/postmark";
import { resendFeedback } from "@holdfast/edge/resend";
import { sendgridFeedback } from "@holdfast/edge/sendgrid";
import { sesFeedback, snsWebhook } from "@holdfast/edge/ses";
import { publicKeyInfo } from "../../adapters/ses/_certificate.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { SNS_CERTIFICATE, SNS_CERTIFICATE_URL, SNS_TOPIC, snsMessage } from "../support/mail/sns_sender.ts";

const jane = "jane@example.com";
const message = { from: "shop@example.com", to: jane, subject: "Hello", text: "Hello" };

interface Case {
  readonly read: (event: unknown) => MailFeedback[];
  /** Events by the kind that they report; "" for none. */
  readonly events: readonly (readonly [kind: string, event: unknown])[];
}

const cases: Record<string, Case> = {
  resend: {
    read: resendFeedback,
    events: [
      ["bounce", {
        type: "email.bounced",
        created_at: "2026-11-22T23:41:12.126Z",
        data: {
          email_id: "56761188",
          from: "Shop <shop@example.com>",
          to: [jane],
          subject: "Hello",
          bounce: {
            message: "The recipient's address does not exist.",
            subType: "General",
            type: "Permanent",
          },
        },
      }],
      ["soft-bounce", { type: "email.bounced", data: { to: [jane], bounce: { type: "Transient" } } }],
      ["soft-bounce", { type: "email.delivery_delayed", data: { to: [jane] } }],
      ["complaint", { type: "email.complained", data: { to: [jane] } }],
      ["", { type: "email.opened", data: { to: [jane] } }],
      ["", { type: "contact.updated", data: { email: jane, unsubscribed: false } }],
    ],
  },
  sendgrid: {
    read: sendgridFeedback,
    events: [
      ["bounce", {
        email: jane,
        event: "bounce",
        type: "bounce",
        reason: "550 5.1.1 no",
        status: "5.1.1",
        sg_event_id: "1",
      }],
      ["soft-bounce", { email: jane, event: "bounce", type: "blocked", reason: "550 5.7.1 blocked" }],
      ["soft-bounce", { email: jane, event: "deferred", response: "450 try again" }],
      ["bounce", { email: jane, event: "dropped", reason: "Bounced Address", status: "5.0.0" }],
      ["complaint", { email: jane, event: "dropped", reason: "Spam Reporting Address" }],
      ["", { email: jane, event: "dropped", reason: "Invalid SMTPAPI header" }],
      ["complaint", { email: jane, event: "spamreport" }],
      ["unsubscribe", { email: jane, event: "group_unsubscribe", asm_group_id: 10 }],
      ["", { email: jane, event: "delivered" }],
    ],
  },
  mailgun: {
    read: mailgunFeedback,
    events: [
      ["bounce", {
        signature: { token: "t", timestamp: "1", signature: "s" },
        "event-data": {
          event: "failed",
          severity: "permanent",
          reason: "bounce",
          recipient: jane,
          "delivery-status": {
            code: 550,
            message: "5.1.1 The email account does not exist",
            description: "",
          },
        },
      }],
      ["bounce", { event: "failed", severity: "permanent", reason: "suppress-bounce", recipient: jane }],
      ["soft-bounce", { event: "failed", severity: "temporary", reason: "generic", recipient: jane }],
      ["soft-bounce", { event: "failed", severity: "permanent", reason: "old", recipient: jane }],
      ["unsubscribe", {
        event: "failed",
        severity: "permanent",
        reason: "suppress-unsubscribe",
        recipient: jane,
      }],
      ["complaint", { event: "complained", recipient: jane }],
      ["unsubscribe", { event: "unsubscribed", recipient: jane }],
      ["", { event: "opened", recipient: jane }],
    ],
  },
  ses: {
    read: sesFeedback,
    events: [
      ["bounce", {
        notificationType: "Bounce",
        bounce: {
          bounceType: "Permanent",
          bounceSubType: "General",
          bouncedRecipients: [{
            emailAddress: jane,
            status: "5.1.1",
            diagnosticCode: "smtp; 550 5.1.1 unknown",
          }],
        },
        mail: { messageId: "1", destination: [jane] },
      }],
      ["soft-bounce", {
        eventType: "Bounce",
        bounce: { bounceType: "Transient", bouncedRecipients: [{ emailAddress: jane }] },
      }],
      ["complaint", {
        eventType: "Complaint",
        complaint: {
          complainedRecipients: [{ emailAddress: `Jane <${jane}>` }],
          complaintFeedbackType: "abuse",
        },
      }],
      [
        "bounce",
        JSON.stringify({
          detail: {
            eventType: "Bounce",
            bounce: { bounceType: "Permanent", bouncedRecipients: [{ emailAddress: jane }] },
          },
        }),
      ],
      ["unsubscribe", {
        eventType: "Subscription",
        subscription: { newTopicPreferences: { unsubscribeAll: true } },
        mail: { destination: [jane] },
      }],
      ["", { eventType: "Delivery", delivery: { recipients: [jane] } }],
    ],
  },
  postmark: {
    read: postmarkFeedback,
    events: [
      ["bounce", {
        RecordType: "Bounce",
        Type: "HardBounce",
        Email: jane,
        Details: "550 5.1.1 unknown",
        Inactive: true,
      }],
      ["soft-bounce", { RecordType: "Bounce", Type: "SoftBounce", Email: jane }],
      ["soft-bounce", { RecordType: "Bounce", Type: "Transient", Email: jane }],
      ["complaint", { RecordType: "SpamComplaint", Type: "SpamComplaint", Email: jane }],
      ["unsubscribe", {
        RecordType: "SubscriptionChange",
        Recipient: jane,
        SuppressSending: true,
        SuppressionReason: "ManualSuppression",
      }],
      ["bounce", {
        RecordType: "SubscriptionChange",
        Recipient: jane,
        SuppressSending: true,
        SuppressionReason: "HardBounce",
      }],
      ["", { RecordType: "SubscriptionChange", Recipient: jane, SuppressSending: false }],
      ["", { RecordType: "Open", Recipient: jane }],
    ],
  },
};

for (const [provider, { read, events }] of Object.entries(cases)) {
  Deno.test(`${provider}: each event becomes the right report about its address`, () => {
    for (const [kind, event] of events) {
      const found = read(event);
      assertEquals(
        found.map(({ kind, address }) => `${kind} ${address}`),
        kind === "" ? [] : [`${kind} ${jane}`],
      );
      assert(found.every(({ reason }) => typeof reason === "string" && reason.length <= 500));
    }
  });

  Deno.test(`${provider}: a bounce marks the address, and the next send answers that it is suppressed`, async () => {
    const memory = memoryMailer();
    const mailer = suppressing(memory, memoryStore());
    await mailer.send(message);
    await mailer.suppress(read(events[0]![1]));
    const receipt = await mailer.send(message);
    assertEquals([receipt.suppressed?.[0]?.kind, memory.outbox.length], ["bounce", 1]);
  });

  Deno.test(`${provider}: an unknown event or an invalid address is neither a report nor an error`, () => {
    const strange: unknown[] = [undefined, null, 7, "x", "{", [], {}, [null], {
      type: "email.bounced",
      data: null,
    }];
    for (const event of strange) assertEquals(read(event), []);
    const [, first] = events[0]!;
    assertEquals(read(JSON.parse(JSON.stringify(first).replaceAll(jane, "nobody"))), []);
  });
}

/** A verifier, and what it fetched. */
function verifier(certificate = SNS_CERTIFICATE) {
  const fetched: string[] = [];
  const fetch = (url: string | URL | Request) => {
    fetched.push(String(url));
    return Promise.resolve(new Response(certificate));
  };
  const verify = snsWebhook({ topics: [SNS_TOPIC], fetch });
  return {
    fetched,
    verify: (message: unknown, now = Date.now()) =>
      verify({ body: new TextEncoder().encode(JSON.stringify(message)), now }),
  };
}

Deno.test("SNS: a signed notification of SES marks the address, by both versions of the signature", async () => {
  for (const SignatureVersion of ["1", "2"]) {
    const { verify, fetched } = verifier();
    const Message = JSON.stringify(cases["ses"]!.events[0]![1]);
    for (const Subject of [undefined, "Amazon SES Email Event Notification"]) {
      const signed = snsMessage({ Message, SignatureVersion, ...(Subject && { Subject }) });
      const verdict = await verify(signed);
      assert(verdict.state === "verified", JSON.stringify(verdict));
      assertEquals(verdict.events.map(({ id }) => id), [signed.MessageId]);
      assertEquals(sesFeedback(verdict.events[0]!.payload).map(({ address }) => address), [jane]);
    }
    assertEquals(fetched, [SNS_CERTIFICATE_URL]); // once for both
  }
});

Deno.test("SNS: a changed message, another topic, an old one and a certificate of elsewhere are refused", async () => {
  const signed = snsMessage({ Message: "{}" });
  const state = async (changes: Record<string, string>, now?: number) => {
    const { verify, fetched } = verifier();
    return [(await verify({ ...signed, ...changes }, now)).state, fetched.length];
  };
  assertEquals(await state({}), ["verified", 1]);
  assertEquals(await state({ Message: "{ }" }), ["refused", 1]);
  assertEquals(await state({ MessageId: "other" }), ["refused", 1]);
  assertEquals(await state({ Subject: "added" }), ["refused", 1]);
  assertEquals(await state({ SignatureVersion: "1" }), ["refused", 1]);
  assertEquals(await state({ SignatureVersion: "3" }), ["refused", 1]);
  assertEquals(await state({ TopicArn: "arn:aws:sns:us-east-1:1:other" }), ["refused", 0]);
  assertEquals(await state({}, Date.now() + 3_700_000), ["refused", 0]);
  assertEquals(await state({ Type: "Other" }), ["malformed", 0]);
  const elsewhere = [
    "https://evil.example/x.pem",
    "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
    "http://sns.us-east-1.amazonaws.com/x.pem",
    "https://sns.us-east-1.amazonaws.com@evil.example/x.pem",
    "https://sns.us-east-1.amazonaws.com:8443/x.pem",
    "https://sns.us-east-1.amazonaws.com/x.txt",
    "file:///etc/passwd",
    "",
  ];
  for (const SigningCertURL of elsewhere) {
    assertEquals(await state({ SigningCertURL }), ["refused", 0], SigningCertURL);
  }
  // A certificate that cannot be had is a fault: the sender tries again.
  await assertRejects(() => verifier("nothing").verify(signed));
});

Deno.test("SNS: a subscription to a topic of ours is confirmed, at Amazon alone", async () => {
  const SubscribeURL = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=t";
  const fields = { Type: "SubscriptionConfirmation", Token: "t", Message: "You have chosen …" };
  const { verify, fetched } = verifier();
  const verdict = await verify(snsMessage({ ...fields, SubscribeURL }));
  assert(verdict.state === "answered" && verdict.response.status === 200);
  assertEquals(fetched, [SNS_CERTIFICATE_URL, SubscribeURL]);
  const other = verifier();
  await assertRejects(() => other.verify(snsMessage({ ...fields, SubscribeURL: "https://evil.example/" })));
  assertEquals(other.fetched, [SNS_CERTIFICATE_URL]);
  assertThrows(() => snsWebhook({ topics: [] }), TypeError);
  assertThrows(() => snsWebhook({ topics: ["bounces"] }), TypeError);
});

Deno.test("a certificate that is cut or changed anywhere has no key, or another one, and never hangs", async () => {
  const whole = publicKeyInfo(SNS_CERTIFICATE)!;
  await crypto.subtle.importKey("spki", whole, { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, false, [
    "verify",
  ]);
  const body = SNS_CERTIFICATE.split("\n").slice(1, -1).join("");
  for (let at = 0; at < body.length; at += 7) {
    const cut = `-----BEGIN CERTIFICATE-----\n${body.slice(0, at - at % 4)}\n-----END CERTIFICATE-----`;
    const found = publicKeyInfo(cut);
    assert(found === undefined || found.length <= whole.length);
    const changed = body.slice(0, at) + (body[at] === "A" ? "B" : "A") + body.slice(at + 1);
    publicKeyInfo(`-----BEGIN CERTIFICATE-----\n${changed}\n-----END CERTIFICATE-----`);
  }
});

Deno.test("an event named like a member of every object is no report, and no message of SNS", async () => {
  for (const name of ["constructor", "toString", "__proto__"]) {
    const address = "jane@example.com";
    assertEquals(mailgunFeedback({ event: name, recipient: address }), []);
    assertEquals(resendFeedback({ type: name, data: { to: [address] } }), []);
    assertEquals(sendgridFeedback({ event: name, email: address }), []);
    const { verify } = verifier();
    assertEquals((await verify(snsMessage({ Type: name, Message: "{}" }))).state, "malformed");
  }
});
