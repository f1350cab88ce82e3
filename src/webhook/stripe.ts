import type { Duration } from "../duration.ts";
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
import type { PresetVerifier } from "./webhook.ts";

/**
 * Options of {@linkcode stripe}.
 *
 * @category Webhooks
 */
export interface StripeWebhookOptions {
  /** The signing secret of the endpoint (`whsec_…`); a list while it is rolled. */
  readonly secret: string | readonly string[];
  /**
   * The longest time between the signed timestamp and now, in both directions.
   * @default {"5m"}
   */
  readonly tolerance?: Duration | undefined;
}

const OPTIONS = { secret: true, tolerance: true } satisfies OptionNames<StripeWebhookOptions>;

/**
 * Verifies deliveries of Stripe: the `v1` signatures of `Stripe-Signature`. The event's id is its `id`
 * (`evt_…`).
 *
 * @throws {TypeError | RangeError} when the secret is missing, or an option is unknown
 * @see https://docs.stripe.com/webhooks#verify-manually
 * @category Webhooks
 * @example
 * ```ts
 * import { stripe } from "@holdfast/edge/webhooks";
 * const verify = stripe({ secret: "whsec_of_the_endpoint" });
 * const headers = new Headers({ "stripe-signature": "t=1,v1=00" });
 * const verdict = await verify({ headers, body: new Uint8Array(), now: Date.now() });
 * if (verdict.state !== "refused") throw new Error("unexpected");
 * ```
 */
export function stripe(options: StripeWebhookOptions): PresetVerifier {
  const task = "verify Stripe's webhooks";
  checkNeededOptions(task, options, OPTIONS, "'secret'");
  const scheme: Scheme = {
    keys: textKeys(secretsOf(task, "secret", options.secret)),
    tolerance: toleranceOf(options.tolerance, "5m"),
    read({ headers, body }) {
      const parts = (headers.get("stripe-signature") ?? "").split(",").map((part) => part.trim().split("="));
      const timestamp = parts.find(([name]) => name === "t")?.[1];
      const signatures = parts.flatMap(([name, value]) => name === "v1" ? signature(value, "hex") : []);
      if (timestamp === undefined || signatures.length === 0) {
        return "Stripe-Signature is missing or unreadable";
      }
      return { timestamp, signatures, content: joined(`${timestamp}.`, body) };
    },
    events({ body }) {
      const payload = json(body);
      const id = textIn(payload, "id");
      return id === undefined ? undefined : [{ id, payload }];
    },
  };
  return (message) => verifyBy(scheme, message);
}
