/** Words of a header: text outside ASCII becomes encoded words, never split inside a character. */
import { bytesToBase64 } from "../codec.ts";
import type { Address } from "./address.ts";

/** Bytes in one encoded word: with the longest of our own header names it still fits a line of 76. */
const WORD_BYTES = 39;

/** Longer tokens than this cannot be folded, and a line may have 998 bytes. */
const TOKEN_LENGTH = 900;

/**
 * The text as encoded words.
 *
 * @see https://www.rfc-editor.org/rfc/rfc2047
 */
export function encodedWords(text: string): string[] {
  const words: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    words.push(`=?UTF-8?B?${bytesToBase64(Uint8Array.from(bytes))}?=`);
    bytes = [];
  };
  const encoder = new TextEncoder();
  for (const character of text) {
    const encoded = encoder.encode(character);
    if (bytes.length + encoded.length > WORD_BYTES) flush();
    bytes.push(...encoded);
  }
  flush();
  return words;
}

/** A header's text as words between which a line may be folded; joined with single spaces they are its value. */
export function textWords(text: string): string[] {
  const words = text.split(" ");
  const plain = /^[ -~]*$/.test(text) && !text.includes("=?") &&
    words.every(({ length }) => length > 0 && length <= TOKEN_LENGTH);
  return plain ? words : encodedWords(text);
}

/** A mailbox as words: name and address. */
export function addressWords({ name, address }: Address): string[] {
  if (!name) return [address];
  const words = textWords(name);
  if (words[0]!.startsWith("=?") || /^[\w!#$%&'*+/=?^`{|}~ -]+$/.test(name)) {
    return [...words, `<${address}>`];
  }
  return [...`"${name.replace(/["\\]/g, "\\$&")}"`.split(" "), `<${address}>`];
}
