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
 * The connector says whose sockets are used: `denoConnector()`, `nodeConnector()` (Node, Bun and Deno), or on
 * Workers `cloudflareConnector(connect)` with the `connect` of `cloudflare:sockets`.
 *
 * **Guarantees.** One attempt, and an exact account of it: `not-sent` until the message's last dot is on its
 * way, `unknown` if no answer follows it. With `starttls` and `tls` nothing but the opening of the
 * conversation goes over plain text, and the server's certificate is checked against its name; there is no
 * option to turn that off.
 *
 * @module
 */

export type { SmtpAuth } from "./_auth.ts";
export * from "./cloudflare_connector.ts";
export * from "./deno_connector.ts";
export * from "./node_connector.ts";
export * from "./smtp_mailer.ts";
export * from "./socket.ts";
