/** The line of the AUTH command, which every mechanism sends. */
import { bytesToBase64 } from "../../src/codec.ts";

/**
 * The maximum length of a command's line with its CRLF (RFC 5321), which bounds AUTH as well (RFC 4954, 4).
 */
export const MAX_COMMAND = 512;

/** UTF-8 in base64. */
export function base64(text: string): string {
  return bytesToBase64(new TextEncoder().encode(text));
}
