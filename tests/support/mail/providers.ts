/** Every mailer that sends beside its provider, for the tests that all of them take. */
import { buildMime, type Mailer } from "@holdfast/edge/mail";
import { brevoMailer } from "@holdfast/edge/brevo";
import { mailgunMailer } from "@holdfast/edge/mailgun";
import { postmarkMailer } from "@holdfast/edge/postmark";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { sesMailer } from "@holdfast/edge/ses";
import type { DeliveredMail, MailerFault } from "@holdfast/edge/testing";
import { AwsClient } from "aws4fetch";
import { Resend } from "resend";
import type { AcceptedMail, MailFault, MailServer } from "./http_server.ts";
import { MAILGUN_DOMAIN, MAILGUN_KEY, startMailgun } from "./mailgun_server.ts";
import { BREVO_KEY, startBrevo } from "./brevo_server.ts";
import { kitMailer } from "./kit_mailer.ts";
import { POSTMARK_TOKEN, startPostmark } from "./postmark_server.ts";
import { RESEND_KEY, startResend } from "./resend_server.ts";
import { SENDGRID_KEY, startSendGrid } from "./sendgrid_server.ts";
import { SES_CREDENTIALS, SES_REGION, SES_SESSION_TOKEN, startSes } from "./ses_server.ts";
import { smtpTo, startSmtp } from "./smtp_server.ts";

/** A mailer and its provider. */
export interface ProviderCase {
  start(): Promise<MailServer>;
  mailer(url: string): Mailer;
}

/** Each way to send over HTTP. */
export const providers: Readonly<Record<string, ProviderCase>> = {
  "resend": { start: startResend, mailer: (baseUrl) => resendMailer({ apiKey: RESEND_KEY, baseUrl }) },
  "resend, by its SDK": {
    start: startResend,
    mailer: (baseUrl) => resendMailer(new Resend(RESEND_KEY, { baseUrl })),
  },
  "sendgrid": {
    start: startSendGrid,
    mailer: (baseUrl) => sendgridMailer({ apiKey: SENDGRID_KEY, baseUrl }),
  },
  "ses": {
    start: startSes,
    mailer: (baseUrl) => sesMailer({ region: SES_REGION, client: new AwsClient(SES_CREDENTIALS), baseUrl }),
  },
  "ses, raw, temporary credentials": {
    start: startSes,
    mailer: (baseUrl) =>
      sesMailer({
        region: SES_REGION,
        client: () => Promise.resolve(new AwsClient({ ...SES_CREDENTIALS, sessionToken: SES_SESSION_TOKEN })),
        baseUrl,
        mime: buildMime,
      }),
  },
  "mailgun": {
    start: startMailgun,
    mailer: (baseUrl) => mailgunMailer({ apiKey: MAILGUN_KEY, domain: MAILGUN_DOMAIN, baseUrl }),
  },
  "mailgun, MIME": {
    start: startMailgun,
    mailer: (baseUrl) =>
      mailgunMailer({ apiKey: MAILGUN_KEY, domain: MAILGUN_DOMAIN, baseUrl, mime: buildMime }),
  },
  "postmark": {
    start: startPostmark,
    mailer: (baseUrl) => postmarkMailer({ serverToken: POSTMARK_TOKEN, baseUrl }),
  },
  "postmark, a mailer of one's own": { start: startPostmark, mailer: kitMailer },
  "brevo": { start: startBrevo, mailer: (baseUrl) => brevoMailer({ apiKey: BREVO_KEY, baseUrl }) },
};

/** Those, and a mail server. */
export const senders: Readonly<Record<string, ProviderCase>> = {
  ...providers,
  "smtp": { start: startSmtp, mailer: smtpTo },
};

/** A message in the form that the laws check. */
export function delivered(mail: AcceptedMail): DeliveredMail {
  const addresses = (list: readonly { readonly address: string }[]) => list.map(({ address }) => address);
  return {
    from: mail.from.address,
    recipients: mail.envelope ?? addresses([...mail.to, ...mail.cc, ...mail.bcc]),
    visible: addresses([...mail.to, ...mail.cc, ...mail.replyTo]),
    subject: mail.subject,
    text: mail.text,
    html: mail.html,
    headers: mail.headers,
    attachments: mail.attachments,
  };
}

/** Each fault of the laws as an HTTP reply. */
export function wireFault(fault: MailerFault): MailFault {
  switch (fault) {
    case "lost-reply":
      return { cut: "after" };
    case "silent":
      return { hang: "before" };
    case "busy":
      return {
        status: 429,
        headers: { "retry-after": "60" },
        body: '{"statusCode":429,"name":"rate_limit_exceeded","message":"slow down, jane@example.com"}',
      };
    case "refused":
      return {
        status: 422,
        body: '{"statusCode":422,"name":"validation_error","message":"we do not like jane@example.com"}',
      };
    case "unauthorized":
      return { status: 401, body: "Forbidden" };
  }
}
