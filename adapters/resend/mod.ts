/**
 * Mail by Resend: with your `Resend` from the package `resend`, or with a key.
 *
 * ```ts
 * import { resendMailer } from "@holdfast/edge/resend";
 *
 * const mailer = resendMailer({ apiKey: "re_123" });
 * ```
 *
 * @module
 */

export type { FeedbackKind, MailFeedback } from "../../src/mail/feedback.ts";
export type { HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
export type { ResendOptions } from "../../src/mail/provider_options.ts";
export * from "./resend_mailer.ts";
export * from "./resend_feedback.ts";
