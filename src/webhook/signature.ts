/** The shared parts of the verifiers: keys of Web Crypto, signatures, timestamps, payloads. */
import { base64ToBytes } from "../codec.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { concatBytes } from "../read_stream.ts";
import type { WebhookEvent, WebhookMessage, WebhookVerdict } from "./webhook.ts";

/**
 * The most signatures of one delivery that are looked at. A sender adds one for each secret while it rotates
 * them; a stranger who sends hundreds would have the body hashed as often.
 */
const MAX_SIGNATURES = 8;

/** Kinds of signatures. */
export type Algorithm = "hmac-sha256" | "ed25519" | "ecdsa-p256";

const IMPORTS = {
  "hmac-sha256": ["raw", { name: "HMAC", hash: "SHA-256" }],
  "ed25519": ["raw", { name: "Ed25519" }],
  "ecdsa-p256": ["spki", { name: "ECDSA", namedCurve: "P-256" }],
} as const;

const VERIFIES = {
  "hmac-sha256": { name: "HMAC" },
  "ed25519": { name: "Ed25519" },
  "ecdsa-p256": { name: "ECDSA", hash: "SHA-256" },
} as const;

/** A secret or a public key, imported when it is first used: a constructor does no work. */
export class VerifyKey {
  readonly algorithm: Algorithm;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #key: Promise<CryptoKey> | undefined;

  constructor(algorithm: Algorithm, bytes: Uint8Array<ArrayBuffer>) {
    this.algorithm = algorithm;
    this.#bytes = bytes;
  }

  /** Compares in constant time: Web Crypto's own `verify` does. */
  async verifies(signature: Uint8Array<ArrayBuffer>, content: Uint8Array<ArrayBuffer>): Promise<boolean> {
    const [format, algorithm] = IMPORTS[this.algorithm];
    this.#key ??= crypto.subtle.importKey(format, this.#bytes, algorithm, false, ["verify"]);
    return await crypto.subtle.verify(VERIFIES[this.algorithm], await this.#key, signature, content);
  }
}

/** A signature of a delivery, and the kind of key that it belongs to. */
export interface Signature {
  readonly algorithm: Algorithm;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Whether at least one signature was made with one of the keys. */
export async function isSigned(
  keys: readonly VerifyKey[],
  signatures: readonly Signature[],
  content: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  for (const { algorithm, bytes } of signatures.slice(0, MAX_SIGNATURES)) {
    for (const key of keys) {
      if (key.algorithm === algorithm && await key.verifies(bytes, content)) return true;
    }
  }
  return false;
}

/** The knowledge of a preset about its sender. */
export interface Scheme {
  readonly keys: readonly VerifyKey[];
  /** The longest time between the signed timestamp and now; `undefined` where the sender signs none. */
  readonly tolerance: number | undefined;
  /** The signed bytes and the algorithm, or the reason why they cannot be told. */
  read(message: WebhookMessage): Signed | string;
  /** The events, once the signature is known to be right; `undefined` for a body that is not the sender's. */
  events(
    message: WebhookMessage,
  ): readonly WebhookEvent[] | undefined | Promise<readonly WebhookEvent[] | undefined>;
}

/** The signature of a delivery, as its headers state it. */
export interface Signed {
  readonly signatures: readonly Signature[];
  readonly content: Uint8Array<ArrayBuffer>;
  /** Seconds since the Unix epoch, as text. */
  readonly timestamp?: string | undefined;
}

/** Verifies a delivery by its sender's scheme: the signature first, so that nothing unsigned is parsed. */
export async function verifyBy(scheme: Scheme, message: WebhookMessage): Promise<WebhookVerdict> {
  const signed = scheme.read(message);
  if (typeof signed === "string") return { state: "refused", reason: signed };
  if (!await isSigned(scheme.keys, signed.signatures, signed.content)) {
    return { state: "refused", reason: "The signature does not match" };
  }
  if (scheme.tolerance !== undefined && !isRecent(signed.timestamp, message.now, scheme.tolerance)) {
    return { state: "refused", reason: "The timestamp is too old, or in the future" };
  }
  const events = await scheme.events(message);
  return events === undefined
    ? { state: "malformed", reason: "The body or the event's id is not as its sender writes it" }
    : { state: "verified", events };
}

/** Whether a timestamp in seconds lies within `tolerance` of now, before or after it. */
function isRecent(timestamp: string | undefined, now: number, tolerance: number): boolean {
  if (timestamp === undefined || !/^\d{1,12}$/.test(timestamp)) return false;
  return Math.abs(now - Number(timestamp) * 1000) <= tolerance;
}

/**
 * The secrets of an option: one, or several while they are rotated.
 *
 * @throws {TypeError} when there is none: a variable of the environment that is missing must not verify
 *   anything
 */
export function secretsOf(task: string, name: string, given: unknown): readonly string[] {
  const secrets: readonly unknown[] = Array.isArray(given) ? given : [given];
  if (secrets.length > 0 && secrets.every((it) => typeof it === "string" && it !== "")) {
    return secrets as string[];
  }
  throw new TypeError(`Cannot ${task} as '${name}' must be a non-empty text, or a list of such`);
}

/** Keys of secrets that are used as they are written. */
export function textKeys(secrets: readonly string[]): VerifyKey[] {
  return secrets.map((secret) => new VerifyKey("hmac-sha256", utf8(secret)));
}

/**
 * The tolerance of an option in milliseconds.
 *
 * @throws {RangeError} when it is no duration
 */
export function toleranceOf(given: Duration | undefined, other: Duration): number {
  return toMilliseconds(given ?? other, "tolerance");
}

/** UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Texts and bytes, one after the other. */
export function joined(...parts: readonly (string | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  return concatBytes(parts.map((part) => typeof part === "string" ? utf8(part) : part));
}

/** A signature of hexadecimal digits or base64; none where it is not. */
export function signature(
  text: string | undefined | null,
  encoding: "hex" | "base64",
  algorithm: Algorithm = "hmac-sha256",
): readonly Signature[] {
  const bytes = text ? (encoding === "hex" ? hex(text) : base64(text)) : undefined;
  return bytes === undefined ? [] : [{ algorithm, bytes }];
}

/** The bytes of hexadecimal digits. */
export function hex(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^(?:[0-9a-f]{2})+$/i.test(text)) return undefined;
  return Uint8Array.from(text.match(/../g)!, (pair) => parseInt(pair, 16));
}

/** The bytes of base64. */
export function base64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return base64ToBytes(text);
  } catch {
    return undefined;
  }
}

/** The JSON of bytes; `undefined` where it is none, as JSON has no `undefined`. */
export function json(bytes: Uint8Array | string): unknown {
  try {
    return JSON.parse(typeof bytes === "string" ? bytes : text(bytes));
  } catch {
    return undefined;
  }
}

/** The text of bytes. */
export function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** A non-empty text in a member of a value that may be anything. */
export function textIn(value: unknown, name: string): string | undefined {
  const found = typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
  return typeof found === "string" && found !== "" ? found : undefined;
}
