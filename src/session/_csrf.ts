/**
 * CSRF tokens of sessions.
 *
 * The token is a hash of the session's secret, so it is stored nowhere. Each answer carries it under a fresh
 * random mask (`mask || mask XOR token`): a compressed page whose size an attacker can measure (BREACH) shows
 * another text every time.
 */
import { base64UrlToBytes, bytesToBase64Url } from "../codec.ts";
import { sha256 } from "../sha256.ts";

const BYTES = 32;
/** 64 bytes in the URL alphabet. */
const SHAPE = /^[A-Za-z0-9_-]{86}$/;

/** The session's CSRF token under a new mask. */
export function csrfToken(secret: string): string {
  const token = unmaskedToken(secret);
  const masked = new Uint8Array(2 * BYTES);
  crypto.getRandomValues(masked.subarray(0, BYTES));
  for (let i = 0; i < BYTES; i++) masked[BYTES + i] = masked[i]! ^ token[i]!;
  return bytesToBase64Url(masked);
}

/**
 * Whether the text is the session's CSRF token under any mask; the time depends on the text's shape alone.
 */
export function isCsrfToken(text: unknown, secret: string): boolean {
  if (typeof text !== "string" || !SHAPE.test(text)) return false;
  const masked = base64UrlToBytes(text);
  const token = unmaskedToken(secret);
  let different = 0;
  for (let i = 0; i < BYTES; i++) different |= masked[i]! ^ masked[BYTES + i]! ^ token[i]!;
  return different === 0;
}

function unmaskedToken(secret: string): Uint8Array {
  return base64UrlToBytes(sha256(`csrf:${secret}`));
}
