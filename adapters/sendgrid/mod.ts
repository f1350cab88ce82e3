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

export type { HttpMailerOptions } from "../../src/mail/http_mailer.ts";
export * from "./sendgrid_mailer.ts";
