import type { Duration } from "../duration.ts";
import { sha256 } from "../secret.ts";
import { checkNeededOptions, type OptionNames } from "../validate.ts";
import {
  base64,
  joined,
  json,
  type Scheme,
  secretsOf,
  textIn,
  toleranceOf,
  verifyBy,
  VerifyKey,
} from "./signature.ts";
import type { PresetVerifier, WebhookEvent } from "./webhook.ts";

/**
 * Options of {@linkcode sendgrid}.
 *
 * @category Webhooks
 */
export interface SendgridWebhookOptions {
  /** The verification key of the event webhook (base64); a list while it is replaced. */
  readonly publicKey: string | readonly string[];
  /**
   * The longest time between the signed timestamp and now, in both directions. SendGrid repeats a delivery
   * for 24 hours; what is repeated is known by its events' ids.
   * @default {"1d"}
   */
  readonly tolerance?: Duration | undefined;
}

const OPTIONS = { publicKey: true, tolerance: true } satisfies OptionNames<SendgridWebhookOptions>;

/** Bytes of each half of an ECDSA signature on P-256. */
const HALF = 32;

/**
 * Verifies deliveries of SendGrid's signed event webhook: ECDSA over the timestamp and the body. A delivery
 * has many events, each with an id of its own, `sg_event_id`: `handle` is called for each.
 *
 * @throws {TypeError | RangeError} when the key is missing or unreadable, or an option is unknown
 * @see
 * https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
 * @category Webhooks
 * @example
 * ```ts
 * import { sendgrid } from "@holdfast/edge/webhooks";
 * const verify = sendgrid({
 *   publicKey: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
 * });
 * const verdict = await verify({ headers: new Headers(), body: new Uint8Array(), now: Date.now() });
 * if (verdict.state !== "refused") throw new Error("unexpected");
 * ```
 */
export function sendgrid(options: SendgridWebhookOptions): PresetVerifier {
  const task = "verify SendGrid's webhooks";
  checkNeededOptions(task, options, OPTIONS, "'publicKey'");
  const keys = secretsOf(task, "publicKey", options.publicKey).map((text) => {
    const bytes = base64(text);
    if (bytes === undefined || bytes.length < 2 * HALF) {
      throw new TypeError(
        `Cannot ${task} as 'publicKey' must be a P-256 key in base64, as SendGrid shows it`,
      );
    }
    return new VerifyKey("ecdsa-p256", bytes);
  });
  const scheme: Scheme = {
    keys,
    tolerance: toleranceOf(options.tolerance, "1d"),
    read({ headers, body }) {
      const timestamp = headers.get("x-twilio-email-event-webhook-timestamp");
      const bytes = rawSignature(base64(headers.get("x-twilio-email-event-webhook-signature") ?? ""));
      if (timestamp === null || bytes === undefined) return "The signature is missing or unreadable";
      return {
        timestamp,
        signatures: [{ algorithm: "ecdsa-p256", bytes }],
        content: joined(timestamp, body),
      };
    },
    async events({ body }) {
      const payloads = json(body);
      const list: readonly unknown[] = Array.isArray(payloads) ? payloads : [payloads];
      const digest = await sha256(body);
      return list.map((payload, at): WebhookEvent => ({
        id: textIn(payload, "sg_event_id") ?? `${digest}:${at}`,
        payload,
      }));
    },
  };
  return (message) => verifyBy(scheme, message);
}

/**
 * The two numbers of an ECDSA signature one after the other, as Web Crypto takes them, from DER
 * (`SEQUENCE { r INTEGER, s INTEGER }`, lengths in one byte). `undefined` for anything else.
 */
function rawSignature(der: Uint8Array | undefined): Uint8Array<ArrayBuffer> | undefined {
  if (der === undefined || der[0] !== 0x30 || der[1] !== der.length - 2) return undefined;
  const raw = new Uint8Array(2 * HALF);
  let at = 2;
  for (const end of [HALF, 2 * HALF]) {
    if (der[at] !== 0x02) return undefined;
    const length = der[at + 1] ?? 0;
    let number = der.subarray(at + 2, at + 2 + length);
    if (length === 0 || number.length !== length) return undefined;
    at += 2 + length;
    while (number.length > HALF && number[0] === 0) number = number.subarray(1); // a sign bit
    if (number.length > HALF) return undefined;
    raw.set(number, end - number.length);
  }
  return at === der.length ? raw : undefined;
}
