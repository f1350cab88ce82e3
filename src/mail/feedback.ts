/** Reports of providers about addresses after a message was taken: bounces, complaints, unsubscriptions. */

/**
 * The kind of a report. `bounce`: the address does not take mail, for good. `soft-bounce`: it did not take
 * this message. `complaint`: the recipient called it spam. `unsubscribe`: the recipient wants no more.
 *
 * @category Mail
 */
export type FeedbackKind = "bounce" | "soft-bounce" | "complaint" | "unsubscribe";

/**
 * A report about an address.
 *
 * @category Mail
 */
export interface MailFeedback {
  /** The recipient's address. */
  readonly address: string;
  /** The kind of the report. */
  readonly kind: FeedbackKind;
  /** The provider's or server's own words, at most 500 characters. */
  readonly reason: string;
}

/** Reports from what a provider sent; entries without an address are left out. */
export function feedbackOf(
  kind: FeedbackKind | undefined,
  addresses: readonly unknown[],
  reason: unknown,
): MailFeedback[] {
  // Kinds are looked up by what a provider wrote: a word such as "constructor" finds a member of every
  // object.
  if (typeof kind !== "string") return [];
  const text = typeof reason === "string" ? reason.slice(0, 500) : "";
  return addresses.flatMap((one) => {
    const [, inside] = typeof one === "string" ? /<([^<>]+)>\s*$/.exec(one) ?? [one, one] : [];
    return inside?.includes("@") ? [{ address: inside.trim(), kind, reason: text }] : [];
  });
}
