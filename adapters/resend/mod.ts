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

export type { HttpMailerOptions } from "../../src/mail/http_mailer.ts";
export * from "./resend_mailer.ts";
