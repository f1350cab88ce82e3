/** CSRF tokens of sessions. */
import { sha256 } from "./_sha256.ts";

/** Whoever knows the token can compute it, nobody else; it tells nothing about the token or its key. */
export function csrfToken(token: string): string {
  return sha256(`csrf:${token}`);
}

/** Compares in a time that depends on the length alone. */
export function sameSecret(a: string, b: string): boolean {
  let different = a.length ^ b.length;
  for (let i = 0; i < b.length; i++) different |= a.charCodeAt(i) ^ b.charCodeAt(i); // NaN counts as 0: the length decided
  return different === 0;
}
