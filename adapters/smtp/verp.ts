/** Senders that name the recipient (VERP), so that a bounce tells whom it is about. */

/**
 * The envelope's sender for a recipient: `bounces+jane=example.net@example.com`.
 *
 * @category Mailers
 * @example
 * ```ts
 * import { verpAddress, verpRecipient } from "@holdfast/edge/smtp";
 * const sender = verpAddress("bounces@example.com", "jane@example.net");
 * if (sender !== "bounces+jane=example.net@example.com") throw new Error("unexpected");
 * if (verpRecipient(sender) !== "jane@example.net") throw new Error("unexpected");
 * ```
 */
export function verpAddress(sender: string, recipient: string): string {
  const at = sender.lastIndexOf("@");
  const end = recipient.lastIndexOf("@");
  // What a local part cannot hold without quotes is escaped, as is the escape's own sign.
  const local = recipient.slice(0, end).replace(
    /[^\w!#$&'*+./?^`{|}~-]/gu,
    (sign) => encodeURIComponent(sign).replace("@", "%40"),
  );
  return `${sender.slice(0, at)}+${local}=${recipient.slice(end + 1)}${sender.slice(at)}`;
}

/**
 * The recipient that a sender made by {@linkcode verpAddress} names; `undefined` where it names none.
 *
 * @category Mailers
 * @example
 * ```ts
 * import { verpRecipient } from "@holdfast/edge/smtp";
 * const recipient = verpRecipient("bounces+jane=example.net@example.com"); // where a bounce came to
 * if (recipient !== "jane@example.net") throw new Error("unexpected");
 * ```
 */
export function verpRecipient(sender: string): string | undefined {
  const [, local, domain] = /^[^+@]+\+([^@]+)=([^=@]+)@[^@]+$/.exec(sender) ?? [];
  if (local === undefined) return undefined;
  try {
    return `${decodeURIComponent(local)}@${domain}`;
  } catch {
    return undefined;
  }
}
