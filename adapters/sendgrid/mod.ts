/**
 * Mail by SendGrid.
 *
 * ```ts
 * import { sendgridMailer } from "@holdfast/edge/sendgrid";
 *
 * const mailer = sendgridMailer({ apiKey: "SG.123" });
 * ```
 *
 * @module
 */

export type { FeedbackKind, MailFeedback } from "../../src/mail/feedback.ts";
export type { HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
export type { SendGridOptions } from "../../src/mail/provider_options.ts";
export * from "./sendgrid_mailer.ts";
export * from "./sendgrid_feedback.ts";
