import type { Duration } from "../duration.ts";
import { bytesToBase64Url } from "../codec.ts";
import { checkNeededOptions, type OptionNames } from "../validate.ts";
import {
  joined,
  json,
  type Scheme,
  secretsOf,
  signature,
  textIn,
  textKeys,
  toleranceOf,
  verifyBy,
} from "./signature.ts";
import type { PresetVerifier, WebhookMessage } from "./webhook.ts";

/**
 * Options of {@linkcode mailgun}.
 *
 * @category Webhooks
 */
export interface MailgunWebhookOptions {
  /** The HTTP webhook signing key of the account; a list while it is replaced. */
  readonly secret: string | readonly string[];
  /**
   * The longest time between the signed timestamp and now, in both directions. Mailgun repeats a delivery for
   * 8 hours.
   * @default {"8h"}
   */
  readonly tolerance?: Duration | undefined;
}

const OPTIONS = { secret: true, tolerance: true } satisfies OptionNames<MailgunWebhookOptions>;

/**
 * Verifies deliveries of Mailgun. The event's id is `event-data.id`, the payload is `event-data`.
 *
 * Mailgun signs a timestamp and a token, and **not the body**. So a token is bound to the body that it first
 * came with: the same token with another body is refused. A stranger who reads a delivery before it arrives
 * can still change it, as with every receiver of Mailgun's webhooks.
 *
 * @throws {TypeError | RangeError} when the secret is missing, or an option is unknown
 * @see https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
 * @category Webhooks
 * @example
 * ```ts
 * import { mailgun } from "@holdfast/edge/webhooks";
 * const verify = mailgun({ secret: "the signing key of the account" });
 * const verdict = await verify({ headers: new Headers(), body: new Uint8Array(), now: Date.now() });
 * if (verdict.state !== "refused") throw new Error("unexpected");
 * ```
 */
export function mailgun(options: MailgunWebhookOptions): PresetVerifier {
  const task = "verify Mailgun's webhooks";
  checkNeededOptions(task, options, OPTIONS, "'secret'");
  const scheme: Scheme = {
    keys: textKeys(secretsOf(task, "secret", options.secret)),
    tolerance: toleranceOf(options.tolerance, "8h"),
    read(message) {
      const { timestamp, token, digits } = fieldsOf(message);
      if (timestamp === undefined || token === undefined || digits === undefined) {
        return "The signature is missing or unreadable";
      }
      return { timestamp, signatures: signature(digits, "hex"), content: joined(timestamp, token) };
    },
    events(message) {
      const { event, token } = fieldsOf(message);
      return event === undefined ? undefined : [{ id: textIn(event, "id") ?? token!, payload: event }];
    },
  };
  return async (message) => {
    const verdict = await verifyBy(scheme, message);
    if (verdict.state !== "verified") return verdict;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", message.body));
    return { ...verdict, once: { nonce: fieldsOf(message).token!, binds: bytesToBase64Url(digest) } };
  };
}

function fieldsOf({ body }: WebhookMessage) {
  const all = Object(json(body)) as Record<string, unknown>;
  const signed = all.signature;
  return {
    event: typeof all["event-data"] === "object" && all["event-data"] !== null
      ? all["event-data"]
      : undefined,
    timestamp: textIn(signed, "timestamp"),
    token: textIn(signed, "token"),
    digits: textIn(signed, "signature"),
  };
}
