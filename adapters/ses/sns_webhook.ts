import { base64ToBytes } from "../../src/codec.ts";
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { readStream } from "../../src/read_stream.ts";
import { checkFunction, checkNeededOptions, type OptionNames } from "../../src/validate.ts";
import { publicKeyInfo } from "./_certificate.ts";

/**
 * Options of {@linkcode snsWebhook}.
 *
 * @category Mailers
 */
export interface SnsWebhookOptions {
  /** The topics whose messages are ours, by ARN: anyone can make a topic and sign for it. */
  readonly topics: readonly string[];
  /**
   * The longest time between a message's timestamp and now, in both directions.
   * @default {"1h"} (SNS repeats a delivery for up to an hour)
   */
  readonly tolerance?: Duration | undefined;
  /**
   * Fetches the signing certificate, and confirms the subscription.
   * @default {globalThis.fetch}
   */
  readonly fetch?: typeof fetch | undefined;
}

/**
 * A delivery, as `webhook()` of `@holdfast/edge/webhooks` hands it to a verifier.
 *
 * @category Mailers
 */
export interface SnsDelivery {
  /** The raw bytes of the body. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * The answer of {@linkcode snsWebhook}, as `webhook()` takes it.
 *
 * @category Mailers
 */
export type SnsVerdict =
  | {
    readonly state: "verified";
    readonly events: readonly { readonly id: string; readonly payload: unknown }[];
  }
  | { readonly state: "answered"; readonly response: Response }
  | { readonly state: "refused"; readonly reason: string }
  | { readonly state: "malformed"; readonly reason: string };

const TASK = "verify SNS's webhooks";
const OPTIONS = { topics: true, tolerance: true, fetch: true } satisfies OptionNames<SnsWebhookOptions>;

/** The hosts of Amazon's certificates and subscriptions, China's regions included. */
const HOST = /^sns\.[a-z\d-]{3,40}\.amazonaws\.com(?:\.cn)?$/;

/** Bytes of a certificate: real ones have two thousand. */
const MAX_CERTIFICATE = 16 * 1024;

/** Certificates that are kept; Amazon uses one per region, and changes it about once a year. */
const MAX_KEYS = 8;

const CONTENT: Readonly<Record<string, readonly string[]>> = {
  Notification: ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
  SubscriptionConfirmation: [
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
  ],
  UnsubscribeConfirmation: ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
};

/**
 * A verifier of deliveries by Amazon SNS, for `webhook()`: it checks the signature with the certificate that
 * Amazon publishes, and confirms the subscription of a topic of yours. The payload of an event is what SES
 * sent, ready for {@linkcode sesFeedback}.
 *
 * @throws {TypeError} when there is no topic, or an option is not valid
 * @see https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
 * @category Mailers
 * @example
 * ```ts
 * import { snsWebhook } from "@holdfast/edge/ses";
 * const verify = snsWebhook({ topics: ["arn:aws:sns:eu-central-1:123456789012:bounces"] });
 * const verdict = await verify({ body: new TextEncoder().encode("{}"), now: Date.now() });
 * if (verdict.state !== "malformed") throw new Error("unexpected");
 * ```
 */
export function snsWebhook(options: SnsWebhookOptions): (delivery: SnsDelivery) => Promise<SnsVerdict> {
  checkNeededOptions(TASK, options, OPTIONS, "'topics'");
  const { topics, fetch: get = fetch } = options;
  const known = Array.isArray(topics) && topics.length > 0 && topics.every((topic) => /^arn:/.test(topic));
  if (!known) throw new TypeError(`Cannot ${TASK} as 'topics' must be ARNs, at least one`);
  checkFunction(TASK, "fetch", options.fetch);
  const tolerance = toMilliseconds(options.tolerance ?? "1h", "tolerance");
  const keys = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  return async ({ body, now }) => {
    const message = read(body);
    const { Type = "" } = message;
    const fields = Object.hasOwn(CONTENT, Type) ? CONTENT[Type] : undefined;
    if (!fields) return { state: "malformed", reason: "The body is no message of SNS" };
    if (!topics.includes(message.TopicArn ?? "")) return refused("The topic is none of ours");
    if (!(Math.abs(Date.parse(message.Timestamp ?? "") - now) <= tolerance)) {
      return refused("The message is too old, or has no time");
    }
    const info = await certificateOf(message.SigningCertURL, keys, get);
    if (!info || !await isSigned(message, fields, info)) return refused("The signature is not Amazon's");
    if (Type === "Notification") {
      return { state: "verified", events: [{ id: message.MessageId!, payload: payloadOf(message.Message) }] };
    }
    if (Type === "SubscriptionConfirmation") await confirm(message.SubscribeURL, get);
    return { state: "answered", response: new Response(null, { status: 200 }) };
  };
}

type SnsMessage = Readonly<Partial<Record<string, string>>>;

function refused(reason: string): SnsVerdict {
  return { state: "refused", reason };
}

/** The fields of a message that are texts: nothing else of it is looked at. */
function read(body: Uint8Array): SnsMessage {
  try {
    const fields = Object.entries(Object(JSON.parse(new TextDecoder().decode(body))));
    return Object.fromEntries(fields.filter(([, value]) => typeof value === "string")) as SnsMessage;
  } catch {
    return {};
  }
}

function payloadOf(text: string | undefined): unknown {
  try {
    return JSON.parse(text!);
  } catch {
    return text;
  }
}

/**
 * An address of Amazon's, over https; `undefined` for any other: a request must not choose what is fetched.
 */
function amazonUrl(text: string | undefined): URL | undefined {
  try {
    const url = new URL(text!);
    return url.protocol === "https:" && HOST.test(url.hostname) && url.port === "" ? url : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The public key of the certificate; `undefined` when its address is not Amazon's.
 *
 * @throws {Error} when it cannot be fetched or read: the delivery fails, and SNS repeats it
 */
async function certificateOf(
  address: string | undefined,
  keys: Map<string, Promise<Uint8Array<ArrayBuffer>>>,
  get: typeof fetch,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const url = amazonUrl(address);
  if (!url?.pathname.endsWith(".pem")) return undefined;
  let key = keys.get(url.href);
  if (!key) {
    key = download(url, get);
    keys.set(url.href, key);
    if (keys.size > MAX_KEYS) keys.delete(keys.keys().next().value!);
  }
  try {
    return await key;
  } catch (error) {
    keys.delete(url.href); // the next delivery tries again
    throw error;
  }
}

async function download(url: URL, get: typeof fetch): Promise<Uint8Array<ArrayBuffer>> {
  const response = await get(url, { redirect: "manual", signal: AbortSignal.timeout(10_000) });
  const bytes = response.ok
    ? await readStream(response.body, MAX_CERTIFICATE, AbortSignal.timeout(10_000))
    : undefined;
  const info = bytes && publicKeyInfo(new TextDecoder().decode(bytes));
  if (!info) {
    throw new Error(`Cannot ${TASK} as the certificate cannot be read: status is ${response.status}`);
  }
  return info;
}

async function isSigned(
  message: SnsMessage,
  fields: readonly string[],
  info: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const hash = message.SignatureVersion === "2"
    ? "SHA-256"
    : message.SignatureVersion === "1"
    ? "SHA-1"
    : undefined;
  if (!hash) return false;
  const content = fields.filter((name) => message[name] !== undefined)
    .map((name) => `${name}\n${message[name]}\n`).join("");
  try {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash };
    const key = await crypto.subtle.importKey("spki", info, algorithm, false, ["verify"]);
    const signature = base64ToBytes(message.Signature!);
    return await crypto.subtle.verify(algorithm.name, key, signature, new TextEncoder().encode(content));
  } catch {
    return false;
  }
}

/** Confirms a subscription: the message was signed, and the topic is ours. */
async function confirm(address: string | undefined, get: typeof fetch): Promise<void> {
  const url = amazonUrl(address);
  if (!url) throw new Error(`Cannot ${TASK} as the address that confirms the subscription is not Amazon's`);
  const response = await get(url, { redirect: "manual", signal: AbortSignal.timeout(10_000) });
  await response.body?.cancel();
  if (!response.ok) {
    throw new Error(`Cannot ${TASK} as the subscription was not confirmed: status is ${response.status}`);
  }
}
