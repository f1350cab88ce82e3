/**
 * Encrypts what better-auth stores: its tokens are bearer credentials and stand in keys, in values and in
 * lists. Names become HMACs. Values are sealed with AES-256-GCM with their name as associated data, so a
 * value copied under another name does not open.
 */
import { base64UrlToBytes, bytesToBase64Url } from "../../src/codec.ts";

const encoder = new TextEncoder();
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Keys derived from one secret. */
export class Vault {
  readonly #secret: Uint8Array<ArrayBuffer>;
  #keys: Promise<{ readonly names: CryptoKey; readonly values: CryptoKey }> | undefined;

  /**
   * Takes the secret; keys are derived at the first use.
   *
   * @throws {TypeError} when it is shorter than 32 characters
   */
  constructor(secret: string) {
    if (typeof secret !== "string" || secret.length < 32) {
      throw new TypeError(
        "Cannot make a storage for better-auth as 'secret' must be a text of at least 32 characters",
      );
    }
    this.#secret = encoder.encode(secret);
  }

  /** The name under which something is stored; without the secret it can neither be read nor guessed. */
  async name(text: string): Promise<string> {
    const { names } = await this.#derived();
    return bytesToBase64Url(await mac(names, text));
  }

  /** The text, encrypted; {@linkcode open} reads it under the same name only. */
  async seal(name: string, text: string): Promise<string> {
    const { values } = await this.#derived();
    const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
    const sealed = new Uint8Array(
      await crypto.subtle.encrypt(algorithm(name, iv), values, encoder.encode(text)),
    );
    const bytes = new Uint8Array(IV_BYTES + sealed.length);
    bytes.set(iv);
    bytes.set(sealed, IV_BYTES);
    return bytesToBase64Url(bytes);
  }

  /** The text that was sealed; `undefined` if it was sealed under another name or with another secret. */
  async open(name: string, sealed: string): Promise<string | undefined> {
    const { values } = await this.#derived();
    try {
      const bytes = base64UrlToBytes(sealed);
      if (bytes.length < IV_BYTES + TAG_BYTES) return undefined;
      const text = await crypto.subtle.decrypt(
        algorithm(name, bytes.slice(0, IV_BYTES)),
        values,
        bytes.slice(IV_BYTES),
      );
      return new TextDecoder().decode(text);
    } catch {
      return undefined;
    }
  }

  #derived(): Promise<{ readonly names: CryptoKey; readonly values: CryptoKey }> {
    return this.#keys ??= derive(this.#secret);
  }
}

async function derive(
  secret: Uint8Array<ArrayBuffer>,
): Promise<{ readonly names: CryptoKey; readonly values: CryptoKey }> {
  const root = await hmacKey(secret);
  const [names, values] = await Promise.all(
    ["names", "values"].map((use) => mac(root, `holdfast better-auth ${use}`)),
  );
  return {
    names: await hmacKey(names!),
    values: await crypto.subtle.importKey("raw", values!, "AES-GCM", false, ["encrypt", "decrypt"]),
  };
}

function hmacKey(bytes: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

async function mac(key: CryptoKey, text: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(text)));
}

function algorithm(name: string, iv: Uint8Array<ArrayBuffer>): AesGcmParams {
  return { name: "AES-GCM", iv, additionalData: encoder.encode(name) };
}
