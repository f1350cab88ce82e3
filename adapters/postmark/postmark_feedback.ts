import { type FeedbackKind, feedbackOf, type MailFeedback } from "../../src/mail/feedback.ts";

/** Bounce types after which Postmark deactivates an address; the others pass. */
const BOUNCES: Readonly<Record<string, FeedbackKind>> = {
  HardBounce: "bounce",
  BadEmailAddress: "bounce",
  SpamComplaint: "complaint",
  Unsubscribe: "unsubscribe",
  ManuallyDeactivated: "unsubscribe",
};

/**
 * The reports in a webhook of Postmark, whose request was authenticated before: a bounce, a spam complaint or
 * a change of a subscription. Postmark signs nothing: give its webhook a user and password, and check them.
 *
 * @see https://postmarkapp.com/developer/webhooks/bounce-webhook
 * @category Mailers
 * @example
 * ```ts
 * import { postmarkFeedback } from "@holdfast/edge/postmark";
 * const event = { RecordType: "Bounce", Type: "HardBounce", Email: "jane@example.com", Details: "no such user" };
 * const [report] = postmarkFeedback(event); // mailer.suppress(postmarkFeedback(event))
 * if (report?.kind !== "bounce" || report.address !== "jane@example.com") throw new Error("unexpected");
 * ```
 */
export function postmarkFeedback(event: unknown): MailFeedback[] {
  // deno-lint-ignore no-explicit-any
  const { RecordType, Type, Email, Recipient, Details, Description, ...rest } = Object(event) as any;
  const { SuppressSending, SuppressionReason } = rest;
  switch (RecordType) {
    case "Bounce":
      return feedbackOf(BOUNCES[Type] ?? "soft-bounce", [Email], Details || Description || Type);
    case "SpamComplaint":
      return feedbackOf("complaint", [Email], Details || Description || RecordType);
    case "SubscriptionChange":
      if (SuppressSending !== true) return [];
      return feedbackOf(BOUNCES[SuppressionReason] ?? "unsubscribe", [Recipient], SuppressionReason);
    default:
      return [];
  }
}
