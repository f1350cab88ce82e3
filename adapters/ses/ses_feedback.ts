import { feedbackOf, type MailFeedback } from "../../src/mail/feedback.ts";

/**
 * The reports in a notification or event of SES, as SNS or EventBridge delivers it: the object, or the text
 * of it. A bounce counts as one for good where SES calls it `Permanent`.
 *
 * @see https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
 * @category Mailers
 * @example
 * ```ts
 * import { sesFeedback } from "@holdfast/edge/ses";
 * const event = {
 *   eventType: "Bounce",
 *   bounce: { bounceType: "Permanent", bouncedRecipients: [{ emailAddress: "jane@example.com" }] },
 * };
 * const [report] = sesFeedback(event); // mailer.suppress(sesFeedback(event))
 * if (report?.kind !== "bounce" || report.address !== "jane@example.com") throw new Error("unexpected");
 * ```
 */
export function sesFeedback(event: unknown): MailFeedback[] {
  const { detail, ...own } = objectOf(event);
  const { eventType, notificationType, bounce, complaint, subscription, mail } = objectOf(detail ?? own);
  switch (eventType ?? notificationType) {
    case "Bounce": {
      const { bounceType, bounceSubType, bouncedRecipients } = objectOf(bounce);
      const kind = bounceType === "Permanent" ? "bounce" : "soft-bounce";
      return listOf(bouncedRecipients).flatMap((one) => {
        const { emailAddress, diagnosticCode } = objectOf(one);
        return feedbackOf(kind, [emailAddress], diagnosticCode ?? bounceSubType ?? bounceType);
      });
    }
    case "Complaint": {
      const { complainedRecipients, complaintFeedbackType, complaintSubType } = objectOf(complaint);
      const addresses = listOf(complainedRecipients).map((one) => objectOf(one).emailAddress);
      return feedbackOf("complaint", addresses, complaintFeedbackType ?? complaintSubType ?? "complaint");
    }
    case "Subscription": {
      const { newTopicPreferences } = objectOf(subscription);
      if (objectOf(newTopicPreferences).unsubscribeAll !== true) return [];
      return feedbackOf("unsubscribe", listOf(objectOf(mail).destination), "unsubscribed from all topics");
    }
    default:
      return [];
  }
}

// deno-lint-ignore no-explicit-any
function objectOf(value: unknown): any {
  if (typeof value !== "string") return Object(value);
  try {
    return Object(JSON.parse(value));
  } catch {
    return {};
  }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
