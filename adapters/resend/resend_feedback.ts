import { type FeedbackKind, feedbackOf, type MailFeedback } from "../../src/mail/feedback.ts";

const KINDS: Readonly<Record<string, FeedbackKind>> = {
  "email.bounced": "bounce",
  "email.complained": "complaint",
  "email.delivery_delayed": "soft-bounce",
  "email.suppressed": "bounce",
};

/**
 * The reports in a webhook event of Resend, verified before; none in an event of another kind. A bounce
 * counts as one for good only where Resend calls it permanent.
 *
 * @see https://resend.com/docs/webhooks/event-types
 * @category Mailers
 * @example
 * ```ts
 * import { resendFeedback } from "@holdfast/edge/resend";
 * const event = {
 *   type: "email.bounced",
 *   data: { to: ["jane@example.com"], bounce: { type: "Permanent", message: "no such user" } },
 * };
 * const [report] = resendFeedback(event); // mailer.suppress(resendFeedback(event))
 * if (report?.kind !== "bounce" || report.address !== "jane@example.com") throw new Error("unexpected");
 * ```
 */
export function resendFeedback(event: unknown): MailFeedback[] {
  // deno-lint-ignore no-explicit-any
  const { type, data } = Object(event) as any;
  const { to, bounce } = Object(data);
  const { type: degree, message, subType } = Object(bounce);
  const passing = type === "email.bounced" && degree !== undefined && !/^permanent$/i.test(degree);
  const reason = message ?? subType ?? type;
  return feedbackOf(passing ? "soft-bounce" : KINDS[type], [to ?? []].flat(), reason);
}
