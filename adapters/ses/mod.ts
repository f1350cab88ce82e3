/**
 * Mail by Amazon SES.
 *
 * ```ts
 * import { sesMailer } from "@holdfast/edge/ses";
 *
 * const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" };
 * const mailer = sesMailer({ region: "eu-central-1", credentials });
 * ```
 *
 * @module
 */

export type { HttpMailerOptions } from "../_http_mailer.ts";
export * from "./ses_mailer.ts";
