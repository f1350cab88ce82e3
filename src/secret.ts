/** Random tokens and hashes, from the runtime's Web Crypto alone. */
import { bytesToBase64Url } from "./codec.ts";

/** A random token of that many bytes from the runtime's cryptographic source, in the URL alphabet. */
export function randomToken(bytes: number): string {
  return bytesToBase64Url(crypto.getRandomValues(new Uint8Array(bytes)));
}

/** SHA-256 of a text or of bytes, in the URL alphabet. */
export async function sha256(data: string | Uint8Array<ArrayBuffer>): Promise<string> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return bytesToBase64Url(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}
