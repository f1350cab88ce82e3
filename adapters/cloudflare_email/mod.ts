/**
 * Mail by Cloudflare's Email Service, from a Worker.
 *
 * ```ts
 * import { cloudflareMailer } from "@holdfast/edge/cloudflare-email";
 *
 * const env = { EMAIL: { send: () => Promise.resolve({ messageId: "<1@example.com>" }) } }; // the Worker's own
 * const mailer = cloudflareMailer(env.EMAIL);
 * ```
 *
 * @module
 */

export * from "./cloudflare_mailer.ts";
