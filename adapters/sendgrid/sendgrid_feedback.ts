import { type FeedbackKind, feedbackOf, type MailFeedback } from "../../src/mail/feedback.ts";

const KINDS: Readonly<Record<string, FeedbackKind>> = {
  bounce: "bounce",
  deferred: "soft-bounce",
  spamreport: "complaint",
  unsubscribe: "unsubscribe",
  group_unsubscribe: "unsubscribe",
};

/**
 * The reports in SendGrid's events, verified before: one event, or the list of a whole delivery. A bounce of
 * the type `blocked` is a soft one; a message that SendGrid dropped counts where it says that the address
 * bounced, complained or unsubscribed before.
 *
 * @see https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
 * @category Mailers
 * @example
 * ```ts
 * import { sendgridFeedback } from "@holdfast/edge/sendgrid";
 * const events = [{ event: "bounce", type: "bounce", email: "jane@example.com", reason: "550 5.1.1 no such user" }];
 * const [report] = sendgridFeedback(events); // mailer.suppress(sendgridFeedback(events))
 * if (report?.kind !== "bounce" || report.address !== "jane@example.com") throw new Error("unexpected");
 * ```
 */
export function sendgridFeedback(events: unknown): MailFeedback[] {
  return [events].flat().flatMap((one) => {
    // deno-lint-ignore no-explicit-any
    const { event, type, email, reason, status } = Object(one) as any;
    const kind = event === "bounce" && type === "blocked"
      ? "soft-bounce"
      : event === "dropped"
      ? droppedAs(reason)
      : KINDS[event];
    return feedbackOf(kind, [email], reason ?? status ?? event);
  });
}

function droppedAs(reason: unknown): FeedbackKind | undefined {
  const text = String(reason);
  if (/^Bounced Address$/i.test(text)) return "bounce";
  if (/^Spam Reporting Address$/i.test(text)) return "complaint";
  return /^Unsubscribed Address$/i.test(text) ? "unsubscribe" : undefined;
}
