import { type FeedbackKind, feedbackOf, type MailFeedback } from "../../src/mail/feedback.ts";

const KINDS: Readonly<Record<string, FeedbackKind>> = {
  failed: "soft-bounce",
  complained: "complaint",
  unsubscribed: "unsubscribe",
};

/**
 * The reports in a webhook event of Mailgun, verified before: its `event-data`, or the body around it. A
 * failure counts as a bounce for good where its severity is `permanent` and its reason is the address.
 *
 * @see https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure
 * @category Mailers
 * @example
 * ```ts
 * import { mailgunFeedback } from "@holdfast/edge/mailgun";
 * const event = {
 *   event: "failed",
 *   severity: "permanent",
 *   reason: "bounce",
 *   recipient: "jane@example.com",
 *   "delivery-status": { message: "550 5.1.1 no such user" },
 * };
 * const [report] = mailgunFeedback(event); // mailer.suppress(mailgunFeedback(event))
 * if (report?.kind !== "bounce" || report.address !== "jane@example.com") throw new Error("unexpected");
 * ```
 */
export function mailgunFeedback(payload: unknown): MailFeedback[] {
  // deno-lint-ignore no-explicit-any
  const body = Object(payload) as any;
  const { event, severity, reason, recipient, "delivery-status": status } = Object(
    body["event-data"] ?? body,
  );
  // Other permanent failures are about the message or about us ("generic", "old"): the address may be good.
  const permanent = event === "failed" && severity === "permanent" && /^(?:suppress-)?bounce$/.test(reason);
  const earlier = event === "failed" ? EARLIER[reason] : undefined;
  const kind = permanent ? "bounce" : earlier ?? KINDS[event];
  return feedbackOf(
    kind,
    [recipient],
    Object(status).message || Object(status).description || reason || event,
  );
}

/** Failures of messages that Mailgun did not send, as of an earlier report. */
const EARLIER: Readonly<Record<string, FeedbackKind>> = {
  "suppress-complaint": "complaint",
  "suppress-unsubscribe": "unsubscribe",
};
