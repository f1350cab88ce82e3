/**
 * Mail by Brevo.
 *
 * ```ts
 * import { brevoMailer } from "@holdfast/edge/brevo";
 *
 * const mailer = brevoMailer({ apiKey: "xkeysib-1" });
 * ```
 *
 * @module
 */

export type { HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
export type { BrevoOptions } from "../../src/mail/provider_options.ts";
export * from "./brevo_mailer.ts";
