/**
 * Mail: the message model, mailers that wrap another mailer, bulk sending, the outbox, and the mailer of
 * tests. One subpath a provider makes the mailers that send.
 *
 * ```ts
 * import { memoryMailer, retrying } from "@holdfast/edge/mail";
 *
 * const mailer = retrying(memoryMailer()); // resendMailer(…) · sesMailer(…) · smtpMailer(…)
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello, Jane." });
 * ```
 *
 * @module
 */

export { type Address, type AddressInput, formatAddress, parseAddress } from "./address.ts";
export type { Attachment, AttachmentData, PreparedAttachment } from "./attachment.ts";
export * from "./bulk.ts";
export * from "./create_outbox.ts";
export * from "./failover.ts";
export type { FeedbackKind, MailFeedback } from "./feedback.ts";
export * from "./custom_http_mailer.ts";
export { fetchExchange, type HttpMailerOptions } from "./fetch_exchange.ts";
export {
  type Answer as MailAnswer,
  type Exchange as MailExchange,
  type MailRequest,
  type Provider as HttpProvider,
  type Refusal as MailRefusal,
  type RequestOptions as MailRequestOptions,
  type WireFile,
  wireFiles,
  wireHeaders,
} from "./http_mailer.ts";
export * from "./idempotent.ts";
export { Base64Content, jsonRequest } from "./json_request.ts";
export { type Delivery, MailError, type MailErrorOptions, type MailPhase } from "./mail_error.ts";
export type {
  BatchOptions,
  BulkSender,
  Mailer,
  Receipt,
  Rejection,
  SendOptions,
  SuppressedRecipient,
} from "./mailer.ts";
export * from "./memory_mailer.ts";
export {
  type Calendar,
  type Message,
  type PreparedMessage,
  prepareMessage,
  type Unsubscribe,
} from "./message.ts";
export * from "./mime.ts";
export * from "./observed.ts";
export * from "./one_click.ts";
export * from "./outbox.ts";
export type { DrainOptions, OutboxEntry, OutboxQueueOptions, OutboxState } from "../outbox/outbox.ts";
export type { LazyBytes } from "./pieces.ts";
export type {
  BrevoOptions,
  MailgunOptions,
  PostmarkOptions,
  ProviderOptions,
  ResendOptions,
  SendGridOptions,
  SesOptions,
  SmtpNotifications,
  SmtpOptions,
} from "./provider_options.ts";
export * from "./rate_limited.ts";
export * from "./rendering.ts";
export * from "./retrying.ts";
export * from "./send_bulk.ts";
export * from "./suppressing.ts";
