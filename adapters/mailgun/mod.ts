/**
 * Mail by Mailgun, in the US and in the EU.
 *
 * ```ts
 * import { mailgunMailer } from "@holdfast/edge/mailgun";
 *
 * const mailer = mailgunMailer({ apiKey: "key-123", domain: "mg.example.com", region: "eu" });
 * ```
 *
 * @module
 */

export type { FeedbackKind, MailFeedback } from "../../src/mail/feedback.ts";
export type { HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
export type { MailgunOptions } from "../../src/mail/provider_options.ts";
export * from "./mailgun_mailer.ts";
export * from "./mailgun_feedback.ts";
