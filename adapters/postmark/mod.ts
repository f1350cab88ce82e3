/**
 * Mail by Postmark.
 *
 * ```ts
 * import { postmarkMailer } from "@holdfast/edge/postmark";
 *
 * const mailer = postmarkMailer({ serverToken: "token" });
 * ```
 *
 * @module
 */

export type { FeedbackKind, MailFeedback } from "../../src/mail/feedback.ts";
export type { HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
export type { PostmarkOptions } from "../../src/mail/provider_options.ts";
export * from "./postmark_mailer.ts";
export * from "./postmark_feedback.ts";
