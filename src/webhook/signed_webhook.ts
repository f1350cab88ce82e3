import type { Duration } from "../duration.ts";
import { checkFunction, checkNeededOptions, checkOneOf, type OptionNames } from "../validate.ts";
import {
  base64,
  hex,
  json,
  type Scheme,
  secretsOf,
  signature,
  textKeys,
  toleranceOf,
  utf8,
  verifyBy,
  VerifyKey,
} from "./signature.ts";
import type { PresetVerifier, WebhookMessage } from "./webhook.ts";

/**
 * Options of {@linkcode signedWebhook}.
 *
 * @category Webhooks
 */
export interface SignedWebhookOptions {
  /** The shared secret as text, or the sender's public key in `encoding`; a list while they are rotated. */
  readonly secret: string | readonly string[];
  /**
   * The kind of signature.
   * @default {"hmac-sha256"}
   */
  readonly algorithm?: "hmac-sha256" | "ed25519" | undefined;
  /** The header field of the signature, or a function that finds it. */
  readonly signature: string | ((message: WebhookMessage) => string | undefined | null);
  /** Text before the signature in its field, such as `sha256=`. */
  readonly prefix?: string | undefined;
  /**
   * The encoding of the signature, and of a public key.
   * @default {"hex"}
   */
  readonly encoding?: "hex" | "base64" | undefined;
  /** The bytes that were signed. @default {the body} */
  readonly content?: ((message: WebhookMessage) => string | Uint8Array<ArrayBuffer>) | undefined;
  /**
   * The header field of the signed timestamp, in seconds, or a function that finds it. `content` must hold
   * it.
   */
  readonly timestamp?: string | ((message: WebhookMessage) => string | undefined | null) | undefined;
  /**
   * The longest time between the signed timestamp and now, in both directions; only with `timestamp`.
   * @default {"5m"}
   */
  readonly tolerance?: Duration | undefined;
  /**
   * The id of the event: the same one at every delivery of it, and signed. Without one, the delivery is a
   * 400.
   */
  readonly id: (payload: unknown, message: WebhookMessage) => string | undefined | null;
}

const OPTIONS = {
  secret: true,
  algorithm: true,
  signature: true,
  prefix: true,
  encoding: true,
  content: true,
  timestamp: true,
  tolerance: true,
  id: true,
} satisfies OptionNames<SignedWebhookOptions>;

/**
 * Verifies deliveries of any sender that signs the body: Shopify, Linear, Discord (Ed25519), or your own.
 *
 * @throws {TypeError | RangeError} when an option is missing, unknown or of another type
 * @category Webhooks
 * @example
 * ```ts
 * import { signedWebhook } from "@holdfast/edge/webhooks";
 * const verify = signedWebhook({
 *   secret: "a secret that the sender has too",
 *   signature: "x-shopify-hmac-sha256",
 *   encoding: "base64",
 *   id: (_payload, { headers }) => headers.get("x-shopify-event-id"),
 * });
 * const verdict = await verify({ headers: new Headers(), body: new Uint8Array(), now: Date.now() });
 * if (verdict.state !== "refused") throw new Error("unexpected");
 * ```
 */
export function signedWebhook(options: SignedWebhookOptions): PresetVerifier {
  const task = "verify signed webhooks";
  checkNeededOptions(task, options, OPTIONS, "'secret', 'signature' and 'id'");
  const { algorithm = "hmac-sha256", encoding = "hex", prefix = "", content, id } = options;
  checkOneOf(task, "algorithm", algorithm, ["hmac-sha256", "ed25519"]);
  checkOneOf(task, "encoding", encoding, ["hex", "base64"]);
  checkFunction(task, "content", content);
  if (typeof id !== "function") throw new TypeError(`Cannot ${task} as 'id' must be a function`);
  if (options.signature === undefined) throw new TypeError(`Cannot ${task} as 'signature' is missing`);
  const signatureOf = reader(task, "signature", options.signature);
  const timestampOf = options.timestamp === undefined
    ? undefined
    : reader(task, "timestamp", options.timestamp);
  const secrets = secretsOf(task, "secret", options.secret);
  const tolerance = toleranceOf(options.tolerance, "5m");
  const scheme: Scheme = {
    keys: algorithm === "ed25519" ? secrets.map((key) => publicKey(task, key, encoding)) : textKeys(secrets),
    tolerance: timestampOf && tolerance,
    read(message) {
      const found = signatureOf(message) ?? "";
      const signatures = found.startsWith(prefix)
        ? signature(found.slice(prefix.length), encoding, algorithm)
        : [];
      if (signatures.length === 0) return "The signature is missing or unreadable";
      const signed = content?.(message) ?? message.body;
      return {
        timestamp: timestampOf?.(message) ?? undefined,
        signatures,
        content: typeof signed === "string" ? utf8(signed) : signed,
      };
    },
    events(message) {
      const payload = json(message.body);
      if (payload === undefined) return undefined;
      const found = id(payload, message);
      return typeof found === "string" && found !== "" ? [{ id: found, payload }] : undefined;
    },
  };
  return (message) => verifyBy(scheme, message);
}

function reader(
  task: string,
  name: string,
  given: string | ((message: WebhookMessage) => string | undefined | null),
): (message: WebhookMessage) => string | undefined | null {
  if (typeof given === "string") return ({ headers }) => headers.get(given);
  checkFunction(task, name, given);
  return given;
}

function publicKey(task: string, text: string, encoding: "hex" | "base64"): VerifyKey {
  const bytes = encoding === "hex" ? hex(text) : base64(text);
  if (bytes?.length === 32) return new VerifyKey("ed25519", bytes);
  throw new TypeError(`Cannot ${task} as 'secret' must be a public key of 32 bytes in ${encoding}`);
}
