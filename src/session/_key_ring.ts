/** AES-256-GCM under a ring of named keys. */
import { base64UrlToBytes, bytesToBase64Url } from "../codec.ts";

/**
 * A key of the ring.
 *
 * @category Sessions
 */
export interface SealingKey {
  /** Its name, sent along in clear: letters, digits, `_` and `-`, at most 16. */
  readonly id: string;
  /** 32 random bytes, or those in base64url: no password. */
  readonly secret: Uint8Array | string;
}

/** Seals under the first key, opens under all; everything is bound to a context. */
export class KeyRing {
  readonly #keys = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #imported = new Map<string, Promise<CryptoKey>>();
  readonly #first: string;
  readonly #context: string;

  /** Makes a ring whose values open only under the same context. */
  constructor(keys: readonly SealingKey[], context: string) {
    this.#context = context;
    if (!Array.isArray(keys)) {
      throw new TypeError(
        "Cannot seal sessions as 'keys' must be a list of { id, secret }: the first one seals",
      );
    }
    for (const key of keys) {
      const { id, secret }: Partial<SealingKey> = key ?? {};
      const bytes = typeof secret === "string"
        ? fromBase64Url(secret)
        : secret instanceof Uint8Array
        ? new Uint8Array(secret)
        : undefined;
      if (bytes?.length !== 32) {
        throw new TypeError(
          "Cannot seal sessions as each key must be { id, secret }, with 32 random bytes or those in base64url as " +
            "'secret'",
        );
      }
      if (typeof id !== "string" || !/^[A-Za-z0-9_-]{1,16}$/.test(id) || this.#keys.has(id)) {
        throw new TypeError(
          "Cannot seal sessions as each key needs an id of its own: 1 to 16 letters, digits, '_' or '-'",
        );
      }
      this.#keys.set(id, bytes);
    }
    if (keys.length === 0) throw new TypeError("Cannot seal sessions as there is no key");
    this.#first = keys[0]!.id;
  }

  #key(id: string): Promise<CryptoKey> | undefined {
    const bytes = this.#keys.get(id);
    if (bytes === undefined) return undefined;
    let key = this.#imported.get(id);
    if (key === undefined) {
      key = crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
      this.#imported.set(id, key);
    }
    return key;
  }

  #algorithm(id: string, iv: Uint8Array<ArrayBuffer>): AesGcmParams {
    return { name: "AES-GCM", iv, additionalData: new TextEncoder().encode(`${this.#context}\n${id}`) };
  }

  /** The text under the first key. */
  async seal(text: string): Promise<string> {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const id = this.#first;
    const data = new TextEncoder().encode(text);
    const sealed = new Uint8Array(
      await crypto.subtle.encrypt(this.#algorithm(id, iv), await this.#key(id)!, data),
    );
    const bytes = new Uint8Array(iv.length + sealed.length);
    bytes.set(iv);
    bytes.set(sealed, iv.length);
    return `${id}.${bytesToBase64Url(bytes)}`;
  }

  /** The text that was sealed; `undefined` for a value that this ring did not seal for this purpose. */
  async open(value: string): Promise<string | undefined> {
    const dot = value.indexOf(".");
    const id = value.slice(0, dot);
    const key = this.#key(id);
    const bytes = fromBase64Url(value.slice(dot + 1));
    if (key === undefined || bytes === undefined || bytes.length < 29) return undefined;
    try {
      const algorithm = this.#algorithm(id, bytes.slice(0, 12));
      const data = await crypto.subtle.decrypt(algorithm, await key, bytes.slice(12));
      return new TextDecoder().decode(data);
    } catch {
      return undefined;
    }
  }
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const bytes = base64UrlToBytes(text);
    return bytesToBase64Url(bytes) === text ? bytes : undefined; // one text per value
  } catch {
    return undefined;
  }
}
