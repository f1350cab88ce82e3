/**
 * Mail over SMTP, on Deno, Node, Bun and Workers.
 *
 * ```ts
 * import { denoConnector, smtpMailer } from "@holdfast/edge/smtp";
 *
 * const auth = { username: "shop", password: "secret" };
 * const mailer = smtpMailer({ host: "smtp.example.com", auth, connector: denoConnector() });
 * if (mailer.deduplicates) throw new Error("unexpected");
 * ```
 *
 * The connector opens the sockets: `denoConnector()`, `nodeConnector()` (Node, Bun and Deno), or on
 * Workers `cloudflareConnector(connect)` with the `connect` of `cloudflare:sockets`.
 *
 * **Guarantees.** One attempt, and an exact account of it: `not-sent` until the message's last dot is on its
 * way, `unknown` if no answer follows it. With `starttls` and `tls` nothing but the opening of the
 * conversation goes over plain text, and the server's certificate is checked against its name; there is no
 * option to turn that off.
 *
 * **Recipients.** The server answers for each: the receipt lists those `accepted`, `rejected` for good and
 * `deferred` for now. Those that are too many for one transaction go into further ones; `retrying` and
 * `outbox` send again to the deferred ones alone.
 *
 * **Limits of servers.** A connection whose MAIL is refused for now is left, and the message goes over
 * another one. When the server admits fewer connections than `maxConnections`, messages wait for those it
 * admitted, at most `maxWaiting`.
 *
 * @module
 */

export type { SmtpAuth } from "./_auth.ts";
export * from "./cloudflare_connector.ts";
export * from "./deno_connector.ts";
export { cramMd5 } from "./cram_md5.ts";
export * from "./node_connector.ts";
export type { EnvelopePlan, LetterContent, SmtpEnvelopes } from "./_letter.ts";
export { oauthBearer } from "./oauth_bearer.ts";
export type { SmtpAuthReply, SmtpCredentials, SmtpMechanism } from "./sasl.ts";
export { scramSha256 } from "./scram_sha256.ts";
export * from "./smtp_envelope.ts";
export * from "./smtp_mailer.ts";
export * from "./socket.ts";
export * from "./verp.ts";
export type { SmtpNotifications, SmtpOptions } from "../../src/mail/provider_options.ts";
