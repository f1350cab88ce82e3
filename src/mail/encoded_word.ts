/** Header text as words between which a line may be folded; text outside ASCII becomes encoded words. */
import { bytesToBase64 } from "../codec.ts";
import type { Address } from "./address.ts";

/** Bytes in one encoded word: with the longest of our own header names it still fits a line of 76. */
const WORD_BYTES = 39;

/**
 * The maximum length of a word that is not encoded: it cannot be folded, and a line may have 998 characters.
 */
export const MAX_WORD = 900;

/**
 * The text as encoded words, none of which ends inside a character.
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

/** A text as words: joined with single spaces and decoded, they are the text again. */
export function textWords(text: string): string[] {
  const words = text.split(" ");
  // What looks like an encoded word would be decoded, so it is encoded itself.
  const plain = /^[ -~]*$/.test(text) && !text.includes("=?") &&
    words.every(({ length }) => length > 0 && length <= MAX_WORD);
  return plain ? words : encodedWords(text);
}

/**
 * A further header's value as words. ASCII is folded and never encoded: a header whose grammar this module
 * does not know may be one of addresses, ids or URLs, where encoded words mean nothing. A run of spaces stays
 * with the word behind it.
 */
export function headerWords(value: string): string[] {
  return /^[ -~]*$/.test(value)
    ? value.match(/ *[^ ]+/g)?.map((word, i) => i === 0 ? word : word.slice(1)) ?? []
    : encodedWords(value);
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
