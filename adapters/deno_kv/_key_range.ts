/** The order and size of Deno KV's key parts. A string is kept as its UTF-8, which sorts like its code points. */

const encoder = new TextEncoder();

/** The bytes of a string as a part of a key: its UTF-8, with two for a NUL, between a tag and an end. */
export function keyPartBytes(part: string): number {
  return 2 + encoder.encode(part).length + part.split("\0").length - 1;
}

/**
 * The first string behind all that begin with `prefix`, or `undefined` when there is none: its last code point plus one. Trailing
 * U+10FFFF have no next one and are cut.
 */
export function successor(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  if (last === undefined) return undefined;
  // The code points after U+D7FF are surrogates, which UTF-8 does not have.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}
