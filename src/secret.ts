/** Random tokens and hashes, from the runtime's Web Crypto alone. */

/**
 * The number of characters that are drawn at a time: a call of the runtime costs many times what a token
 * takes. Nothing is drawn before the first token, as Workers have no randomness before a request.
 */
const POOL = 2048;

let pool: Uint8Array<ArrayBuffer> | undefined;
let used = 0;

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** The character code of six bits in base64, in the URL alphabet. */
export function base64UrlCode(bits: number): number {
  return ALPHABET.charCodeAt(bits & 63);
}

/** A random token worth that many bytes from the runtime's cryptographic source, in the URL alphabet. */
export function randomToken(bytes: number): string {
  const codes = new Array<number>(Math.ceil(bytes * 4 / 3));
  if (pool === undefined || used + codes.length > POOL) {
    crypto.getRandomValues(pool ??= new Uint8Array(POOL));
    used = 0;
  }
  for (let i = 0; i < codes.length; i++) {
    // 64 characters divide the 256 values of a byte: none is more likely than another.
    codes[i] = base64UrlCode(pool[used]!);
    pool[used++] = 0; // no token stays here after it was handed out
  }
  return String.fromCharCode(...codes);
}

/** SHA-256 of a text or of bytes, in the URL alphabet. */
export async function sha256(data: string | Uint8Array<ArrayBuffer>): Promise<string> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return btoa(String.fromCharCode(...hash)).replaceAll("+", "-").replaceAll("/", "_").replace("=", "");
}
