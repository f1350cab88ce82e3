/** Random tokens and hashes, from the runtime's Web Crypto alone. */
import { bytesToBase64Url } from "./codec.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** A random token with the entropy of that many bytes from the runtime's cryptographic source, in the URL alphabet. */
export function randomToken(bytes: number): string {
  let token = "";
  // Six bits of a byte make a letter, each as likely as the others: locks draw one a call, and base64 would cost as much again.
  for (const byte of crypto.getRandomValues(new Uint8Array(Math.ceil(bytes * 4 / 3)))) {
    token += ALPHABET[byte & 63];
  }
  return token;
}

/** SHA-256 of a text or of bytes, in the URL alphabet. */
export async function sha256(data: string | Uint8Array<ArrayBuffer>): Promise<string> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return bytesToBase64Url(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}
