/**
 * Mail by Amazon SES, signed by an `AwsClient` from the package `aws4fetch`.
 *
 * ```ts
 * import { sesMailer } from "@holdfast/edge/ses";
 * import { AwsClient } from "aws4fetch";
 *
 * const client = new AwsClient({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" });
 * const mailer = sesMailer({ region: "eu-central-1", client });
 * ```
 *
 * @module
 */

export type { FeedbackKind, MailFeedback } from "../../src/mail/feedback.ts";
export type { HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
export type { SesOptions } from "../../src/mail/provider_options.ts";
export * from "./ses_mailer.ts";
export * from "./ses_feedback.ts";
export * from "./sns_webhook.ts";
