import type { Duration } from "../duration.ts";
import { checkNeededOptions, type OptionNames } from "../validate.ts";
import {
  base64,
  joined,
  json,
  type Scheme,
  secretsOf,
  type Signature,
  signature,
  toleranceOf,
  verifyBy,
  VerifyKey,
} from "./signature.ts";
import type { PresetVerifier, WebhookMessage } from "./webhook.ts";

/**
 * Options of {@linkcode standardWebhooks} and {@linkcode svix}.
 *
 * @category Webhooks
 */
export interface StandardWebhooksOptions {
  /**
   * The secret of the endpoint (`whsec_…`), or the sender's public key (`whpk_…`, Ed25519); a list while they
   * are rotated.
   */
  readonly secret: string | readonly string[];
  /**
   * The longest time between the signed timestamp and now, in both directions.
   * @default {"5m"}
   */
  readonly tolerance?: Duration | undefined;
}

const OPTIONS = { secret: true, tolerance: true } satisfies OptionNames<StandardWebhooksOptions>;

/** The shortest secret in bytes: the specification asks for 24, and some senders hand out 16. */
const MIN_SECRET = 16;

/**
 * Verifies deliveries that follow the Standard Webhooks specification: HMAC-SHA256 or Ed25519 over
 * `webhook-id`, `webhook-timestamp` and the body. The event's id is `webhook-id`.
 *
 * @throws {TypeError | RangeError} when the secret is missing or unreadable, or an option is unknown
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 * @category Webhooks
 * @example
 * ```ts
 * import { standardWebhooks } from "@holdfast/edge/webhooks";
 * const verify = standardWebhooks({ secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" });
 * const headers = new Headers({ "webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA" });
 * const verdict = await verify({ headers, body: new Uint8Array(), now: Date.now() });
 * if (verdict.state !== "refused") throw new Error("unexpected");
 * ```
 */
export function standardWebhooks(options: StandardWebhooksOptions): PresetVerifier {
  return verifier("verify Standard Webhooks", options, ["webhook"]);
}

/**
 * Verifies deliveries of Svix, and so of Resend and Clerk: as {@linkcode standardWebhooks}, with the header
 * fields `svix-id`, `svix-timestamp` and `svix-signature`.
 *
 * @throws {TypeError | RangeError} when the secret is missing or unreadable, or an option is unknown
 * @see https://docs.svix.com/receiving/verifying-payloads/how-manual
 * @category Webhooks
 * @example
 * ```ts
 * import { svix } from "@holdfast/edge/webhooks";
 * const verify = svix({ secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" });
 * const verdict = await verify({ headers: new Headers(), body: new Uint8Array(), now: Date.now() });
 * if (verdict.state !== "refused") throw new Error("unexpected");
 * ```
 */
export function svix(options: StandardWebhooksOptions): PresetVerifier {
  return verifier("verify Svix webhooks", options, ["svix", "webhook"]);
}

function verifier(
  task: string,
  options: StandardWebhooksOptions,
  families: readonly string[],
): PresetVerifier {
  checkNeededOptions(task, options, OPTIONS, "'secret'");
  const scheme: Scheme = {
    keys: secretsOf(task, "secret", options.secret).map((secret) => keyOf(task, secret)),
    tolerance: toleranceOf(options.tolerance, "5m"),
    read(message) {
      const { id, timestamp, signatures } = fieldsOf(message, families);
      if (!id || !timestamp || !signatures) return "The header fields of the signature are missing";
      return {
        timestamp,
        signatures: signatures.split(" ").flatMap(oneSignature),
        content: joined(`${id}.${timestamp}.`, message.body),
      };
    },
    events(message) {
      const payload = json(message.body);
      return payload === undefined ? undefined : [{ id: fieldsOf(message, families).id!, payload }];
    },
  };
  return (message) => verifyBy(scheme, message);
}

/** The fields of the first family that is there: fields of two families are never mixed. */
function fieldsOf({ headers }: WebhookMessage, families: readonly string[]) {
  const family = families.find((family) => headers.has(`${family}-signature`)) ?? families[0]!;
  return {
    id: headers.get(`${family}-id`),
    timestamp: headers.get(`${family}-timestamp`),
    signatures: headers.get(`${family}-signature`),
  };
}

/** `v1,<base64>` is an HMAC, `v1a,<base64>` Ed25519; others are versions to come. */
function oneSignature(text: string): readonly Signature[] {
  const [version, value] = text.split(",");
  if (version === "v1") return signature(value, "base64");
  return version === "v1a" ? signature(value, "base64", "ed25519") : [];
}

function keyOf(task: string, secret: string): VerifyKey {
  const [, prefix, text] = /^(?:v1a?,)?(whsec_|whpk_)?(.*)$/s.exec(secret)!;
  const bytes = base64(text!);
  const isPublic = prefix === "whpk_";
  if (bytes === undefined || (isPublic ? bytes.length !== 32 : bytes.length < MIN_SECRET)) {
    throw new TypeError(
      `Cannot ${task} as 'secret' must be whsec_ or whpk_ and base64, of at least 16 bytes`,
    );
  }
  return new VerifyKey(isPublic ? "ed25519" : "hmac-sha256", bytes);
}
