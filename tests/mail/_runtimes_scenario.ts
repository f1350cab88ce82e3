/**
 * Sends by every mailer over HTTP and by SMTP, to good and to hostile servers, and tells the outcomes; runs
 * in every runtime.
 */
import { memoryStore } from "@holdfast/edge";
import { buildMime, type Mailer, type Message, outbox, retrying, sendBulk } from "@holdfast/edge/mail";
import { brevoMailer } from "@holdfast/edge/brevo";
import { cloudflareMailer, type EmailBinding } from "@holdfast/edge/cloudflare-email";
import { mailgunMailer } from "@holdfast/edge/mailgun";
import { postmarkMailer } from "@holdfast/edge/postmark";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { sesMailer } from "@holdfast/edge/ses";
import { smtpMailer } from "@holdfast/edge/smtp";
import { AwsClient } from "aws4fetch";
import { connectorOf } from "../smtp/_matrix_scenario.ts";

export interface Input {
  /** The origins of the providers' servers. */
  readonly urls: Readonly<
    Record<"resend" | "sendgrid" | "ses" | "mailgun" | "postmark" | "brevo" | "hostile", string>
  >;
  readonly keys: Readonly<
    Record<"resend" | "sendgrid" | "mailgun" | "postmark" | "brevo" | "domain" | "region", string>
  >;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** The paths of the hostile server, one a reply. */
  readonly hostile: readonly string[];
  readonly smtpPort: number;
}

export async function scenario({ urls, keys, credentials, hostile, smtpPort }: Input): Promise<unknown> {
  const message: Message = {
    from: "Shop <shop@example.com>",
    to: ["Doe, Jane <jane@example.com>".replace(/^(.*) </, '"$1" <'), "john@example.com"],
    subject: "Grüße 😀",
    text: "Hello",
  };
  const content = Uint8Array.from({ length: 1_500_001 }, (_, i) => i * 31);
  const big: Message = { ...message, attachments: [{ filename: "big.bin", content }] };
  const client = new AwsClient(credentials);
  const ses = { region: keys.region, client, baseUrl: urls.ses };
  const mailgun = { apiKey: keys.mailgun, domain: keys.domain, baseUrl: urls.mailgun };
  // The binding is the Worker's own: what any runtime can have of it is an object that takes a copy of the message.
  const handedOver: string[] = [];
  let limited = false;
  const binding: EmailBinding = {
    send(given) {
      if (limited) {
        return Promise.reject(Object.assign(new Error("slow down"), { code: "E_RATE_LIMIT_EXCEEDED" }));
      }
      const { subject, attachments = [] } = structuredClone(given);
      const bytes = attachments[0]?.content ?? new Uint8Array();
      const whole = bytes.length === content.length && bytes.every((byte, i) => byte === content[i]);
      handedOver.push(`${subject}: ${attachments.length === 0 ? "no file" : whole ? "the file" : "another"}`);
      return Promise.resolve({ messageId: "<1@example.com>" });
    },
  };
  const mailers: Record<string, Mailer> = {
    "resend": resendMailer({ apiKey: keys.resend, baseUrl: urls.resend }),
    "sendgrid": sendgridMailer({ apiKey: keys.sendgrid, baseUrl: urls.sendgrid }),
    "ses": sesMailer(ses),
    "ses, raw": sesMailer({ ...ses, mime: buildMime }),
    "mailgun": mailgunMailer(mailgun),
    "mailgun, MIME": mailgunMailer({ ...mailgun, mime: buildMime }),
    "postmark": postmarkMailer({ serverToken: keys.postmark, baseUrl: urls.postmark }),
    "brevo": brevoMailer({ apiKey: keys.brevo, baseUrl: urls.brevo }),
    "cloudflare": cloudflareMailer(binding),
  };
  const outcome = (sending: Promise<{ readonly id: string | undefined }>) =>
    sending.then(({ id }) => typeof id, ({ code, delivery, status, retryable, retryAfter }) => {
      return { code, delivery, status, retryable, retryAfter };
    });
  const answers: Record<string, unknown> = {};
  for (const [name, mailer] of Object.entries(mailers)) {
    answers[name] = [await outcome(mailer.send(message)), await outcome(mailer.send(big))];
  }
  answers["cloudflare, handed over"] = handedOver;
  limited = true;
  answers["cloudflare, limited"] = await outcome(mailers.cloudflare!.send(message));
  for (const path of hostile) {
    // A path cannot be configured, so the request is led there.
    const led: typeof fetch = (_url, init) => fetch(urls.hostile + path, init);
    answers[path] = await outcome(resendMailer({ apiKey: keys.resend, fetch: led }).send(message));
  }
  const states: string[] = [];
  for await (const { state } of sendBulk(mailers.resend!, Array(150).fill(message))) states.push(state);
  answers.bulk = states.filter((state) => state === "sent").length;

  const connector = await connectorOf("");
  const smtp = () =>
    smtpMailer({
      host: "127.0.0.1",
      port: smtpPort,
      security: "none",
      connector,
      name: "client.example.com",
    });
  {
    await using mailer = smtp();
    const { accepted, deferred } = await retrying(mailer, { delay: 1 }).send(message, {
      idempotencyKey: "k",
    });
    answers["smtp, retrying"] = { accepted, deferred };
  }
  {
    await using mailer = smtp();
    const box = outbox(mailer, memoryStore(), { delay: 1 });
    await box.send(message);
    let sent = 0;
    for (let i = 0; i < 50 && sent === 0; i++) {
      ({ sent } = await box.drain());
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    answers["smtp, outbox"] = sent;
  }
  return answers;
}
